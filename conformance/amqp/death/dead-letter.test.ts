// Dead-lettering: why messages die, where they go, and what is written on them.
import { expect } from 'vitest';
import { FakeClock } from '../../../src/index.ts';
import type { Channel, Message } from '../../support/channel.ts';
import { publish } from '../../support/raw-client.ts';
import { acrossRestart, OWN_ONLY } from '../../support/restart.ts';
import { type Scene, scene } from '../../support/scene.ts';
import { rule, type Target, useTarget } from '../../support/target.ts';
import { decodeTable, encodeArray, longlong, longstr, type TypedEntry } from '../../support/typed-table.ts';
import { passTimeWhileWaiting, WAIT_MS } from '../../support/waiting.ts';

const clock = new FakeClock();
useTarget({ clock });
passTimeWhileWaiting(clock);

type Table = Record<string, unknown>;
interface Death {
  readonly count: number;
  readonly reason: string;
  readonly queue: string;
  readonly exchange: string;
  readonly 'routing-keys': readonly string[];
  readonly 'original-expiration'?: string;
  readonly time: { readonly value: number };
}

/** Arguments that send dead messages to a queue by its name. */
const to = (queue: string, more: Table = {}): Table => ({
  'x-dead-letter-exchange': '',
  'x-dead-letter-routing-key': queue,
  ...more,
});

/** A queue whose dead messages go to another; both names. */
async function pair(t: Scene, more: Table = {}): Promise<{ source: string; dead: string }> {
  const dead = await t.queue();
  const source = await t.queue({ arguments: to(dead, more) });
  return { source, dead };
}

/** Gets the message that has to be there, and leaves it unacknowledged. */
async function take(channel: Channel, queue: string): Promise<Message> {
  await channel.untilReady(queue, 1);
  const message = await channel.get(queue);
  expect(message).not.toBeNull();
  return message!;
}

async function takeAndReject(channel: Channel, queue: string): Promise<void> {
  channel.reject(await take(channel, queue), false);
}

const deaths = (message: Message): Death[] => message.properties.headers!['x-death'] as unknown as Death[];

/** Publishes, lets the message die by a reject, and returns the dead letter. */
async function rejected(t: Scene, properties: Table = {}, more: Table = {}): Promise<Message> {
  const { source, dead } = await pair(t, more);
  t.channel.publish('', source, 'body', properties);
  await takeAndReject(t.channel, source);
  return take(t.channel, dead);
}

// ── reasons ──

rule('8.1.rejected', 'reject and nack, one and several', async (target) => {
  const t = await scene(target);
  const { source, dead } = await pair(t);
  t.channel.publishAll(source, ['a', 'b', 'c']);
  await t.channel.untilReady(source, 3);
  t.channel.reject((await t.channel.get(source))!, false);
  await t.channel.get(source);
  t.channel.nack((await t.channel.get(source))!, { multiple: true, requeue: false });
  await t.channel.untilReady(dead, 3);
  for (const body of ['a', 'b', 'c']) {
    const message = (await t.channel.get(dead))!;
    expect([message.body, deaths(message)[0]!.reason]).toEqual([body, 'rejected']);
  }
});

rule('8.1.expired', 'by its own expiration and by the queue', async (target) => {
  const t = await scene(target);
  const own = await pair(t);
  t.channel.publish('', own.source, 'own', { expiration: '10' });
  expect(deaths(await take(t.channel, own.dead))[0]).toMatchObject({ reason: 'expired', queue: own.source });
  const queue = await pair(t, { 'x-message-ttl': 10 });
  t.channel.publish('', queue.source, 'queue');
  expect(deaths(await take(t.channel, queue.dead))[0]).toMatchObject({
    reason: 'expired',
    queue: queue.source,
  });
});

rule('8.1.maxlen', 'drop-head', async (target) => {
  const t = await scene(target);
  const { source, dead } = await pair(t, { 'x-max-length': 1 });
  t.channel.publishAll(source, ['a', 'b']);
  const message = await take(t.channel, dead);
  expect([message.body, deaths(message)[0]!.reason]).toEqual(['a', 'maxlen']);
});

rule('8.1.reject-publish-dlx', 'with and without dlx', async (target) => {
  const t = await scene(target);
  await t.channel.confirms();
  for (const overflow of ['reject-publish', 'reject-publish-dlx']) {
    const { source, dead } = await pair(t, { 'x-max-length': 1, 'x-overflow': overflow });
    t.channel.publishAll(source, ['kept', 'refused']);
    await t.channel.until(() => t.channel.seen('basic.nack').length > 0, 'a nack');
    expect(await t.channel.drain(source)).toEqual(['kept']);
    if (overflow === 'reject-publish') expect(await t.channel.drain(dead)).toEqual([]);
    else {
      const message = await take(t.channel, dead);
      expect([message.body, deaths(message)[0]!.reason]).toEqual(['refused', 'maxlen']);
    }
  }
});

rule('8.1.not', 'purge, delete, the end of a channel', async (target) => {
  const t = await scene(target);
  const { source, dead } = await pair(t);
  t.channel.publishAll(source, ['a']);
  await t.channel.untilReady(source, 1);
  await t.channel.call('queue.purge', { queue: source });
  t.channel.publishAll(source, ['b']);
  const other = await t.newChannel();
  await take(other, source);
  await other.close();
  await t.channel.untilReady(source, 1);
  await t.channel.call('queue.delete', { queue: source });
  expect(await t.channel.drain(dead)).toEqual([]);
});

// ── where to ──

rule('8.2.address', 'own key and key of the queue', async (target) => {
  const t = await scene(target);
  const exchange = await t.exchange('topic');
  const dead = await t.boundQueue(exchange, '#');
  const from = await t.exchange('fanout');
  const own = await t.queue({ arguments: { 'x-dead-letter-exchange': exchange } });
  await t.channel.call('queue.bind', { queue: own, exchange: from });
  t.channel.publish(from, 'my.key', 'a');
  await takeAndReject(t.channel, own);
  expect(await take(t.channel, dead)).toMatchObject({ exchange, routingKey: 'my.key', redelivered: false });
  const keyed = await t.queue({
    arguments: { 'x-dead-letter-exchange': exchange, 'x-dead-letter-routing-key': 'dead.key' },
  });
  t.channel.publish('', keyed, 'b');
  await takeAndReject(t.channel, keyed);
  expect(await take(t.channel, dead)).toMatchObject({ exchange, routingKey: 'dead.key' });
});

rule('8.2.copies', 'CC is followed, unless there is a key', async (target) => {
  const t = await scene(target);
  const exchange = await t.exchange('direct');
  const copy = await t.boundQueue(exchange, 'copy');
  const keyed = await t.boundQueue(exchange, 'dead');
  const headers = { CC: ['copy'] };
  const free = await t.queue({ arguments: { 'x-dead-letter-exchange': exchange } });
  t.channel.publish('', free, 'a', { headers });
  await takeAndReject(t.channel, free);
  expect((await take(t.channel, copy)).body).toBe('a');
  const bound = await t.queue({
    arguments: { 'x-dead-letter-exchange': exchange, 'x-dead-letter-routing-key': 'dead' },
  });
  t.channel.publish('', bound, 'b', { headers });
  await takeAndReject(t.channel, bound);
  await t.channel.untilReady(keyed, 1);
  expect(await t.channel.drain(copy)).toEqual([]);
});

rule(
  '8.2.cc-stays',
  'with a key of the queue',
  async (target) => {
    const message = await rejected(await scene(target), { headers: { CC: ['elsewhere'] } });
    expect(message.properties.headers!['CC']).toEqual(['elsewhere']);
  },
  {
    onRabbitMQ: async (target) => {
      const message = await rejected(await scene(target), { headers: { CC: ['elsewhere'] } });
      expect(message.properties.headers!['CC']).toBeUndefined();
    },
  },
);

rule('8.2.properties', 'all of them', async (target) => {
  const properties = {
    contentType: 'text/plain',
    contentEncoding: 'utf-8',
    deliveryMode: 2,
    priority: 3,
    correlationId: 'c',
    replyTo: 'r',
    messageId: 'm',
    timestamp: 1_700_000_000,
    type: 't',
    appId: 'a',
  };
  const headers = { own: 'header', number: 5 };
  const message = await rejected(await scene(target), { ...properties, expiration: '60000', headers });
  expect(message.properties).toMatchObject(properties);
  expect(message.properties.headers).toMatchObject(headers);
  expect(message.properties.expiration).toBeUndefined();
});

rule(
  '8.2.persistent',
  'one of each kind',
  () =>
    acrossRestart(
      async (channel) => {
        await channel.call('queue.declare', { queue: 'dead', durable: true });
        await channel.call('queue.declare', { queue: 'source', durable: true, arguments: to('dead') });
        await channel.confirms();
        await channel.publishConfirmed('', 'source', ['kept'], { deliveryMode: 2 } as Table);
        await channel.publishConfirmed('', 'source', ['lost'], { deliveryMode: 1 } as Table);
        for (let i = 0; i < 2; i++) channel.reject((await channel.get('source'))!, false);
        await channel.untilReady('dead', 2);
      },
      async (channel) => {
        expect(await channel.drain('dead')).toEqual(['kept']);
      },
    ),
  OWN_ONLY,
);

rule('8.2.nowhere', 'a missing exchange, and one without a route', async (target) => {
  const t = await scene(target);
  const missing = await t.queue({ arguments: { 'x-dead-letter-exchange': t.exchangeName() } });
  const empty = await t.queue({ arguments: { 'x-dead-letter-exchange': await t.exchange('fanout') } });
  for (const queue of [missing, empty]) {
    t.channel.publish('', queue, 'a');
    await takeAndReject(t.channel, queue);
    expect(await t.channel.drain(queue)).toEqual([]);
  }
});

rule('8.2.default-exchange', 'under the name of a queue', async (target) => {
  const message = await rejected(await scene(target));
  expect([message.body, message.exchange]).toEqual(['body', '']);
});

// ── what is written on them ──

rule('8.3.fields', 'names, types and values', async (target) => {
  const client = await target.openWithChannel();
  const [source, dead] = [target.name('source'), target.name('dead')];
  await client.call(1, 'queue.declare', { queue: dead });
  await client.call(1, 'queue.declare', { queue: source, arguments: to(dead) });
  client.send(publish(1, '', source, 'body'));
  await client.expectQuiet(1);
  client.sendMethod(1, 'basic.get', { queue: source });
  await client.expectContent('basic.get-ok', 1);
  client.sendMethod(1, 'basic.reject', { deliveryTag: 1, requeue: false });
  // RabbitMQ hands the dead letter on after it has answered what comes behind the reject.
  let headers: TypedEntry[] = [];
  for (const deadline = Date.now() + WAIT_MS; headers.length === 0 && Date.now() < deadline; ) {
    client.sendMethod(1, 'basic.get', { queue: dead, noAck: true });
    const reply = await client.next();
    if (reply.name !== 'basic.get-ok') continue;
    const { payload } = await client.next();
    await client.next();
    headers = decodeTable(payload.subarray(12), 2);
  }
  const found = headers.find(({ key }) => key === 'x-death');
  expect(found?.tag).toBe('A');
  // One table: the array's length, its tag, the table.
  const death = decodeTable(found!.bytes, 5);
  expect(death.map(({ key, tag }) => [key, tag])).toEqual([
    ['count', 'l'],
    ['reason', 'S'],
    ['queue', 'S'],
    ['time', 'T'],
    ['exchange', 'S'],
    ['routing-keys', 'A'],
  ]);
  expect(death[0]!.bytes).toEqual(longlong(1));
  expect([1, 2, 4].map((at) => death[at]!.bytes)).toEqual(
    ['rejected', source, ''].map((text) => longstr(text)),
  );
  expect(death[5]!.bytes).toEqual(encodeArray([{ tag: 'S', bytes: longstr(source) }]));
  for (const queue of [source, dead]) await client.call(1, 'queue.delete', { queue });
});

rule('8.3.expiration', 'kept in the death, gone from the message', async (target) => {
  const message = await rejected(await scene(target), { expiration: '60000' });
  expect(deaths(message)[0]!['original-expiration']).toBe('60000');
  const plain = await rejected(await scene(target));
  expect(deaths(plain)[0]!['original-expiration']).toBeUndefined();
});

rule('8.3.routing-keys', 'CC but not BCC', async (target) => {
  const t = await scene(target);
  const { source, dead } = await pair(t);
  t.channel.publish('', source, 'a', { headers: { CC: ['one', 'two'], BCC: ['hidden'] } });
  await takeAndReject(t.channel, source);
  const message = await take(t.channel, dead);
  expect(deaths(message)[0]!['routing-keys']).toEqual([source, 'one', 'two']);
  expect(message.properties.headers!['BCC']).toBeUndefined();
});

rule('8.3.newest-first', 'two queues and two reasons', async (target) => {
  const t = await scene(target);
  const last = await t.queue();
  const middle = await t.queue({ arguments: to(last, { 'x-message-ttl': 10 }) });
  const exchange = await t.exchange('fanout');
  const first = await t.queue({ arguments: to(middle) });
  await t.channel.call('queue.bind', { queue: first, exchange });
  t.channel.publish(exchange, 'key', 'a');
  await takeAndReject(t.channel, first);
  const list = deaths(await take(t.channel, last));
  expect(list.map(({ queue, reason, count, exchange: from }) => [queue, reason, count, from])).toEqual([
    [middle, 'expired', 1, ''],
    [first, 'rejected', 1, exchange],
  ]);
  expect(list[1]!['routing-keys']).toEqual(['key']);
  expect(list[0]!['routing-keys']).toEqual([middle]);
});

/** Two queues that send their dead messages to each other. */
async function loop(t: Scene, args: Table = {}): Promise<[string, string]> {
  const names: [string, string] = [t.queueName('one'), t.queueName('two')];
  const [one, two] = names;
  await t.channel.call('queue.declare', { queue: one, arguments: to(two) });
  await t.channel.call('queue.declare', { queue: two, arguments: to(one, args) });
  return names;
}

rule('8.3.count', 'round and round', async (target) => {
  const t = await scene(target);
  const [one, two] = await loop(t);
  t.channel.publish('', one, 'a');
  await takeAndReject(t.channel, one);
  const early = await take(t.channel, two);
  const { value: time } = deaths(early)[0]!.time;
  t.channel.reject(early, false);
  await takeAndReject(t.channel, one);
  const list = deaths(await take(t.channel, two));
  expect(list.map(({ queue, count }) => [queue, count])).toEqual([
    [one, 2],
    [two, 1],
  ]);
  expect(list[0]!.time.value).toBe(time);
});

rule('8.3.first', 'and stays', async (target) => {
  const t = await scene(target);
  const [one, two] = await loop(t);
  t.channel.publish('', one, 'a');
  await takeAndReject(t.channel, one);
  await takeAndReject(t.channel, two);
  const { headers } = (await take(t.channel, one)).properties;
  expect(headers).toMatchObject({
    'x-first-death-queue': one,
    'x-first-death-reason': 'rejected',
    'x-first-death-exchange': '',
  });
});

rule(
  '8.3.last',
  'the second of two',
  async (target) => {
    const t = await scene(target);
    const [one, two] = await loop(t);
    t.channel.publish('', one, 'a');
    await takeAndReject(t.channel, one);
    await takeAndReject(t.channel, two);
    const { headers } = (await take(t.channel, one)).properties;
    expect(headers).toMatchObject({
      'x-last-death-queue': two,
      'x-last-death-reason': 'rejected',
      'x-last-death-exchange': '',
    });
  },
  {
    onRabbitMQ: async (target) => {
      const { headers } = (await rejected(await scene(target))).properties;
      expect(headers!['x-last-death-queue']).toBeUndefined();
    },
  },
);

/** A dead letter that is published again as it came, and dies again in the same queue. */
async function republished(t: Scene): Promise<Death[]> {
  const { source, dead } = await pair(t);
  t.channel.publish('', source, 'a');
  await takeAndReject(t.channel, source);
  const { headers } = (await take(t.channel, dead)).properties;
  t.channel.publish('', source, 'a', { headers: headers! });
  await takeAndReject(t.channel, source);
  return deaths(await take(t.channel, dead));
}

rule(
  '8.3.client',
  'a dead letter that a client publishes again',
  async (target) => {
    expect((await republished(await scene(target))).map(({ count }) => count)).toEqual([1]);
  },
  {
    onRabbitMQ: async (target) => {
      expect((await republished(await scene(target))).map(({ count }) => count)).toEqual([2]);
    },
  },
);

// ── cycles ──

rule('8.4.cycle', 'of two queues that expire', async (target) => {
  const t = await scene(target);
  const names = [t.queueName(), t.queueName(), t.queueName()];
  const [one, two, watch] = names as [string, string, string];
  const exchange = await t.exchange('fanout');
  await t.channel.call('queue.declare', { queue: one, arguments: to(two, { 'x-message-ttl': 10 }) });
  await t.channel.call('queue.declare', {
    queue: two,
    arguments: { 'x-dead-letter-exchange': exchange, 'x-message-ttl': 10 },
  });
  await t.channel.call('queue.declare', { queue: watch });
  for (const queue of [one, watch]) await t.channel.call('queue.bind', { queue, exchange });
  t.channel.publish('', one, 'a');
  // The round is dropped for the queue that closes it, and for no other.
  await take(t.channel, watch);
  expect((await t.channel.settle(one)).messageCount).toBe(0);
});

rule('8.4.reject', 'three rounds', async (target) => {
  const t = await scene(target);
  const [work, wait] = await loop(t, { 'x-message-ttl': 10 });
  t.channel.publish('', work, 'job');
  for (let i = 1; i <= 3; i++) {
    const message = await take(t.channel, work);
    const counts = i === 1 ? [] : deaths(message).map(({ queue, reason, count }) => [queue, reason, count]);
    expect(counts).toEqual(
      i === 1
        ? []
        : [
            [wait, 'expired', i - 1],
            [work, 'rejected', i - 1],
          ],
    );
    t.channel.reject(message, false);
  }
});

rule('8.4.self', 'a queue and itself', async (target) => {
  const t = await scene(target);
  const queue = t.queueName();
  await t.channel.call('queue.declare', { queue, arguments: to(queue) });
  t.channel.publish('', queue, 'a');
  await takeAndReject(t.channel, queue);
  const message = await take(t.channel, queue);
  expect(deaths(message)[0]).toMatchObject({ queue, reason: 'rejected', count: 1 });
  t.channel.ack(message);
  // Confirmed, so that a count of none cannot be one from before it came.
  await t.channel.confirms();
  await t.channel.publishConfirmed('', queue, ['b'], { expiration: '1' });
  await t.channel.untilReady(queue, 0);
  expect(await t.channel.drain(queue)).toEqual([]);
});

rule('8.4.target', 'a queue that expires to itself and to another', async (target) => {
  const t = await scene(target);
  const fanout = await t.exchange('fanout');
  const dead = await t.boundQueue(fanout);
  const source = await t.queue({ arguments: { 'x-dead-letter-exchange': fanout, 'x-message-ttl': 10 } });
  await t.channel.call('queue.bind', { queue: source, exchange: fanout });
  t.channel.publish('', source, 'a');
  await t.channel.untilReady(dead, 1);
  await t.channel.untilReady(source, 0);
  expect(await t.channel.drain(dead)).toEqual(['a']);
});

/** What goes the round from a queue where it expires: something with the headers of an earlier death there, and something new. */
async function roundsOf(target: Target): Promise<string[]> {
  const t = await scene(target);
  const [first, second, end] = [t.queueName(), t.queueName(), await t.queue()];
  const expires = { 'x-message-ttl': 10 };
  await t.channel.call('queue.declare', { queue: first, arguments: to(second, expires) });
  await t.channel.call('queue.declare', { queue: second, arguments: to(end) });
  t.channel.publish('', first, 'a');
  const dead = await take(t.channel, second);
  t.channel.ack(dead);
  const deaf = await t.queue({ arguments: to(first, expires) });
  t.channel.publish('', deaf, 'again', { headers: dead.properties.headers });
  t.channel.publish('', deaf, 'new');
  const seen: string[] = [];
  while (!seen.includes('new')) seen.push(...(await t.channel.drain(second)));
  return seen;
}
rule(
  '8.3.published-again',
  'into a queue that leads to where it died',
  async (target) => {
    expect(await roundsOf(target)).toEqual(['again', 'new']);
  },
  {
    onRabbitMQ: async (target) => {
      expect(await roundsOf(target)).toEqual(['new']);
    },
  },
);
