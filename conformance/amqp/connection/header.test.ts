// The first eight bytes.
import { expect } from 'vitest';
import { PROTOCOL_HEADER } from '../../support/raw-client.ts';
import { rule, useTarget } from '../../support/target.ts';

useTarget();

rule('1.1.header', 'the protocol header is answered with connection.start', async (target) => {
  const client = await target.connect();
  client.send(PROTOCOL_HEADER);
  const start = await client.expect('connection.start', 0);
  expect([start['versionMajor'], start['versionMinor']]).toEqual([0, 9]);
});
rule('1.1.header', 'a whole conversation', async (target) => {
  const client = await target.openWithChannel();
  const q = target.name('q');
  expect(await client.call(1, 'queue.declare', { queue: q, exclusive: true })).toEqual({
    queue: q,
    messageCount: 0,
    consumerCount: 0,
  });
  client.send((await import('../../support/raw-client.ts')).publish(1, '', q, 'hi', { headers: { a: 1 } }));
  const got = await client.get(1, q);
  expect(got.body.toString()).toBe('hi');
  await client.close();
  await client.closedWithin(2000);
});
