// What log lines look like to people and to machines, and that nothing a client writes can forge one.

import { Writable } from 'node:stream';
import { describe, expect, it } from 'vitest';
import { createLogger, errorFields, type LogFormat, type LogLevel } from '../src/logging.ts';

/** A logger that keeps what it wrote. */
function logger(format: LogFormat, level: LogLevel = 'info', colour = false) {
  let written = '';
  const stream = new Writable({
    write(chunk, _encoding, done) {
      written += String(chunk);
      done();
    },
  });
  const log = createLogger({ level, format, stream, colour });
  return {
    log,
    lines: async () => {
      await log.close();
      return written.split('\n').slice(0, -1);
    },
  };
}

describe('log lines for machines', () => {
  it('are one JSON object each, with time, level, message and the fields', async () => {
    const { log, lines } = logger('json');
    log.warn('disk nearly full', { free: 12, path: '/data', alarm: true, since: null });
    const [line, ...rest] = await lines();
    expect(rest).toEqual([]);
    const record = JSON.parse(line!);
    expect(record).toEqual({
      time: expect.stringMatching(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/),
      level: 'warn',
      message: 'disk nearly full',
      free: 12,
      path: '/data',
      alarm: true,
      since: null,
    });
  });

  it('stay one line each when a text holds line ends', async () => {
    const { log, lines } = logger('json');
    log.info('one\ntwo', { queue: 'a\r\nb' });
    const all = await lines();
    expect(all).toHaveLength(1);
    expect(JSON.parse(all[0]!)).toMatchObject({ message: 'one\ntwo', queue: 'a\r\nb' });
  });

  it('lose no field that is called like a fixed one', async () => {
    const { log, lines } = logger('json');
    log.info('hello', { level: 7, message: 'inner', time: 1, odd: Number.NaN });
    const [line] = await lines();
    expect(JSON.parse(line!)).toMatchObject({
      level: 'info',
      message: 'hello',
      level_: 7,
      message_: 'inner',
      time_: 1,
      odd: 'NaN',
    });
  });
});

describe('log lines for people', () => {
  it('show time, level, message and fields on one line', async () => {
    const { log, lines } = logger('pretty');
    log.info('connection open', {
      name: '127.0.0.1:1 -> 127.0.0.1:2',
      user: 'guest',
      channels: 3,
      empty: '',
    });
    const [line] = await lines();
    expect(line).toMatch(
      /^\d\d:\d\d:\d\d\.\d{3} info {2}connection open {2}name="127\.0\.0\.1:1 -> 127\.0\.0\.1:2" {2}user=guest {2}channels=3 {2}empty=""$/,
    );
  });

  it('put an error on one line and its stacks below it', async () => {
    const { log, lines } = logger('pretty');
    const error = new Error('outer', { cause: new Error('inner') });
    log.error('commit failed', errorFields(error));
    const all = await lines();
    expect(all[0]).toMatch(/ERROR commit failed {2}error=outer$/);
    expect(all[1]).toMatch(/^ {4}Error: outer$/);
    expect(all.some((line) => /^ {4}caused by Error: inner$/.test(line))).toBe(true);
    expect(all.some((line) => line.includes('logging.test.ts'))).toBe(true);
  });

  it('cannot be forged or steer a terminal by what a client writes', async () => {
    const { log, lines } = logger('pretty');
    log.info('refused \u001b[2J\nERROR forged', { user: 'eve\n12:00:00 info  fine', tab: 'a\tb' });
    const all = await lines();
    expect(all).toHaveLength(1);
    expect(all[0]).toContain('refused \\u001b[2J\\nERROR forged');
    expect(all[0]).not.toContain('\u001b');
  });

  it('are coloured only when asked', async () => {
    const { log, lines } = logger('pretty', 'info', true);
    log.info('hello');
    expect((await lines())[0]).toContain('\u001b[32minfo \u001b[0m hello');
  });
});

describe('the logger', () => {
  it('writes only what is important enough', async () => {
    const { log, lines } = logger('json', 'warn');
    log.debug('d');
    log.info('i');
    log.warn('w');
    log.error('e');
    expect((await lines()).map((line) => JSON.parse(line).message)).toEqual(['w', 'e']);
  });

  it('says nothing at all when silent', async () => {
    const { log, lines } = logger('json', 'silent');
    log.error('e');
    expect(await lines()).toEqual([]);
  });

  it('has written every line once it is closed, and drops later ones', async () => {
    const { log, lines } = logger('json');
    for (let n = 0; n < 500; n++) log.info('line', { n });
    const all = await lines();
    log.info('too late');
    expect(all).toHaveLength(500);
    expect(await lines()).toHaveLength(500);
  });

  it('survives a stream that breaks', async () => {
    const stream = new Writable({ write: (_chunk, _encoding, done) => done(new Error('broken pipe')) });
    stream.on('error', () => {});
    const log = createLogger({ level: 'info', format: 'json', stream, colour: false });
    log.info('one');
    log.info('two');
    await new Promise((resolve) => setImmediate(resolve));
    log.info('three');
  });

  it('turns anything that can be thrown into fields', () => {
    expect(errorFields('just a text')).toEqual({ error: 'just a text' });
    expect(errorFields(Object.create(null))).toEqual({ error: 'a value that cannot be shown' });
    const circle = new Error('round');
    circle.cause = circle;
    expect(errorFields(circle)).toMatchObject({ error: 'round' });
    expect(errorFields(Object.assign(new Error('gone'), { code: 'ENOENT' }))).toMatchObject({
      code: 'ENOENT',
    });
  });
});
