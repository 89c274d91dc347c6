// The load generator against a real broker: every workload runs to its end, counts what it should and leaves nothing behind.
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Bench } from '../../bench/load/bench.ts';
import { Link, parseAddress } from '../../bench/load/link.ts';
import { Producer } from '../../bench/load/producer.ts';
import { roundTrips } from '../../bench/load/trips.ts';
import * as wire from '../../bench/load/wire.ts';
import { runWorkload, WORKLOADS } from '../../bench/load/workloads.ts';
import { Broker } from '../../src/broker.ts';

let broker: Broker;

beforeAll(async () => {
  broker = await Broker.start({ port: 0, store: 'memory' });
});

afterAll(async () => {
  await broker.stop();
});

function options() {
  const address = parseAddress(broker.url);
  return { address, pids: [process.pid], seconds: 0.05, warmupSeconds: 0.02, scale: 0.002 };
}

describe('load generator', () => {
  for (const { name } of WORKLOADS) {
    it(`runs ${name}`, async () => {
      const result = await runWorkload(name, options());
      expect(result.metrics.length).toBeGreaterThan(0);
      // A starved machine may see nothing in so short a window; how much is counted is the next test's matter.
      for (const metric of result.metrics) expect(metric.value).toBeGreaterThanOrEqual(0);
    });
  }

  it('counts exactly the messages that were published, whatever their size', async () => {
    for (const size of [0, 1, 8, 100, 131_064, 131_065, 300_000]) {
      const bench = new Bench(options(), 'count');
      const consumer = await bench.link();
      const queue = await bench.queue(consumer, 'q', true);
      await consumer.consume(queue, 7, 3);
      const { link, confirms } = await bench.confirming(20);
      const body = Buffer.alloc(size, 1);
      const message = link.encode({ exchange: '', routingKey: queue, persistent: true, body });
      const room = () => Math.min(confirms.room(), 100 - producer.published);
      const producer: Producer = new Producer(link, wire.Batch.repeat(message, message.length * 9), room);
      link.onProgress = () => producer.pump();
      producer.start();
      await bench.until('deliveries', 10, () => consumer.scanner.contents === 100);
      await bench.until('confirms', 10, () => confirms.confirmed === 100);
      expect([consumer.scanner.deliveries, consumer.scanner.bodyBytes]).toEqual([100, 100 * size]);
      expect(confirms.outstanding).toBe(0);
      await bench.close();
    }
  });

  it('deletes its queues', async () => {
    const bench = new Bench(options(), 'cleanup');
    const name = await bench.queue(await bench.link(), 'q', false);
    await bench.close();
    const link = await Link.connect(options().address);
    await link.openChannel();
    // Declaring it the other way would be refused if it still existed.
    expect(await link.declareQueue(name, true)).toBe(0);
    await link.deleteQueue(name);
    await link.close();
  });

  it('ends with the reason when the broker refuses what the round-trip process does', async () => {
    const bench = new Bench(options(), 'refused');
    const request = wire.basicGet(1, 'no such queue', false);
    await expect(roundTrips(bench, await bench.link(), 'get', request)).rejects.toThrow('404 NOT_FOUND');
    await bench.close();
  });

  it('ends with the reason when the broker refuses what a workload does', async () => {
    const bench = new Bench(options(), 'refused');
    const link = await bench.link();
    await expect(link.deleteExchange('amq.direct')).rejects.toThrow('403');
    await bench.close();
  });
});
