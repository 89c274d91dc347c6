// The command behind `npm run bench:fairness`: how long a quiet client's messages take (1,000 of 100 B a second), on an idle broker and
// beside clients that behave badly. Prints p50 and p99 and the ratio of p99 to that of the idle broker.
// Owns the command line and the quiet client. The bad ones have processes of their own: disturb.ts.

import { type ChildProcess, fork } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { Bench } from './bench.ts';
import { monotonicMs } from './clock.ts';
import { DISTURBANCES, type Disturbance } from './disturb.ts';
import { Histogram } from './histogram.ts';
import { PacedProducer } from './producer.ts';
import { OtherBroker, OwnBroker, type Target } from './target.ts';

const PER_SECOND = 1_000;

/** Times from write to read, in microseconds. */
async function quietClient(
  target: Target,
  seconds: number,
): Promise<{ histogram: Histogram; gapMs: number }> {
  const options = { address: target.address, pids: target.pids(), seconds, warmupSeconds: 1, scale: 1 };
  const bench = new Bench(options, 'fairness');
  try {
    const consumer = await bench.link();
    const queue = await bench.queue(consumer, 'quiet', false);
    await consumer.consume(queue, 0, 0);
    const histogram = new Histogram();
    consumer.onBody = (bytes, at) => histogram.record((monotonicMs() - bytes.readDoubleBE(at)) * 1000);
    const publish = { exchange: '', routingKey: queue, persistent: false, body: Buffer.alloc(100) };
    const producer = new PacedProducer(await bench.link(), publish, PER_SECOND);
    producer.start();
    await bench.window(
      () => consumer.scanner.contents,
      () => {
        histogram.clear();
        producer.worstTick = 0;
      },
    );
    producer.stop();
    return { histogram, gapMs: producer.worstTick };
  } finally {
    await bench.close();
  }
}

function disturb(order: Disturbance): Promise<ChildProcess> {
  return new Promise((resolve, reject) => {
    const child = fork(fileURLToPath(new URL('./disturb.js', import.meta.url)), [], { stdio: 'inherit' });
    child.once('message', () => resolve(child));
    child.once('exit', (code) => reject(new Error(`${order.name}: the disturbance ended with ${code}`)));
    child.send(order);
  });
}

async function main(): Promise<void> {
  const { values: flags } = parseArgs({
    options: {
      only: { type: 'string' },
      seconds: { type: 'string', default: '5' },
      backlog: { type: 'string', default: '5000000' },
      against: { type: 'string' },
    },
  });
  const names = ['nothing', ...(flags.only?.split(',') ?? Object.keys(DISTURBANCES).slice(1))];
  process.stdout.write(
    `${'beside'.padEnd(90)}${'p50 ms'.padStart(9)}${'p99 ms'.padStart(9)}  times idle   own timer's gap\n`,
  );
  let idle = 0;
  for (const name of names) {
    const target =
      flags.against === undefined
        ? await OwnBroker.start({ flags: ['--max-message-size', String(128 * 2 ** 20)] })
        : new OtherBroker(flags.against, null);
    let child: ChildProcess | null = null;
    try {
      // Warm: what is compiled late must not count.
      await quietClient(target, 1);
      child = await disturb({ name, address: target.address, backlog: Number(flags.backlog) });
      const { histogram, gapMs } = await quietClient(target, Number(flags.seconds));
      const p99 = histogram.quantile(0.99) / 1000;
      if (name === 'nothing') idle = p99;
      const cells = [histogram.quantile(0.5) / 1000, p99].map((ms) => ms.toFixed(2).padStart(9));
      process.stdout.write(
        `${(DISTURBANCES[name]?.title ?? name).padEnd(90)}${cells.join('')}${(p99 / idle).toFixed(1).padStart(12)}${gapMs.toFixed(1).padStart(15)} ms\n`,
      );
    } finally {
      child?.removeAllListeners('exit');
      child?.kill();
      await target.stop();
    }
  }
}

main().catch((error: unknown) => {
  process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`);
  process.exitCode = 1;
});
