// Random consumers that come, hold, settle, requeue and go, while messages arrive: what no interleaving may break.
// A failure prints its seed: MODEL_SEED=n runs that one alone, MODEL_SEEDS=n the first n.
import { expect } from 'vitest';
import type { Channel, Consumer } from '../../support/channel.ts';
import { Random } from '../../support/random.ts';
import { type Scene, scene } from '../../support/scene.ts';
import { rule, type Target, useTarget } from '../../support/target.ts';

useTarget();

const STEPS = 120;
const SEEDS =
  process.env['MODEL_SEED'] === undefined
    ? Array.from({ length: Number(process.env['MODEL_SEEDS'] ?? 5) }, (_unused, i) => i + 1)
    : [Number(process.env['MODEL_SEED'])];

/** One consumer and what it has in hand. */
interface Hand {
  readonly consumer: Consumer;
  readonly prefetch: number;
  readonly noAck: boolean;
  /** How many of its deliveries have been looked at. */
  read: number;
  /** The youngest message it got first of all. */
  youngest: number;
  cancelled: boolean;
}

/** A channel with its consumers; `held` is by delivery tag. */
interface Side {
  readonly channel: Channel;
  readonly hands: Hand[];
  readonly held: Map<number, { number: number; hand: Hand }>;
}

class Story {
  readonly random: Random;
  readonly t: Scene;
  readonly queue: string;
  readonly seed: number;
  sides: Side[] = [];
  published = 0;
  /** Messages that are gone for good, by number. */
  readonly gone = new Set<number>();
  /** Messages in somebody's hand. */
  readonly inHand = new Set<number>();
  /** Messages that were delivered at least once. */
  readonly delivered = new Set<number>();

  constructor(t: Scene, queue: string, seed: number) {
    this.t = t;
    this.queue = queue;
    this.seed = seed;
    this.random = new Random(seed);
  }

  check(holds: boolean, what: string): void {
    if (!holds) throw new Error(`seed ${this.seed}: ${what}`);
  }

  /** Looks at the deliveries that came since the last look. */
  look(side: Side): void {
    for (const hand of side.hands) {
      for (const message of hand.consumer.received.slice(hand.read)) {
        hand.read++;
        const number = Number(message.body);
        this.check(!this.gone.has(number), `${number} was delivered after it was settled`);
        this.check(!this.inHand.has(number), `${number} is in two hands at once`);
        this.check(
          message.redelivered === this.delivered.has(number),
          `${number}: redelivered is ${message.redelivered}, but it ${this.delivered.has(number) ? 'was' : 'was not'} delivered before`,
        );
        if (!message.redelivered) {
          this.check(number > hand.youngest, `${number} came to a consumer after ${hand.youngest}`);
          hand.youngest = number;
        }
        this.delivered.add(number);
        if (hand.noAck) {
          this.gone.add(number);
          continue;
        }
        this.inHand.add(number);
        side.held.set(message.tag, { number, hand });
        const own = [...side.held.values()].filter((held) => held.hand === hand).length;
        this.check(
          hand.prefetch === 0 || own <= hand.prefetch,
          `a consumer limited to ${hand.prefetch} holds ${own}`,
        );
      }
    }
  }

  lookAll(): void {
    for (const side of this.sides) this.look(side);
  }

  settle(side: Side, tags: readonly number[], keep: boolean): void {
    for (const tag of tags) {
      const { number } = side.held.get(tag)!;
      side.held.delete(tag);
      this.inHand.delete(number);
      if (!keep) this.gone.add(number);
    }
  }

  async end(side: Side): Promise<void> {
    await side.channel.close();
    // What was on its way arrived before close-ok; everything unsettled goes back to the queue.
    this.look(side);
    this.settle(side, [...side.held.keys()], true);
    this.sides = this.sides.filter((other) => other !== side);
  }
}

async function run(target: Target, seed: number): Promise<void> {
  const t = await scene(target);
  const random = new Random(seed ^ 0x5bd1);
  const queue = await t.queue({ durable: random.chance(0.5) });
  const story = new Story(t, queue, seed);
  const publisher = await t.newChannel();
  await publisher.confirms();
  const peers = [t.peer, await t.connect()];

  for (let step = 0; step < STEPS; step++) {
    const roll = random.below(100);
    const side = story.sides.length > 0 ? random.pick(story.sides) : null;
    story.lookAll();
    if (roll < 20 || side === null) {
      if (story.sides.length < 4)
        story.sides.push({ channel: await random.pick(peers).channel(), hands: [], held: new Map() });
      const bodies = Array.from({ length: 1 + random.below(15) }, () => String(++story.published));
      for (const body of bodies) publisher.publish('', queue, body, { deliveryMode: 1 + random.below(2) });
      if (random.chance(0.5))
        await publisher.until(() => publisher.settled() === story.published, 'confirms');
    } else if (roll < 40) {
      const prefetch = random.pick([0, 1, 1, 2, 5]);
      const noAck = random.chance(0.1);
      await side.channel.qos(prefetch);
      const args = random.chance(0.5) ? { 'x-priority': random.below(3) } : {};
      const consumer = await side.channel.consume(queue, { noAck, arguments: args });
      side.hands.push({ consumer, prefetch, noAck, read: 0, youngest: 0, cancelled: false });
    } else if (roll < 85) {
      const tags = [...side.held.keys()];
      if (tags.length === 0) continue;
      const tag = random.pick(tags);
      const multiple = random.chance(0.3);
      const chosen = multiple ? tags.filter((each) => each <= tag) : [tag];
      const keep = random.chance(0.35);
      story.settle(side, chosen, keep);
      if (keep) side.channel.nack(tag, { multiple });
      else if (random.chance(0.8)) side.channel.ack(tag, multiple);
      else side.channel.nack(tag, { multiple, requeue: false });
      if (random.chance(0.3)) await side.channel.fence();
    } else if (roll < 94) {
      const hand = side.hands.find(({ cancelled }) => !cancelled);
      if (hand === undefined) continue;
      hand.cancelled = true;
      await hand.consumer.cancel();
    } else {
      await story.end(side);
    }
  }
  for (const side of [...story.sides]) {
    for (const hand of side.hands) if (!hand.cancelled) await hand.consumer.cancel();
    await side.channel.fence();
  }
  story.lookAll();
  for (const side of [...story.sides]) await story.end(side);
  await publisher.until(() => publisher.settled() === story.published, 'confirms');
  expect(story.delivered.size).toBeGreaterThan(0);
  const all = Array.from({ length: story.published }, (_unused, i) => i + 1);
  const kept = all.filter((number) => !story.gone.has(number));
  // What a channel without consumers held may come back only after its close-ok.
  await t.channel.untilReady(queue, kept.length);
  const left = (await t.channel.drain(queue)).map(Number);
  expect(left, `seed ${seed}`).toEqual(kept);
}

for (const seed of SEEDS) {
  rule('16.consumer-model', `seed ${seed}`, (target) => run(target, seed));
}
