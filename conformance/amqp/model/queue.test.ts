// Random scripts on one queue, held against a plain list.
// A failure prints its seed: MODEL_SEED=n runs that one alone, MODEL_SEEDS=n the first n.
import { expect } from 'vitest';
import type { Channel } from '../../support/channel.ts';
import { Random } from '../../support/random.ts';
import { type Scene, scene } from '../../support/scene.ts';
import { rule, type Target, useTarget } from '../../support/target.ts';

useTarget();

const STEPS = 150;
const SEEDS =
  process.env['MODEL_SEED'] === undefined
    ? Array.from({ length: Number(process.env['MODEL_SEEDS'] ?? 6) }, (_unused, i) => i + 1)
    : [Number(process.env['MODEL_SEED'])];

/** A message as the model knows it. */
interface Entry {
  readonly number: number;
  /** Place in the order of arrival in the queue; 0 before it arrives. */
  place: number;
  redelivered: boolean;
}

/** One channel of the model: what it holds, by delivery tag, and what its transaction has gathered. */
class ModelChannel {
  readonly channel: Channel;
  nextTag = 1;
  readonly unacked = new Map<number, Entry>();
  /** Pending in a transaction, in order: publishes by number, settlements by tag. */
  published: Entry[] = [];
  settled: { tag: number; entry: Entry; outcome: 'ack' | 'requeue' | 'drop' }[] = [];

  constructor(channel: Channel) {
    this.channel = channel;
  }
}

/** The queue as the rules describe it. */
class Model {
  ready: Entry[] = [];
  private numbers = 0;
  private places = 0;

  newEntry(): Entry {
    return { number: ++this.numbers, place: 0, redelivered: false };
  }

  enqueue(entry: Entry): void {
    entry.place = ++this.places;
    this.ready.push(entry);
  }

  /** Back to its place: before every younger one. */
  requeue(entry: Entry): void {
    entry.redelivered = true;
    const at = this.ready.findIndex(({ place }) => place > entry.place);
    this.ready.splice(at === -1 ? this.ready.length : at, 0, entry);
  }

  apply({ entry, outcome }: { entry: Entry; outcome: 'ack' | 'requeue' | 'drop' }): void {
    if (outcome === 'requeue') this.requeue(entry);
  }
}

/** Runs a random script; with `tx`, publishes and settlements wait for commits. */
async function script(t: Scene, seed: number, tx: boolean): Promise<void> {
  const random = new Random(seed);
  const model = new Model();
  const queue = await t.queue({ durable: random.chance(0.5) });
  const open = async (): Promise<ModelChannel> => {
    const channel = await t.newChannel();
    if (tx) await channel.call('tx.select');
    return new ModelChannel(channel);
  };
  const channels = [await open(), await open()];
  const history: string[] = [];

  /** Settles the outstanding tags given, as one request did. */
  const settle = (side: ModelChannel, tags: readonly number[], outcome: 'ack' | 'requeue' | 'drop'): void => {
    for (const tag of tags) {
      const entry = side.unacked.get(tag)!;
      side.unacked.delete(tag);
      const done = { tag, entry, outcome };
      if (tx) side.settled.push(done);
      else model.apply(done);
    }
  };

  for (let step = 0; step < STEPS; step++) {
    const side = random.pick(channels);
    const { channel } = side;
    const tags = [...side.unacked.keys()];
    const roll = random.below(100);
    const label = `${channels.indexOf(side)}:`;
    if (roll < 35) {
      const entry = model.newEntry();
      history.push(`${label} publish ${entry.number}`);
      channel.publish('', queue, String(entry.number), { deliveryMode: 1 + random.below(2) });
      if (tx) side.published.push(entry);
      else model.enqueue(entry);
      await channel.fence();
    } else if (roll < 65) {
      const noAck = random.chance(0.2);
      history.push(`${label} get${noAck ? ' no-ack' : ''}`);
      const got = await channel.get(queue, { noAck });
      const entry = model.ready.shift();
      const actual = got === null ? null : [Number(got.body), got.redelivered, got.messageCount, got.tag];
      const expected =
        entry === undefined ? null : [entry.number, entry.redelivered, model.ready.length, side.nextTag];
      expect(actual, `seed ${seed}: ${history.join(', ')}`).toEqual(expected);
      if (entry !== undefined) {
        if (!noAck) side.unacked.set(side.nextTag, entry);
        side.nextTag++;
      }
    } else if (roll < 90 && tags.length > 0) {
      const outcome = random.pick(['ack', 'requeue', 'requeue', 'drop'] as const);
      const multiple = random.chance(0.3);
      const all = multiple && random.chance(0.2);
      const tag = all ? 0 : random.pick(tags);
      history.push(`${label} ${outcome} ${tag}${multiple ? ' multiple' : ''}`);
      const chosen = multiple ? tags.filter((each) => all || each <= tag) : [tag];
      if (outcome === 'ack') channel.ack(tag, multiple);
      else if (!multiple && random.chance(0.5)) channel.reject(tag, outcome === 'requeue');
      else channel.nack(tag, { multiple, requeue: outcome === 'requeue' });
      settle(side, chosen, outcome);
      await channel.fence();
    } else if (roll < 94 && tx) {
      const commit = random.chance(0.6);
      history.push(`${label} ${commit ? 'commit' : 'rollback'}`);
      await channel.call(commit ? 'tx.commit' : 'tx.rollback');
      if (commit) {
        for (const entry of side.published) model.enqueue(entry);
        for (const done of side.settled) model.apply(done);
      } else {
        for (const { tag, entry } of side.settled) side.unacked.set(tag, entry);
      }
      side.published = [];
      side.settled = [];
    } else if (roll < 96 && !tx) {
      history.push(`${label} recover`);
      await channel.call('basic.recover', { requeue: true });
      settle(side, tags, 'requeue');
    } else if (roll < 97) {
      history.push(`${label} purge`);
      const { messageCount } = await channel.call<{ messageCount: number }>('queue.purge', { queue });
      expect(messageCount, `seed ${seed}: ${history.join(', ')}`).toBe(model.ready.length);
      model.ready = [];
    } else {
      history.push(`${label} close`);
      await channel.close();
      for (const entry of [...side.unacked.values(), ...side.settled.map(({ entry }) => entry)])
        model.requeue(entry);
      // What was got and not settled may come back only after close-ok.
      await t.channel.untilReady(queue, model.ready.length);
      channels[channels.indexOf(side)] = await open();
    }
  }
  for (const { channel, unacked, settled } of channels) {
    await channel.close();
    for (const entry of [...unacked.values(), ...settled.map(({ entry }) => entry)]) model.requeue(entry);
  }
  await t.channel.untilReady(queue, model.ready.length);
  const left = await t.channel.drain(queue);
  expect(left.map(Number), `seed ${seed}: ${history.join(', ')}`).toEqual(
    model.ready.map(({ number }) => number),
  );
}

for (const seed of SEEDS) {
  rule('16.queue-model', `seed ${seed}`, async (target: Target) => script(await scene(target), seed, false));
  rule('16.tx-model', `seed ${seed}`, async (target: Target) => script(await scene(target), seed, true));
}
