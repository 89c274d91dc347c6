// What the store says and does when the disk, the folder or another process is not as it should be. It never shows fewer messages in
// silence.

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  cpSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Level } from 'level';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { segmentKey } from '../../src/store/keys.ts';
import { openLevelStore } from '../../src/store/log-store.ts';
import type { StoreError } from '../../src/store/store.ts';
import { faultyStore } from '../support/faulty-engine.ts';
import { iteration, openShard, RecordingListener, range, until } from './harness.ts';

let folder: string;
let location: string;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'leveret-damage-'));
  location = join(folder, 'store');
});

afterEach(() => rmSync(folder, { recursive: true, force: true }));

/** Ten entries in two segments of queue 5, a definition, a body for two queues, entries that were removed. */
async function writeSomething(): Promise<void> {
  const open = await openShard(openLevelStore({ location }));
  const large = Buffer.alloc(5000, 'L');
  open.shard.define('queue/five', Buffer.from('{}'));
  open.fill(5, 1, 5, 100);
  await open.settle();
  open.fill(5, 6, 10, 100);
  const shared = open.shard.share(Buffer.alloc(0), large, 0, large.length);
  open.shard.enqueueShared(6, 1, shared, null);
  open.shard.enqueueShared(7, 1, shared, null);
  await open.settle();
  open.shard.remove(5, 3);
  await open.settle();
  await open.store.close();
}

/** Works on the database behind the store's back. */
async function behindItsBack(work: (database: Level<Buffer, Buffer>) => Promise<void>): Promise<void> {
  const database = new Level<Buffer, Buffer>(location, { keyEncoding: 'buffer', valueEncoding: 'buffer' });
  await database.open();
  await work(database);
  await database.close();
}

/** The error with which opening and recovering fails. */
async function refusal(at = location): Promise<StoreError> {
  const store = openLevelStore({ location: at });
  try {
    await openShard(store);
  } catch (error) {
    return error as StoreError;
  } finally {
    await store.close();
  }
  throw new Error('it opened');
}

describe('a damaged store', () => {
  it('is refused for any value of which a byte changed, by the name of its key', async () => {
    await writeSomething();
    const keys: Buffer[] = [];
    await behindItsBack(async (database) => {
      for await (const key of database.keys()) keys.push(key);
    });
    expect(keys.length).toBe(12);
    for (const key of keys) {
      let before: Buffer = Buffer.alloc(0);
      const flip = (database: Level<Buffer, Buffer>): Promise<void> =>
        database.get(key).then((value) => {
          before = value;
          const after = Buffer.from(value);
          after[after.length >> 1]! ^= 4;
          return database.put(key, after);
        });
      await behindItsBack(flip);
      const error = await refusal();
      expect(['damaged', 'format'], key.toString('hex')).toContain(error.kind);
      expect(error.message).toContain(location);
      if (error.kind === 'damaged' && key[0] !== 1) expect(error.message).toContain(key.toString('hex'));
      await behindItsBack((database) => database.put(key, before));
    }
    const open = await openShard(openLevelStore({ location }));
    expect(open.recovered.positions(5)).toEqual([1, 2, 4, 5, 6, 7, 8, 9, 10]);
    await open.store.close();
  });

  it('is refused when any key is missing', async () => {
    await writeSomething();
    const keys: Buffer[] = [];
    await behindItsBack(async (database) => {
      for await (const key of database.keys()) keys.push(key);
    });
    for (const key of keys) {
      let before: Buffer = Buffer.alloc(0);
      await behindItsBack(async (database) => {
        before = await database.get(key);
        await database.del(key);
      });
      const error = await refusal();
      expect(['damaged', 'format'], key.toString('hex')).toContain(error.kind);
      expect(error.message).toMatch(/backup|folder of its own/);
      await behindItsBack((database) => database.put(key, before));
    }
  });

  it('is refused when something that was deleted is back', async () => {
    await writeSomething();
    let segment: Buffer = Buffer.alloc(0);
    await behindItsBack(async (database) => {
      segment = await database.get(segmentKey(5, 1));
    });
    const open = await openShard(openLevelStore({ location }));
    for (const position of [1, 2, 4, 5]) open.shard.remove(5, position);
    await open.settle();
    await open.store.close();
    await behindItsBack((database) => database.put(segmentKey(5, 1), segment));
    expect((await refusal()).kind).toBe('damaged');
  });

  it('is refused when LevelDB skips a damaged part of its log in silence', async () => {
    const open = await openShard(openLevelStore({ location }));
    for (const queue of range(1, 40)) {
      open.fill(queue, 1, 20, 500);
      await open.settle();
    }
    const log = join(location, readdirSync(location).find((name) => name.endsWith('.log'))!);
    const bytes = readFileSync(log);
    await open.store.close();
    // As a kill would leave it, but with a bad sector in the middle.
    bytes.fill(0xff, bytes.length >> 1, (bytes.length >> 1) + 16);
    writeFileSync(log, bytes);
    const error = await refusal();
    expect(error.kind).toBe('damaged');
    expect(error.message).toMatch(/last commit left \d+ keys, found are \d+/);
  });

  it('opens with a prefix of the commits when only the end of the log is missing', async () => {
    const open = await openShard(openLevelStore({ location }));
    for (const position of range(1, 30)) {
      open.fill(1, position, position, 500);
      await open.settle();
    }
    const killed = join(folder, 'killed');
    cpSync(location, killed, { recursive: true });
    await open.store.close();
    let before = 30;
    for (const share of [0.99, 0.6, 0.1]) {
      location = join(folder, `cut at ${share}`);
      cpSync(killed, location, { recursive: true });
      const log = join(location, readdirSync(location).find((name) => name.endsWith('.log'))!);
      truncateSync(log, Math.floor(statSync(log).size * share));
      const again = await openShard(openLevelStore({ location }));
      const positions = again.recovered.positions(1);
      expect(positions).toEqual(range(1, positions.length));
      expect(positions.length).toBeLessThan(before);
      before = positions.length;
      await again.store.close();
    }
    expect(before).toBeGreaterThan(0);
  });

  it('is noticed by a read, which says so instead of leaving something out', async () => {
    const store = faultyStore({ seed: 1 });
    const open = await openShard(store);
    open.fill(1, 1, 10);
    await open.settle();
    const key = segmentKey(1, 1).toString('hex');
    store.engine.tamper(key, (value) => {
      value[40]! ^= 1;
      return value;
    });
    await expect(open.read(1, 1)).rejects.toMatchObject({
      kind: 'damaged',
      message: expect.stringContaining(key),
    });
    store.engine.tamper(key, () => null);
    await expect(open.read(1, 1)).rejects.toMatchObject({ kind: 'damaged' });
    expect(open.listener.losses).toEqual([]);
    store.crash();
  });
});

describe('a folder that cannot be used', () => {
  it('is refused when another process has it open', { timeout: 30_000 }, async () => {
    await writeSomething();
    const script = `import { Level } from 'level'; await new Level(process.argv[1]).open(); console.log('open'); setInterval(() => {}, 1e6);`;
    const other = spawn(process.execPath, ['--input-type=module', '-e', script, location], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    try {
      await once(other.stdout, 'data');
      const error = await refusal();
      expect(error.kind).toBe('locked');
      expect(error.message).toBe(
        `The folder ${location} is in use by another broker. Stop that one first, or give this one a folder of its own.`,
      );
    } finally {
      other.kill('SIGKILL');
      await once(other, 'close');
    }
    const open = await openShard(openLevelStore({ location }));
    await open.store.close();
  });

  it('is refused when this process has it open', async () => {
    const open = await openShard(openLevelStore({ location }));
    expect((await refusal()).kind).toBe('locked');
    await expect(open.store.open(new RecordingListener())).rejects.toMatchObject({ kind: 'locked' });
    await open.store.close();
  });

  it('is refused when it is a file or lies under one', async () => {
    const file = join(folder, 'file');
    writeFileSync(file, '');
    for (const at of [file, join(file, 'store')]) {
      const error = await refusal(at);
      expect(error.kind).toBe('unwritable');
      expect(error.message).toContain(at);
      expect(error.message).toContain('this user may write');
    }
  });

  it('is refused when it has a format this version does not know', async () => {
    await writeSomething();
    await behindItsBack((database) =>
      database.put(Buffer.from('\x01format'), Buffer.from('{"store":"leveret","format":99}')),
    );
    const error = await refusal();
    expect(error.kind).toBe('format');
    expect(error.message).toContain('format 99');
    expect(error.message).toContain('reads formats 1 to 3');
  });

  it('is refused when it holds the database of something else', async () => {
    await behindItsBack((database) => database.put(Buffer.from('foreign'), Buffer.from('x')));
    const error = await refusal();
    expect(error.kind).toBe('format');
    expect(error.message).toContain('not a store of Leveret');
    await behindItsBack(async (database) => {
      expect((await database.get(Buffer.from('foreign'))).toString()).toBe('x');
    });
  });
});

describe('a failed commit', () => {
  for (const [name, afterWrite] of [
    ['write, as on a full disk', false],
    ['sync', true],
  ] as const) {
    it(`(${name}) ends the log: it is told once, and nothing is confirmed any more`, async () => {
      const store = faultyStore({ seed: 3 });
      const open = await openShard(store);
      open.fill(1, 1, 5);
      await open.settle();
      const durable = open.shard.durableTicket;
      store.engine.failNext(new Error('no space left on device'), afterWrite);
      open.fill(1, 6, 9);
      open.shard.commit();
      open.fill(1, 10, 12);
      await until(() => open.listener.losses.length > 0);
      for (let i = 0; i < 20; i++) {
        open.put(1, 20 + i, 'late');
        open.shard.remove(1, 2);
        open.shard.delivered(1, 0, 9);
        open.shard.dropQueue(1);
        open.shard.commit();
        await iteration();
      }
      expect(open.listener.losses).toHaveLength(1);
      expect(open.listener.losses[0]!.lastDurable).toBe(durable);
      expect(open.listener.losses[0]!.error).toMatchObject({
        kind: 'io',
        message: expect.stringContaining('no space left'),
      });
      expect(open.listener.durableTicket).toBe(durable);
      await expect(open.read(1, 1)).rejects.toMatchObject({ kind: 'io' });
      store.crash();
      const again = await openShard(store);
      expect(again.recovered.positions(1).slice(0, 5)).toEqual([1, 2, 3, 4, 5]);
      expect([5, 9]).toContain(again.recovered.positions(1).length);
      await store.close();
    });
  }

  it('lets the store be closed', async () => {
    const store = faultyStore({ seed: 3 });
    const open = await openShard(store);
    store.engine.failNext(new Error('gone'));
    open.put(1, 1, 'a');
    open.shard.commit();
    await store.close();
    expect(open.listener.losses).toHaveLength(1);
  });
});

describe('a slow disk', () => {
  it('gets one batch at a time, and the next one with all that gathered meanwhile', async () => {
    const store = faultyStore({ seed: 1 });
    const open = await openShard(store);
    store.engine.hold();
    for (let i = 1; i <= 20; i++) {
      open.put(1, i, 'm');
      open.shard.commit();
      await iteration();
    }
    expect(open.listener.durables).toEqual([]);
    expect(store.engine.flying).toBe(true);
    const before = store.engine.written.length;
    store.engine.release();
    await until(() => open.listener.durables.length === 2);
    expect(store.engine.written.length - before).toBe(2);
    await store.close();
  });
});
