// Channel numbers: opening, limits, methods that do not belong, pipelining.
import { expect } from 'vitest';
import { expectHardError, expectReason } from '../../support/checks.ts';
import { body, header, method, openRaw, parseUrl, publish } from '../../support/raw-client.ts';
import { rule, startOwnBroker, useTarget } from '../../support/target.ts';

useTarget();

const CHANNEL_CLOSE = { replyCode: 200, replyText: '', classId: 0, methodId: 0 };

for (const [name, fields, ids] of [
  ['basic.qos', {}, [60, 10]],
  ['queue.declare', { queue: 'q' }, [50, 10]],
  ['channel.close', CHANNEL_CLOSE, [20, 40]],
  ['channel.close-ok', {}, [20, 41]],
  ['channel.flow', { active: true }, [20, 20]],
] as const) {
  rule('2.3.expected-open', `${name} on a channel that is not open is refused`, async (target) => {
    const client = await target.openWithChannel();
    client.sendMethod(2, name, fields);
    await expectHardError(client, { code: 504, text: "expected 'channel.open'", method: ids });
  });
}

rule('2.3.expected-open', 'a publish on a channel that is not open is refused', async (target) => {
  const client = await target.openWithChannel();
  client.send(publish(2, '', 'q', 'x'));
  await expectHardError(client, { code: 504, text: "expected 'channel.open'", method: [60, 40] });
});

rule('2.3.expected-open', 'a channel that the client closed is not open', async (target) => {
  const client = await target.openWithChannel();
  await client.call(1, 'channel.close', CHANNEL_CLOSE);
  client.sendMethod(1, 'basic.qos', {});
  await expectHardError(client, { code: 504, text: "expected 'channel.open'", method: [60, 10] });
});

rule('2.3.expected-open', 'a second close-ok finds the channel closed', async (target) => {
  const client = await target.openWithChannel();
  client.sendMethod(1, 'queue.declare', { queue: target.name('missing'), passive: true });
  await client.expectChannelClose(1);
  client.sendMethod(1, 'channel.close-ok');
  await expectHardError(client, { code: 504, text: "expected 'channel.open'", method: [20, 41] });
});

rule('2.3.content-unopened', 'content on a channel that is not open is refused', async (target) => {
  for (const bytes of [header(2, 0), body(2, 'x')]) {
    const client = await target.openWithChannel();
    client.send(bytes);
    await expectHardError(client, {
      code: [504, 505],
      text: /- expected ('channel.open'|method frame, got non method frame instead)$/,
      method: [0, 0],
    });
  }
});

rule('2.3.second-open', 'a channel cannot be opened twice', async (target) => {
  const client = await target.openWithChannel();
  client.sendMethod(1, 'channel.open');
  await expectHardError(client, { code: 504, text: "second 'channel.open' seen", method: [20, 10] });
});

for (const [name, fields, ids] of [
  [
    'connection.start-ok',
    { clientProperties: {}, mechanism: 'PLAIN', response: Buffer.alloc(0), locale: '' },
    [10, 11],
  ],
  ['connection.tune-ok', { channelMax: 1, frameMax: 8192, heartbeat: 0 }, [10, 31]],
  ['connection.open', { virtualHost: '/' }, [10, 40]],
  ['connection.close', CHANNEL_CLOSE, [10, 50]],
  ['connection.close-ok', {}, [10, 51]],
  ['connection.update-secret', { newSecret: Buffer.from('x'), reason: '' }, [10, 70]],
] as const) {
  rule('2.3.connection-method', `${name} on a channel is refused`, async (target) => {
    const client = await target.openWithChannel();
    client.sendMethod(1, name, fields);
    await expectHardError(client, { code: 503, text: 'unimplemented method', method: ids });
  });
}

for (const [name, fields, ids] of [
  ['channel.open-ok', {}, [20, 11]],
  ['channel.flow-ok', { active: true }, [20, 21]],
  ['access.request-ok', { ticket: 1 }, [30, 11]],
  ['exchange.declare-ok', {}, [40, 11]],
  ['exchange.unbind-ok', {}, [40, 51]],
  ['queue.declare-ok', { queue: 'q', messageCount: 0, consumerCount: 0 }, [50, 11]],
  ['queue.delete-ok', { messageCount: 0 }, [50, 41]],
  ['basic.qos-ok', {}, [60, 11]],
  ['basic.consume-ok', { consumerTag: 'c' }, [60, 21]],
  ['basic.get-empty', {}, [60, 72]],
  ['basic.recover-ok', {}, [60, 111]],
  ['confirm.select-ok', {}, [85, 11]],
  ['tx.select-ok', {}, [90, 11]],
] as const) {
  rule('2.3.server-method', `${name} from a client is refused`, async (target) => {
    const client = await target.openWithChannel();
    client.sendMethod(1, name, fields);
    await expectHardError(client, { code: 503, text: 'unimplemented method', method: ids });
  });
}

for (const [name, fields, ids] of [
  [
    'basic.deliver',
    { consumerTag: 'c', deliveryTag: 1, redelivered: false, exchange: '', routingKey: '' },
    [60, 60],
  ],
  ['basic.return', { replyCode: 312, replyText: '', exchange: '', routingKey: '' }, [60, 50]],
] as const) {
  rule('2.3.server-method', `${name} with its content from a client is refused`, async (target) => {
    const client = await target.openWithChannel();
    client.send(method(1, name, fields), header(1, 1), body(1, 'x'));
    await expectHardError(client, { code: 503, text: 'unimplemented method', method: ids });
  });
}

rule('2.3.close-ok', 'a close-ok that answers nothing is refused', async (target) => {
  const client = await target.openWithChannel();
  client.sendMethod(1, 'channel.close-ok');
  await expectHardError(client, { code: 503, text: 'unimplemented method', method: [20, 41] });
});

rule('2.3.pipelined', 'a hundred synchronous methods at once are answered in order', async (target) => {
  const client = await target.openWithChannel();
  const queues = Array.from({ length: 100 }, () => target.name('pipelined'));
  client.send(...queues.map((queue) => method(1, 'queue.declare', { queue, exclusive: true })));
  for (const queue of queues) expect(await client.expect('queue.declare-ok', 1)).toMatchObject({ queue });
});

rule('2.3.pipelined', 'methods of every kind are answered in the order they came', async (target) => {
  const client = await target.openWithChannel();
  const queue = target.name('order');
  client.send(
    method(1, 'queue.declare', { queue, exclusive: true }),
    method(1, 'basic.qos', { prefetchCount: 1 }),
    method(1, 'confirm.select'),
    publish(1, '', queue, 'x'),
    method(1, 'queue.bind', { queue, exchange: 'amq.direct', routingKey: queue }),
    method(1, 'basic.recover', { requeue: true }),
    method(1, 'channel.flow', { active: true }),
    method(1, 'queue.unbind', { queue, exchange: 'amq.direct', routingKey: queue }),
    method(1, 'queue.purge', { queue }),
    method(1, 'queue.delete', { queue }),
    method(1, 'channel.close', CHANNEL_CLOSE),
  );
  const names: string[] = [];
  while (names.length < 10) {
    const { name } = await client.next();
    // The confirm comes when the message is safe.
    if (name !== 'basic.ack') names.push(name);
  }
  expect(names).toEqual([
    'queue.declare-ok',
    'basic.qos-ok',
    'confirm.select-ok',
    'queue.bind-ok',
    'basic.recover-ok',
    'channel.flow-ok',
    'queue.unbind-ok',
    'queue.purge-ok',
    'queue.delete-ok',
    'channel.close-ok',
  ]);
});

rule('2.3.any-number', 'channels may have any number, in any order', async (target) => {
  const client = await target.open();
  for (const channel of [65535, 1, 2047, 2048, 32768, 2]) await client.openChannel(channel);
  for (const channel of [2, 32768, 65535]) await client.expectQuiet(channel);
});

rule('1.13.channel-max', 'one channel more than negotiated is refused', async (target) => {
  const client = await target.open({ channelMax: 3 });
  for (const channel of [1, 2, 3]) await client.openChannel(channel);
  client.sendMethod(4, 'channel.open');
  expectReason(await client.expectConnectionClose(), {
    code: 530,
    text: 'number of channels opened (3) has reached the negotiated channel_max (3)',
    method: [0, 0],
  });
});

rule(
  '1.13.count-not-number',
  'a channel numbered above channel_max works while the count allows it',
  async (target) => {
    const client = await target.open({ channelMax: 2 });
    await client.openChannel(500);
    await client.openChannel(65535);
    await client.expectQuiet(65535);
  },
);

rule('1.13.freed', 'channels closed by either side make room', async (target) => {
  const client = await target.open({ channelMax: 1 });
  for (let round = 1; round <= 5; round++) {
    await client.openChannel(round);
    await client.call(round, 'channel.close', CHANNEL_CLOSE);
    await client.openChannel(round);
    client.sendMethod(round, 'queue.declare', { queue: target.name('missing'), passive: true });
    await client.expectChannelClose(round);
  }
});

rule(
  '1.13.node-limit',
  'one channel more than the node allows is refused',
  async (target) => {
    const broker = await startOwnBroker({ channelMaxPerNode: 3, nodeName: 'some@node' });
    try {
      const [first, second] = [
        target.keep(await openRaw(broker.url)),
        target.keep(await openRaw(broker.url)),
      ];
      await first.openChannel(1);
      await first.openChannel(2);
      await second.openChannel(1);
      second.sendMethod(2, 'channel.open');
      expectReason(await second.expectConnectionClose(), {
        code: 530,
        text: "number of channels opened on node 'some@node' has reached the maximum allowed limit of 3",
      });
      await second.closedWithin();
      await first.openChannel(3);
    } finally {
      target.dropClients();
      await broker.stop();
    }
  },
  { ownOnly: 'the limit is a setting of the broker' },
);

rule('14.channels', 'all channels of the proposal can be opened', async (target) => {
  const client = await target.open();
  const count = client.tune['channelMax'] as number;
  const opens = Array.from({ length: count }, (_, i) => method(i + 1, 'channel.open'));
  client.send(...opens);
  for (let i = 0; i < count; i++) await client.expect('channel.open-ok');
  client.sendMethod(count + 1, 'channel.open');
  expectReason(await client.expectConnectionClose(), {
    code: 530,
    text: `number of channels opened (${count}) has reached the negotiated channel_max (${count})`,
  });
});

rule('14.consumers', 'a channel may have a thousand consumers', async (target) => {
  const client = await target.openWithChannel();
  const queue = target.name('consumers');
  await client.call(1, 'queue.declare', { queue, exclusive: true });
  const tags = Array.from({ length: 1_000 }, (_, i) => `tag ${i}`);
  client.send(...tags.map((consumerTag) => method(1, 'basic.consume', { queue, consumerTag })));
  for (const consumerTag of tags) expect(await client.expect('basic.consume-ok', 1)).toEqual({ consumerTag });
  expect(await client.call(1, 'queue.declare', { queue, passive: true })).toMatchObject({
    consumerCount: 1_000,
  });
});

rule(
  '1.11.update-secret',
  'update-secret in the middle of many channels stops none of them',
  async (target) => {
    const client = await target.openWithChannel();
    await client.openChannel(2);
    const newSecret = Buffer.from(parseUrl(target.url).password);
    client.send(
      method(1, 'basic.qos', {}),
      method(0, 'connection.update-secret', { newSecret, reason: '' }),
      method(2, 'basic.qos', {}),
    );
    const names = [await client.next(), await client.next(), await client.next()].map((frame) => frame.name);
    expect(names.sort()).toEqual(['basic.qos-ok', 'basic.qos-ok', 'connection.update-secret-ok']);
  },
);
