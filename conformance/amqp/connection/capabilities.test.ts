// What a client declares about itself, and the user it logs in as.
import { expect } from 'vitest';
import { expectReason, together } from '../../support/checks.ts';
import { CLIENT_CAPABILITIES, type Fields, method } from '../../support/raw-client.ts';
import { rule, useTarget } from '../../support/target.ts';

useTarget({
  vhosts: ['other'],
  users: [
    {
      name: 'limited',
      password: 'secret',
      permissions: [{ vhost: 'other', configure: '', write: '', read: '' }],
    },
  ],
});

rule('1.12.cancel-notify', 'a consumer learns that its queue was deleted', async (target) => {
  const client = await target.openWithChannel();
  const owner = await target.openWithChannel();
  const queue = target.name('gone');
  await owner.call(1, 'queue.declare', { queue });
  await client.call(1, 'basic.consume', { queue, consumerTag: 'c' });
  await owner.call(1, 'queue.delete', { queue });
  expect(await client.expect('basic.cancel', 1)).toEqual({ consumerTag: 'c', nowait: true });
  await client.expectQuiet(1);
});

rule('1.12.no-cancel-notify', 'a client that does not know such cancels gets none', async (target) => {
  const without: Readonly<Record<string, Fields>> = {
    'no properties': {},
    'capability false': { capabilities: { ...CLIENT_CAPABILITIES, consumer_cancel_notify: false } },
    'no capabilities': { capabilities: {} },
  };
  await together(without, async (clientProperties) => {
    const client = await target.openWithChannel({ clientProperties });
    const owner = await target.openWithChannel();
    const queue = target.name('gone');
    await owner.call(1, 'queue.declare', { queue });
    await client.call(1, 'basic.consume', { queue, consumerTag: 'c' });
    await owner.call(1, 'queue.delete', { queue });
    await owner.expectQuiet(1);
    // A channel of RabbitMQ learns of the end of its queue some time after delete-ok, and nothing tells when.
    if (target.isRabbitMQ) await client.silentFor(300);
    await client.expectQuiet(1);
    // The tag is free again.
    await owner.call(1, 'queue.declare', { queue, exclusive: false, autoDelete: true });
    await client.call(1, 'basic.consume', { queue, consumerTag: 'c' });
    client.destroy();
  });
});

rule(
  '1.6.vhost-refused',
  'a user without permissions in a vhost may not open it',
  async (target) => {
    const allowed = await target.open({ user: 'limited', password: 'secret', vhost: 'other' });
    await allowed.close();
    const client = await target.connect();
    await client.authenticate('limited', 'secret');
    client.send(
      method(0, 'connection.tune-ok', { ...client.tune, heartbeat: 0 }),
      method(0, 'connection.open', { virtualHost: '/' }),
    );
    expectReason(await client.expectConnectionClose(), {
      code: 530,
      text: "access to vhost '/' refused for user 'limited'",
      method: [10, 40],
    });
  },
  { ownOnly: 'needs a user of its own' },
);
