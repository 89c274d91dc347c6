// Delayed messages on a machine that loses power while they come due: each that was confirmed is there exactly once, waiting or in its
// queue. DELAYS_SEEDS chooses other seeds, as a list (`DELAYS_SEEDS=7,8`).

import { expect, it } from 'vitest';
import { FakeClock } from '../../src/index.ts';
import { iteration } from '../store/harness.ts';
import { type FaultyStore, faultyStore, SeededRandom } from '../support/faulty-engine.ts';
import { Session, startBroker } from './support.ts';

const seeds = (process.env['DELAYS_SEEDS'] ?? '1,2,3,4').split(',').filter(Boolean).map(Number);
const CRASHES = 4;
const MESSAGES = 200;
const LONGEST_MS = 4_000;

/** Resolves when the store is about to make its `writes`-th write from now on. */
function afterWrites(store: FaultyStore, writes: number): Promise<void> {
  const { engine } = store;
  const begin = engine.begin.bind(engine);
  let left = writes;
  return new Promise((resolve) => {
    engine.begin = (life, operations, sync, done) => {
      begin(life, operations, sync, done);
      if (--left > 0) return;
      Reflect.deleteProperty(engine, 'begin');
      resolve();
    };
  });
}

it.each(seeds)('no power cut loses or doubles a delayed message (seed %i)', async (seed) => {
  const random = new SeededRandom(seed);
  const clock = new FakeClock();
  const store = faultyStore({ seed, slowness: 3, readSlowness: 3, segmentBytesMax: 4_096 });
  const confirmed = new Set<string>();
  let sent = 0;
  for (let round = 0; round <= CRASHES; round++) {
    const broker = await startBroker({ store, clock });
    const session = await Session.open(broker);
    const { channel } = session;
    await channel.assertExchange('later', 'x-delayed-message', { arguments: { 'x-delayed-type': 'fanout' } });
    for (const queue of ['q', 'r']) {
      await session.queue(queue);
      await channel.bindQueue(queue, 'later', '');
    }
    if (round === CRASHES) {
      for (let i = 0; i < LONGEST_MS / 50; i++) {
        clock.advance(50);
        await iteration();
      }
      const waits = (): number => broker.delayedCounts('/', 'later').messages;
      for (let i = 0; waits() !== 0; i++) {
        if (i > 5_000) throw new Error(`${waits()} messages do not come`);
        clock.advance(10);
        await iteration();
      }
      for (const queue of ['q', 'r']) {
        const texts = await session.texts(queue);
        expect(confirmed.size).toBeGreaterThan(0);
        expect(new Set(texts).size, 'doubled').toBe(texts.length);
        for (const text of confirmed) expect(texts, `lost in round ${text}`).toContain(text);
      }
      return;
    }
    for (let i = 0; i < MESSAGES; i++) {
      const text = `${round}.${++sent}`;
      channel.publish(
        'later',
        '',
        Buffer.from(text),
        { persistent: true, headers: { 'x-delay': 1 + random.below(LONGEST_MS) } },
        (error) => {
          if (error === null) confirmed.add(text);
        },
      );
    }
    const powerless = afterWrites(store, 1 + random.below(60)).then(() => true);
    let isOver = false;
    for (let i = 0; i < 400 && !isOver; i++) {
      clock.advance(10);
      isOver = await Promise.race([powerless, iteration().then(() => false)]);
    }
    store.crash();
    await broker.stop().catch(() => {});
  }
});
