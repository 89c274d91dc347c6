// Queues that keep their dead letters and try again, on a machine that loses power at any moment: nothing that was confirmed is lost
// between the two queues, nothing is doubled, whatever waits waits on. FAILURE_CRASHES says how many crashes; the seed is in the title.

import { describe, expect, it } from 'vitest';
import { FakeClock } from '../../src/base/fake-clock.ts';
import type { Entry } from '../../src/message/entry.ts';
import type { DeclaredQueue } from '../../src/queue/queue.ts';
import { MUST_COMMIT, REJECTED } from '../../src/queue/queue.ts';
import { NodeKit } from '../node/kit.ts';
import { type FaultyStore, faultyStore, SeededRandom } from '../support/faulty-engine.ts';

const CRASHES = Number(process.env['FAILURE_CRASHES'] ?? 48);
const CRASHES_PER_SEED = 8;
const STEPS_MAX = 120;
/** So little memory that much of the queues is only in the store. */
const MEMORY = { queueMemoryBytes: 8_000, pagingMemoryBytes: 8_000 };

/** What is known of one message. */
interface Fate {
  /** Batch that its publish, and its ack, fell into; Infinity while there is none or it was lost with a crash. */
  published: number;
  acked: number;
  /** Was confirmed, and its ack is on disk: what must be there, and what must not. */
  isSafe: boolean;
  isGone: boolean;
}

class Run {
  private readonly random: SeededRandom;
  private readonly clock = new FakeClock();
  private readonly store: FaultyStore;
  private readonly fates = new Map<string, Fate>();
  private readonly retries: boolean;
  private kit!: NodeKit;
  private held: Entry[] = [];
  /** Acknowledged at some time; the ack may have been lost. */
  private readonly wasAcked = new Set<string>();
  private nextId = 0;

  constructor(seed: number) {
    this.random = new SeededRandom(seed);
    this.store = faultyStore({ seed, slowness: 3, readSlowness: 3, clock: this.clock });
    this.retries = seed % 2 === 0;
  }

  async all(): Promise<void> {
    this.kit = await NodeKit.open({ store: this.store, clock: this.clock, ...MEMORY });
    const args = {
      'x-queue-type': 'quorum',
      'x-dead-letter-exchange': 'dlx',
      'x-dead-letter-strategy': 'at-least-once',
      'x-overflow': 'reject-publish',
      'x-max-length': 150,
      'x-delivery-limit': 2,
      'x-message-ttl': 6_000,
      ...(this.retries ? { 'x-retry-limit': 2, 'x-retry-delay': 300 } : {}),
    };
    this.kit.queue('source', args);
    this.kit.queue('dead', { 'x-max-length': 20, 'x-overflow': 'reject-publish' });
    this.kit.exchange('dlx', 'fanout');
    await this.kit.settle();
    for (let i = 0; i < CRASHES_PER_SEED; i++) {
      for (let step = this.random.below(STEPS_MAX); step >= 0; step--) await this.step();
      await this.crash();
    }
    await this.verify();
  }

  private queue(name: string): DeclaredQueue {
    return this.kit.vhost.queues.get(name)!;
  }

  private async step(): Promise<void> {
    const { kit, random } = this;
    const what = random.below(20);
    if (what < 6) for (let i = random.below(8); i >= 0; i--) this.publish();
    else if (what < 9) this.take('source', 1 + random.below(6));
    else if (what < 10) this.take('dead', 1 + random.below(6));
    else if (what < 16) this.settleOne();
    else if (what < 17) this.rebind();
    else kit.clock.advance(random.below(1_500));
    await this.breathe(1 + random.below(3));
  }

  private async breathe(times: number): Promise<void> {
    for (let i = 0; i < times; i++) {
      this.kit.run();
      await new Promise(setImmediate);
    }
  }

  private publish(): void {
    const id = String(++this.nextId);
    const body = `${id} ${'x'.repeat(this.random.below(300))}`;
    const outcome = this.kit.publish('', 'source', body, { deliveryMode: 2 });
    if ((outcome & REJECTED) !== 0) return;
    expect(outcome).toBe(MUST_COMMIT);
    const never = Number.POSITIVE_INFINITY;
    this.fates.set(id, { published: this.kit.node.shard.ticket, acked: never, isSafe: false, isGone: false });
  }

  private take(name: string, count: number): void {
    const queue = this.queue(name);
    for (let i = 0; i < count; i++) {
      const entry = queue.get(false);
      if (entry === null) return;
      this.held.push(entry);
    }
  }

  private settleOne(): void {
    const { held, random } = this;
    if (held.length === 0) return;
    const [entry] = held.splice(random.below(held.length), 1) as [Entry];
    const what = random.below(6);
    // Nobody keeps what is rejected there.
    const isDead = entry.message.address.exchange === 'dlx';
    if (what === 0 || (isDead && what >= 3)) {
      entry.owner.ack(entry);
      this.wasAcked.add(idOf(entry));
      this.fates.get(idOf(entry))!.acked = this.kit.node.shard.ticket;
    } else if (what < 3) entry.owner.requeue(entry);
    else entry.owner.reject(entry);
  }

  /** Now there is a way for dead letters, and now there is none. */
  private rebind(): void {
    const exchange = this.kit.vhost.exchange('dlx');
    if (exchange.outgoing.size === 0) this.kit.bind('dlx', this.queue('dead'), '');
    else this.kit.unbind('dlx', this.queue('dead'), '');
  }

  private async crash(): Promise<void> {
    const { durableTicket } = this.kit.node.shard;
    for (const fate of this.fates.values()) {
      if (fate.published <= durableTicket) fate.isSafe = true;
      if (fate.acked <= durableTicket) fate.isGone = true;
      fate.published = Number.POSITIVE_INFINITY;
      fate.acked = Number.POSITIVE_INFINITY;
    }
    const { clock } = this.kit;
    this.kit.node.stopTimers();
    this.store.crash();
    this.held = [];
    clock.advance(this.random.below(2_000));
    this.kit = await NodeKit.open({ store: this.store, clock, ...MEMORY });
  }

  /** Everything is brought to the dead letters and read there. */
  private async verify(): Promise<void> {
    const { kit } = this;
    if (kit.vhost.exchange('dlx').outgoing.size === 0) this.rebind();
    const [source, dead] = [this.queue('source'), this.queue('dead')];
    const found: string[] = [];
    const left = (): number =>
      source.messageCount + source.waitingCount + source.deadWaitingCount + dead.messageCount;
    for (let i = 0; left() !== 0; i++) {
      if (i === 2_000) throw new Error(`${left()} messages do not move`);
      for (let entry = source.get(false); entry !== null; entry = source.get(false)) source.reject(entry);
      for (let entry = dead.get(true); entry !== null; entry = dead.get(true)) found.push(idOf(entry));
      kit.clock.advance(250);
      await this.breathe(4);
    }
    expect(new Set(found).size, 'no message twice').toBe(found.length);
    const there = new Set(found);
    for (const [id, fate] of this.fates) {
      if (fate.isGone) expect(there.has(id), `${id} was acknowledged`).toBe(false);
      // An ack that was not on disk yet may be lost or not.
      else if (fate.isSafe && !this.wasAcked.has(id)) expect(there.has(id), `${id} was confirmed`).toBe(true);
    }
    await kit.settle();
    expect(kit.node.shard.stats().liveEntries).toBe(0);
    expect(kit.node.memory.used).toBe(0);
    await kit.close();
  }
}

function idOf(entry: Entry): string {
  return entry.message.body().toString().split(' ')[0]!;
}

describe('a machine that loses power under queues with retries and kept dead letters', () => {
  const seeds = Array.from({ length: Math.ceil(CRASHES / CRASHES_PER_SEED) }, (_, i) => i + 1);
  it.each(seeds)(
    'neither loses nor doubles a confirmed message (seed %i)',
    async (seed) => {
      await new Run(seed).all();
    },
    60_000,
  );
});
