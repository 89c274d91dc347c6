// What a stream keeps and for whom: filters, retention, the places of named consumers, restarts.
import { expect } from 'vitest';
import { FakeClock } from '../../../src/base/fake-clock.ts';
import { acrossRestart, OWN_ONLY } from '../../support/restart.ts';
import { scene } from '../../support/scene.ts';
import { rule, type Target, useTarget } from '../../support/target.ts';
import { publisher, reader, shown, stream, untilOldest } from './support.ts';

const clock = new FakeClock();
useTarget({ clock });

type Fields = Record<string, unknown>;

/** Publishes messages with the filter values eu, us, none, eu, and reads with the filter; what came before the message `end`. */
async function filtered(target: Target, args: Fields): Promise<string[]> {
  const t = await scene(target);
  const name = await stream(t);
  const channel = await publisher(t);
  for (const value of ['eu', 'us', null, 'eu']) {
    const headers = value === null ? {} : { 'x-stream-filter-value': value };
    await channel.publishConfirmed('', name, [value ?? 'none'], { headers });
  }
  await channel.publishConfirmed('', name, ['end'], { headers: { 'x-stream-filter-value': 'end' } });
  const consumer = await reader(t, name, { ...args, 'x-stream-offset': 'first' });
  const bodies: string[] = [];
  for (;;) {
    const { body } = await consumer.next();
    if (body === 'end') return bodies;
    bodies.push(body);
  }
}

const EVERYTHING = ['eu', 'us', 'none', 'eu'];
const FILTERS: [Fields, string[]][] = [
  [{ 'x-stream-filter': ['eu', 'end'] }, ['eu', 'eu']],
  [{ 'x-stream-filter': ['us', 'eu', 'end'] }, ['eu', 'us', 'eu']],
  [{ 'x-stream-filter': 'end' }, []],
  [{ 'x-stream-filter': 'end', 'x-stream-match-unfiltered': true }, ['none']],
  [{ 'x-stream-filter': 'end', 'x-stream-match-unfiltered': false }, []],
];
for (const [args, bodies] of FILTERS) {
  rule(
    '10.filter',
    JSON.stringify(args),
    async (target) => expect(await filtered(target, args)).toEqual(bodies),
    {
      onRabbitMQ: async (target) => {
        const got = await filtered(target, args);
        // At least what matches; before 3.13 everything.
        if (target.isRabbitMQBelow('3.13.0')) expect(got).toEqual(EVERYTHING);
        else for (const body of bodies) expect(got).toContain(body);
      },
    },
  );
}

rule('10.retention-bytes', 'small segments of a short stream', async (target) => {
  const t = await scene(target);
  const name = await stream(t, {
    'x-max-length-bytes': 200_000,
    'x-stream-max-segment-size-bytes': 50_000,
  });
  const channel = await publisher(t);
  const body = 'x'.repeat(1_000);
  for (let i = 0; i < 20; i++)
    await channel.publishConfirmed(
      '',
      name,
      Array.from({ length: 50 }, () => body),
    );
  expect(await untilOldest(t, name, 501)).toBeLessThan(1_000);
});

rule(
  '10.retention-age',
  'segments of a second, eight seconds kept',
  async (target) => {
    const t = await scene(target);
    const name = await stream(t, { 'x-max-age': '8s' });
    const channel = await publisher(t);
    for (let i = 0; i < 20; i++) {
      await channel.publishConfirmed('', name, [`m${i}`]);
      clock.advance(1_000);
    }
    const consumer = await reader(t, name, { 'x-stream-offset': 'first' });
    const first = await consumer.next();
    expect(Number(first.properties.headers?.['x-stream-offset'])).toBeGreaterThanOrEqual(10);
    clock.advance(60_000);
    await t.channel.untilReady(name, 1);
  },
  { ownOnly: 'needs a clock that can be moved' },
);

const OURS = { ownOnly: 'RabbitMQ does not know the argument' };

rule(
  '10.consumer-name',
  'on the same connection and on another',
  async (target) => {
    const t = await scene(target);
    const name = await stream(t);
    const channel = await publisher(t);
    await channel.publishConfirmed('', name, ['a', 'b', 'c', 'd']);
    const args = { 'x-stream-consumer-name': 'billing', 'x-stream-offset': 'first' };
    const first = await reader(t, name, args);
    const messages = await first.take(4);
    first.channel.ack(messages[1]!, true);
    await first.channel.close();
    const second = await reader(t, name, args);
    expect(shown(await second.take(2))).toEqual(['2 c', '3 d']);
    second.channel.ack(second.received[0]!);
    await second.cancel();
    const stranger = await t.stranger();
    await stranger.qos(10);
    const third = await stranger.consume(name, { arguments: args });
    expect(shown([await third.next()])).toEqual(['3 d']);
  },
  OURS,
);

rule(
  '10.restart',
  'offsets go on, and so do named consumers',
  () =>
    acrossRestart(
      async (channel) => {
        const args = { 'x-queue-type': 'stream' };
        await channel.call('queue.declare', { queue: 's', durable: true, arguments: args });
        await channel.confirms();
        await channel.publishConfirmed('', 's', ['a', 'b', 'c'], { persistent: false });
        const other = await channel.sibling();
        await other.qos(10);
        const named = { 'x-stream-consumer-name': 'n', 'x-stream-offset': 'first' };
        const consumer = await other.consume('s', { arguments: named });
        const [first] = await consumer.take(3);
        other.ack(first!);
        await other.fence();
      },
      async (channel) => {
        await channel.confirms();
        await channel.publishConfirmed('', 's', ['d']);
        await channel.qos(10);
        const all = await channel.consume('s', { arguments: { 'x-stream-offset': 'first' } });
        expect(shown(await all.take(4))).toEqual(['0 a', '1 b', '2 c', '3 d']);
        const named = await channel.consume('s', { arguments: { 'x-stream-consumer-name': 'n' } });
        expect(shown(await named.take(3))).toEqual(['1 b', '2 c', '3 d']);
      },
    ),
  OWN_ONLY,
);
