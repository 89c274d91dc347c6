// The table of settings: its own consistency, and what it says to people who mistype.

import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  completeSettings,
  DEFAULTS,
  environmentNameOf,
  flagOf,
  SETTING_KEYS,
  SettingsError,
  settingOf,
} from '../../src/config/config.ts';
import { nearest } from '../../src/config/nearest.ts';
import {
  bytes,
  integer,
  milliseconds,
  oneOf,
  orNone,
  ratio,
  text,
  words,
  yesOrNo,
} from '../../src/config/setting.ts';

describe('the table of settings', () => {
  it.each(SETTING_KEYS)('has a default for %s that passes its own check and can be typed back', (key) => {
    const { kind, default: value } = settingOf(key);
    expect(kind.check(value)).toEqual(value);
    expect(kind.parse(kind.show(value))).toEqual(value);
  });

  it('has three names for each setting, none of them twice', () => {
    for (const name of [flagOf, environmentNameOf]) {
      expect(new Set(SETTING_KEYS.map(name)).size).toBe(SETTING_KEYS.length);
    }
    expect(flagOf('handshakeTimeoutMs')).toBe('--handshake-timeout-ms');
    expect(environmentNameOf('handshakeTimeoutMs')).toBe('LEVERET_HANDSHAKE_TIMEOUT_MS');
  });

  it('has a default of true only where --no-… makes sense, and no key that begins with "no"', () => {
    for (const key of SETTING_KEYS) expect(key).not.toMatch(/^no[A-Z]/);
  });

  it('starts like a RabbitMQ', () => {
    expect(DEFAULTS).toMatchObject({
      port: 5672,
      frameMax: 131_072,
      channelMax: 2047,
      heartbeat: 60,
      maxMessageSize: 16_777_216,
      diskFreeLimitBytes: 50_000_000,
      loopbackUsers: ['guest'],
      defaultUser: 'guest',
      defaultVhost: '/',
    });
  });
});

describe('settings given by a program', () => {
  it('are completed with the defaults', () => {
    const settings = completeSettings({ port: 0, memory: true, heartbeat: undefined });
    expect(settings).toEqual({ ...DEFAULTS, port: 0, memory: true });
  });

  it('are refused under a name that does not exist, with the nearest one', () => {
    expect(() => completeSettings({ prot: 1 } as never)).toThrow(
      new SettingsError('unknown setting prot: did you mean port?'),
    );
    expect(() => completeSettings({ constructor: 1 } as never)).toThrow(/^unknown setting constructor/);
  });

  it('are refused with a wrong type or out of range, and the message says what is allowed', () => {
    expect(() => completeSettings({ port: 70_000 })).toThrow(
      'port must be a whole number from 0 to 65535, not 70000',
    );
    expect(() => completeSettings({ port: '5672' } as never)).toThrow(
      'port must be a whole number from 0 to 65535, not "5672"',
    );
    expect(() => completeSettings({ memory: 'yes' } as never)).toThrow(
      'memory must be true or false, not "yes"',
    );
    expect(() => completeSettings({ loopbackUsers: [''] })).toThrow(/^loopbackUsers must be names/);
  });

  it('never show a password in the message', () => {
    expect(() => completeSettings({ defaultPassword: 12345 } as never)).toThrow(
      /^defaultPassword must be a text of at most 1024 characters$/,
    );
  });
});

describe('kinds of values', () => {
  it('read bytes and times with the units people write', () => {
    expect(bytes(0).parse('16MiB')).toBe(16_777_216);
    expect(bytes(0).parse('50 MB')).toBe(50_000_000);
    expect(bytes(0).parse('1.5k')).toBe(1536);
    expect(bytes(0).parse('4096')).toBe(4096);
    expect(bytes(0).check('1g')).toBe(1_073_741_824);
    expect(bytes(0).parse('12 parsecs')).toBeUndefined();
    expect(bytes(0).parse('12constructor')).toBeUndefined();
    expect(milliseconds(0, 1e9).parse('30s')).toBe(30_000);
    expect(milliseconds(0, 1e9).parse('10min')).toBe(600_000);
    expect(milliseconds(0, 1e9).parse('-1s')).toBeUndefined();
  });

  it('read switches, words, lists and none', () => {
    expect(['true', 'YES', 'on', '1'].map((word) => yesOrNo.parse(word))).toEqual([true, true, true, true]);
    expect(['false', 'No', 'off', '0'].map((word) => yesOrNo.parse(word))).toEqual([
      false,
      false,
      false,
      false,
    ]);
    expect(yesOrNo.parse('maybe')).toBeUndefined();
    expect(oneOf('a', 'b').parse('c')).toBeUndefined();
    expect(words.parse(' guest , admin,')).toEqual(['guest', 'admin']);
    expect(words.parse('')).toEqual([]);
    expect(orNone(integer(1, 9)).parse('none')).toBeNull();
    expect(orNone(integer(1, 9)).check(null)).toBeNull();
    expect(orNone(integer(1, 9)).parse('0')).toBeUndefined();
    expect(text(1).parse('')).toBeUndefined();
    expect(ratio.parse('0.4')).toBe(0.4);
    expect(ratio.parse('0')).toBeUndefined();
    expect(ratio.parse('1.5')).toBeUndefined();
  });

  it('never take a number that is not one, whatever is typed', () => {
    const port = integer(0, 65535);
    fc.assert(
      fc.property(fc.string(), (typed) => {
        const value = port.parse(typed);
        if (value !== undefined) expect(typed).toMatch(/^[0-9]+$/);
      }),
    );
    for (const typed of ['', ' ', '1e3', '0x10', '-1', '1.5', 'NaN', 'Infinity', '99999999999999999999']) {
      expect(port.parse(typed)).toBeUndefined();
    }
  });
});

describe('nearest', () => {
  it('finds what was meant', () => {
    const keys = SETTING_KEYS;
    expect(nearest('prot', keys)).toBe('port');
    expect(nearest('data_dir', keys)).toBe('dataDir');
    expect(nearest('DATADIR', keys)).toBe('dataDir');
    expect(nearest('max-message-sise', keys)).toBe('maxMessageSize');
    expect(nearest('heart-beat', keys)).toBe('heartbeat');
    expect(nearest('message-size', keys)).toBe('maxMessageSize');
    expect(nearest('x', [])).toBeNull();
  });
});
