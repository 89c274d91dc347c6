// Transactions: what waits for the commit, what does not, and what a rollback leaves.
import { expect } from 'vitest';
import type { Channel } from '../../support/channel.ts';
import { expectHardError } from '../../support/checks.ts';
import { method, publish } from '../../support/raw-client.ts';
import { type Scene, scene } from '../../support/scene.ts';
import { rule, useTarget } from '../../support/target.ts';

useTarget();

/** A channel in tx mode. */
async function transaction(t: Scene): Promise<Channel> {
  const channel = await t.newChannel();
  await channel.call('tx.select');
  return channel;
}

/** A queue in which the bodies lie ready, for whatever channel. */
async function filled(t: Scene, bodies: readonly string[], durable = false): Promise<string> {
  const queue = await t.queue({ durable });
  t.channel.publishAll(queue, bodies, durable ? { deliveryMode: 2 } : {});
  await t.channel.untilReady(queue, bodies.length);
  return queue;
}

rule('7.3.select', 'a second select keeps what is pending', async (target) => {
  const t = await scene(target);
  const queue = await t.queue();
  const tx = await transaction(t);
  tx.publish('', queue, 'x');
  await tx.call('tx.select');
  await tx.call('tx.commit');
  expect(await t.channel.drain(queue)).toEqual(['x']);
});

rule('7.3.modes', 'tx.select on a confirm channel', async (target) => {
  const { channel } = await scene(target);
  await channel.confirms();
  await channel.refused(() => channel.call('tx.select'), {
    code: 406,
    text: 'cannot switch from confirm to tx mode',
    method: 'tx.select',
  });
});

rule('7.3.modes', 'confirm.select on a transactional channel', async (target) => {
  const t = await scene(target);
  const tx = await transaction(t);
  await tx.refused(() => tx.confirms(), {
    code: 406,
    text: 'cannot switch from tx to confirm mode',
    method: 'confirm.select',
  });
});

for (const method of ['tx.commit', 'tx.rollback']) {
  rule('7.3.not-transactional', method, async (target) => {
    const { channel } = await scene(target);
    await channel.refused(() => channel.call(method), {
      code: 406,
      text: 'channel is not transactional',
      method,
    });
  });
}

rule('7.3.publish', 'nothing arrives before the commit, everything in order after it', async (target) => {
  const t = await scene(target);
  const [first, second] = [await t.queue({ durable: true }), await t.queue()];
  const consumer = await t.channel.consume(first, { noAck: true });
  const tx = await transaction(t);
  for (const body of ['1', '2', '3']) {
    tx.publish('', first, body, { deliveryMode: 2 });
    tx.publish('', second, body);
  }
  await tx.fence();
  expect(await t.channel.drain(second)).toEqual([]);
  expect(consumer.bodies).toEqual([]);
  await tx.call('tx.commit');
  expect((await consumer.take(3)).map(({ body }) => body)).toEqual(['1', '2', '3']);
  expect(await t.channel.drain(second)).toEqual(['1', '2', '3']);
});

rule('7.3.publish', 'one transaction follows another without a new select', async (target) => {
  const t = await scene(target);
  const queue = await t.queue();
  const tx = await transaction(t);
  for (const body of ['1', '2']) {
    tx.publish('', queue, body);
    await tx.call('tx.commit');
    expect(await t.channel.drain(queue)).toEqual([body]);
  }
  await tx.call('tx.commit');
  expect(await t.channel.drain(queue)).toEqual([]);
});

rule('7.3.publish', 'transactions of two channels are independent', async (target) => {
  const t = await scene(target);
  const queue = await t.queue();
  const [one, two] = [await transaction(t), await transaction(t)];
  one.publish('', queue, 'one');
  two.publish('', queue, 'two');
  await two.call('tx.commit');
  expect(await t.channel.drain(queue)).toEqual(['two']);
  await one.call('tx.commit');
  expect(await t.channel.drain(queue)).toEqual(['one']);
});

rule(
  '7.3.publish-refused',
  'a missing exchange closes the channel at once, and nothing of the transaction happens',
  async (target) => {
    const t = await scene(target);
    const queue = await t.queue();
    const tx = await transaction(t);
    tx.publish('', queue, 'dropped');
    await tx.refused(() => tx.publish('missing-exchange', 'k', 'bad'), {
      code: 404,
      text: `no exchange 'missing-exchange' in vhost '${t.vhost}'`,
      method: 'basic.publish',
    });
    expect(await t.channel.drain(queue)).toEqual([]);
  },
);

rule('7.3.publish-refused', 'an internal exchange closes the channel at once', async (target) => {
  const t = await scene(target);
  const exchange = await t.exchange('fanout', { internal: true });
  const tx = await transaction(t);
  await tx.refused(() => tx.publish(exchange, 'k', 'bad'), {
    code: 403,
    text: `cannot publish to internal exchange '${exchange}' in vhost '${t.vhost}'`,
    method: 'basic.publish',
  });
});

rule('7.3.routed-early', 'a queue bound between publish and commit gets nothing', async (target) => {
  const t = await scene(target);
  const exchange = await t.exchange('fanout');
  const early = await t.boundQueue(exchange);
  const tx = await transaction(t);
  tx.publish(exchange, '', 'x');
  await tx.fence();
  const late = await t.boundQueue(exchange);
  await t.channel.call('queue.unbind', { queue: early, exchange, routingKey: '' });
  await tx.call('tx.commit');
  expect(await t.channel.drain(early)).toEqual(['x']);
  expect(await t.channel.drain(late)).toEqual([]);
});

rule('7.3.routed-early', 'a queue deleted between publish and commit takes nothing along', async (target) => {
  const t = await scene(target);
  const [gone, kept] = [await t.queue(), await t.queue()];
  const tx = await transaction(t);
  tx.publish('', gone, 'lost');
  tx.publish('', kept, 'kept');
  await tx.fence();
  await t.channel.call('queue.delete', { queue: gone });
  await tx.call('tx.commit');
  expect(await t.channel.drain(kept)).toEqual(['kept']);
});

rule('7.3.returns', 'not before the commit, and before its answer', async (target) => {
  const t = await scene(target);
  const tx = await transaction(t);
  tx.publish('', 'nobody', '1', {}, { mandatory: true });
  tx.publish('', 'nobody', '2', {}, { mandatory: true });
  await tx.fence();
  expect(tx.seen('basic.return')).toEqual([]);
  await tx.call('tx.commit');
  const methods = tx.journal.map(({ method }) => method).slice(-3);
  expect(methods).toEqual(['basic.return', 'basic.return', 'tx.commit-ok']);
  expect(tx.seen('basic.return').map(({ body }) => body!.toString())).toEqual(['1', '2']);
});

rule('7.3.returns', 'a rollback returns nothing', async (target) => {
  const t = await scene(target);
  const tx = await transaction(t);
  tx.publish('', 'nobody', '1', {}, { mandatory: true });
  await tx.call('tx.rollback');
  await tx.call('tx.commit');
  expect(tx.seen('basic.return')).toEqual([]);
});

rule(
  '7.3.acks',
  'a message acked without a commit comes back, one with a commit does not',
  async (target) => {
    const t = await scene(target);
    const queue = await filled(t, ['1', '2']);
    const tx = await transaction(t);
    tx.ack((await tx.get(queue))!);
    await tx.call('tx.commit');
    tx.ack((await tx.get(queue))!);
    await tx.close();
    await t.channel.untilReady(queue, 1);
    expect(await t.channel.drain(queue)).toEqual(['2']);
  },
);

rule('7.3.acks', 'a requeue happens at the commit, to the old place', async (target) => {
  const t = await scene(target);
  const queue = await filled(t, ['1', '2', '3', '4']);
  const tx = await transaction(t);
  const got = [await tx.get(queue), await tx.get(queue), await tx.get(queue)];
  tx.nack(got[0]!);
  tx.reject(got[1]!);
  tx.nack(got[2]!, { requeue: false });
  await tx.fence();
  expect(await t.channel.drain(queue)).toEqual(['4']);
  await tx.call('tx.commit');
  expect(await t.channel.drain(queue)).toEqual(['1', '2']);
});

rule('7.3.acks', 'ack multiple covers the deliveries up to it at the time of the ack', async (target) => {
  const t = await scene(target);
  const queue = await filled(t, ['1', '2', '3']);
  const tx = await transaction(t);
  await tx.get(queue);
  await tx.get(queue);
  tx.ack(2, true);
  await tx.get(queue);
  await tx.call('tx.commit');
  await tx.close();
  await t.channel.untilReady(queue, 1);
  expect(await t.channel.drain(queue)).toEqual(['3']);
});

rule('7.3.acks', 'the room of a prefetch limit is free only after the commit', async (target) => {
  const t = await scene(target);
  const queue = await filled(t, ['1', '2']);
  const tx = await transaction(t);
  await tx.qos(1);
  const consumer = await tx.consume(queue);
  tx.ack(await consumer.next());
  await tx.fence();
  expect((await tx.settle(queue)).messageCount).toBe(1);
  expect(consumer.bodies).toEqual(['1']);
  await tx.call('tx.commit');
  expect((await consumer.next()).body).toBe('2');
});

rule(
  '7.3.acks',
  'a message moved from queue to queue is in one of them, never in both or none',
  async (target) => {
    const t = await scene(target);
    const [from, to] = [await filled(t, ['1', '2', '3'], true), await t.queue({ durable: true })];
    const tx = await transaction(t);
    for (const end of ['tx.commit', 'tx.rollback', 'tx.commit']) {
      const message = (await tx.get(from))!;
      tx.publish('', to, message.body, { deliveryMode: 2 });
      tx.ack(message);
      await tx.call(end);
    }
    await tx.close();
    expect(await t.channel.drain(to)).toEqual(['1', '3']);
    await t.channel.untilReady(from, 1);
    expect(await t.channel.drain(from)).toEqual(['2']);
  },
);

rule('7.3.unknown-tag', 'a tag never given', async (target) => {
  const t = await scene(target);
  const tx = await transaction(t);
  await tx.refused(() => tx.ack(1), { code: 406, text: 'unknown delivery tag 1', method: 'basic.ack' });
});

rule('7.3.unknown-tag', 'a tag acked before in the same transaction', async (target) => {
  const t = await scene(target);
  const queue = await filled(t, ['x']);
  const tx = await transaction(t);
  const message = (await tx.get(queue))!;
  tx.ack(message);
  await tx.refused(() => tx.ack(message), { code: 406, text: 'unknown delivery tag 1', method: 'basic.ack' });
  await t.channel.untilReady(queue, 1);
  expect(await t.channel.drain(queue)).toEqual(['x']);
});

rule('7.3.rollback', 'publishes are gone, and the channel goes on', async (target) => {
  const t = await scene(target);
  const queue = await t.queue();
  const tx = await transaction(t);
  tx.publish('', queue, 'dropped');
  await tx.call('tx.rollback');
  tx.publish('', queue, 'kept');
  await tx.call('tx.commit');
  expect(await t.channel.drain(queue)).toEqual(['kept']);
});

rule(
  '7.3.rollback',
  'deliveries stay unacknowledged: not redelivered, and their tags can be acked again',
  async (target) => {
    const t = await scene(target);
    const queue = await filled(t, ['1', '2']);
    const tx = await transaction(t);
    const consumer = await tx.consume(queue);
    const [first, second] = await consumer.take(2);
    tx.ack(first!);
    tx.nack(second!);
    await tx.call('tx.rollback');
    await tx.settle(queue);
    expect(consumer.bodies).toEqual(['1', '2']);
    expect(await t.channel.drain(queue)).toEqual([]);
    tx.ack(first!);
    await tx.call('tx.commit');
    await tx.close();
    expect(await t.channel.drain(queue)).toEqual(['2']);
  },
);

rule('7.3.partial', 'a full queue that rejects', async (target) => {
  const t = await scene(target);
  const open = await t.queue();
  const full = await t.queue({ arguments: { 'x-max-length': 0, 'x-overflow': 'reject-publish' } });
  const tx = await transaction(t);
  tx.publish('', open, 'kept all the same');
  tx.publish('', full, 'too much');
  await tx.refused(() => tx.call('tx.commit'), {
    code: 406,
    text: 'partial tx completion',
    method: 'tx.commit',
  });
  expect(await t.channel.drain(open)).toEqual(['kept all the same']);
});

rule('7.3.pipelined', 'a declare behind the commit of a persistent message', async (target) => {
  const t = await scene(target);
  const queue = await t.queue({ durable: true });
  const client = await target.openWithChannel();
  await client.call(1, 'tx.select');
  // In one write: a declare that came later might find the commit done.
  client.send(
    publish(1, '', queue, 'x', { deliveryMode: 2 }),
    method(1, 'tx.commit'),
    method(1, 'queue.declare', { queue, passive: true }),
  );
  await expectHardError(client, {
    code: 504,
    text: "unexpected command while processing 'tx.commit'",
    method: [50, 10],
  });
});

for (const how of ['channel.close', 'connection.close', 'cut'] as const) {
  rule('7.3.end', how, async (target) => {
    const t = await scene(target);
    const [queue, other] = [await t.queue(), await t.queue()];
    t.channel.publishAll(queue, ['1', '2']);
    const peer = await t.connect();
    const tx = await peer.channel();
    await tx.call('tx.select');
    const consumer = await tx.consume(queue);
    const [first] = await consumer.take(2);
    tx.ack(first!);
    tx.publish('', other, 'dropped');
    await tx.fence();
    if (how === 'channel.close') await tx.close();
    else if (how === 'connection.close') await peer.close();
    else peer.cut();
    const next = await t.channel.consume(queue, { noAck: true });
    expect((await next.take(2)).map(({ body, redelivered }) => [body, redelivered])).toEqual([
      ['1', true],
      ['2', true],
    ]);
    expect(await t.channel.drain(other)).toEqual([]);
  });
}
