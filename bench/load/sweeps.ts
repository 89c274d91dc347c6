// One workload each whose one size is changed from run to run: what a curve is made of.
// Owns the shape of every sweep: what is made first, what is published, what grows. Knows no command line and no picture.
//
// Where nothing else is said: transient messages of 100 B, one publisher that waits for confirms with at most 1,000 outstanding, automatic
// acknowledgement; counted are deliveries, and the time from a publish to its confirm.

import { type Bench, cost, type Metric, rate } from './bench.ts';
import type { ConfirmWindow } from './confirms.ts';
import { Link } from './link.ts';
import { Producer } from './producer.ts';
import * as wire from './wire.ts';

/** A workload with one number that varies. */
export interface Sweep {
  readonly name: string;
  /** What the number is, for the axis of a picture. */
  readonly axis: string;
  readonly title: string;
  readonly values: readonly number[];
  /** Those that show the shape, for a broker that takes long. */
  readonly few: readonly number[];
  run(bench: Bench, value: number): Promise<Metric[]>;
}

const WRITE_BYTES = 131_072;
const WINDOW = 1_000;
/** Messages that the producer of a backlog may be ahead of the consumer. */
const AHEAD = 2_000;
const BODY = Buffer.alloc(100, 0x61);
/** Requests on their way while many things are declared. */
const AT_ONCE = 500;

async function inBatches(count: number, make: (i: number) => Promise<unknown>): Promise<void> {
  for (let from = 0; from < count; from += AT_ONCE) {
    const last = Math.min(count, from + AT_ONCE);
    await Promise.all(Array.from({ length: last - from }, (_, i) => make(from + i)));
  }
}

/** Publishes the batch over and over within the window; deliveries and confirm times. */
async function measured(
  bench: Bench,
  link: Link,
  confirms: ConfirmWindow,
  batch: wire.Batch,
  delivered: () => number,
): Promise<Metric[]> {
  const producer = new Producer(link, batch, () => confirms.room());
  link.onProgress = () => producer.pump();
  return watched(bench, producer, confirms, delivered);
}

/** Lets the producer run for the window. */
async function watched(
  bench: Bench,
  producer: Producer,
  confirms: ConfirmWindow,
  delivered: () => number,
): Promise<Metric[]> {
  producer.start();
  const counted = await bench.window(delivered, () => confirms.latency.clear());
  producer.stop();
  const metrics = [rate('delivered', 'msg/s', counted)];
  metrics.push(cost('confirm p50', 'ms', confirms.latency.quantile(0.5) / 1000));
  metrics.push(cost('confirm p99', 'ms', confirms.latency.quantile(0.99) / 1000));
  const resident = bench.resident();
  if (resident !== null) metrics.push(cost('RSS', 'MiB', resident / 2 ** 20));
  return metrics;
}

function repeated(
  link: Link,
  exchange: string,
  routingKey: string,
  body: Buffer,
  persistent: boolean,
): wire.Batch {
  return wire.Batch.repeat(link.encode({ exchange, routingKey, persistent, body }), WRITE_BYTES);
}

/** The messages one after the other, often enough that a write is not a single one of them. */
function inTurn(messages: readonly Buffer[]): wire.Batch {
  const all: Buffer[] = [];
  while (all.length < WINDOW) all.push(...messages);
  return new wire.Batch(all);
}

/** Persistent bodies of so many bytes, at most 16 MiB of them unconfirmed. */
async function sizes(bench: Bench, size: number): Promise<Metric[]> {
  const consumer = await bench.link();
  const queue = await bench.queue(consumer, 'q', true);
  await consumer.consume(queue, size > 65_536 ? 16 : 500, size > 65_536 ? 1 : 50);
  const { link, confirms } = await bench.confirming(Math.min(WINDOW, Math.ceil((16 * 2 ** 20) / size)));
  const batch = repeated(link, '', queue, Buffer.alloc(size, 0x61), true);
  return measured(bench, link, confirms, batch, () => consumer.scanner.contents);
}

/** Messages in turn to so many queues, all consumed over one connection. */
async function queues(bench: Bench, count: number): Promise<Metric[]> {
  const consumer = await bench.link();
  const { link, confirms } = await bench.confirming(WINDOW);
  const names = Array.from({ length: count }, (_, i) => bench.name(`q${i}`));
  await inBatches(count, async (i) => {
    await consumer.declareExclusiveQueue(names[i]!);
    await consumer.consume(names[i]!, 0, 0, `c${i}`);
  });
  const messages = names.map((routingKey) =>
    link.encode({ exchange: '', routingKey, persistent: false, body: BODY }),
  );
  return measured(bench, link, confirms, inTurn(messages), () => consumer.scanner.contents);
}

/** One queue with so many consumers, on as many connections up to a hundred. */
async function consumers(bench: Bench, count: number): Promise<Metric[]> {
  const links: Link[] = [];
  for (let i = 0; i < Math.min(count, 100); i++) links.push(await bench.link());
  const queue = await bench.queue(links[0]!, 'q', false);
  await inBatches(count, (i) => links[i % links.length]!.consume(queue, 0, 0, `c${i}`));
  const { link, confirms } = await bench.confirming(WINDOW);
  const delivered = () => {
    let total = 0;
    for (const each of links) total += each.scanner.contents;
    return total;
  };
  return measured(bench, link, confirms, repeated(link, '', queue, BODY, false), delivered);
}

/** A topic exchange with so many bindings; 1,000 keys, or as many as there are bindings, each of which matches one. */
async function bindings(bench: Bench, count: number): Promise<Metric[]> {
  const consumer = await bench.link();
  const { link, confirms } = await bench.confirming(WINDOW);
  const queue = await bench.queue(consumer, 'q', false);
  const exchange = await bench.exchange(link, 'x', 'topic');
  await inBatches(count, (i) => consumer.bindQueue(queue, exchange, `site${i % 100}.unit${i}.*`));
  await consumer.consume(queue, 0, 0);
  const messages = Array.from({ length: Math.min(count, 1_000) }, (_, i) => {
    const unit = Math.floor((i * count) / Math.min(count, 1_000));
    const routingKey = `site${unit % 100}.unit${unit}.state`;
    return link.encode({ exchange, routingKey, persistent: false, body: BODY });
  });
  return measured(bench, link, confirms, inTurn(messages), () => consumer.scanner.contents);
}

/** One busy queue beside so many connections that do nothing but stay. */
async function connections(bench: Bench, count: number): Promise<Metric[]> {
  const idle: Link[] = [];
  try {
    for (let from = 0; from < count; from += 50) {
      const opening = Array.from({ length: Math.min(50, count - from) }, async () => {
        const link = await Link.connect(bench.options.address, { readBytes: 1024 });
        idle.push(link);
        await link.openChannel();
      });
      await Promise.all(opening);
    }
    const consumer = await bench.link();
    const queue = await bench.queue(consumer, 'q', false);
    await consumer.consume(queue, 0, 0);
    const { link, confirms } = await bench.confirming(WINDOW);
    const batch = repeated(link, '', queue, BODY, false);
    return await measured(bench, link, confirms, batch, () => consumer.scanner.contents);
  } finally {
    for (const link of idle) link.destroy();
  }
}

/**
 * A queue that holds so many persistent messages: filled first, then as much is acknowledged as is published, so that it stays as long as
 * it is.
 */
async function backlog(bench: Bench, count: number): Promise<Metric[]> {
  const { link, confirms } = await bench.confirming(WINDOW);
  const queue = await bench.queue(link, 'q', true);
  const batch = repeated(link, '', queue, BODY, true);
  const filler: Producer = new Producer(link, batch, () =>
    Math.min(confirms.room(), count - filler.published),
  );
  link.onProgress = () => filler.pump();
  if (count > 0) {
    filler.start();
    await bench.until('fill', 600, () => confirms.confirmed >= count);
    filler.stop();
  }
  const consumer = await bench.link();
  const producer: Producer = new Producer(link, batch, () =>
    Math.min(confirms.room(), consumer.scanner.contents + AHEAD - producer.published),
  );
  consumer.acksMax = () => producer.published;
  link.onProgress = () => {
    producer.pump();
    consumer.acknowledge();
  };
  consumer.onProgress = () => producer.pump();
  await consumer.consume(queue, 500, 50);
  return watched(bench, producer, confirms, () => consumer.scanner.contents);
}

/** Persistent messages of 1 KiB with at most so many unconfirmed. */
async function windows(bench: Bench, count: number): Promise<Metric[]> {
  const consumer = await bench.link();
  const queue = await bench.queue(consumer, 'q', true);
  await consumer.consume(queue, 500, 50);
  const { link, confirms } = await bench.confirming(count);
  const batch = repeated(link, '', queue, Buffer.alloc(1024, 0x61), true);
  return measured(bench, link, confirms, batch, () => consumer.scanner.contents);
}

export const SWEEPS: readonly Sweep[] = [
  {
    name: 'message-size',
    axis: 'bytes of a body',
    title: 'Size of messages (persistent, with confirms)',
    values: [16, 64, 256, 1_024, 4_096, 16_384, 65_536, 262_144, 1_048_576],
    few: [16, 1_024, 16_384, 262_144, 1_048_576],
    run: sizes,
  },
  {
    name: 'queues',
    axis: 'queues',
    title: 'Number of queues, each with a consumer',
    values: [1, 10, 100, 1_000, 10_000],
    few: [1, 100, 10_000],
    run: queues,
  },
  {
    name: 'consumers',
    axis: 'consumers',
    title: 'Number of consumers on one queue',
    values: [1, 10, 100, 1_000],
    few: [1, 100, 1_000],
    run: consumers,
  },
  {
    name: 'bindings',
    axis: 'bindings',
    title: 'Number of bindings of a topic exchange',
    values: [1, 10, 100, 1_000, 10_000, 100_000],
    few: [1, 1_000, 100_000],
    run: bindings,
  },
  {
    name: 'connections',
    axis: 'idle connections',
    title: 'Number of idle connections beside a busy one',
    values: [1, 10, 100, 1_000, 10_000],
    few: [1, 1_000],
    run: connections,
  },
  {
    name: 'backlog',
    axis: 'messages waiting',
    title: 'Messages that a queue holds already (persistent, with confirms)',
    values: [0, 1_000, 10_000, 100_000, 1_000_000, 5_000_000],
    few: [0, 10_000, 1_000_000],
    run: backlog,
  },
  {
    name: 'confirm-window',
    axis: 'unconfirmed publishes',
    title: 'Publishes that may wait for their confirm (persistent 1 KiB)',
    values: [1, 10, 100, 1_000, 10_000],
    few: [1, 100, 10_000],
    run: windows,
  },
];
