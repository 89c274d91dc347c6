// basic.cancel from the client.
import { expect } from 'vitest';
import { scene } from '../../support/scene.ts';
import { rule, type Target, useTarget } from '../../support/target.ts';

useTarget();

rule('6.3.cancel', 'nothing is delivered after cancel-ok', async (target) => {
  const t = await scene(target);
  const queue = await t.queue();
  const consumer = await t.channel.consume(queue, { noAck: true });
  t.channel.publish('', queue, 'before');
  await consumer.next();
  await consumer.cancel();
  t.channel.publish('', queue, 'after');
  expect(await t.channel.drain(queue)).toEqual(['after']);
  expect(consumer.bodies).toEqual(['before']);
});

rule('6.3.cancel', 'a stream of deliveries stops at cancel-ok, and nothing is lost', async (target) => {
  const t = await scene(target);
  const queue = await t.queue();
  const bodies = Array.from({ length: 500 }, (_unused, i) => String(i));
  const publisher = await t.newChannel();
  publisher.publishAll(queue, bodies);
  await t.channel.qos(50);
  const consumer = await t.channel.consume(queue);
  await consumer.take(10);
  await consumer.cancel();
  const at = t.channel.journal.findIndex(({ method }) => method === 'basic.cancel-ok');
  await t.channel.fence();
  expect(t.channel.journal.slice(at).filter(({ method }) => method === 'basic.deliver')).toEqual([]);
  const held = consumer.bodies;
  expect(held).toEqual(bodies.slice(0, held.length));
  t.channel.ack(0, true);
  const rest = await t.channel.consume(queue, { noAck: true });
  expect((await rest.take(bodies.length - held.length)).map(({ body }) => body)).toEqual(
    bodies.slice(held.length),
  );
});

rule('6.3.cancel', 'deliveries held by a cancelled consumer can be acked and requeued', async (target) => {
  const t = await scene(target);
  const queue = await t.queue();
  t.channel.publishAll(queue, ['1', '2', '3']);
  const consumer = await t.channel.consume(queue);
  const [first, second] = await consumer.take(3);
  await consumer.cancel();
  t.channel.ack(first!);
  t.channel.nack(second!);
  expect(await t.channel.drain(queue)).toEqual(['2']);
  await t.channel.close();
  const other = await t.newChannel();
  await other.untilReady(queue, 1);
  expect(await other.drain(queue)).toEqual(['3']);
});

rule('6.3.cancel', 'the other consumers of the channel go on', async (target) => {
  const t = await scene(target);
  const queue = await t.queue();
  const first = await t.channel.consume(queue, { noAck: true });
  const second = await t.channel.consume(queue, { noAck: true });
  await first.cancel();
  t.channel.publishAll(queue, ['1', '2']);
  expect((await second.take(2)).map(({ body }) => body)).toEqual(['1', '2']);
});

rule(
  '6.3.cancel-unknown',
  'an unknown tag, a tag of another channel and a cancelled tag are answered',
  async (target) => {
    const t = await scene(target);
    const queue = await t.queue();
    const other = await t.newChannel();
    const consumer = await other.consume(queue, { consumerTag: 'theirs', noAck: true });
    for (const consumerTag of ['never', 'theirs', '']) {
      expect(await t.channel.call('basic.cancel', { consumerTag })).toEqual({ consumerTag });
    }
    t.channel.publish('', queue, 'still consumed');
    expect((await consumer.next()).body).toBe('still consumed');
    await consumer.cancel();
    await consumer.cancel();
  },
);

/** RabbitMQ before 4.3 knows no cancel-ok from a client. */
async function cancelOkRefused(target: Target): Promise<void> {
  const t = await scene(target);
  const queue = await t.queue();
  const channel = await t.stranger();
  const consumer = await channel.consume(queue);
  await channel.refused(() => channel.send('basic.cancel-ok', { consumerTag: consumer.tag }), {
    code: 503,
    text: 'unimplemented method',
    method: 'basic.cancel-ok',
  });
}

rule(
  '6.3.cancel-ok',
  'a cancel-ok nobody asked for ends the consumer without a word',
  async (target) => {
    const t = await scene(target);
    const queue = await t.queue();
    const consumer = await t.channel.consume(queue, { noAck: true });
    t.channel.send('basic.cancel-ok', { consumerTag: consumer.tag });
    await t.channel.untilCounts(queue, { consumerCount: 0 });
    t.channel.publish('', queue, 'x');
    expect(await t.channel.drain(queue)).toEqual(['x']);
    expect(t.channel.seen('basic.cancel-ok')).toEqual([]);
  },
  { onRabbitMQ: cancelOkRefused },
);

rule(
  '6.3.cancel-ok',
  'the answer to a cancel of the server is accepted',
  async (target) => {
    const t = await scene(target);
    const queue = await t.queue();
    const consumer = await t.channel.consume(queue);
    await t.channel.call('queue.delete', { queue });
    await t.channel.next('basic.cancel');
    t.channel.send('basic.cancel-ok', { consumerTag: consumer.tag });
    await t.channel.fence();
    expect(t.channel.closing).toBeNull();
  },
  { onRabbitMQ: cancelOkRefused },
);

rule('6.3.no-wait', 'it is not answered and works', async (target) => {
  const t = await scene(target);
  const queue = await t.queue();
  const consumer = await t.channel.consume(queue, { noAck: true });
  t.channel.send('basic.cancel', { consumerTag: consumer.tag, nowait: true });
  t.channel.publish('', queue, 'x');
  expect(await t.channel.drain(queue)).toEqual(['x']);
  expect(t.channel.seen('basic.cancel-ok')).toEqual([]);
});
