// The layout of every method, byte for byte: requests are put together by hand, replies are compared as bytes.
// Here no client library can share a mistake with the broker.
import { expect } from 'vitest';
import {
  body,
  connectRaw,
  frame,
  header,
  PROTOCOL_HEADER,
  parseUrl,
  publish,
  type RawClient,
  rawMethod,
} from '../../support/raw-client.ts';
import { rule, useTarget } from '../../support/target.ts';
import {
  encodeTable,
  entry,
  long,
  longlong,
  longstr,
  octet,
  short,
  shortstr,
} from '../../support/typed-table.ts';

useTarget();

const NO_TABLE = long(0);
const TICKET = short(0);

/** A method's payload: ids and arguments. */
function payload(classId: number, methodId: number, ...args: readonly Buffer[]): Buffer {
  return Buffer.concat([short(classId), short(methodId), ...args]);
}

/** Sends a method on channel 1 by its bytes. */
function send(client: RawClient, classId: number, methodId: number, ...args: readonly Buffer[]): void {
  client.send(rawMethod(1, classId, methodId, Buffer.concat(args)));
}

/** The next frame must be exactly this method on channel 1. */
async function expectBytes(
  client: RawClient,
  classId: number,
  methodId: number,
  ...args: readonly Buffer[]
): Promise<void> {
  const next = await client.next();
  expect([next.type, next.channel, next.payload.toString('hex')]).toEqual([
    1,
    1,
    payload(classId, methodId, ...args).toString('hex'),
  ]);
}

rule('3.1.connection', 'a conversation from header to close-ok, by hand', async (target) => {
  const { user, password, vhost } = parseUrl(target.url);
  const client = target.keep(await connectRaw(target.url));
  client.send(PROTOCOL_HEADER);
  const start = await client.next();
  expect([...start.payload.subarray(0, 6)]).toEqual([0, 10, 0, 10, 0, 9]);
  client.send(
    frame(
      1,
      0,
      payload(
        10,
        11,
        encodeTable([entry('product', 'S', longstr('by hand'))]),
        shortstr('PLAIN'),
        longstr(`\0${user}\0${password}`),
        shortstr('en_US'),
      ),
    ),
  );
  const tune = await client.next();
  expect(tune.payload).toEqual(payload(10, 30, short(2047), long(131072), short(60)));
  client.send(frame(1, 0, payload(10, 31, short(100), long(8192), short(0))));
  client.send(frame(1, 0, payload(10, 40, shortstr(vhost), shortstr(''), octet(0))));
  expect((await client.next()).payload).toEqual(payload(10, 41, shortstr('')));
  client.send(frame(1, 0, payload(10, 50, short(200), shortstr('good bye'), short(0), short(0))));
  expect((await client.next()).payload).toEqual(payload(10, 51));
});

rule('3.1.connection', 'a close by the server carries code, text, class and method', async (target) => {
  const client = await target.openWithChannel();
  send(client, 20, 20, octet(0));
  const close = await client.next();
  expect([close.channel, close.payload]).toEqual([
    0,
    payload(10, 50, short(540), shortstr('NOT_IMPLEMENTED - active=false'), short(20), short(20)),
  ]);
  client.send(frame(1, 0, payload(10, 51)));
  await client.closedWithin();
});

rule('3.1.update-secret', 'update-secret and its reply', async (target) => {
  const client = await target.openWithChannel();
  client.send(frame(1, 0, payload(10, 70, longstr(parseUrl(target.url).password), shortstr('a reason'))));
  const reply = await client.next();
  expect([reply.channel, reply.payload]).toEqual([0, payload(10, 71)]);
});

rule('3.1.channel', 'channel.open-ok carries a long string; flow and close', async (target) => {
  const client = await target.open();
  send(client, 20, 10, shortstr(''));
  await expectBytes(client, 20, 11, longstr(''));
  send(client, 20, 20, octet(1));
  await expectBytes(client, 20, 21, octet(1));
  send(client, 20, 40, short(0), shortstr(''), short(0), short(0));
  await expectBytes(client, 20, 41);
  send(client, 20, 10, shortstr('the reserved field'));
  await expectBytes(client, 20, 11, longstr(''));
  const queue = target.name('missing');
  send(client, 50, 10, TICKET, shortstr(queue), octet(0b00001), NO_TABLE);
  await expectBytes(
    client,
    20,
    40,
    short(404),
    shortstr(`NOT_FOUND - no queue '${queue}' in vhost '/'`),
    short(50),
    short(10),
  );
  send(client, 20, 41);
  send(client, 20, 10, shortstr(''));
  await expectBytes(client, 20, 11, longstr(''));
});

rule('3.1.access', 'access.request and its ticket', async (target) => {
  const client = await target.openWithChannel();
  send(client, 30, 10, shortstr('/data'), octet(0b11111));
  await expectBytes(client, 30, 11, short(1));
});

rule('3.2.exchange-declare', 'exchange.declare, bit by bit', async (target) => {
  const client = await target.openWithChannel();
  const declare = (name: string, bits: number) =>
    send(client, 40, 10, TICKET, shortstr(name), shortstr('direct'), octet(bits), NO_TABLE);
  const [lasting, internal, passing] = [target.name('e'), target.name('e'), target.name('e')];
  declare(lasting, 0b00010);
  await expectBytes(client, 40, 11);
  // Passive: nothing else is looked at.
  declare(lasting, 0b00001);
  await expectBytes(client, 40, 11);
  // Internal, auto-delete.
  declare(internal, 0b01100);
  await expectBytes(client, 40, 11);
  // No-wait: the quiet check finds no reply.
  declare(passing, 0b10100);
  await client.expectQuiet(1);
  for (const name of [lasting, internal, passing]) {
    send(client, 40, 20, TICKET, shortstr(name), octet(0));
    await expectBytes(client, 40, 21);
  }
  // The durable one was durable: as transient it would be another.
  declare(lasting, 0b00010);
  await expectBytes(client, 40, 11);
  declare(lasting, 0b00000);
  expect((await client.expectChannelClose(1)).text).toContain("inequivalent arg 'durable'");
  await client.openChannel(1);
  send(client, 40, 20, TICKET, shortstr(lasting), octet(0));
  await expectBytes(client, 40, 21);
});

rule('3.2.exchange-delete', 'exchange.delete with if-unused and no-wait', async (target) => {
  const client = await target.openWithChannel();
  const [exchange, queue] = [target.name('e'), target.name('q')];
  send(client, 40, 10, TICKET, shortstr(exchange), shortstr('fanout'), octet(0), NO_TABLE);
  await expectBytes(client, 40, 11);
  await client.call(1, 'queue.declare', { queue, exclusive: true });
  send(client, 50, 20, TICKET, shortstr(queue), shortstr(exchange), shortstr(''), octet(0), NO_TABLE);
  await expectBytes(client, 50, 21);
  send(client, 40, 20, TICKET, shortstr(exchange), octet(0b01));
  expect((await client.expectChannelClose(1)).code).toBe(406);
  await client.openChannel(1);
  send(client, 40, 20, TICKET, shortstr(exchange), octet(0b10));
  await client.expectQuiet(1);
  send(client, 40, 20, TICKET, shortstr(exchange), octet(0b00));
  await expectBytes(client, 40, 21);
});

rule('3.2.exchange-bind', 'exchange.bind and its reply 40.31', async (target) => {
  const client = await target.openWithChannel();
  const destination = target.name('e');
  send(client, 40, 10, TICKET, shortstr(destination), shortstr('fanout'), octet(0b00100), NO_TABLE);
  await expectBytes(client, 40, 11);
  const args = [TICKET, shortstr(destination), shortstr('amq.direct'), shortstr('key')];
  send(client, 40, 30, ...args, octet(0), NO_TABLE);
  await expectBytes(client, 40, 31);
  send(client, 40, 30, ...args, octet(1), NO_TABLE);
  await client.expectQuiet(1);
  await client.call(1, 'exchange.delete', { exchange: destination });
});

rule('3.2.exchange-unbind', 'exchange.unbind and its reply 40.51', async (target) => {
  const client = await target.openWithChannel();
  const destination = target.name('e');
  send(client, 40, 10, TICKET, shortstr(destination), shortstr('fanout'), octet(0), NO_TABLE);
  await expectBytes(client, 40, 11);
  const args = [TICKET, shortstr(destination), shortstr('amq.direct'), shortstr('key')];
  send(client, 40, 30, ...args, octet(0), NO_TABLE);
  await expectBytes(client, 40, 31);
  send(client, 40, 40, ...args, octet(0), NO_TABLE);
  await expectBytes(client, 40, 51);
  send(client, 40, 40, ...args, octet(1), NO_TABLE);
  await client.expectQuiet(1);
  await client.call(1, 'exchange.delete', { exchange: destination });
});

rule('3.2.queue-declare', 'queue.declare, bit by bit', async (target) => {
  const client = await target.openWithChannel();
  const declare = (name: string, bits: number) =>
    send(client, 50, 10, TICKET, shortstr(name), octet(bits), NO_TABLE);
  const [durable, exclusive, autoDelete, quiet] = ['d', 'x', 'a', 'n'].map((hint) => target.name(hint));
  for (const [name, bits] of [
    [durable!, 0b00010],
    [durable!, 0b00001],
    [exclusive!, 0b00100],
    [autoDelete!, 0b01010],
  ] as const) {
    declare(name, bits);
    await expectBytes(client, 50, 11, shortstr(name), long(0), long(0));
  }
  declare(quiet!, 0b10100);
  await client.expectQuiet(1);
  for (const text of ['x', 'y', 'z']) client.send(publish(1, '', quiet!, text));
  // A get waits for what was published before it; a count may overtake publishes.
  expect((await client.get(1, quiet!)).body.toString()).toBe('x');
  send(client, 60, 20, TICKET, shortstr(exclusive!), shortstr('tag'), octet(0), NO_TABLE);
  await expectBytes(client, 60, 21, shortstr('tag'));
  declare(quiet!, 0b00001);
  await expectBytes(client, 50, 11, shortstr(quiet!), long(2), long(0));
  declare(exclusive!, 0b00001);
  await expectBytes(client, 50, 11, shortstr(exclusive!), long(0), long(1));
  await client.call(1, 'basic.cancel', { consumerTag: 'tag' });
  for (const name of [durable!, exclusive!, autoDelete!, quiet!])
    await client.call(1, 'queue.delete', { queue: name });
});

rule('3.2.queue-bind', 'queue.bind', async (target) => {
  const client = await target.openWithChannel();
  const queue = target.name('q');
  await client.call(1, 'queue.declare', { queue, exclusive: true });
  const args = [TICKET, shortstr(queue), shortstr('amq.direct'), shortstr(queue)];
  send(client, 50, 20, ...args, octet(0), NO_TABLE);
  await expectBytes(client, 50, 21);
  send(client, 50, 20, ...args, octet(1), encodeTable([entry('a', 't', octet(1))]));
  await client.expectQuiet(1);
});

rule('3.2.queue-purge', 'queue.purge', async (target) => {
  const client = await target.openWithChannel();
  const queue = target.name('q');
  await client.call(1, 'queue.declare', { queue, exclusive: true });
  client.send(publish(1, '', queue, 'x'), publish(1, '', queue, 'y'));
  send(client, 50, 30, TICKET, shortstr(queue), octet(0));
  await expectBytes(client, 50, 31, long(2));
  send(client, 50, 30, TICKET, shortstr(queue), octet(1));
  await client.expectQuiet(1);
});

rule('3.2.queue-delete', 'queue.delete with if-unused, if-empty and no-wait', async (target) => {
  const client = await target.openWithChannel();
  const queue = target.name('q');
  const remove = (bits: number) => send(client, 50, 40, TICKET, shortstr(queue), octet(bits));
  await client.call(1, 'queue.declare', { queue, exclusive: true });
  client.send(publish(1, '', queue, 'x'));
  remove(0b010);
  expect((await client.expectChannelClose(1)).text).toMatch(
    /^PRECONDITION_FAILED - .*not empty|^PRECONDITION_FAILED/,
  );
  await client.openChannel(1);
  await client.call(1, 'basic.consume', { queue, consumerTag: 'c' });
  await client.expectContent('basic.deliver', 1);
  remove(0b001);
  expect((await client.expectChannelClose(1)).code).toBe(406);
  await client.openChannel(1);
  remove(0b000);
  await expectBytes(client, 50, 41, long(1));
  remove(0b000);
  await expectBytes(client, 50, 41, long(0));
  remove(0b100);
  await client.expectQuiet(1);
});

rule('3.2.queue-unbind', 'queue.unbind has no bits at all', async (target) => {
  const client = await target.openWithChannel();
  const queue = target.name('q');
  await client.call(1, 'queue.declare', { queue, exclusive: true });
  const args = [TICKET, shortstr(queue), shortstr('amq.direct'), shortstr(queue)];
  send(client, 50, 20, ...args, octet(0), NO_TABLE);
  await expectBytes(client, 50, 21);
  send(client, 50, 50, ...args, NO_TABLE);
  await expectBytes(client, 50, 51);
  client.send(publish(1, 'amq.direct', queue, 'x'));
  await client.call(1, 'basic.get', { queue }, 'basic.get-empty');
});

rule('3.2.no-wait', 'methods with no-wait have no reply, and happen', async (target) => {
  const client = await target.openWithChannel();
  const queue = target.name('q');
  client.sendMethod(1, 'queue.declare', { queue, exclusive: true, nowait: true });
  client.sendMethod(1, 'queue.bind', { queue, exchange: 'amq.direct', routingKey: queue, nowait: true });
  client.sendMethod(1, 'confirm.select', { nowait: true });
  client.sendMethod(1, 'basic.consume', { queue, consumerTag: 'c', noAck: true, nowait: true });
  client.send(publish(1, 'amq.direct', queue, 'x'));
  const names = [(await client.next()).name];
  while (names.length < 4) names.push((await client.next()).name);
  expect(names.sort()).toEqual(['basic.ack', 'basic.deliver', 'body', 'header']);
  client.sendMethod(1, 'basic.cancel', { consumerTag: 'c', nowait: true });
  client.sendMethod(1, 'queue.purge', { queue, nowait: true });
  client.sendMethod(1, 'queue.delete', { queue, nowait: true });
  await client.expectQuiet(1);
  client.sendMethod(1, 'queue.declare', { queue, passive: true });
  expect((await client.expectChannelClose(1)).code).toBe(404);
});

rule('3.2.no-wait', 'a method with no-wait that fails still closes the channel', async (target) => {
  const client = await target.openWithChannel();
  client.sendMethod(1, 'queue.bind', {
    queue: target.name('missing'),
    exchange: 'amq.direct',
    routingKey: '',
    nowait: true,
  });
  expect((await client.expectChannelClose(1)).code).toBe(404);
});

rule('3.3.qos', 'basic.qos', async (target) => {
  const client = await target.openWithChannel();
  for (const bits of [0, 1]) {
    send(client, 60, 10, long(0), short(10), octet(bits));
    await expectBytes(client, 60, 11);
  }
});

rule('3.3.consume', 'basic.consume and basic.deliver', async (target) => {
  const client = await target.openWithChannel();
  const queue = target.name('q');
  await client.call(1, 'queue.declare', { queue, exclusive: true });
  client.send(publish(1, '', queue, 'hello', { contentType: 'text/plain' }));
  // no-local, no-ack, exclusive.
  send(client, 60, 20, TICKET, shortstr(queue), shortstr('tag'), octet(0b0111), NO_TABLE);
  await expectBytes(client, 60, 21, shortstr('tag'));
  await expectBytes(client, 60, 60, shortstr('tag'), longlong(1), octet(0), shortstr(''), shortstr(queue));
  const headerFrame = await client.next();
  expect([headerFrame.type, headerFrame.payload.toString('hex')]).toEqual([
    2,
    Buffer.concat([short(60), short(0), longlong(5), short(0x8000), shortstr('text/plain')]).toString('hex'),
  ]);
  const bodyFrame = await client.next();
  expect([bodyFrame.type, bodyFrame.payload.toString()]).toEqual([3, 'hello']);
  // The exclusive bit was understood: nobody else may consume.
  send(client, 60, 20, TICKET, shortstr(queue), shortstr('other'), octet(0), NO_TABLE);
  expect((await client.expectChannelClose(1)).code).toBe(403);
});

rule('3.3.consume', 'the tag made by the server, and no-wait', async (target) => {
  const client = await target.openWithChannel();
  const queue = target.name('q');
  await client.call(1, 'queue.declare', { queue, exclusive: true });
  send(client, 60, 20, TICKET, shortstr(queue), shortstr(''), octet(0), NO_TABLE);
  expect(await client.expect('basic.consume-ok', 1)).toEqual({
    consumerTag: expect.stringMatching(/^amq\.ctag-[\w-]{22}$/),
  });
  send(client, 60, 20, TICKET, shortstr(queue), shortstr('quiet'), octet(0b1000), NO_TABLE);
  await client.expectQuiet(1);
  expect(await client.call(1, 'queue.declare', { queue, passive: true })).toMatchObject({ consumerCount: 2 });
});

rule('3.3.cancel', 'basic.cancel', async (target) => {
  const client = await target.openWithChannel();
  const queue = target.name('q');
  await client.call(1, 'queue.declare', { queue, exclusive: true });
  await client.call(1, 'basic.consume', { queue, consumerTag: 'a' });
  await client.call(1, 'basic.consume', { queue, consumerTag: 'b' });
  send(client, 60, 30, shortstr('a'), octet(0));
  await expectBytes(client, 60, 31, shortstr('a'));
  send(client, 60, 30, shortstr('b'), octet(1));
  await client.expectQuiet(1);
  // The server's own cancel has no-wait set.
  await client.call(1, 'basic.consume', { queue, consumerTag: 'c' });
  send(client, 50, 40, TICKET, shortstr(queue), octet(0b100));
  await expectBytes(client, 60, 30, shortstr('c'), octet(1));
});

rule('3.3.publish', 'basic.publish and basic.return', async (target) => {
  const client = await target.openWithChannel();
  const key = target.name('nowhere');
  client.send(
    rawMethod(1, 60, 40, Buffer.concat([TICKET, shortstr('amq.direct'), shortstr(key), octet(0b01)])),
    header(1, 2, { type: 't' }),
    body(1, 'hi'),
  );
  await expectBytes(client, 60, 50, short(312), shortstr('NO_ROUTE'), shortstr('amq.direct'), shortstr(key));
  expect((await client.expectFrame('header', 1)).payload).toEqual(
    Buffer.concat([short(60), short(0), longlong(2), short(0x0020), shortstr('t')]),
  );
  expect((await client.expectFrame('body', 1)).payload.toString()).toBe('hi');
});

rule('3.3.get', 'basic.get, get-ok and get-empty', async (target) => {
  const client = await target.openWithChannel();
  const queue = target.name('q');
  await client.call(1, 'queue.declare', { queue, exclusive: true });
  const get = (bits: number) => send(client, 60, 70, TICKET, shortstr(queue), octet(bits));
  get(0);
  await expectBytes(client, 60, 72, shortstr(''));
  client.send(
    publish(1, 'amq.direct', 'elsewhere', ''),
    publish(1, '', queue, ''),
    publish(1, '', queue, ''),
  );
  get(0);
  await expectBytes(client, 60, 71, longlong(1), octet(0), shortstr(''), shortstr(queue), long(1));
  await client.expectFrame('header', 1);
  send(client, 60, 90, longlong(1), octet(1));
  get(1);
  await expectBytes(client, 60, 71, longlong(2), octet(1), shortstr(''), shortstr(queue), long(1));
  await client.expectFrame('header', 1);
});

rule('3.3.ack', 'basic.ack, basic.reject and basic.nack', async (target) => {
  const client = await target.openWithChannel();
  const queue = target.name('q');
  await client.call(1, 'queue.declare', { queue, exclusive: true });
  for (let i = 0; i < 7; i++) client.send(publish(1, '', queue, String(i)));
  for (let i = 0; i < 7; i++) await client.get(1, queue, false);
  // Gets come behind what was settled before them; a count by queue.declare may overtake it.
  const expectLeft = async (...bodies: readonly string[]): Promise<void> => {
    for (const [i, text] of bodies.entries()) {
      const got = await client.get(1, queue, false);
      expect([got.body.toString(), got.method.fields['messageCount']]).toEqual([text, bodies.length - i - 1]);
    }
    await client.call(1, 'basic.get', { queue }, 'basic.get-empty');
  };
  // Multiple: tags 1 and 2.
  send(client, 60, 80, longlong(2), octet(1));
  send(client, 60, 80, longlong(4), octet(0));
  await expectLeft();
  // Tags count from 1, bodies from 0. Back: 3 by reject; gone: 5 by reject.
  send(client, 60, 90, longlong(3), octet(1));
  send(client, 60, 90, longlong(5), octet(0));
  await expectLeft('2');
  // Back: 6 and 7 by nack, multiple and requeue. The tag of the message just got is 8.
  send(client, 60, 120, longlong(7), octet(0b11));
  await expectLeft('5', '6');
  // Gone: nack without requeue. Back with what is left: nothing else.
  send(client, 60, 120, longlong(8), octet(0b00));
  send(client, 60, 120, longlong(0), octet(0b11));
  await expectLeft('5', '6');
  send(client, 60, 80, longlong(99), octet(0));
  expect((await client.expectChannelClose(1)).text).toBe('PRECONDITION_FAILED - unknown delivery tag 99');
});

rule('3.3.ack', 'delivery tags have 64 bits', async (target) => {
  const client = await target.openWithChannel();
  for (const tag of [2n ** 32n, 2n ** 53n + 1n, 2n ** 64n - 1n]) {
    send(client, 60, 80, longlong(tag), octet(0));
    expect((await client.expectChannelClose(1)).text).toBe(
      `PRECONDITION_FAILED - unknown delivery tag ${tag}`,
    );
    await client.openChannel(1);
  }
});

rule('3.3.recover', 'basic.recover and recover-async', async (target) => {
  const client = await target.openWithChannel();
  const queue = target.name('q');
  await client.call(1, 'queue.declare', { queue, exclusive: true });
  client.send(publish(1, '', queue, 'x'));
  await client.get(1, queue, false);
  send(client, 60, 110, octet(1));
  await expectBytes(client, 60, 111);
  expect((await client.get(1, queue, false)).method.fields['redelivered']).toBe(true);
  send(client, 60, 100, octet(1));
  await client.expectQuiet(1);
  expect((await client.get(1, queue, false)).method.fields['redelivered']).toBe(true);
});

rule('3.3.confirm', 'confirm.select and a confirm', async (target) => {
  const client = await target.openWithChannel();
  send(client, 85, 10, octet(0));
  await expectBytes(client, 85, 11);
  send(client, 85, 10, octet(1));
  client.send(publish(1, '', target.name('nowhere'), 'x'));
  await expectBytes(client, 60, 80, longlong(1), octet(0));
});

rule('3.3.tx', 'tx.select, commit and rollback', async (target) => {
  const client = await target.openWithChannel();
  for (const method of [10, 20, 30]) {
    send(client, 90, method);
    await expectBytes(client, 90, method + 1);
  }
});

rule('3.ticket', 'a ticket of any number changes nothing', async (target) => {
  const client = await target.openWithChannel();
  const queue = target.name('q');
  for (const ticket of [1, 77, 65535]) {
    send(client, 50, 10, short(ticket), shortstr(queue), octet(0b00100), NO_TABLE);
    await expectBytes(client, 50, 11, shortstr(queue), long(0), long(0));
    send(client, 40, 10, short(ticket), shortstr('amq.direct'), shortstr(''), octet(1), NO_TABLE);
    await expectBytes(client, 40, 11);
    send(client, 60, 70, short(ticket), shortstr(queue), octet(1));
    await expectBytes(client, 60, 72, shortstr(''));
  }
});
