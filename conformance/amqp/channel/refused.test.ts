// What is granted without meaning anything, what is refused, and what does not exist.
import { expect } from 'vitest';
import { expectHardError } from '../../support/checks.ts';
import { publish, rawMethod } from '../../support/raw-client.ts';
import { rule, useTarget } from '../../support/target.ts';

useTarget();

rule('3.4.access', 'every access is granted, with ticket 1', async (target) => {
  const client = await target.openWithChannel();
  for (const fields of [
    {},
    { realm: '/data', exclusive: true, passive: true, active: true, write: true, read: true },
    { realm: 'no such realm', exclusive: false, passive: false, active: false, write: false, read: false },
  ]) {
    expect(await client.call(1, 'access.request', fields)).toEqual({ ticket: 1 });
  }
  await client.expectQuiet(1);
});

rule('3.4.flow-on', 'flow may be switched on, which it is', async (target) => {
  const client = await target.openWithChannel();
  expect(await client.call(1, 'channel.flow', { active: true })).toEqual({ active: true });
  await client.expectQuiet(1);
});

rule('3.4.flow-off', 'flow cannot be switched off', async (target) => {
  const client = await target.openWithChannel();
  client.sendMethod(1, 'channel.flow', { active: false });
  await expectHardError(client, { code: 540, text: 'active=false', method: [20, 20] });
});

for (const prefetchSize of [1, 100, 0xffff_ffff]) {
  rule('3.4.prefetch-size', `a prefetch-size of ${prefetchSize} is refused`, async (target) => {
    const client = await target.openWithChannel();
    client.sendMethod(1, 'basic.qos', { prefetchSize, prefetchCount: 1 });
    await expectHardError(client, {
      code: 540,
      text: `prefetch_size!=0 (${prefetchSize})`,
      method: [60, 10],
    });
  });
}

rule('3.4.immediate', 'immediate is refused', async (target) => {
  const client = await target.openWithChannel();
  client.send(publish(1, '', target.name('nowhere'), 'x', {}, { immediate: true }));
  await expectHardError(client, { code: 540, text: 'immediate=true', method: [60, 40] });
});

for (const [name, ids] of [
  ['basic.recover', [60, 110]],
  ['basic.recover-async', [60, 100]],
] as const) {
  rule('3.4.recover-drop', `${name} without requeue is refused`, async (target) => {
    const client = await target.openWithChannel();
    client.sendMethod(1, name, { requeue: false });
    await expectHardError(client, { code: 540, text: 'requeue=false', method: ids });
  });
}

for (const [name, channel, classId, methodId, args] of [
  ['connection.redirect', 0, 10, 42, Buffer.from([0, 0])],
  ['file.qos', 1, 70, 10, Buffer.alloc(7)],
  ['file.open', 1, 70, 40, Buffer.alloc(9)],
  ['stream.qos', 1, 80, 10, Buffer.alloc(11)],
  ['stream.publish', 1, 80, 40, Buffer.alloc(5)],
  ['dtx.select', 1, 100, 10, Buffer.alloc(0)],
  ['tunnel.request', 1, 110, 10, Buffer.alloc(4)],
] as const) {
  rule(
    '3.4.absent',
    `${name} does not exist`,
    async (target) => {
      const client = await target.openWithChannel();
      client.send(rawMethod(channel, classId, methodId, args));
      await expectHardError(client, {
        code: channel === 0 ? [503, 504, 540] : [503, 540],
        method: [classId, methodId],
      });
    },
    {
      onRabbitMQ: async (target) => {
        const client = await target.openWithChannel();
        client.send(rawMethod(channel, classId, methodId, args));
        await client.closedWithin();
      },
    },
  );
}
