// Conversations nobody would hold: random ones, and broken copies of them. Whatever a client sends, the broker must answer
// with well-formed frames or end the connection, never fail inside, and go on serving everybody else.
// The seed stands in every title that fails; FUZZ_SEED and FUZZ_ROUNDS choose other ones, and more.
import { expect } from 'vitest';
import type { LogFields, Logger } from '../../src/index.ts';
import { expectServes } from '../support/checks.ts';
import { Random } from '../support/random.ts';
import {
  body,
  connectRaw,
  type Fields,
  frame,
  header,
  heartbeat,
  method,
  PROTOCOL_HEADER,
  parseUrl,
  plainResponse,
  publish,
  type RawClient,
  rawHeader,
  rawMethod,
  startOk,
} from '../support/raw-client.ts';
import { rule, type Target, useTarget } from '../support/target.ts';

const SEED = Number(process.env['FUZZ_SEED'] ?? 20_240_917);
const ROUNDS = Number(process.env['FUZZ_ROUNDS'] ?? 120);
/** Conversations held at the same time. */
const LANES = 8;

/** What our own broker says went wrong inside; must stay empty. */
const failures: string[] = [];
const collect = (message: string, fields: LogFields = {}) => {
  failures.push(`${message} ${JSON.stringify(fields)}`);
};
const logger: Logger = { error: collect, warn: () => {}, info: () => {}, debug: () => {} };

useTarget({ logger, authFailureDelayMs: 0, handshakeTimeoutMs: 3_000 });

const CLOSE = { replyCode: 200, replyText: '', classId: 0, methodId: 0 };
const NAMES = [
  '',
  'a',
  'b',
  'amq.direct',
  'amq.topic',
  'amq.fanout',
  'amq.headers',
  'x'.repeat(255),
  'ü.*.#',
];

/** A value for a table: any type amqplib can encode. */
function randomValue(random: Random, depth = 0): unknown {
  switch (random.below(depth > 3 ? 8 : 11)) {
    case 0:
      return random.chance(0.5);
    case 1:
      return random.below(1_000_000) - 500_000;
    case 2:
      return random.next() * 1e10;
    case 3:
      return random.pick(NAMES);
    case 4:
      return null;
    case 5:
      return random.bytes(random.below(20));
    case 6:
      return { '!': 'timestamp', value: random.below(2 ** 31) };
    case 7:
      return {
        '!': random.pick(['uint8', 'int8', 'int16', 'uint16', 'int32', 'uint32', 'float']),
        value: random.below(100),
      };
    case 8:
      return Array.from({ length: random.below(4) }, () => randomValue(random, depth + 1));
    default:
      return randomTable(random, depth + 1);
  }
}

function randomTable(random: Random, depth = 0): Fields {
  const known = [
    'x-match',
    'x-message-ttl',
    'x-max-length',
    'x-max-length-bytes',
    'x-overflow',
    'x-expires',
    'x-max-priority',
    'x-dead-letter-exchange',
    'x-dead-letter-routing-key',
    'x-queue-type',
    'x-queue-mode',
    'x-single-active-consumer',
    'x-priority',
    'alternate-exchange',
    'CC',
    'BCC',
    'x-death',
    '__proto__',
  ];
  const table: [string, unknown][] = [];
  for (let i = random.below(4); i > 0; i--) {
    table.push([random.chance(0.6) ? random.pick(known) : `k${random.below(9)}`, randomValue(random, depth)]);
  }
  return Object.fromEntries(table);
}

function randomProperties(random: Random): Fields {
  const properties: Fields = {};
  if (random.chance(0.4)) properties['headers'] = randomTable(random);
  if (random.chance(0.3)) properties['deliveryMode'] = random.below(3);
  if (random.chance(0.2))
    properties['expiration'] = random.pick(['0', '10', '100000', '-1', 'abc', '1e3', '']);
  if (random.chance(0.2)) properties['priority'] = random.below(256);
  if (random.chance(0.2)) properties['replyTo'] = random.pick(['q', 'amq.rabbitmq.reply-to', '']);
  if (random.chance(0.1)) properties['userId'] = random.pick(['guest', 'other']);
  if (random.chance(0.2)) properties['contentType'] = random.pick(NAMES);
  if (random.chance(0.1)) properties['timestamp'] = random.below(2 ** 31);
  return properties;
}

/** Names a random conversation speaks of. */
interface Names {
  readonly queues: readonly string[];
  readonly exchanges: readonly string[];
  /** How often something else than these is named, from 0 to 1. */
  readonly wild: number;
}

function randomNames(target: Target, wild: number): Names {
  const made = Array.from({ length: 6 }, () => target.name('fuzz'));
  return {
    queues: made.slice(0, 3),
    exchanges: [...made.slice(3), 'amq.direct', 'amq.topic', 'amq.fanout', 'amq.headers'],
    wild,
  };
}

/** The frames of one random request on one of a few channels; arguments are of the right kind, not of the right sense. */
function randomRequest(random: Random, names: Names): Buffer[] {
  const channel = 1 + random.below(3);
  const wild = () => random.chance(names.wild);
  const queue = wild() ? random.pick(NAMES) : random.pick(names.queues);
  const exchange = wild() ? random.pick(NAMES) : random.pick(names.exchanges);
  const source = wild() ? random.pick(NAMES) : random.pick(names.exchanges);
  const routingKey = random.chance(0.7)
    ? random.pick(names.queues)
    : random.pick(['', '#', '*.a', 'a.b', 'x'.repeat(255)]);
  const flag = () => random.chance(0.3);
  const args = () => (random.chance(names.wild) ? randomTable(random) : {});
  const one = (name: string, fields: Fields = {}) => [method(channel, name, fields)];
  switch (random.below(30)) {
    case 0:
      return one('queue.declare', {
        queue,
        passive: flag(),
        durable: wild(),
        exclusive: true,
        autoDelete: wild(),
        nowait: random.chance(0.1),
        arguments: args(),
      });
    case 1:
      return one('exchange.declare', {
        exchange,
        type: random.pick(['direct', 'fanout', 'topic', 'headers', 'x-consistent-hash', 'no such type', '']),
        passive: random.chance(0.5),
        durable: false,
        autoDelete: true,
        internal: random.chance(0.1),
        nowait: random.chance(0.1),
        arguments: args(),
      });
    case 2:
    case 3:
      return one('queue.bind', { queue, exchange, routingKey, arguments: args() });
    case 4:
      return one('queue.unbind', { queue, exchange, routingKey, arguments: args() });
    case 5:
    case 6:
      return one('exchange.bind', { destination: exchange, source, routingKey, arguments: args() });
    case 7:
      return one('exchange.unbind', { destination: exchange, source, routingKey, arguments: args() });
    case 8:
      return one('queue.delete', { queue, ifUnused: !wild(), ifEmpty: flag(), nowait: flag() });
    case 9:
      return one('exchange.delete', { exchange, ifUnused: true, nowait: flag() });
    case 10:
      return one('queue.purge', { queue, nowait: flag() });
    case 11:
    case 12:
    case 13:
    case 14:
    case 15:
    case 16:
      return [
        publish(
          channel,
          random.chance(0.6) ? '' : exchange,
          routingKey,
          random.bytes(random.below(200)),
          random.chance(names.wild) ? randomProperties(random) : { headers: randomTable(random) },
          { mandatory: flag() },
        ),
      ];
    case 17:
    case 18:
      return one('basic.get', { queue, noAck: flag() });
    case 19:
    case 20:
      return one('basic.consume', {
        queue: random.chance(0.1) ? 'amq.rabbitmq.reply-to' : queue,
        consumerTag: random.chance(0.3) ? '' : `tag ${random.below(1_000)}`,
        noAck: flag(),
        exclusive: random.chance(0.1),
        nowait: random.chance(0.1),
        arguments: args(),
      });
    case 21:
      return one('basic.cancel', { consumerTag: `tag ${random.below(1_000)}`, nowait: flag() });
    case 22:
      return one('basic.ack', { deliveryTag: wild() ? random.below(5) : 0, multiple: true });
    case 23:
      return one('basic.nack', {
        deliveryTag: wild() ? random.below(5) : 0,
        multiple: true,
        requeue: flag(),
      });
    case 24:
      return wild() ? one('basic.reject', { deliveryTag: random.below(5), requeue: flag() }) : [];
    case 25:
      return one(random.pick(['basic.recover', 'basic.recover-async']), { requeue: !random.chance(0.02) });
    case 26:
      return one('basic.qos', { prefetchCount: random.below(10), global: flag() });
    case 27:
      return one(random.pick(['confirm.select', 'tx.select', 'tx.commit', 'tx.rollback']));
    case 28:
      return wild() ? one('channel.close', CLOSE) : [heartbeat()];
    default:
      return wild() ? one('channel.open') : one('channel.flow', { active: true });
  }
}

/** A conversation from the header on, as a list of frames. */
function randomConversation(random: Random, target: Target): Buffer[] {
  const { user, password, vhost } = parseUrl(target.url);
  const names = randomNames(target, 0.2);
  const frames = [
    PROTOCOL_HEADER,
    startOk(plainResponse(user, password)),
    method(0, 'connection.tune-ok', { channelMax: 100, frameMax: 8192, heartbeat: 0 }),
    method(0, 'connection.open', { virtualHost: vhost }),
    method(1, 'channel.open'),
    method(2, 'channel.open'),
    method(3, 'channel.open'),
    ...names.queues.map((queue) => method(3, 'queue.declare', { queue, exclusive: true })),
  ];
  for (let i = 5 + random.below(40); i > 0; i--) frames.push(...randomRequest(random, names));
  return frames;
}

/** A copy of `bytes` with something wrong. */
function damage(random: Random, bytes: Buffer): Buffer {
  const at = random.below(bytes.length);
  switch (random.below(7)) {
    case 0: {
      const copy = Buffer.from(bytes);
      copy[at] = copy[at]! ^ (1 << random.below(8));
      return copy;
    }
    case 1: {
      const copy = Buffer.from(bytes);
      copy[at] = random.pick([0, 1, 0x7f, 0x80, 0xce, 0xff]);
      return copy;
    }
    case 2:
      return bytes.subarray(0, at);
    case 3:
      return Buffer.concat([bytes.subarray(0, at), random.bytes(1 + random.below(20)), bytes.subarray(at)]);
    case 4:
      return Buffer.concat([
        bytes.subarray(0, at),
        bytes.subarray(Math.min(bytes.length, at + 1 + random.below(20))),
      ]);
    case 5: {
      // The payload changes and the frame's size with it, so that the damage reaches the decoders behind the framing.
      if (bytes.length < 12 || bytes[0]! > 3) return bytes;
      const payload = Buffer.from(bytes.subarray(7, bytes.readUInt32BE(3) + 7));
      const cut = payload.subarray(0, 4 + random.below(Math.max(1, payload.length - 4)));
      return frame(
        bytes[0]!,
        bytes.readUInt16BE(1),
        random.chance(0.5) ? cut : Buffer.concat([payload, random.bytes(3)]),
      );
    }
    default: {
      const copy = Buffer.from(bytes);
      for (let i = 0; i < 5; i++) copy[random.below(copy.length)] = random.below(256);
      return copy;
    }
  }
}

/** Frames that are well-formed outside and nonsense inside. */
function nonsense(random: Random): Buffer {
  const channel = random.below(4);
  const classes = [10, 20, 30, 40, 50, 60, 85, 90, random.below(200)];
  switch (random.below(4)) {
    case 0:
      return rawMethod(
        channel,
        random.pick(classes),
        random.pick([10, 11, 20, 21, 30, 40, 50, 51, 60, 70, 80, 90, 100, 110, 120]),
        random.bytes(random.below(60)),
      );
    case 1:
      return rawHeader(channel, {
        bodySize: random.below(1_000),
        properties: random.bytes(2 + random.below(40)),
      });
    case 2:
      return frame(random.below(10), channel, random.bytes(random.below(30)));
    default:
      return Buffer.concat([
        method(1, 'basic.publish', { exchange: '', routingKey: 'x' }),
        header(1, 5),
        body(1, random.bytes(random.below(9))),
      ]);
  }
}

/** Sends it all in random pieces, ends our half, and reads to the end. The names of the frames that came. */
async function hold(target: Target, random: Random, bytes: Buffer): Promise<string[]> {
  const client: RawClient = await connectRaw(target.url);
  try {
    const cuts = Array.from({ length: random.below(4) }, () => random.below(bytes.length + 1)).sort(
      (a, b) => a - b,
    );
    await client.sendSplit(bytes, ...cuts);
    if (random.chance(0.1)) {
      client.destroy(random.chance(0.5));
      return [];
    }
    client.endWrites();
    return await client.drainedWithin(8_000);
  } finally {
    client.destroy();
  }
}

/** Holds `ROUNDS` conversations, several at a time, and proves now and then that others are served. */
async function eachRound(
  target: Target,
  seed: number,
  converse: (random: Random) => Promise<unknown>,
): Promise<void> {
  let round = 0;
  const lane = async () => {
    while (round < ROUNDS) {
      const mine = seed + round++;
      try {
        await converse(new Random(mine));
        if (mine % 25 === 0) await expectServes(target);
        expect(failures).toEqual([]);
      } catch (error) {
        throw new Error(`FUZZ_SEED=${mine} FUZZ_ROUNDS=1: ${(error as Error).message}`);
      }
    }
  };
  await Promise.all(Array.from({ length: LANES }, lane));
  await expectServes(target);
  expect(failures).toEqual([]);
}

/** Sends what `make` makes in one go, whatever the broker says to it. */
function fuzz(target: Target, seed: number, make: (random: Random) => Buffer): Promise<void> {
  return eachRound(target, seed, (random) => hold(target, random, make(random)));
}

const OPTIONS = { timeoutMs: 60_000 + ROUNDS * 100 };

/** Channel that does nothing but show that everything before was answered. */
const BARRIER = 9;
/** Replies that may close a connection though every request was well-formed. */
const LEGAL_CLOSES = [503, 504, 530, 540];

/** True for the frame of a method of class channel other than flow. */
function opensOrCloses(bytes: Buffer): boolean {
  return bytes[0] === 1 && bytes.readUInt16BE(7) === 20 && bytes.readUInt16BE(9) !== 20;
}

/** Holds a conversation as a patient client would: closed channels are opened again, so that it gets somewhere. */
async function holdPatiently(target: Target, random: Random): Promise<void> {
  const client = await connectRaw(target.url);
  try {
    const { user, password, vhost } = parseUrl(target.url);
    await client.authenticate(user, password);
    await client.openVhost(vhost);
    await client.openChannel(BARRIER);
    const names = randomNames(target, 0.05);
    const open = [false, false, false, false];
    for (const queue of names.queues) await client.call(BARRIER, 'queue.declare', { queue, exclusive: true });
    for (const exchange of names.exchanges.slice(0, 3)) {
      const type = random.pick(['direct', 'fanout', 'topic', 'headers']);
      await client.call(BARRIER, 'exchange.declare', { exchange, type, autoDelete: true });
    }
    for (let batch = 0; batch < 12; batch++) {
      const requests: Buffer[] = [];
      for (let channel = 1; channel <= 3; channel++) {
        if (!open[channel]) requests.push(method(channel, 'channel.open'));
        open[channel] = true;
      }
      for (let i = random.below(12); i > 0; i--) {
        const request = randomRequest(random, names);
        // Opening twice and using what was closed would end it all too soon.
        if (request.some(opensOrCloses)) continue;
        requests.push(...request);
      }
      client.send(...requests, method(BARRIER, 'basic.qos', {}));
      for (;;) {
        const { name, channel, fields } = await client.next();
        if (channel === BARRIER && name === 'basic.qos-ok') break;
        if (name === 'connection.close') {
          expect(LEGAL_CLOSES, String(fields['replyText'])).toContain(fields['replyCode']);
          return;
        }
        if (name === 'channel.close') {
          client.sendMethod(channel, 'channel.close-ok');
          open[channel] = false;
        }
      }
    }
    // RabbitMQ may take seconds to close a connection one of whose channels is failing at that moment.
    if (!target.isRabbitMQ) await client.close();
  } finally {
    client.destroy();
  }
}

rule(
  'fuzz.valid',
  `random requests of a patient client (seed ${SEED})`,
  (target) => eachRound(target, SEED, (random) => holdPatiently(target, random)),
  OPTIONS,
);

rule(
  'fuzz.damaged',
  `conversations with a few frames damaged (seed ${SEED})`,
  (target) =>
    fuzz(target, SEED, (random) => {
      const frames = randomConversation(random, target);
      for (let i = 1 + random.below(3); i > 0; i--) {
        const at = random.chance(0.1) ? random.below(7) : 7 + random.below(frames.length - 7);
        frames[at] = damage(random, frames[at]!);
      }
      return Buffer.concat(frames);
    }),
  OPTIONS,
);

rule(
  'fuzz.nonsense',
  `well-formed frames full of nonsense (seed ${SEED})`,
  (target) =>
    fuzz(target, SEED, (random) => {
      const frames = randomConversation(random, target);
      frames.splice(7 + random.below(frames.length - 7), 0, nonsense(random));
      return Buffer.concat(frames);
    }),
  OPTIONS,
);

rule(
  'fuzz.shuffled',
  `frames left out, repeated and in the wrong order (seed ${SEED})`,
  (target) =>
    fuzz(target, SEED, (random) => {
      const frames = randomConversation(random, target);
      for (let i = 1 + random.below(3); i > 0; i--) {
        const from = random.below(frames.length);
        const [taken] = random.chance(0.5) ? frames.splice(from, 1) : [frames[from]!];
        if (random.chance(0.7)) frames.splice(random.below(frames.length + 1), 0, taken!);
      }
      return Buffer.concat(frames);
    }),
  OPTIONS,
);

rule(
  'fuzz.noise',
  `plain noise, from the first byte or behind the header (seed ${SEED})`,
  (target) =>
    fuzz(target, SEED, (random) => {
      const noise = random.bytes(1 + random.below(300));
      return random.chance(0.5) ? noise : Buffer.concat([PROTOCOL_HEADER, noise]);
    }),
  OPTIONS,
);
