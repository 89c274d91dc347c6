// Nothing that was held back is forgotten: consumers without room, credit or consume-ok, publishers that were stopped, replies and
// confirms that waited. Random stories on slow sockets and a slow disk; at the end everything is let go, and everything must move.
// A failure prints its seed: WAKEUP_SEED=n runs that one alone, WAKEUP_SEEDS=n the first n.

import { describe, expect, it } from 'vitest';
import { SeededRandom } from '../support/faulty-engine.ts';
import { channelClose, method, openSlowWorld, type Peer, publish, type Seen, type World } from './world.ts';

const SEEDS =
  process.env['WAKEUP_SEED'] === undefined
    ? Array.from({ length: Number(process.env['WAKEUP_SEEDS'] ?? 60) }, (_unused, i) => i + 1)
    : [Number(process.env['WAKEUP_SEED'])];
const STEPS = 120;
const QUEUES = ['a', 'b', 'durable'];

/** What a client knows of one of its channels, from channel.open to close-ok. */
class Line {
  /** Delivery tags to acknowledge, rising. */
  tags: number[] = [];
  readonly consumers = new Set<string>();
  /** Requests sent, answers seen. */
  asked = 0;
  answered = 0;
  /** Publishes in confirm mode, and how many are confirmed. */
  published = 0;
  confirmed = 0;
  confirming = false;
}

class Client {
  readonly peer: Peer;
  /** By number: the channel in use, and before it those whose close-ok has not come. */
  readonly lines = new Map<number, Line[]>();

  constructor(peer: Peer) {
    this.peer = peer;
  }

  /** The channel that requests go to. */
  line(channel: number): Line {
    return this.lines.get(channel)!.at(-1)!;
  }

  open(channel: number): void {
    const lines = this.lines.get(channel) ?? [];
    lines.push(new Line());
    this.lines.set(channel, lines);
    this.ask(channel, 'channel.open');
  }

  ask(channel: number, name: string, fields = {}): void {
    this.line(channel).asked++;
    this.peer.push(method(channel, name, fields));
  }

  ackAll(channel: number): boolean {
    const line = this.line(channel);
    const last = line.tags.at(-1);
    if (last === undefined) return false;
    line.tags = [];
    this.peer.push(method(channel, 'basic.ack', { deliveryTag: last, multiple: true }));
    return true;
  }

  /** Takes notice of everything that came. */
  read(): void {
    for (const frame of this.peer.frames()) this.see(frame);
  }

  private see({ name, channel, fields }: Seen): void {
    if (name === 'connection.close' || name === 'channel.close')
      throw new Error(`${name}: ${fields['replyText']}`);
    const lines = this.lines.get(channel);
    if (lines === undefined || channel === 0) return;
    const line = lines[0]!;
    if (name === 'channel.close-ok') lines.shift();
    else if (name === 'basic.deliver') {
      if (!String(fields['consumerTag']).startsWith('free')) line.tags.push(Number(fields['deliveryTag']));
    } else if (name === 'basic.get-ok') {
      line.answered++;
      line.tags.push(Number(fields['deliveryTag']));
    } else if (name === 'basic.ack') line.confirmed = Math.max(line.confirmed, Number(fields['deliveryTag']));
    else if (name.endsWith('-ok') || name === 'basic.get-empty') line.answered++;
  }
}

class Story {
  readonly world: World;
  readonly random: SeededRandom;
  readonly clients: Client[] = [];
  readonly hold: () => void;
  readonly release: () => void;
  private names = 0;

  constructor(world: World, random: SeededRandom, hold: () => void, release: () => void) {
    this.world = world;
    this.random = random;
    this.hold = hold;
    this.release = release;
  }

  pick<T>(list: readonly T[]): T {
    return list[this.random.below(list.length)]!;
  }

  step(): void {
    const { random } = this;
    const client = this.pick(this.clients);
    const channel = this.pick([...client.lines.keys()]);
    const line = client.line(channel);
    const queue = this.pick(QUEUES);
    switch (random.below(18)) {
      case 0:
      case 1:
      case 2:
      case 3: {
        const count = 1 + random.below(10);
        for (let i = 0; i < count; i++) {
          if (line.confirming) line.published++;
          const size = random.chance(0.1) ? 40_000 : random.below(4_000);
          const properties = { deliveryMode: random.chance(0.5) ? 2 : 1 };
          client.peer.push(publish(channel, '', queue, Buffer.alloc(size), properties));
        }
        return;
      }
      case 4: {
        const free = random.chance(0.3);
        const consumerTag = `${free ? 'free' : 'held'}-${this.names++}`;
        line.consumers.add(consumerTag);
        return client.ask(channel, 'basic.consume', {
          queue,
          consumerTag,
          noAck: free,
          arguments: random.chance(0.2) ? { 'x-priority': random.below(3) } : {},
        });
      }
      case 5: {
        const [consumerTag] = [...line.consumers];
        if (consumerTag === undefined) return;
        line.consumers.delete(consumerTag);
        return client.ask(channel, 'basic.cancel', { consumerTag });
      }
      case 6:
        return client.ask(channel, 'basic.qos', {
          prefetchCount: random.below(4),
          global: random.chance(0.5),
        });
      case 7:
      case 8: {
        client.read();
        const at = random.below(line.tags.length + 1);
        const [tag] = line.tags.splice(at, 1);
        if (tag === undefined) return;
        const kind = this.pick(['basic.ack', 'basic.nack', 'basic.reject']);
        client.peer.push(method(channel, kind, { deliveryTag: tag, requeue: random.chance(0.7) }));
        return;
      }
      case 9: {
        client.read();
        client.ackAll(channel);
        return;
      }
      case 10:
        return client.peer.socket.stopReading();
      case 11:
        return client.peer.socket.goOnReading();
      case 12:
        return random.chance(0.5) ? this.hold() : this.release();
      case 13:
        return client.ask(channel, 'basic.get', { queue });
      case 14:
        return client.ask(channel, 'queue.declare', { queue: `d${random.below(5)}`, durable: true });
      case 15: {
        client.peer.push(channelClose(channel));
        // Under the same number, and without waiting for the close-ok.
        return client.open(channel);
      }
      case 16:
        if (line.confirming) return;
        line.confirming = true;
        return client.ask(channel, 'confirm.select');
      case 17:
        if (random.chance(0.5)) this.world.node.alarms.set('memory', random.chance(0.5));
        else this.world.node.storeListener.pressure(random.chance(0.5));
        return;
    }
  }
}

/** Consumers that could take what waits, and are not asked. */
function forgotten(world: World): string[] {
  const found: string[] = [];
  for (const name of QUEUES) {
    const queue = world.queue(name);
    for (const consumer of queue.consumers) {
      if (!consumer.hasCapacity()) continue;
      if (consumer.parked) found.push(`${name}: ${consumer.tag} is parked although it has capacity`);
      if (queue.messageCount !== 0)
        found.push(`${name}: ${consumer.tag} has capacity, ${queue.messageCount} wait`);
    }
  }
  return found;
}

describe('whatever held them back', () => {
  it.each(SEEDS)('consumers, publishers and replies all go on in the end: seed %i', async (seed) => {
    const random = new SeededRandom(seed);
    const { world, store } = await openSlowWorld({
      amqp: { outgoingBytesMax: 16 * 1024, turnReadBytes: 4096 },
      node: { queueMemoryBytes: 64 * 1024, deliveriesPerTurn: 3 },
    });
    const story = new Story(
      world,
      random,
      () => store.engine.hold(),
      () => store.engine.release(),
    );
    for (let i = 0; i < 3; i++) {
      const client = new Client(
        await world.client({ channels: [], highWaterMark: random.chance(0.5) ? 1 : 16_384 }),
      );
      story.clients.push(client);
      for (const channel of [1, 2]) client.open(channel);
    }
    const [first] = story.clients;
    for (const queue of QUEUES) first!.ask(1, 'queue.declare', { queue, durable: queue === 'durable' });
    await world.settle();

    for (let i = 0; i < STEPS; i++) {
      story.step();
      if (random.chance(0.3)) await world.wait(random.below(3));
      if (random.chance(0.5)) world.turn();
      if (random.chance(0.1)) await world.settle();
    }

    // Everything is let go …
    store.engine.release();
    world.node.alarms.set('memory', false);
    world.node.storeListener.pressure(false);
    for (const client of story.clients) client.peer.socket.goOnReading();
    await world.settle();
    expect(forgotten(world), `seed ${seed}`).toEqual([]);
    // … every queue has a consumer that takes everything, on a channel whose limit is lifted …
    const last = story.clients[2]!;
    last.ask(1, 'basic.qos', { prefetchCount: 0 });
    for (const queue of QUEUES) last.ask(1, 'basic.consume', { queue, consumerTag: `held-last-${queue}` });
    // … and everybody acknowledges all there is.
    for (let round = 0; round < 400; round++) {
      await world.settle();
      let acked = 0;
      for (const client of story.clients) {
        client.read();
        for (const channel of client.lines.keys()) if (client.ackAll(channel)) acked++;
      }
      if (acked === 0) break;
    }
    const stuck: string[] = [];
    for (const queue of QUEUES) {
      const { messageCount, unackedCount } = world.queue(queue);
      if (messageCount !== 0)
        stuck.push(`${queue}: ${messageCount} messages wait although there are consumers`);
      if (unackedCount !== 0) stuck.push(`${queue}: ${unackedCount} deliveries nobody knows of`);
    }
    story.clients.forEach((client, i) => {
      if (!client.peer.connection.gate.isOpen) stuck.push(`client ${i} is not read from`);
      for (const [channel, lines] of client.lines) {
        if (lines.length !== 1) stuck.push(`client ${i}, channel ${channel}: no close-ok`);
        const line = lines[0]!;
        if (line.asked !== line.answered)
          stuck.push(`client ${i}, channel ${channel}: ${line.asked} requests, ${line.answered} answers`);
        if (line.confirming && line.confirmed !== line.published)
          stuck.push(
            `client ${i}, channel ${channel}: ${line.published} published, ${line.confirmed} confirmed`,
          );
      }
    });
    expect(stuck, `seed ${seed}`).toEqual([]);
    expect(world.lines('error')).toEqual([]);
    for (const client of story.clients) await client.peer.break();
    expect(world.leftovers()).toEqual([]);
  });
});
