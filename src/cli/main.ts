#!/usr/bin/env -S node --max-semi-space-size=32
// The command `leveret`: hands this process to the program and leaves with its exit code. Everything else is in program.ts.
// The flag gives young objects 32 MiB instead of 16: messages in flight then die young instead of being copied. A quarter less CPU a
// message, measured with `npm run bench -- --only transient-16 --node-flags=…`.

import { systemClock } from '../base/clock.ts';
import { IdleMemory, ownMemory } from './idle-memory.ts';
import { run } from './program.ts';
import { processTerminal } from './terminal.ts';

new IdleMemory(systemClock, ownMemory());

// exit, not exitCode: once a command is done, nothing that still waits may keep the process.
process.exit(await run(process.argv.slice(2), processTerminal()));
