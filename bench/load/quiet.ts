// A client that asks for little: a fixed rate of small transient messages through a queue of its own, and how long each took from the
// write to the read.
// Owns its links and its histogram. Knows nothing of who else is on the broker.

import { monotonicMs } from './clock.ts';
import { Histogram } from './histogram.ts';
import { type Address, Link } from './link.ts';
import { PacedProducer } from './producer.ts';

const BODY_BYTES = 100;

/** A quiet client; `start` makes one. */
export class QuietClient {
  /** Times from write to read, in microseconds. */
  readonly histogram = new Histogram();
  readonly producer: PacedProducer;
  private readonly links: readonly Link[];

  private constructor(links: readonly Link[], producer: PacedProducer) {
    this.links = links;
    this.producer = producer;
  }

  /** Connects, and sends `perSecond` messages a second from now on. */
  static async start(
    address: Address,
    perSecond: number,
    onFailure: (error: Error) => void,
  ): Promise<QuietClient> {
    const links = [await Link.connect(address, { onFailure }), await Link.connect(address, { onFailure })];
    const [sender, receiver] = links as [Link, Link];
    await sender.openChannel();
    await receiver.openChannel();
    const queue = `bench.quiet.${process.pid}.${address.port}`;
    await receiver.declareExclusiveQueue(queue);
    await receiver.consume(queue, 0, 0);
    const publish = {
      exchange: '',
      routingKey: queue,
      persistent: false,
      body: Buffer.alloc(BODY_BYTES),
    };
    const client = new QuietClient(links, new PacedProducer(sender, publish, perSecond));
    receiver.onBody = (bytes, at) => client.histogram.record((monotonicMs() - bytes.readDoubleBE(at)) * 1000);
    client.producer.start();
    return client;
  }

  /** Forgets what it measured. */
  clear(): void {
    this.histogram.clear();
    this.producer.worstTick = 0;
  }

  async close(): Promise<void> {
    this.producer.stop();
    await Promise.all(this.links.map((link) => link.close()));
  }
}
