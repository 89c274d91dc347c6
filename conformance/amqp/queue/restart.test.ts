// What a restart of the broker keeps, and what it forgets. Only our own broker can be restarted by a test.
import { expect } from 'vitest';
import type { Channel } from '../../support/channel.ts';
import { acrossRestart, OWN_ONLY } from '../../support/restart.ts';
import { rule, useTarget } from '../../support/target.ts';

useTarget();

/** Passive declares on channels of their own; which of the names are there. */
async function present(
  channel: Channel,
  kind: 'queue' | 'exchange',
  names: readonly string[],
): Promise<string[]> {
  const found: string[] = [];
  for (const name of names) {
    const probe = await channel.sibling();
    await probe.call(`${kind}.declare`, { [kind]: name, passive: true }).then(
      () => found.push(name),
      () => undefined,
    );
  }
  return found;
}

rule(
  '5.1.restart',
  'durable things are there again with their properties, the others are gone',
  () =>
    acrossRestart(
      async (channel) => {
        const args = { 'x-max-length': 100, note: 'kept' };
        await channel.call('queue.declare', { queue: 'durable', durable: true, arguments: args });
        await channel.call('queue.declare', {
          queue: 'durable auto-delete',
          durable: true,
          autoDelete: true,
        });
        await channel.call('queue.declare', { queue: 'transient' });
        await channel.call('queue.declare', { queue: 'exclusive', durable: true, exclusive: true });
        await channel.call('exchange.declare', {
          exchange: 'durable',
          type: 'topic',
          durable: true,
          internal: true,
          arguments: { 'alternate-exchange': 'elsewhere' },
        });
        await channel.call('exchange.declare', { exchange: 'transient', type: 'topic' });
      },
      async (channel) => {
        const queues = ['durable', 'durable auto-delete', 'transient', 'exclusive'];
        expect(await present(channel, 'queue', queues)).toEqual(['durable', 'durable auto-delete']);
        expect(await present(channel, 'exchange', ['durable', 'transient', 'amq.topic'])).toEqual([
          'durable',
          'amq.topic',
        ]);
        await channel.call('queue.declare', {
          queue: 'durable',
          durable: true,
          arguments: { 'x-max-length': 100 },
        });
        await channel.call('exchange.declare', {
          exchange: 'durable',
          type: 'topic',
          durable: true,
          internal: true,
          arguments: { 'alternate-exchange': 'elsewhere' },
        });
      },
    ),
  OWN_ONLY,
);

rule(
  '5.1.restart',
  'bindings between durable things are kept, whatever else came and went',
  () =>
    acrossRestart(
      async (channel) => {
        await channel.call('queue.declare', { queue: 'q', durable: true });
        for (const exchange of ['front', 'back', 'alternate']) {
          const args = exchange === 'back' ? { 'alternate-exchange': 'alternate' } : {};
          await channel.call('exchange.declare', { exchange, type: 'topic', durable: true, arguments: args });
        }
        await channel.call('exchange.declare', { exchange: 'passing', type: 'fanout' });
        await channel.call('exchange.bind', { destination: 'back', source: 'front', routingKey: 'a.#' });
        await channel.call('queue.bind', { queue: 'q', exchange: 'back', routingKey: '#.b' });
        await channel.call('queue.bind', { queue: 'q', exchange: 'alternate', routingKey: '#.c' });
        await channel.call('queue.bind', {
          queue: 'q',
          exchange: 'amq.headers',
          arguments: { kind: 1, any: null },
        });
        await channel.call('queue.bind', { queue: 'q', exchange: 'passing' });
        await channel.call('queue.bind', { queue: 'q', exchange: 'back', routingKey: 'gone' });
        await channel.call('queue.unbind', { queue: 'q', exchange: 'back', routingKey: 'gone' });
      },
      async (channel) => {
        channel.publish('front', 'a.b', 'through two exchanges');
        channel.publish('front', 'a.c', 'by the alternate exchange');
        channel.publish('front', 'b.b', 'nowhere');
        channel.publish('back', 'gone', 'nowhere');
        channel.publish('amq.headers', '', 'by headers', { headers: { kind: 1, any: 'thing' } });
        expect(await channel.drain('q')).toEqual([
          'through two exchanges',
          'by the alternate exchange',
          'by headers',
        ]);
        // Nothing of the transient exchange hangs on: a new one of the name is empty.
        await channel.call('exchange.declare', { exchange: 'passing', type: 'fanout', durable: true });
        channel.publish('passing', '', 'nowhere');
        expect(await channel.drain('q')).toEqual([]);
      },
    ),
  OWN_ONLY,
);

rule(
  '5.1.restart',
  'persistent messages of durable queues come back in their order and whole, transient ones do not',
  () =>
    acrossRestart(
      async (channel) => {
        await channel.call('queue.declare', { queue: 'q', durable: true });
        await channel.call('queue.declare', { queue: 'settled', durable: true });
        await channel.confirms();
        const headers = { text: 'ü', list: [1, true, null], big: 'x'.repeat(5_000) };
        for (let i = 0; i < 50; i++) {
          const properties = {
            deliveryMode: i % 5 === 0 ? 1 : 2,
            headers,
            messageId: String(i),
            priority: i % 10,
          };
          channel.publish('', 'q', `message ${i} `.repeat(i * 10), properties);
        }
        for (let i = 0; i < 10; i++) channel.publish('', 'settled', String(i), { deliveryMode: 2 });
        await channel.until(() => channel.settled() === 60, 'confirms');
        const held = [
          await channel.get('settled'),
          await channel.get('settled'),
          await channel.get('settled'),
        ];
        channel.ack(held[1]!);
        channel.nack(held[2]!, { requeue: false });
        expect(await channel.get('settled', { noAck: true })).toMatchObject({ body: '3' });
        await channel.fence();
      },
      async (channel) => {
        for (let i = 0; i < 50; i++) {
          if (i % 5 === 0) continue;
          const got = await channel.get('q', { noAck: true });
          expect(got).toMatchObject({ body: `message ${i} `.repeat(i * 10), exchange: '', routingKey: 'q' });
          expect(got!.properties).toMatchObject({ messageId: String(i), priority: i % 10, deliveryMode: 2 });
          expect(got!.properties.headers).toEqual({
            text: 'ü',
            list: [1, true, null],
            big: 'x'.repeat(5_000),
          });
        }
        expect(await channel.get('q')).toBeNull();
        const rest: [string, boolean][] = [];
        for (let got = await channel.get('settled'); got !== null; got = await channel.get('settled')) {
          rest.push([got.body, got.redelivered]);
        }
        expect(rest.map(([body]) => body)).toEqual(['0', '4', '5', '6', '7', '8', '9']);
        // What had been in somebody's hands says so.
        expect(rest[0]).toEqual(['0', true]);
      },
    ),
  OWN_ONLY,
);

rule(
  '5.1.restart',
  'a transaction is there whole after its commit, and not at all without one',
  () =>
    acrossRestart(
      async (channel, peer) => {
        for (const queue of ['from', 'to']) await channel.call('queue.declare', { queue, durable: true });
        for (const body of ['moved', 'stays']) channel.publish('', 'from', body, { deliveryMode: 2 });
        const tx = await peer.channel();
        await tx.call('tx.select');
        for (const end of ['tx.commit', null]) {
          const message = (await tx.get('from'))!;
          tx.publish('', 'to', message.body, { deliveryMode: 2 });
          tx.ack(message);
          if (end !== null) await tx.call(end);
        }
        await tx.fence();
      },
      async (channel) => {
        expect(await channel.drain('to')).toEqual(['moved']);
        expect(await channel.drain('from')).toEqual(['stays']);
      },
    ),
  OWN_ONLY,
);
