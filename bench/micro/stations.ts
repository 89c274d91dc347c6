// The stations of a message's way, each as work that can be done any number of times: reading, routing, the queue, writing, the store.
// Owns what a station does; must not know how it is measured (count.ts, guard.ts).

import { deliveryHead, writeDelivery } from '../../src/amqp/delivery.ts';
import { PublishTargets } from '../../src/amqp/publish-targets.ts';
import { FakeClock } from '../../src/base/fake-clock.ts';
import { silentLogger } from '../../src/base/logger.ts';
import { TagRing } from '../../src/base/tag-ring.ts';
import { TimerWheel } from '../../src/base/timer-wheel.ts';
import { Turn } from '../../src/base/turn.ts';
import { addressOf } from '../../src/message/address.ts';
import { BodyMemory } from '../../src/message/body-memory.ts';
import type { Entry } from '../../src/message/entry.ts';
import { buildMessage, type Message, messageFromFrames } from '../../src/message/message.ts';
import { EMPTY_TABLE, tableOf } from '../../src/protocol/field-table.ts';
import { FrameReader } from '../../src/protocol/frame-reader.ts';
import { ChunkPool, FrameWriter } from '../../src/protocol/frame-writer.ts';
import { encodeBasicPublish } from '../../src/protocol/methods.ts';
import { encodeProperties, NO_PROPERTIES } from '../../src/protocol/properties.ts';
import { MemoryBudget } from '../../src/queue/memory-budget.ts';
import type { Consumer, DeclaredQueue } from '../../src/queue/queue.ts';
import { MESSAGE_TICK_MS, type QueueContext, type QueueHost } from '../../src/queue/queue-context.ts';
import { NO_POLICY } from '../../src/queue/queue-options.ts';
import { createQueue } from '../../src/queue/queue-types.ts';
import type { Destination } from '../../src/routing/router.ts';
import { createRouter } from '../../src/routing/router-types.ts';
import { Commits } from '../../src/store/commits.ts';
import { memoryStore } from '../../src/store/log-store.ts';
import { wholeWay } from './whole-way.ts';

/** Does `count` operations. */
export type Work = (count: number) => void | Promise<void>;

/** Gathers results, so that nothing measured can be left out as unused. */
let sink = 0;

/** What everything that was done came to: a number without a meaning. */
export function gathered(): number {
  return sink;
}

const MESSAGES = 40;
const pool = new ChunkPool();
const NO_REUSE = new BodyMemory(0);

function flush(writer: FrameWriter): void {
  if (writer.pendingBytes > 60_000) pool.giveAll(writer.detach());
}

function publishStream(size: number): Buffer {
  const writer = new FrameWriter(pool);
  const body = Buffer.alloc(size, 1);
  const properties = encodeProperties({ ...NO_PROPERTIES, deliveryMode: 2 });
  for (let i = 0; i < MESSAGES; i++) {
    encodeBasicPublish(writer, 1, { exchange: '', routingKey: 'queue', mandatory: false, immediate: false });
    writer.contentHeader(1, size, properties);
    writer.bodyFrames(1, body, 0, size, 131_072);
  }
  return Buffer.concat(writer.detach().map((chunk) => chunk.buffer.subarray(0, chunk.length)));
}

/** Bytes from a socket become messages: frames, the publish method's memory, content. */
function publishing(size: number): Work {
  const stream = publishStream(size);
  const reader = new FrameReader(131_072);
  const targets = new PublishTargets();
  return (count) => {
    for (let done = 0; done < count; done += MESSAGES) {
      reader.push(stream);
      while (reader.next()) {
        const target = targets.find(reader.buffer, reader.start, reader.stop);
        if (!reader.takeContent(1 << 20)) throw new Error('the content is not whole');
        const { buffer, start, headerLength, bodyLength } = reader;
        sink ^= messageFromFrames(
          target.address,
          buffer,
          start,
          headerLength,
          bodyLength,
          NO_REUSE,
          reader.wordsOfContent,
        ).flags;
      }
    }
  };
}

function delivering(size: number): Work {
  const writer = new FrameWriter(pool);
  const message = buildMessage(
    addressOf('', 'queue'),
    { ...NO_PROPERTIES, deliveryMode: 2 },
    Buffer.alloc(size),
  );
  const head = deliveryHead('ctag-1.abcdef');
  return (count) => {
    for (let i = 1; i <= count; i++) {
      writeDelivery(writer, 1, head, i, false, message, 131_072);
      flush(writer);
    }
  };
}

function routing(type: string, bindings: number, fresh: boolean): Work {
  const router = createRouter(type, EMPTY_TABLE)!;
  for (let i = 0; i < bindings; i++) {
    const routingKey =
      type === 'topic' ? (i % 2 === 0 ? `site${i % 50}.unit${i}.*` : `*.unit${i}.#`) : `unit${i}`;
    router.bind({ destination: { name: `q${i}` }, toExchange: false, routingKey, arguments: EMPTY_TABLE });
  }
  const message = buildMessage(addressOf('x', 'k'), NO_PROPERTIES, Buffer.alloc(0));
  const out: Destination[] = [];
  let n = 0;
  const keys = Array.from({ length: 1000 }, (_, i) => [
    type === 'topic' ? `site${i % 50}.unit${i}.up` : `unit${i}`,
  ]);
  return (count) => {
    for (let i = 0; i < count; i++) {
      out.length = 0;
      router.route(message, fresh ? [`site${i % 50}.unit${i % bindings}.${n++}`] : keys[i % 1000]!, out);
      sink ^= out.length;
    }
  };
}

function unacked(): Work {
  const ring = new TagRing<object>();
  const value = {};
  const taken: object[] = [];
  return (count) => {
    for (let i = 0; i < count; i++) {
      const tag = ring.add(value);
      if (tag % 50 === 0) {
        ring.takeUpTo(tag, taken);
        taken.length = 0;
      }
    }
  };
}

class Taker implements Consumer {
  readonly tag = 'c';
  readonly noAck: boolean;
  readonly exclusive = false;
  readonly priority = 0;
  readonly arguments = EMPTY_TABLE;
  parked = false;
  readonly held: Entry[] = [];

  constructor(noAck: boolean) {
    this.noAck = noAck;
  }

  hasCapacity(): boolean {
    return true;
  }

  deliver(entry: Entry): void {
    if (!this.noAck) this.held.push(entry);
  }

  settled(): void {}
  cancelled(): void {}
}

/** A queue on a store in memory, with turns run by hand. */
async function queueWorld(args: Record<string, unknown>): Promise<{ queue: DeclaredQueue; turn: Turn }> {
  const commits = new Commits();
  const store = memoryStore();
  const shard = await store.open({
    durable: (upTo) => commits.durable(upTo),
    pressure: () => {},
    lost: (error) => {
      throw error;
    },
  });
  await shard.recover({ definition: () => {}, queue: () => false, entries: () => {} });
  const turn = new Turn(() => {});
  turn.commit = () => shard.commit();
  const clock = new FakeClock();
  const context: QueueContext = {
    shard,
    turn,
    clock,
    wheel: new TimerWheel(clock),
    messageWheel: new TimerWheel(clock, MESSAGE_TICK_MS),
    memory: new MemoryBudget(1e9, 1e9),
    bodies: NO_REUSE,
    log: silentLogger,
    commits,
    deliveriesPerTurn: 1_000,
    shared: null,
    burying: false,
  };
  let numbers = 1;
  const host: QueueHost = {
    numberFor: () => ++numbers,
    expired: () => {},
    consumersGone: () => {},
    deadLetter: () => true,
  };
  const declaration = {
    name: 'q',
    durable: true,
    exclusive: false,
    autoDelete: false,
    owner: null,
    arguments: tableOf(args),
  };
  return { queue: createQueue(declaration, 1, new Map(), NO_POLICY, context, host), turn };
}

/** Publish, deliver and acknowledge, a hundred to a turn. */
async function queueing(
  args: Record<string, unknown>,
  noAck: boolean,
  messages: readonly Message[],
): Promise<Work> {
  const { queue, turn } = await queueWorld(args);
  const taker = new Taker(noAck);
  queue.consume(taker);
  return (count) => {
    for (let done = 0; done < count; done += 100) {
      for (let i = 0; i < 100; i++) queue.publish(messages[i % messages.length]!);
      turn.run();
      for (let i = 0; i < taker.held.length; i++) queue.ack(taker.held[i]!);
      taker.held.length = 0;
    }
  };
}

async function segmentWriting(size: number): Promise<Work> {
  let durable = 0;
  const store = memoryStore();
  const shard = await store.open({
    durable: (upTo) => {
      durable = upTo;
    },
    pressure: () => {},
    lost: (error) => {
      throw error;
    },
  });
  await shard.recover({ definition: () => {}, queue: () => false, entries: () => {} });
  const head = Buffer.alloc(12, 1);
  const body = Buffer.alloc(size, 2);
  let position = 0;
  return (count) => {
    for (let i = 0; i < count; i++) shard.enqueue(1, ++position, head, body, 0, size, null);
    // Nothing is sealed in a round: what is removed again leaves the open batch.
    for (let i = 0; i < count; i++) shard.remove(1, position - i);
    sink ^= durable;
  };
}

const plain = [buildMessage(addressOf('', 'q'), NO_PROPERTIES, Buffer.alloc(16))];
const persistent = [
  buildMessage(addressOf('', 'q'), { ...NO_PROPERTIES, deliveryMode: 2 }, Buffer.alloc(100)),
];
const levels = Array.from({ length: 100 }, (_, i) =>
  buildMessage(addressOf('', 'q'), { ...NO_PROPERTIES, priority: (i * 37) % 256 }, Buffer.alloc(16)),
);

/** Every station by its name, made when it is asked for. */
export const STATIONS: Readonly<Record<string, () => Work | Promise<Work>>> = {
  'read and understand a publish of 16 B': () => publishing(16),
  'read and understand a publish of 1 KiB': () => publishing(1024),
  'route, direct, 1 binding': () => routing('direct', 1, false),
  'route, direct, 100,000 bindings': () => routing('direct', 100_000, false),
  'route, topic, 10,000 bindings, keys seen before': () => routing('topic', 10_000, false),
  'route, topic, 10,000 bindings, every key new': () => routing('topic', 10_000, true),
  'hand out a delivery tag and take it back': () => unacked(),
  'write a delivery of 16 B': () => delivering(16),
  'write a delivery of 1 KiB': () => delivering(1024),
  'queue: publish, deliver, no ack': () => queueing({}, true, plain),
  'queue: publish, deliver, ack': () => queueing({}, false, plain),
  'queue: the same, persistent': () => queueing({}, false, persistent),
  'queue: the same, 255 priorities': () => queueing({ 'x-max-priority': 255 }, false, levels),
  'store: put and take back 100 B': () => segmentWriting(100),
  'the whole way of 16 B: publish, deliver, ack': () => wholeWay({ bodyBytes: 16, persistent: false }),
  'the whole way of 100 B, persistent, confirmed': () => wholeWay({ bodyBytes: 100, persistent: true }),
};
