// What the store costs: our thread's time per message that is put, settled and deleted; a backlog written, read back and recovered; and
// next to it one LevelDB put and delete per message. Run: node .ci/ready.mjs run bench/micro/store.ts [messages]
// Prints one line per case. The disk of a shared machine is noisy: trust ratios within one run, not absolutes.

import { randomBytes } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { LevelEngine } from '../../src/store/level-engine.ts';
import { openLevelStore } from '../../src/store/log-store.ts';
import { LEVEL_DEFAULTS, type LevelOptions } from '../../src/store/options.ts';
import type { RecoverySink, Shard, ShardListener, StoredEntry, Ticket } from '../../src/store/store.ts';
import { countAt } from './quick.ts';

const MESSAGES = countAt(0, 400_000, 4_000);
const BACKLOG = countAt(1, 1_000_000, 4_000);
/** Messages that one turn of a busy broker takes. */
const TURN = 200;
/** Bytes that may wait for the disk before publishing pauses. */
const PENDING_MAX = 8 * 1024 * 1024;
/** Entries read by themselves from a backlog, at most. */
const SPARSE_READS = 5000;
const QUEUE = 1;
const HEAD = Buffer.alloc(24, 'h');
/** Where messages are cut from: lines of JSON with names that repeat and values that do not, as real bodies have. */
const TEXT = Buffer.from(
  Array.from({ length: 8000 }, (_, i) => {
    const id = randomBytes(16).toString('hex');
    return JSON.stringify({
      id,
      order: i * 7919,
      customer: id.slice(3, 15),
      state: 'accepted',
      amount: (i * 37) % 1000,
      note: 'none',
    });
  }).join('\n'),
);
const NO_CONTENT: RecoverySink = { definition: () => {}, queue: () => true, entries: () => {} };

class Waiting implements ShardListener {
  durableTicket: Ticket = 0;
  #ticket: Ticket = Number.POSITIVE_INFINITY;
  #wake: (() => void) | null = null;

  durable(upTo: Ticket): void {
    this.durableTicket = upTo;
    if (upTo >= this.#ticket) {
      this.#ticket = Number.POSITIVE_INFINITY;
      this.#wake?.();
    }
  }

  pressure(): void {}

  lost(error: Error): void {
    throw error;
  }

  until(ticket: Ticket): Promise<void> {
    return new Promise((resolve) => {
      this.#ticket = ticket;
      this.#wake = resolve;
      if (this.durableTicket >= ticket) resolve();
    });
  }
}

function enqueue(shard: Shard, queue: number, position: number, length: number): Ticket {
  const at = (position * 131) % (TEXT.length - length);
  return shard.enqueue(queue, position, HEAD, TEXT, at, at + length, null);
}

function nextIteration(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

async function inFolder<T>(work: (location: string) => Promise<T>): Promise<T> {
  const folder = mkdtempSync(join(process.env['LEVERET_BENCH_DIR'] ?? tmpdir(), 'leveret-bench-'));
  try {
    return await work(join(folder, 'store'));
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** Processor time of our thread alone, in milliseconds; where the system does not tell, the time the event loop was busy. */
function threadMs(): number {
  try {
    return Number(readFileSync(`/proc/self/task/${process.pid}/schedstat`, 'utf8').split(' ')[0]) / 1e6;
  } catch {
    return performance.eventLoopUtilization().active;
  }
}

class Stopwatch {
  readonly #began = performance.now();
  readonly #thread = threadMs();
  readonly #cpu = process.cpuUsage();

  line(name: string, messages: number): void {
    const ms = performance.now() - this.#began;
    const cpu = process.cpuUsage(this.#cpu);
    const per = (value: number): string => ((value * 1000) / messages).toFixed(2);
    const rate = Math.round(messages / (ms / 1000)).toLocaleString('en');
    const thread = per(threadMs() - this.#thread);
    const whole = per((cpu.user + cpu.system) / 1000);
    console.log(
      `${name.padEnd(44)} ${rate.padStart(10)}/s   our thread ${thread} us   whole process ${whole} us`,
    );
  }
}

/** Publishing and settling at full speed. An entry is settled once it is durable, so every one of them reaches the disk. */
async function flow(bytes: number, options: Partial<LevelOptions>): Promise<void> {
  await inFolder(async (location) => {
    const listener = new Waiting();
    const store = openLevelStore({ location, ...options });
    const shard = await store.open(listener);
    await shard.recover(NO_CONTENT);
    const length = bytes - HEAD.length;
    const watch = new Stopwatch();
    let settled = 0;
    let position = 1;
    /** First ticket of the batches of which nothing is settled, and the last position of each. */
    let oldest = shard.ticket;
    const lastOf: number[] = [];
    while (settled < MESSAGES) {
      const end = shard.pendingBytes > PENDING_MAX ? position - 1 : Math.min(MESSAGES, position + TURN - 1);
      for (; position <= end; position++) {
        const ticket = enqueue(shard, QUEUE, position, length);
        lastOf[ticket - oldest] = position;
      }
      for (; oldest <= listener.durableTicket; oldest++) {
        const last = lastOf.shift() ?? 0;
        while (settled < last) shard.remove(QUEUE, ++settled);
      }
      // Nothing comes that could take the last settlements along.
      if (position > MESSAGES) shard.hasten();
      shard.commit();
      // With nothing to do, wait for the disk rather than ask it over and over: that would count as our thread's time.
      if (shard.pendingBytes > PENDING_MAX || position > MESSAGES)
        await listener.until(listener.durableTicket + 1);
      else await nextIteration();
    }
    const ticket = shard.hasten();
    shard.commit();
    await listener.until(ticket);
    watch.line(`put, settle, delete, ${bytes} B`, MESSAGES);
    const { commits, bytesWritten } = shard.stats();
    console.log(
      `  ${commits} commits of ${Math.round(bytesWritten / commits / 1024)} KiB, ${Math.round(bytesWritten / MESSAGES)} B a message`,
    );
    await store.close();
  });
}

function messageOf(position: number, bytes: number): Buffer {
  const at = (position * 131) % (TEXT.length - bytes);
  return TEXT.subarray(at, at + bytes);
}

/** One LevelDB operation per message, in batches as large as those above. */
async function rawPuts(bytes: number, options: Partial<LevelOptions>): Promise<void> {
  await inFolder(async (location) => {
    const engine = new LevelEngine({ ...LEVEL_DEFAULTS, location, ...options });
    await engine.open();
    const keyOf = (position: number): Buffer => {
      const key = Buffer.allocUnsafe(8);
      key.writeDoubleBE(position, 0);
      return key;
    };
    const watch = new Stopwatch();
    let settled = 0;
    let flying = false;
    let durable = 0;
    let position = 1;
    let batch = engine.batch();
    let wake: (() => void) | null = null;
    const write = (): void => {
      if (flying || batch.operations === 0) return;
      flying = true;
      const last = position - 1;
      batch.write(true, (error) => {
        if (error !== null) throw error;
        flying = false;
        durable = last;
        write();
        wake?.();
      });
      batch = engine.batch();
    };
    while (settled < MESSAGES) {
      const end = batch.bytes > PENDING_MAX ? position - 1 : Math.min(MESSAGES, position + TURN - 1);
      for (; position <= end; position++) batch.put(keyOf(position), messageOf(position, bytes));
      while (settled < durable) batch.remove(keyOf(++settled));
      write();
      if (flying && (batch.bytes > PENDING_MAX || position > MESSAGES)) {
        await new Promise<void>((resolve) => {
          wake = resolve;
        });
      } else {
        await nextIteration();
      }
    }
    while (flying || batch.operations > 0) await nextIteration();
    watch.line(`one put and one delete a message, ${bytes} B`, MESSAGES);
    await engine.close();
  });
}

/** A backlog: written, read through once as a consumer would, recovered. */
async function backlog(bytes: number, options: Partial<LevelOptions>): Promise<void> {
  await inFolder(async (location) => {
    const listener = new Waiting();
    let store = openLevelStore({ location, ...options });
    let shard = await store.open(listener);
    await shard.recover(NO_CONTENT);
    const length = bytes - HEAD.length;
    let watch = new Stopwatch();
    for (let position = 1; position <= BACKLOG; ) {
      const end = Math.min(BACKLOG, position + TURN - 1);
      for (; position <= end; position++) enqueue(shard, QUEUE, position, length);
      shard.commit();
      await nextIteration();
      if (shard.pendingBytes > PENDING_MAX) await listener.until(listener.durableTicket + 1);
    }
    const { ticket } = shard;
    shard.commit();
    await listener.until(ticket);
    watch.line(`backlog written, ${bytes} B`, BACKLOG);
    const before = process.memoryUsage();
    console.log(
      `  ${shard.stats().segments} segments, heap ${Math.round(before.heapUsed / 1e6)} MB, resident ${Math.round(before.rss / 1e6)} MB`,
    );
    await store.close();

    let entries = 0;
    store = openLevelStore({ location, ...options });
    watch = new Stopwatch();
    shard = await store.open(listener);
    await shard.recover({
      ...NO_CONTENT,
      entries: (_queue, run) => {
        entries += run.length;
      },
    });
    watch.line(`backlog recovered, ${bytes} B`, entries);

    for (const distance of [3, 100, 3000]) {
      const positions = Math.min(SPARSE_READS, Math.floor(BACKLOG / distance));
      watch = new Stopwatch();
      for (let i = 0; i < positions; i++) {
        const position = 1 + i * distance;
        const run = await read(shard, position, 1);
        if (run[0]?.position !== position) throw new Error(`position ${position} was not read`);
      }
      watch.line(`one entry in ${distance} read by itself, ${bytes} B`, positions);
    }

    watch = new Stopwatch();
    const drained = await drain(shard, listener);
    watch.line(`backlog read and settled, ${bytes} B`, drained);
    await store.close();
  });
}

/** Reads a queue to its end and settles everything; the next run is read while one is worked on. */
async function drain(shard: Shard, listener: Waiting): Promise<number> {
  let drained = 0;
  let next = read(shard, 0);
  for (;;) {
    const run = await next;
    if (run.length === 0) break;
    next = read(shard, run[run.length - 1]!.position + 1);
    for (let i = 0; i < run.length; i++) shard.remove(QUEUE, run[i]!.position);
    drained += run.length;
    shard.commit();
  }
  const ticket = shard.hasten();
  shard.commit();
  await listener.until(ticket);
  return drained;
}

function read(shard: Shard, from: number, maxBytes = 512 * 1024): Promise<readonly StoredEntry[]> {
  return new Promise((resolve, reject) => {
    shard.read(QUEUE, from, maxBytes, (error, entries) =>
      error === null ? resolve(entries) : reject(error),
    );
  });
}

/** Thousands of queues with a message each in every commit. */
async function manyQueues(queues: number, options: Partial<LevelOptions>): Promise<void> {
  await inFolder(async (location) => {
    const listener = new Waiting();
    const store = openLevelStore({ location, ...options });
    const shard = await store.open(listener);
    await shard.recover(NO_CONTENT);
    const length = 100 - HEAD.length;
    const rounds = Math.ceil(MESSAGES / 4 / queues);
    const watch = new Stopwatch();
    for (let position = 1; position <= rounds; position++) {
      for (let queue = 1; queue <= queues; queue++) {
        enqueue(shard, queue, position, length);
        shard.remove(queue, position - 2);
      }
      const { ticket } = shard;
      shard.commit();
      await listener.until(ticket);
    }
    watch.line(`${queues} queues, one message each a commit`, rounds * queues);
    await store.close();
  });
}

const variant = process.env['LEVERET_BENCH_OPTIONS'];
const options: Partial<LevelOptions> =
  variant === undefined ? {} : (JSON.parse(variant) as Partial<LevelOptions>);
const cases = (process.env['LEVERET_BENCH_CASES'] ?? 'flow,raw,backlog,queues').split(',');
for (const bytes of [100, 1024]) {
  if (cases.includes('flow')) await flow(bytes, options);
  if (cases.includes('raw')) await rawPuts(bytes, options);
}
if (cases.includes('backlog')) for (const bytes of [100, 1024]) await backlog(bytes, options);
if (cases.includes('queues')) await manyQueues(1000, options);
