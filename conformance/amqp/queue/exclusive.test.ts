// Exclusive queues as other connections see them.
import { expect } from 'vitest';
import { scene } from '../../support/scene.ts';
import { rule, useTarget } from '../../support/target.ts';

useTarget();

const locked = (queue: string, vhost: string): string =>
  `cannot obtain exclusive access to locked queue '${queue}' in vhost '${vhost}'. It could be originally declared on another connection or the exclusive property value does not match that of the original declaration.`;

const uses: readonly (readonly [string, string, Record<string, unknown>])[] = [
  ['declare as exclusive', 'queue.declare', { exclusive: true }],
  ['declare as shared', 'queue.declare', {}],
  ['passive declare', 'queue.declare', { passive: true }],
  ['bind', 'queue.bind', { exchange: 'amq.fanout', routingKey: '' }],
  ['unbind what is bound', 'queue.unbind', { exchange: 'amq.fanout', routingKey: 'bound' }],
  ['consume', 'basic.consume', {}],
  ['get', 'basic.get', {}],
  ['purge', 'queue.purge', {}],
  ['delete', 'queue.delete', {}],
];
for (const [what, method, fields] of uses) {
  rule('5.3.locked', `another connection may not ${what}`, async (target) => {
    const t = await scene(target);
    const queue = await t.queue({ exclusive: true });
    await t.channel.call('queue.bind', { queue, exchange: 'amq.fanout', routingKey: 'bound' });
    const other = await t.stranger();
    await other.refused(() => other.call(method, { queue, ...fields }), {
      code: 405,
      text: locked(queue, t.vhost),
      method,
    });
    await t.channel.call('queue.declare', { queue, passive: true });
  });
}

rule('5.3.locked', 'unbinding what is not bound succeeds for anyone', async (target) => {
  const t = await scene(target);
  const queue = await t.queue({ exclusive: true });
  const other = await t.stranger();
  await other.call('queue.unbind', { queue, exchange: 'amq.fanout', routingKey: 'never' });
});

rule('5.3.flag', 'the owner may not declare its exclusive queue as shared', async (target) => {
  const t = await scene(target);
  const queue = await t.queue({ exclusive: true });
  await t.channel.refused(() => t.channel.call('queue.declare', { queue }), {
    code: 405,
    text: locked(queue, t.vhost),
    method: 'queue.declare',
  });
});

rule('5.3.flag', 'a shared queue may not be declared as exclusive', async (target) => {
  const t = await scene(target);
  const queue = await t.queue();
  await t.channel.refused(() => t.channel.call('queue.declare', { queue, exclusive: true }), {
    code: 405,
    text: locked(queue, t.vhost),
    method: 'queue.declare',
  });
});

rule('5.3.flag', 'the lock is told before any other difference', async (target) => {
  const t = await scene(target);
  const queue = await t.queue({ exclusive: true });
  const other = await t.stranger();
  const fields = { queue, autoDelete: true, arguments: { 'x-max-length': 5 } };
  await other.refused(() => other.call('queue.declare', fields), {
    code: 405,
    text: locked(queue, t.vhost),
    method: 'queue.declare',
  });
});

rule(
  '5.3.publish',
  'another connection publishes to it, through the default exchange and a binding',
  async (target) => {
    const t = await scene(target);
    const queue = await t.queue({ exclusive: true });
    const exchange = await t.exchange('fanout');
    await t.channel.call('queue.bind', { queue, exchange, routingKey: '' });
    const other = await t.stranger();
    await other.confirms();
    await other.publishConfirmed('', queue, ['directly']);
    await other.publishConfirmed(exchange, '', ['by the binding']);
    expect(await t.channel.drain(queue)).toEqual(['directly', 'by the binding']);
  },
);

rule('5.3.channels', 'a second channel of the connection uses it freely', async (target) => {
  const t = await scene(target);
  const queue = await t.queue({ exclusive: true });
  const second = await t.newChannel();
  await second.call('queue.declare', { queue, exclusive: true });
  await second.call('queue.bind', { queue, exchange: 'amq.fanout', routingKey: queue });
  await second.call('queue.unbind', { queue, exchange: 'amq.fanout', routingKey: queue });
  const consumer = await second.consume(queue, { noAck: true });
  t.channel.publish('', queue, 'x');
  expect(await consumer.next()).toMatchObject({ body: 'x' });
  await consumer.cancel();
  expect(await second.call('queue.delete', { queue })).toEqual({ messageCount: 0 });
});
