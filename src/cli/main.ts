#!/usr/bin/env node
// The command `leveret`: hands this process to the program and leaves with its exit code. Everything else is in program.ts.

import { run } from './program.ts';
import { processTerminal } from './terminal.ts';

// exit, not exitCode: once a command is done, nothing that still waits may keep the process.
process.exit(await run(process.argv.slice(2), processTerminal()));
