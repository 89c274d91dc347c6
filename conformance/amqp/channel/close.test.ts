// How channels end: by the client, by an error, and what happens to frames on their way.
import { expect } from 'vitest';
import { expectSoftError } from '../../support/checks.ts';
import { body, header, method, publish, type RawClient } from '../../support/raw-client.ts';
import { rule, type Target, useTarget } from '../../support/target.ts';

useTarget();

const CLOSE = { replyCode: 200, replyText: '', classId: 0, methodId: 0 };

async function twoChannels(target: Target): Promise<{ client: RawClient; queue: string }> {
  const client = await target.openWithChannel();
  await client.openChannel(2);
  const queue = target.name('channel');
  await client.call(2, 'queue.declare', { queue, exclusive: true });
  return { client, queue };
}

/** A soft error on channel 1. */
function offend(client: RawClient, target: Target): void {
  client.sendMethod(1, 'queue.declare', { queue: target.name('missing'), passive: true });
}

rule('2.4.order', 'unacked messages are back when channel.close arrives', async (target) => {
  const { client, queue } = await twoChannels(target);
  for (const text of ['a', 'b', 'c']) client.send(publish(2, '', queue, text));
  await client.expectQuiet(2);
  await client.call(1, 'basic.consume', { queue, consumerTag: 'c' });
  for (let i = 0; i < 3; i++) await client.expectContent('basic.deliver', 1);
  offend(client, target);
  await client.expectChannelClose(1, false);
  expect(await client.call(2, 'queue.declare', { queue, passive: true })).toMatchObject({
    messageCount: 3,
    consumerCount: 0,
  });
  for (const text of ['a', 'b', 'c']) {
    const content = await client.get(2, queue);
    expect([content.body.toString(), content.method.fields['redelivered']]).toEqual([text, true]);
  }
});

rule('2.4.order', 'an auto-delete queue is gone when channel.close arrives', async (target) => {
  const { client } = await twoChannels(target);
  const queue = target.name('auto');
  await client.call(2, 'queue.declare', { queue, autoDelete: true });
  await client.call(1, 'basic.consume', { queue, consumerTag: 'c' });
  offend(client, target);
  await client.expectChannelClose(1);
  client.sendMethod(2, 'queue.declare', { queue, passive: true });
  await expectSoftError(client, 2, { code: 404 });
});

rule('2.4.nothing-after', 'a closed channel gets no deliveries', async (target) => {
  const { client, queue } = await twoChannels(target);
  await client.call(1, 'basic.consume', { queue, consumerTag: 'c', noAck: true });
  offend(client, target);
  await client.expectChannelClose(1, false);
  for (let i = 0; i < 50; i++) client.send(publish(2, '', queue, 'after'));
  await client.expectQuiet(2);
  await client.expectQuiet(2);
});

/** A channel that fails while another connection floods its consumer. Resolves when channel.close has come. */
async function closedInTheFlood(target: Target): Promise<{ client: RawClient; queue: string }> {
  const { client, queue } = await twoChannels(target);
  await client.call(1, 'basic.consume', { queue, consumerTag: 'c', noAck: true });
  const other = await target.openWithChannel();
  const fanout = target.name('fanout');
  await client.call(2, 'exchange.declare', { exchange: fanout, type: 'fanout', autoDelete: true });
  await client.call(2, 'queue.bind', { queue, exchange: fanout, routingKey: '' });
  other.send(...Array.from({ length: 200 }, () => publish(1, fanout, '', 'before')));
  offend(client, target);
  let closed = false;
  while (!closed) closed = (await client.next()).name === 'channel.close';
  return { client, queue };
}

rule(
  '2.4.nothing-crosses',
  'a channel closed while messages come in gets none of them after its close',
  async (target) => {
    const { client, queue } = await closedInTheFlood(target);
    for (let i = 0; i < 50; i++) client.send(publish(2, '', queue, 'after'));
    await client.expectQuiet(2);
    await client.expectQuiet(2);
  },
  {
    onRabbitMQ: async (target) => {
      const { client } = await closedInTheFlood(target);
      client.sendMethod(2, 'basic.qos', { prefetchCount: 0, global: false });
      let frame = await client.next();
      for (; frame.name !== 'basic.qos-ok'; frame = await client.next())
        expect([frame.channel, ['basic.deliver', 'header', 'body'].includes(frame.name)]).toEqual([1, true]);
      expect(frame.channel).toBe(2);
    },
  },
);

rule('2.4.nothing-after', 'a closed channel gets no confirms and no returns', async (target) => {
  const { client, queue } = await twoChannels(target);
  await client.call(1, 'confirm.select');
  client.send(
    publish(1, target.name('no exchange'), '', 'x'),
    publish(1, '', queue, 'lost'),
    publish(1, '', target.name('nowhere'), 'x', {}, { mandatory: true }),
  );
  await client.expectChannelClose(1, false);
  await client.expectQuiet(2);
  expect(await client.call(2, 'queue.declare', { queue, passive: true })).toMatchObject({ messageCount: 0 });
});

rule('2.4.swallowed', 'frames on a closed channel are swallowed until close-ok', async (target) => {
  const { client, queue } = await twoChannels(target);
  const never = target.name('never');
  offend(client, target);
  await client.expectChannelClose(1, false);
  client.send(
    publish(1, '', queue, 'lost'),
    method(1, 'queue.declare', { queue: never }),
    method(1, 'basic.ack', { deliveryTag: 99 }),
    method(1, 'basic.consume', { queue, consumerTag: 'c' }),
    method(1, 'tx.commit'),
    method(1, 'channel.close-ok'),
    method(1, 'channel.open'),
  );
  await client.expect('channel.open-ok', 1);
  expect(await client.call(1, 'queue.declare', { queue, passive: true })).toMatchObject({ messageCount: 0 });
  client.sendMethod(1, 'queue.declare', { queue: never, passive: true });
  await expectSoftError(client, 1, { code: 404 });
});

rule('2.4.swallowed', 'publishes pipelined behind the offence are lost', async (target) => {
  const { client, queue } = await twoChannels(target);
  client.send(
    publish(1, target.name('no exchange'), '', 'x'),
    ...Array.from({ length: 20 }, () => publish(1, '', queue, 'lost')),
  );
  await client.expectChannelClose(1);
  expect(await client.call(2, 'queue.declare', { queue, passive: true })).toMatchObject({ messageCount: 0 });
  await client.openChannel(1);
  client.send(publish(1, '', queue, 'kept'));
  expect((await client.get(1, queue)).body.toString()).toBe('kept');
});

rule(
  '2.4.swallowed-content',
  'the content of a refused publish is swallowed as it comes in',
  async (target) => {
    const { client } = await twoChannels(target);
    const content = Buffer.alloc(1_000, 'x');
    client.send(
      publish(1, target.name('no exchange'), '', 'x'),
      method(1, 'basic.publish', { exchange: '', routingKey: 'q' }),
      header(1, content.length),
    );
    await client.expectChannelClose(1, false);
    client.send(body(1, content.subarray(0, 400)));
    await client.expectQuiet(2);
    client.send(body(1, content.subarray(400)), method(1, 'channel.close-ok'), method(1, 'channel.open'));
    await client.expect('channel.open-ok', 1);
    await client.expectQuiet(1);
  },
);

rule('2.4.crossing', 'a close that crosses the server’s is answered', async (target) => {
  const { client } = await twoChannels(target);
  offend(client, target);
  await client.expectChannelClose(1, false);
  client.sendMethod(1, 'channel.close', CLOSE);
  await client.expect('channel.close-ok', 1);
  client.send(method(1, 'channel.close-ok'), method(1, 'channel.open'));
  await client.expect('channel.open-ok', 1);
  await client.expectQuiet(1);
});

rule('2.4.reopened', 'after close-ok the number is as new', async (target) => {
  const { client, queue } = await twoChannels(target);
  for (const text of ['a', 'b']) client.send(publish(2, '', queue, text));
  await client.expectQuiet(2);
  await client.call(1, 'confirm.select');
  await client.call(1, 'basic.qos', { prefetchCount: 1, global: true });
  expect((await client.get(1, queue, false)).method.fields['deliveryTag']).toBe(1);
  offend(client, target);
  await client.expectChannelClose(1);
  await client.openChannel(1);
  // What was got comes back when RabbitMQ's channel is gone, and that may be later.
  await client.untilReady(1, queue, 2);
  expect((await client.get(1, queue, false)).method.fields['deliveryTag']).toBe(1);
  expect((await client.get(1, queue, false)).method.fields['deliveryTag']).toBe(2);
  // Not in confirm mode any more: a publish is not answered, and tx can be selected.
  client.send(publish(1, '', target.name('nowhere'), 'x'));
  await client.expectQuiet(1);
  await client.call(1, 'tx.select');
});

rule(
  '2.4.client-close',
  'a client that closes its channel finds its messages back at close-ok',
  async (target) => {
    const { client, queue } = await twoChannels(target);
    for (const text of ['a', 'b']) client.send(publish(2, '', queue, text));
    await client.expectQuiet(2);
    await client.call(1, 'basic.consume', { queue, consumerTag: 'c' });
    for (let i = 0; i < 2; i++) await client.expectContent('basic.deliver', 1);
    const { payload } = await (async () => {
      client.sendMethod(1, 'channel.close', CLOSE);
      return client.expectFrame('channel.close-ok', 1);
    })();
    expect([...payload]).toEqual([0, 20, 0, 41]);
    expect(await client.call(2, 'queue.declare', { queue, passive: true })).toMatchObject({
      messageCount: 2,
    });
    expect((await client.get(2, queue)).body.toString()).toBe('a');
  },
);

rule('2.4.client-close', 'a number may be opened again at close-ok', async (target) => {
  const client = await target.openWithChannel();
  for (let round = 0; round < 20; round++) {
    await client.call(1, 'channel.close', CLOSE);
    await client.openChannel(1);
  }
  await client.expectQuiet(1);
});

/** Closes and reopens a channel without waiting for close-ok. */
async function reopenUnanswered(target: Target): Promise<RawClient> {
  const client = await target.openWithChannel();
  return client.send(
    method(1, 'channel.close', CLOSE),
    method(1, 'channel.open'),
    method(1, 'basic.qos', {}),
  );
}

rule(
  '2.4.reopen-unanswered',
  'a number may be opened again without waiting for close-ok',
  async (target) => {
    const client = await reopenUnanswered(target);
    await client.expect('channel.close-ok', 1);
    await client.expect('channel.open-ok', 1);
    await client.expect('basic.qos-ok', 1);
  },
  {
    onRabbitMQ: async (target) => {
      const client = await reopenUnanswered(target);
      const first = await client.next();
      if (first.name === 'channel.close-ok' || first.name === 'channel.open-ok') return;
      expect(first.name).toBe('connection.close');
      expect(first.fields['replyText']).toMatch(
        /^CHANNEL_ERROR - (second 'channel.open' seen|expected 'channel.open')$/,
      );
    },
  },
);

rule('2.4.client-close', 'nothing is delivered on a channel after close-ok', async (target) => {
  const { client, queue } = await twoChannels(target);
  await client.call(1, 'basic.consume', { queue, consumerTag: 'c', noAck: true });
  client.send(
    ...Array.from({ length: 100 }, () => publish(2, '', queue, 'x')),
    method(1, 'channel.close', CLOSE),
  );
  let closed = false;
  while (!closed) closed = (await client.next()).name === 'channel.close-ok';
  client.send(...Array.from({ length: 20 }, () => publish(2, '', queue, 'y')));
  await client.expectQuiet(2);
  await client.expectQuiet(2);
});
