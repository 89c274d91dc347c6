// What disturbs a broker, in a process of its own: takes a name and an address from its parent, says `ready`, goes on until it is killed.
// Owns the disturbances of `npm run bench:fairness`.

import { type Address, Link } from './link.ts';
import { PacedProducer, Producer } from './producer.ts';
import * as wire from './wire.ts';

/** What the parent sends. */
export interface Disturbance {
  readonly name: string;
  readonly address: Address;
  /** Messages of the long queue. */
  readonly backlog: number;
}

const WRITE_BYTES = 131_072;
const HUGE_BYTES = 100 * 2 ** 20;

async function linkTo(address: Address): Promise<Link> {
  const link = await Link.connect(address, {
    onFailure: (error) => {
      process.stderr.write(`disturbance: ${error.message}\n`);
    },
  });
  await link.openChannel();
  return link;
}

function flooder(link: Link, routingKey: string, size: number, persistent = false): Producer {
  const message = link.encode({ exchange: '', routingKey, persistent, body: Buffer.alloc(size, 0x61) });
  return new Producer(link, wire.Batch.repeat(message, WRITE_BYTES), () => 1_000_000);
}

const name = (text: string): string => `bench.fairness.${process.pid}.${text}`;

/** Each resolves when it is under way. */
export const DISTURBANCES: Readonly<
  Record<string, { title: string; begin(address: Address, backlog: number): Promise<void> }>
> = {
  nothing: { title: 'nobody', begin: async () => {} },
  flood: {
    title: 'a publisher that nothing but the socket holds back, and its consumer',
    begin: async (address) => {
      const consumer = await linkTo(address);
      const queue = name('flood');
      await consumer.declareExclusiveQueue(queue);
      await consumer.consume(queue, 0, 0);
      flooder(await linkTo(address), queue, 100).start();
    },
  },
  'never-reads': {
    title: 'a consumer that never reads, and a publisher of 2,000 messages of 1 KiB a second for it',
    begin: async (address) => {
      const consumer = await linkTo(address);
      const queue = name('unread');
      await consumer.declareExclusiveQueue(queue);
      await consumer.consume(queue, 0, 0);
      consumer.socket.pause();
      const publish = { exchange: '', routingKey: queue, persistent: false, body: Buffer.alloc(1024) };
      new PacedProducer(await linkTo(address), publish, 2_000).start();
    },
  },
  backlog: {
    title: 'a queue with a long backlog that is being drained',
    begin: async (address, backlog) => {
      const link = await linkTo(address);
      const queue = name('backlog');
      await link.declareExclusiveQueue(queue);
      const message = link.encode({
        exchange: '',
        routingKey: queue,
        persistent: false,
        body: Buffer.alloc(100),
      });
      const filler: Producer = new Producer(link, wire.Batch.repeat(message, WRITE_BYTES), () =>
        Math.min(10_000, backlog - filler.published),
      );
      filler.start();
      const ticking = setInterval(() => filler.pump(), 1);
      while (filler.published < backlog) await new Promise((resolve) => setTimeout(resolve, 10));
      clearInterval(ticking);
      // An exclusive queue belongs to its connection, and so does its consumer.
      await link.consume(queue, 500, 50);
    },
  },
  huge: {
    title: 'messages of 100 MiB, one after the other',
    begin: async (address) => {
      const link = await linkTo(address);
      const queue = name('huge');
      await link.declareExclusiveQueue(queue);
      await link.consume(queue, 0, 0);
      const message = link.encode({
        exchange: '',
        routingKey: queue,
        persistent: false,
        body: Buffer.alloc(HUGE_BYTES),
      });
      let sent = 0;
      const next = (): void => {
        if (link.scanner.contents < sent) return;
        sent++;
        link.socket.write(message);
      };
      link.onProgress = next;
      next();
    },
  },
  topology: {
    title: 'a change of topology every millisecond',
    begin: async (address) => {
      const link = await linkTo(address);
      const queue = name('bound');
      await link.declareExclusiveQueue(queue);
      let n = 0;
      const change = async (): Promise<void> => {
        for (;;) {
          const exchange = name(`x${n++}`);
          await link.declareExchange(exchange, 'fanout', false);
          await link.bindQueue(queue, exchange, '');
          await link.deleteExchange(exchange);
          await new Promise((resolve) => setTimeout(resolve, 1));
        }
      };
      // Three changes a cycle, and a pause of a millisecond: about one change a millisecond with two of these.
      for (let i = 0; i < 2; i++)
        change().catch((error: Error) => process.stderr.write(`${error.message}\n`));
    },
  },
};

process.once('message', (order: Disturbance) => {
  const found = DISTURBANCES[order.name];
  if (found === undefined) throw new Error(`no disturbance '${order.name}'`);
  found.begin(order.address, order.backlog).then(
    () => process.send?.('ready'),
    (error: Error) => {
      process.stderr.write(`${error.message}\n`);
      process.exit(1);
    },
  );
});
process.once('disconnect', () => process.exit(0));
