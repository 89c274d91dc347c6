// Which source wins, and what people are told when a source is wrong.

import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { DEFAULTS, SettingsError } from '../../src/config/config.ts';
import { resolveSettings, type SettingSources } from '../../src/config/sources.ts';

const folder = mkdtempSync(join(tmpdir(), 'leveret-settings-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

function file(content: string, name = 'settings.json'): string {
  const path = join(folder, name);
  writeFileSync(path, content);
  return path;
}

function resolve(sources: Partial<SettingSources>) {
  return resolveSettings({ flags: {}, environment: {}, configFile: null, ...sources });
}

describe('sources of settings', () => {
  it('are the defaults when nothing is given', () => {
    const { settings, origins, configFile } = resolve({ environment: { PATH: '/bin' } });
    expect(settings).toEqual(DEFAULTS);
    expect(origins.port).toBe('default');
    expect(configFile).toBeNull();
  });

  it('win in the order flag, environment, file, default', () => {
    const configFile = file('{ "port": 1, "heartbeat": 1, "channelMax": 1, "dataDir": "/from/file" }');
    const { settings, origins } = resolve({
      flags: { port: '3' },
      environment: { LEVERET_PORT: '2', LEVERET_HEARTBEAT: '2' },
      configFile,
    });
    expect(settings).toMatchObject({
      port: 3,
      heartbeat: 2,
      channelMax: 1,
      dataDir: '/from/file',
      backlog: 1024,
    });
    expect(origins).toMatchObject({
      port: '--port',
      heartbeat: 'LEVERET_HEARTBEAT',
      channelMax: configFile,
      backlog: 'default',
    });
  });

  it('may have the name that RabbitMQ has for them, and not both', () => {
    const { settings, origins } = resolve({
      configFile: file('{ "load_definitions": "/etc/d.json" }', 'alias.json'),
    });
    expect(settings.definitions).toBe('/etc/d.json');
    expect(origins.definitions).toContain('alias.json');
    const relaxed = file('{ "quorum_relaxed_checks_on_redeclaration": true }', 'relaxed.json');
    expect(resolve({ configFile: relaxed }).settings.quorumRelaxedChecks).toBe(true);
    const both = file('{ "definitions": "a", "load_definitions": "b" }', 'both.json');
    expect(() => resolve({ configFile: both })).toThrow(
      new SettingsError(`"load_definitions" in ${both} is there already as "definitions"`),
    );
    expect(resolve({ environment: { LEVERET_DEFINITIONS: 'c' } }).settings.definitions).toBe('c');
    expect(resolve({ flags: { definitions: 'd' } }).settings.definitions).toBe('d');
  });

  it('find the file by LEVERET_CONFIG when no flag names one', () => {
    const path = file('{ "port": 7 }', 'seven.json');
    expect(resolve({ environment: { LEVERET_CONFIG: path } }).settings.port).toBe(7);
    const other = file('{ "port": 8 }', 'eight.json');
    expect(resolve({ environment: { LEVERET_CONFIG: path }, configFile: other }).settings.port).toBe(8);
    expect(resolve({ environment: { LEVERET_CONFIG: '' } }).settings.port).toBe(5672);
  });

  it('give switches as booleans, and take none and lists', () => {
    const { settings } = resolve({
      flags: { memory: true, tcpNoDelay: false, loopbackUsers: '', consumerMaxPerChannel: 'none' },
      environment: { LEVERET_STRICT: 'yes', LEVERET_CONNECTION_MAX: '10' },
      configFile: file(
        '{ "queueMax": null, "maxMessageSize": "1MiB", "anonymousUser": "guest" }',
        'mixed.json',
      ),
    });
    expect(settings).toMatchObject({
      memory: true,
      tcpNoDelay: false,
      loopbackUsers: [],
      consumerMaxPerChannel: null,
      strict: true,
      connectionMax: 10,
      queueMax: null,
      maxMessageSize: 1_048_576,
      anonymousUser: 'guest',
    });
  });

  it('cannot be changed afterwards', () => {
    expect(Object.isFrozen(resolve({}).settings)).toBe(true);
  });
});

describe('a wrong source', () => {
  const message = (sources: Partial<SettingSources>): string => {
    try {
      resolve(sources);
    } catch (error) {
      expect(error).toBeInstanceOf(SettingsError);
      const text = (error as Error).message;
      expect(text).not.toContain('\n');
      return text;
    }
    throw new Error('was not refused');
  };

  it('is told the nearest name in its own spelling', () => {
    expect(message({ flags: { prot: '1' } })).toBe('unknown setting --prot: did you mean --port?');
    expect(message({ environment: { LEVERET_HARTBEAT: '1' } })).toBe(
      'unknown setting LEVERET_HARTBEAT: did you mean LEVERET_HEARTBEAT?',
    );
    const path = file('{ "data-dir": "x" }', 'unknown.json');
    expect(message({ configFile: path })).toBe(
      `unknown setting "data-dir" in ${path}: did you mean dataDir?`,
    );
  });

  it('is not sent to a name that has nothing to do with it', () => {
    const path = file('{ "colour": "blue" }', 'nothing-like-it.json');
    expect(message({ configFile: path })).toBe(
      `unknown setting "colour" in ${path}: leveret start --help lists all settings`,
    );
  });

  it('is told what is allowed', () => {
    expect(message({ flags: { port: 'http' } })).toBe(
      '--port must be a whole number from 0 to 65535, not http',
    );
    expect(message({ environment: { LEVERET_PORT: '' } })).toBe(
      'LEVERET_PORT must be a whole number from 0 to 65535, not an empty text',
    );
    const path = file('{ "heartbeat": "often" }', 'value.json');
    expect(message({ configFile: path })).toBe(
      `"heartbeat" in ${path} must be a whole number from 0 to 65535, not "often"`,
    );
    expect(message({ environment: { LEVERET_DEFAULT_PASSWORD: 'x'.repeat(2000) } })).not.toContain('xxx');
  });

  it('is told what is wrong with the file', () => {
    expect(message({ configFile: join(folder, 'absent.json') })).toMatch(
      /^cannot read the settings file .*absent\.json: there is no such file$/,
    );
    expect(message({ configFile: folder })).toMatch(/^cannot read the settings file /);
    expect(message({ configFile: file('{\n"port": ', 'broken.json') })).toMatch(
      /^the settings file .*broken\.json is not JSON: /,
    );
    expect(message({ configFile: file('[1]', 'list.json') })).toMatch(/must hold one JSON object/);
  });

  it('takes a file that begins with a byte order mark', () => {
    expect(resolve({ configFile: file('\uFEFF{"port": 9}', 'bom.json') }).settings.port).toBe(9);
  });
});
