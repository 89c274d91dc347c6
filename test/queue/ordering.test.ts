// Ordering keys: what a consumer sees, then random consumers, prefetches and settles beside plain rules.

import { afterEach, describe, expect, it } from 'vitest';
import type { Entry } from '../../src/message/entry.ts';
import type { Message } from '../../src/message/message.ts';
import { tableOf } from '../../src/protocol/field-table.ts';
import type { BasicProperties } from '../../src/protocol/properties.ts';
import type { ClassicQueue } from '../../src/queue/classic-queue.ts';
import { orderingKeyOf } from '../../src/queue/ordering-key.ts';
import { SeededRandom } from '../support/faulty-engine.ts';
import { messageOf, persistentOf, QueueKit, settle, TestConsumer, textOf } from './kit.ts';

const ORDERED = { 'x-ordering-key': 'account' };

/** A message of an account, or of none. */
function of(account: unknown, text: string, properties: Partial<BasicProperties> = {}): Message {
  const headers = account === null ? tableOf({ other: 1 }) : tableOf({ account });
  return messageOf(text, { headers, ...properties });
}

/** A consumer that says at once when it has room again, as a channel's does. */
class Taker extends TestConsumer {
  queue: ClassicQueue | null = null;

  override settled(entry: Entry): void {
    super.settled(entry);
    if (this.parked && this.hasCapacity()) this.queue!.unpark(this);
  }
}

let kit: QueueKit;

afterEach(async () => {
  await kit.close();
});

async function open(args: Record<string, unknown> = {}, options: Parameters<typeof QueueKit.open>[0] = {}) {
  kit = await QueueKit.open(options);
  return kit.queue({ ...ORDERED, ...args });
}

function taker(queue: ClassicQueue, tag: string, limit: number, noAck = false): Taker {
  const consumer = new Taker(tag, { limit, noAck });
  consumer.queue = queue;
  queue.consume(consumer);
  return consumer;
}

describe('the value of an ordering key', () => {
  afterEach(async () => {
    kit ??= await QueueKit.open();
  });

  it('is compared by value, not by the width or spelling of its type', () => {
    const key = (value: unknown): string | null => orderingKeyOf(of(value, 'x'), 'account');
    expect(key(7)).toBe(key(7n));
    expect(key({ tag: 'd', value: 7 })).toBe(key({ tag: 'b', value: 7 }));
    expect(key({ tag: 'd', value: -0 })).toBe(key(0));
    expect(key({ tag: 'D', value: { scale: 1, value: 75 } })).toBe(key(7.5));
    expect(key(7)).not.toBe(key('7'));
    expect(key(true)).not.toBe(key('t'));
    expect(key(true)).not.toBe(key(false));
    expect(key('')).not.toBeNull();
  });

  it('is none where the header is missing, or is a table, a list or void', () => {
    const key = (value: unknown): string | null => orderingKeyOf(of(value, 'x'), 'account');
    expect(orderingKeyOf(messageOf('x'), 'account')).toBeNull();
    expect(key({ a: 1 })).toBeNull();
    expect(key([1])).toBeNull();
    expect(key({ tag: 'V', value: null })).toBeNull();
  });
});

describe('a queue with ordering keys', () => {
  it('answers a get while its single active consumer has to make room, and goes on when it has not to any more', async () => {
    const queue = await open({ 'x-queue-type': 'quorum', 'x-single-active-consumer': true });
    const active = taker(queue, 'active', 5);
    for (const text of ['x1', 'x2', 'x3']) queue.publish(of('x', text));
    queue.pause();
    await kit.settle();
    active.limit = 1;
    queue.resume();
    await kit.settle();
    expect(active.received).toEqual(['x1']);
    const higher = new Taker('higher', { limit: 5, priority: 1 });
    higher.queue = queue;
    queue.consume(higher);
    active.limit = 5;
    queue.unpark(active);
    await kit.settle();
    let asked = 0;
    while (!queue.whenReady(() => {})) {
      expect(asked++).toBeLessThan(10);
      await kit.settle();
    }
    expect(queue.get(false)).toBeNull();
    await kit.settle();
    expect([active.received, higher.received]).toEqual([['x1'], []]);
    queue.cancel(higher);
    await kit.settle();
    expect(active.received).toEqual(['x1', 'x2', 'x3']);
  });

  it('gives messages of one key to one consumer at a time, and others to whoever is free', async () => {
    const queue = await open();
    const a = taker(queue, 'a', 1);
    const b = taker(queue, 'b', 1);
    for (const [key, text] of [
      ['x', 'x1'],
      ['x', 'x2'],
      ['y', 'y1'],
      [null, 'free'],
    ] as const)
      queue.publish(of(key, text));
    kit.run();
    expect([a.received, b.received]).toEqual([['x1'], ['y1']]);
    settle(b.entry('y1'), 'ack');
    kit.run();
    expect(b.received).toEqual(['y1', 'free']);
    expect(queue.messageCount).toBe(1);
    settle(a.entry('x1'), 'ack');
    kit.run();
    expect(a.received).toEqual(['x1', 'x2']);
  });

  it('lets the holder of a key have more of it, in order, within its prefetch', async () => {
    const queue = await open();
    const a = taker(queue, 'a', 3);
    taker(queue, 'b', 3);
    for (let i = 1; i <= 5; i++) queue.publish(of('x', `x${i}`));
    kit.run();
    const [holder, other] =
      a.received.length > 0 ? [a, [...queue.consumers][1] as Taker] : [[...queue.consumers][1] as Taker, a];
    expect(holder.received).toEqual(['x1', 'x2', 'x3']);
    expect(other.received).toEqual([]);
    settle(holder.entry('x2'), 'ack');
    kit.run();
    expect(holder.received).toEqual(['x1', 'x2', 'x3', 'x4']);
  });

  it('gives a key back when the last of its deliveries is settled, however that happens', async () => {
    for (const how of ['ack', 'requeue', 'reject'] as const) {
      const queue = await open();
      const a = taker(queue, 'a', 1);
      queue.publish(of('x', 'x1'));
      queue.publish(of('x', 'x2'));
      kit.run();
      queue.cancel(a);
      const b = taker(queue, 'b', 1);
      kit.run();
      expect(b.received).toEqual([]);
      settle(a.entry('x1'), how);
      kit.run();
      expect(b.received).toEqual(how === 'requeue' ? ['x1*'] : ['x2']);
      if (how !== 'reject') await kit.close();
    }
  });

  it('puts a message that came back before everything else of its key', async () => {
    const queue = await open();
    const a = taker(queue, 'a', 2);
    for (let i = 1; i <= 4; i++) queue.publish(of('x', `x${i}`));
    kit.run();
    settle(a.entry('x1'), 'requeue');
    kit.run();
    settle(a.entry('x2'), 'ack');
    settle(a.entry('x1'), 'requeue');
    kit.run();
    expect(a.received).toEqual(['x1', 'x2', 'x1*', 'x1*', 'x3']);
  });

  it('counts a get as a holder of its own', async () => {
    const queue = await open();
    for (const text of ['x1', 'x2']) queue.publish(of('x', text));
    queue.publish(of('y', 'y1'));
    kit.run();
    const first = queue.get(false)!;
    expect(textOf(first)).toBe('x1');
    expect(textOf(queue.get(false))).toBe('y1');
    expect(queue.whenReady(() => {})).toBe(true);
    expect(queue.get(false)).toBeNull();
    expect(queue.messageCount).toBe(1);
    settle(first, 'ack');
    kit.run();
    expect(textOf(queue.get(true))).toBe('x2');
  });

  it('lets a consumer that needs no ack have everything of a free key', async () => {
    const queue = await open();
    const a = taker(queue, 'a', Number.POSITIVE_INFINITY, true);
    for (let i = 1; i <= 3; i++) queue.publish(of('x', `x${i}`));
    kit.run();
    expect(a.received).toEqual(['x1', 'x2', 'x3']);
  });

  it('drops the oldest when it is too long, parked or not', async () => {
    const queue = await open({ 'x-max-length': 3, 'x-dead-letter-exchange': 'dead' });
    const a = taker(queue, 'a', 1);
    taker(queue, 'b', 2);
    queue.publish(of('x', 'x1'));
    kit.run();
    for (let i = 2; i <= 4; i++) queue.publish(of('x', `x${i}`));
    kit.run();
    queue.publish(of('z', 'z1'));
    queue.publish(of('z', 'z2'));
    queue.publish(of('z', 'z3'));
    kit.run();
    expect(kit.deaths).toEqual([`${queue.name} maxlen x2`]);
    expect(a.received).toEqual(['x1']);
  });

  it('forgets what is parked when it is purged or deleted, and keeps its keys locked', async () => {
    const queue = await open();
    const a = taker(queue, 'a', 1);
    taker(queue, 'b', 1);
    for (let i = 1; i <= 3; i++) queue.publish(of('x', `x${i}`));
    kit.run();
    expect(queue.purge()).toBe(2);
    expect(queue.memoryBytes).toBe(0);
    queue.publish(of('x', 'x4'));
    kit.run();
    expect(queue.messageCount).toBe(1);
    settle(a.entry('x1'), 'ack');
    kit.run();
    expect(queue.messageCount).toBe(0);
    queue.publish(of('x', 'x5'));
    kit.run();
    queue.delete();
    expect(queue.messageCount).toBe(0);
    expect(kit.memory.used).toBe(0);
  });

  it('drops parked messages when their time is over, without waiting for their key', async () => {
    const queue = await open({ 'x-dead-letter-exchange': 'dead', 'x-message-ttl': 1_000 });
    const a = taker(queue, 'a', 1);
    taker(queue, 'b', 1);
    for (let i = 1; i <= 3; i++) queue.publish(of('x', `x${i}`));
    kit.run();
    expect(queue.messageCount).toBe(2);
    kit.clock.advance(1_200);
    kit.run();
    expect(kit.deaths).toEqual([`${queue.name} expired x2`, `${queue.name} expired x3`]);
    expect(queue.messageCount).toBe(0);
    settle(a.entry('x1'), 'ack');
    queue.publish(of('x', 'x4'));
    kit.run();
    expect(queue.messageCount).toBe(0);
  });

  it('waits when everything in memory is parked, and goes on when a key is free', async () => {
    const queue = await open({}, { queueMemory: 40_000 });
    const a = taker(queue, 'a', 1);
    const b = taker(queue, 'b', 1);
    for (let i = 1; i <= 200; i++) queue.publish(of('x', `x${i}`.padEnd(500, '.')));
    queue.publish(of('y', 'y1'));
    await kit.settle();
    expect(queue.pagedOutCount).toBeGreaterThan(50);
    expect(queue.memoryBytes).toBeLessThan(60_000);
    expect(b.received).toEqual([]);
    // Whoever asks hears that there is nothing to be had now.
    expect(queue.whenReady(() => {})).toBe(true);
    for (let i = 1; i <= 200; i++) {
      const holder = a.held.length > 0 ? a : b;
      settle(holder.held[0]!, 'ack');
      await kit.until(() => a.held.length + b.held.length > 0 || queue.messageCount === 0);
    }
    await kit.until(() => [...a.received, ...b.received].includes('y1'));
    const all = [...a.received, ...b.received].filter((text) => text.startsWith('x'));
    expect(all.length).toBe(200);
  });

  it('lets what stood before a message that came back go first, after a restart in the middle of a retry', async () => {
    kit = await QueueKit.open();
    const queue = kit.queue(ORDERED);
    for (const text of ['x1', 'x2']) queue.publish(of('x', text));
    const { ordering } = queue;
    const [line] = queue.linesInOrder();
    const x2 = line!.ready.find(2)!;
    line!.take(x2);
    // As recovery finds it: x1 is ready, x2 waits for its retry.
    ordering!.hold(x2, null);
    ordering!.awaitsRetry(x2);
    const a = taker(queue, 'a', 1);
    kit.run();
    expect(a.received).toEqual([]);
    queue.comesBack(line!, x2);
    kit.run();
    expect(a.received).toEqual(['x1']);
    settle(a.entry('x1'), 'ack');
    kit.run();
    expect(a.received).toEqual(['x1', 'x2*']);
  });

  it('orders what is in the queue already when the key comes with a policy', async () => {
    kit = await QueueKit.open();
    const queue = kit.queue();
    const a = taker(queue, 'a', 1);
    const b = taker(queue, 'b', 1);
    for (let i = 1; i <= 3; i++) queue.publish(of('x', `x${i}`));
    kit.run();
    expect([a.received, b.received]).toEqual([['x1'], ['x2']]);
    queue.applyOptions({ ...queue.options, orderingKey: 'account' });
    settle(b.entry('x2'), 'ack');
    kit.run();
    expect(b.received).toEqual(['x2', 'x3']);
    queue.publish(of('x', 'x4'));
    queue.publish(of('x', 'x5'));
    kit.run();
    expect(queue.messageCount).toBe(2);
    settle(a.entry('x1'), 'ack');
    queue.applyOptions({ ...queue.options, orderingKey: null });
    kit.run();
    // No key is locked any more, and one of the two has room.
    expect(a.received).toEqual(['x1', 'x4']);
    expect(queue.messageCount).toBe(1);
  });
});

/** A message of the random test. */
interface Sent {
  readonly text: string;
  readonly key: string | null;
  readonly number: number;
  readonly level: number;
  state: 'waits' | 'held' | 'retries' | 'over';
  /** Retries it had. */
  tries: number;
  holder: Taker | Entry | null;
}

/** What is random about one run. */
interface Kind {
  readonly priorities: boolean;
  readonly lengthMax: number;
  readonly ttl: boolean;
  readonly memory: number;
  readonly single: boolean;
  /** Retries of a rejected message; 0 for none. */
  readonly retries: number;
}

/** Random use of one queue, and the rules that must hold at every delivery and at rest. */
class Trial {
  readonly #random: SeededRandom;
  readonly #kind: Kind;
  readonly #queue: ClassicQueue;
  readonly #sent: Sent[] = [];
  readonly #byText = new Map<string, Sent>();
  #takers: Taker[] = [];
  /** Left, but still holding something. */
  #leavers: Taker[] = [];
  readonly #got: Entry[] = [];
  #names = 0;

  constructor(random: SeededRandom, kind: Kind) {
    this.#random = random;
    this.#kind = kind;
    const args: Record<string, unknown> = { ...ORDERED, 'x-dead-letter-exchange': 'dead' };
    if (kind.priorities) args['x-max-priority'] = 3;
    if (kind.lengthMax !== 0) args['x-max-length'] = kind.lengthMax;
    if (kind.single) args['x-single-active-consumer'] = true;
    if (kind.retries !== 0) Object.assign(args, { 'x-retry-limit': kind.retries, 'x-retry-delay': 50 });
    this.#queue = kit.queue(args);
    kit.onDeath = (_queue, message, reason) => this.#died(message, reason);
  }

  async run(steps: number): Promise<void> {
    for (let i = 0; i < steps; i++) {
      this.#step();
      if (this.#random.chance(0.5)) kit.run();
      if (this.#random.chance(0.05)) {
        await kit.settle();
        this.#atRest();
      }
    }
    await this.#finish();
  }

  #step(): void {
    const random = this.#random;
    const dice = random.below(100);
    if (dice < 35) this.#publish(1 + random.below(5));
    else if (dice < 42) this.#join();
    else if (dice < 46) this.#leave();
    else if (dice < 75) this.#settle('ack');
    else if (dice < 84) this.#settle('requeue');
    else if (dice < 87) this.#settle('reject');
    else if (dice < 93) this.#get();
    else if (dice < 94) this.#purge();
    else if (dice < 97 && (this.#kind.ttl || this.#kind.retries !== 0)) kit.clock.advance(random.below(200));
  }

  #publish(count: number): void {
    const random = this.#random;
    for (let i = 0; i < count; i++) {
      const number = this.#sent.length;
      const key = random.chance(0.15) ? null : `k${random.below(4)}`;
      const level = this.#kind.priorities ? random.below(4) : 0;
      const text = `${key ?? '-'}:${number}`.padEnd(20 + random.below(300), '.');
      const sent: Sent = { text, key, number, level, state: 'waits', tries: 0, holder: null };
      this.#sent.push(sent);
      this.#byText.set(text, sent);
      const properties: Partial<BasicProperties> = { priority: level };
      const timed = this.#kind.ttl && random.chance(0.4);
      const given = timed ? { ...properties, expiration: String(random.below(300)) } : properties;
      const headers = key === null ? null : tableOf({ account: key });
      const build = random.chance(0.5) ? messageOf : persistentOf;
      this.#queue.publish(build(text, { ...given, headers }));
    }
  }

  #join(): void {
    if (this.#takers.length >= 4) return;
    const random = this.#random;
    const noAck = random.chance(0.15);
    const consumer = new Taker(`c${this.#names++}`, {
      limit: noAck ? Number.POSITIVE_INFINITY : 1 + random.below(4),
      noAck,
    });
    consumer.queue = this.#queue;
    const deliver = consumer.deliver.bind(consumer);
    consumer.deliver = (entry) => {
      this.#delivered(entry, consumer);
      deliver(entry);
    };
    this.#takers.push(consumer);
    this.#queue.consume(consumer);
  }

  #leave(): void {
    const { length } = this.#takers;
    if (length === 0) return;
    const [consumer] = this.#takers.splice(this.#random.below(length), 1);
    this.#queue.cancel(consumer!);
    this.#leavers.push(consumer!);
  }

  /** Somebody who holds something settles one of his. */
  #settle(how: 'ack' | 'requeue' | 'reject'): void {
    const random = this.#random;
    const all = [...this.#takers, ...this.#leavers].flatMap((each) => each.held).concat(this.#got);
    if (all.length === 0) return;
    const entry = all[random.below(all.length)]!;
    const sent = this.#byText.get(textOf(entry)!)!;
    const at = this.#got.indexOf(entry);
    if (at >= 0) this.#got.splice(at, 1);
    sent.holder = null;
    // A reject is noted by the death that it causes.
    sent.state = how === 'requeue' ? 'waits' : how === 'ack' ? 'over' : 'held';
    if (how === 'reject' && sent.tries < this.#kind.retries) {
      sent.tries++;
      sent.state = 'retries';
    }
    settle(entry, how);
  }

  #get(): void {
    if (!this.#queue.whenReady(() => {})) return;
    const noAck = this.#random.chance(0.3);
    const entry = this.#queue.get(noAck);
    if (entry === null) return;
    this.#check(entry, entry);
    const sent = this.#byText.get(textOf(entry)!)!;
    sent.state = noAck ? 'over' : 'held';
    sent.holder = noAck ? null : entry;
    if (!noAck) this.#got.push(entry);
  }

  #purge(): void {
    // What has expired by now may be noted as dead before it is thrown away.
    this.#queue.purge();
    for (const sent of this.#sent)
      if (sent.state === 'waits' || sent.state === 'retries') sent.state = 'over';
  }

  #died(message: Message, reason: string): void {
    const sent = this.#byText.get(message.body().toString())!;
    expect(sent.state, `${sent.text} died twice`).not.toBe('over');
    if (reason === 'maxlen') {
      for (const other of this.#sent)
        if (other.state === 'waits' && other.level === sent.level && other.number < sent.number)
          throw new Error(`${sent.text} was dropped before ${other.text}`);
    }
    sent.state = 'over';
    sent.holder = null;
  }

  #delivered(entry: Entry, consumer: Taker): void {
    this.#check(entry, consumer);
    const sent = this.#byText.get(textOf(entry)!)!;
    sent.state = consumer.noAck ? 'over' : 'held';
    sent.holder = consumer.noAck ? null : consumer;
  }

  /** What must hold when an entry goes to somebody. */
  #check(entry: Entry, to: Taker | Entry): void {
    const sent = this.#byText.get(textOf(entry)!)!;
    // What waits for its retry is seen to be back when it is delivered.
    expect(['waits', 'retries'], sent.text).toContain(sent.state);
    if (sent.key === null) return;
    for (const other of this.#sent) {
      if (other.key !== sent.key || other === sent) continue;
      if (other.state === 'held' && other.holder !== to)
        throw new Error(`${sent.text} goes out while somebody else holds ${other.text}`);
      if (other.state === 'retries' && !this.#isBack(other))
        throw new Error(`${sent.text} goes out while ${other.text} waits for its retry`);
      if (other.state !== 'waits') continue;
      if (other.level === sent.level && other.number < sent.number)
        throw new Error(`${sent.text} overtakes ${other.text}`);
    }
  }

  /** What waited for its retry is in the queue again. */
  #isBack(sent: Sent): boolean {
    for (const line of this.#queue.linesInOrder())
      for (const entry of line.ready.from(0)) if (textOf(entry) === sent.text) sent.state = 'waits';
    if (this.#queue.ordering !== null)
      for (const entry of this.#queue.ordering.parked())
        if (textOf(entry) === sent.text) sent.state = 'waits';
    return sent.state === 'waits';
  }

  /** Nothing moves: nobody who has room waits for something he may have. */
  #atRest(): void {
    for (const sent of this.#sent) if (sent.state === 'retries') this.#isBack(sent);
    const waiting = this.#sent.filter(({ state }) => state === 'waits');
    expect(this.#queue.messageCount).toBe(waiting.length);
    const serving = this.#kind.single ? this.#takers.slice(0, 1) : this.#takers;
    const roomy = serving.filter((each) => each.hasCapacity());
    if (roomy.length === 0 || this.#queue.pagedOutCount !== 0) return;
    const seen = new Set<string>();
    for (const sent of waiting) {
      if (sent.key === null) throw new Error(`${sent.text} waits although ${roomy[0]!.tag} has room`);
      if (seen.has(sent.key)) continue;
      seen.add(sent.key);
      if (this.#sent.some(({ key, state }) => key === sent.key && state === 'retries')) continue;
      const holders = new Set(
        this.#sent.filter((o) => o.key === sent.key && o.state === 'held').map((o) => o.holder),
      );
      if (holders.size === 0) throw new Error(`${sent.text} waits although its key is free`);
      const [holder] = holders;
      if (roomy.includes(holder as Taker)) throw new Error(`${sent.text} waits although its holder has room`);
    }
  }

  async #finish(): Promise<void> {
    for (const each of this.#takers) each.limit = Number.POSITIVE_INFINITY;
    for (;;) {
      await kit.settle();
      const all = [...this.#takers, ...this.#leavers]
        .flatMap((each) => [...each.held])
        .concat(this.#got.splice(0));
      if (all.length === 0) {
        if (this.#queue.messageCount === 0 && this.#queue.waitingCount === 0) break;
        kit.clock.advance(60);
        const entry = this.#queue.whenReady(() => {}) ? this.#queue.get(false) : null;
        if (entry !== null) {
          this.#check(entry, entry);
          this.#byText.get(textOf(entry)!)!.state = 'over';
          settle(entry, 'ack');
        }
        continue;
      }
      for (const entry of all) {
        this.#byText.get(textOf(entry)!)!.state = 'over';
        settle(entry, 'ack');
      }
    }
    expect(this.#queue.memoryBytes).toBe(0);
    // What was read ahead for its deadline is let go then.
    kit.clock.advance(20_000);
    await kit.settle();
    expect(kit.memory.used).toBe(0);
    expect(this.#queue.unackedCount).toBe(0);
    for (const { state, text } of this.#sent) expect(state, text).toBe('over');
  }
}

describe('random consumers of a queue with ordering keys', () => {
  const seeds = Number(process.env['ORDERING_SEEDS'] ?? 8);
  const first = Number(process.env['ORDERING_SEED'] ?? 1);
  for (let seed = first; seed < first + seeds; seed++) {
    it(`never hold a key in two hands, and see every key in order (seed ${seed})`, async () => {
      const random = new SeededRandom(seed);
      const kind: Kind = {
        priorities: random.chance(0.3),
        lengthMax: random.chance(0.3) ? 8 + random.below(10) : 0,
        ttl: random.chance(0.4),
        memory: random.chance(0.3) ? 4_000 : 1e9,
        single: random.chance(0.15),
        retries: random.chance(0.4) ? 1 + random.below(3) : 0,
      };
      kit = await QueueKit.open({ queueMemory: kind.memory });
      await new Trial(random, kind).run(150);
    });
  }
});
