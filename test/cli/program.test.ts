// The command line: what people may type, and what they are told when they mistype.

import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { type CommandBodies, run } from '../../src/cli/program.ts';
import { flagOf, SETTING_KEYS, settingOf } from '../../src/config/config.ts';
import type { ResolvedSettings } from '../../src/config/sources.ts';
import { VERSION } from '../../src/config/version.ts';
import { FakeTerminal } from './fake-terminal.ts';

/** Runs a command line whose `start` only remembers its settings. */
async function typed(args: string[], environment: Record<string, string> = {}) {
  const terminal = new FakeTerminal(environment);
  let started: ResolvedSettings | null = null;
  const { showConfig } = await import('../../src/cli/show-config.ts');
  const commands: CommandBodies = {
    start: async (settings) => {
      started = settings;
      return 0;
    },
    config: showConfig,
  };
  const code = await run(args, terminal, commands);
  return { code, out: terminal.out, err: terminal.err, started: started as ResolvedSettings | null };
}

describe('leveret', () => {
  it('prints its version', async () => {
    expect(await typed(['--version'])).toMatchObject({ code: 0, out: `${VERSION}\n`, err: '' });
    expect(await typed(['-V'])).toMatchObject({ code: 0, out: `${VERSION}\n` });
  });

  it('prints its help when asked, and when called with nothing', async () => {
    for (const args of [['--help'], ['-h'], ['help'], []]) {
      const { code, out, err } = await typed(args);
      expect(code).toBe(0);
      expect(out).toContain('Usage: leveret');
      expect(out).toContain('start');
      expect(out).toContain('config');
      expect(err).toBe('');
    }
  });

  it('lists every setting, with its default, in the help of start', async () => {
    const { code, out } = await typed(['start', '--help']);
    expect(code).toBe(0);
    for (const key of SETTING_KEYS) expect(out).toContain(flagOf(key));
    expect(out).toContain('[5672]');
    expect(out).toContain('Memory and disk:');
    expect(out).not.toMatch(/default-password.*guest/);
  });

  it('starts with defaults', async () => {
    const { code, started } = await typed(['start']);
    expect(code).toBe(0);
    expect(started?.settings.port).toBe(5672);
  });

  it('takes every setting as a flag', async () => {
    const args = ['start'];
    for (const key of SETTING_KEYS) {
      const { kind, default: value } = settingOf(key);
      if (kind.isSwitch) args.push(value === true ? `--no-${flagOf(key).slice(2)}` : flagOf(key));
      else args.push(`${flagOf(key)}=${kind.show(value)}`);
    }
    const { code, err, started } = await typed(args);
    expect(err).toBe('');
    expect(code).toBe(0);
    for (const key of SETTING_KEYS) {
      const { kind, default: value } = settingOf(key);
      expect(started!.settings[key]).toEqual(kind.isSwitch ? !value : value);
      expect(started!.origins[key]).toBe(flagOf(key));
    }
  });

  it('passes the exit code of the command on', async () => {
    const commands: CommandBodies = { start: async () => 7, config: async () => 8 };
    expect(await run(['start'], new FakeTerminal(), commands)).toBe(7);
    expect(await run(['config'], new FakeTerminal(), commands)).toBe(8);
  });
});

describe('a mistyped command line', () => {
  it.each([
    [['start', '--prot', '1'], 'unknown setting --prot: did you mean --port?'],
    [['start', '--prot=1'], 'unknown setting --prot: did you mean --port?'],
    [['start', '--no-memry'], 'unknown setting --no-memry: did you mean --memory?'],
    [['start', '--port', 'http'], '--port must be a whole number from 0 to 65535, not http'],
    [['start', '--port'], '--port needs a value: a whole number from 0 to 65535'],
    [['start', '--memory=false'], '--memory takes no value: say --memory or --no-memory'],
    [['start', '--no-memory=true'], '--no-memory takes no value: say --memory or --no-memory'],
    [['start', '--colour'], 'unknown setting --colour: leveret start --help lists all settings'],
    [['strat'], 'unknown command strat: did you mean start?'],
    [['dance'], 'unknown command dance: there are start, config, help'],
    [['--port', '5680'], '--port belongs behind a command: leveret start --port 5680'],
    [
      ['start', '--config', '/no/such/file'],
      'cannot read the settings file /no/such/file: there is no such file',
    ],
    [['start', '--config'], '--config needs a value'],
  ])('%j is refused with one line that says what was meant', async (args, message) => {
    const { code, out, err, started } = await typed(args);
    expect(err).toBe(`leveret: ${message}\n`);
    expect(code).toBe(2);
    expect(out).toBe('');
    expect(started).toBeNull();
  });

  it('is refused when it says more than it should', async () => {
    const { code, err } = await typed(['start', '5672']);
    expect(code).toBe(2);
    expect(err).toMatch(/^leveret: too many arguments.*\n$/);
  });

  it('or environment is refused in the same way', async () => {
    expect(await typed(['start'], { LEVERET_PROT: '1' })).toMatchObject({
      code: 2,
      err: 'leveret: unknown setting LEVERET_PROT: did you mean LEVERET_PORT?\n',
    });
  });
});

describe('leveret config', () => {
  it('prints every setting with its value and where it came from, but no password', async () => {
    const { code, out } = await typed(['config', '--port', '5680', '--default-password', 'carrot'], {
      LEVERET_HEARTBEAT: '10',
    });
    expect(code).toBe(0);
    expect(out).toMatch(/^port +5680 +--port$/m);
    expect(out).toMatch(/^heartbeat +10 s +LEVERET_HEARTBEAT$/m);
    expect(out).toMatch(/^backlog +1024 +default$/m);
    expect(out).toMatch(/^connectionMax +none +default$/m);
    expect(out).toMatch(/^defaultPassword +\(not shown\) +--default-password$/m);
    expect(out).not.toContain('carrot');
    expect(out.trim().split('\n')).toHaveLength(SETTING_KEYS.length);
  });

  it('prints JSON when asked', async () => {
    const { code, out } = await typed(['config', '--json', '--memory', '--default-password=carrot']);
    expect(code).toBe(0);
    const object = JSON.parse(out);
    expect(object.memory).toEqual({ value: true, origin: '--memory' });
    expect(object.loopbackUsers).toEqual({ value: ['guest'], origin: 'default' });
    expect(out).not.toContain('carrot');
  });

  it('names the settings file', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'leveret-cli-'));
    try {
      const path = join(folder, 'leveret.json');
      writeFileSync(path, '{ "port": 5690 }');
      const { out } = await typed(['config', '--config', path]);
      expect(out).toMatch(/^port +5690 +\/.*leveret\.json$/m);
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  });
});
