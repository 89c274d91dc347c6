// The hands of the behaviour rules: connections whose bytes amqplib encodes, channels that keep a journal of every frame
// the server sent, and one Scene per test that names things uniquely and removes them afterwards.
// Owns no expectation of its own beyond two: replies come in the order of the requests, and nothing follows a channel.close.
// Must not know which broker it talks to: the address comes from the target.
// Invariant: a wait always ends, by what it waits for, by the end of its channel or connection, or by WAIT_MS.

import { createRequire } from 'node:module';
import type { Socket } from 'node:net';
import { dirname, join } from 'node:path';
import { inspect } from 'node:util';
import * as amqplib from 'amqplib';
import { expect, onTestFinished } from 'vitest';
import { methodId } from './raw-client.ts';
import type { Target } from './target.ts';

/** How long a test waits for a single answer before it says that none came. Not a pause: only failures take it. */
const WAIT_MS = 5_000;

type Fields = Record<string, unknown>;

interface DecodedFrame {
  readonly channel: number;
  /** Method id (class << 16 | method), the property class id for a header, absent for a body. */
  readonly id?: number;
  readonly fields?: Fields;
  readonly size?: number;
  readonly content?: Buffer;
}

interface ChannelSlot {
  channel: {
    accept(frame: DecodedFrame): void;
    toClosed?(): void;
    onBufferDrain?(): void;
  };
  buffer: unknown;
}

/** The part of amqplib's connection that the helpers drive. */
interface WireConnection {
  channels: (ChannelSlot | null)[];
  serverProperties: Fields;
  stream: Socket;
  sendMethod(channel: number, id: number, fields: Fields): boolean;
  sendMessage(
    channel: number,
    id: number,
    fields: Fields,
    propertiesId: number,
    properties: Fields,
    body: Buffer,
  ): boolean;
  on(event: 'close', listener: (error?: Error) => void): void;
}

const require = createRequire(import.meta.url);
const defs = require(join(dirname(require.resolve('amqplib')), 'lib', 'defs.js')) as {
  readonly [name: string]: unknown;
};

const REPLY_NAMES: Readonly<Record<number, string>> = {
  311: 'CONTENT_TOO_LARGE',
  312: 'NO_ROUTE',
  320: 'CONNECTION_FORCED',
  403: 'ACCESS_REFUSED',
  404: 'NOT_FOUND',
  405: 'RESOURCE_LOCKED',
  406: 'PRECONDITION_FAILED',
  501: 'FRAME_ERROR',
  502: 'SYNTAX_ERROR',
  503: 'COMMAND_INVALID',
  504: 'CHANNEL_ERROR',
  505: 'UNEXPECTED_FRAME',
  506: 'RESOURCE_ERROR',
  530: 'NOT_ALLOWED',
  540: 'NOT_IMPLEMENTED',
  541: 'INTERNAL_ERROR',
};

const SOFT_CODES = new Set([311, 312, 313, 403, 404, 405, 406]);

const methodNames = new Map<number, string>();

/** Numeric id to `queue.declare-ok`; `null` for 0, `class.method` in figures for unknown ids. */
function methodName(id: number): string | null {
  if (id === 0) return null;
  let name = methodNames.get(id);
  if (name === undefined) {
    const known = Object.entries(defs).find(([key, value]) => value === id && key !== 'FRAME_OVERHEAD');
    name =
      known === undefined
        ? `${id >>> 16}.${id & 0xffff}`
        : known[0].replace(/^([A-Z][a-z]+)(.*)$/, (_all, first: string, rest: string) => {
            const words = rest.replace(/([A-Z])/g, '-$1').toLowerCase();
            return `${first.toLowerCase()}.${words.slice(1)}`;
          });
    methodNames.set(id, name);
  }
  return name;
}

/** Why the server ended a channel or a connection. `code` 0 = the socket ended without a word. */
export interface Closing {
  readonly scope: 'channel' | 'connection';
  readonly code: number;
  readonly text: string;
  /** The method the server blames, such as `queue.bind`; null when it blames none. */
  readonly method: string | null;
}

/** What a pending call is rejected with when the server closes the channel or the connection. */
export class Refusal extends Error {
  readonly closing: Closing;

  constructor(closing: Closing) {
    super(`${closing.scope} closed: ${closing.code} ${closing.text} (${closing.method ?? 'no method'})`);
    this.name = 'Refusal';
    this.closing = closing;
  }
}

/** One method the server sent on a channel, with its content if it carries any. */
export interface Received {
  readonly method: string;
  readonly fields: Fields;
  readonly properties: amqplib.MessageProperties | null;
  readonly body: Buffer | null;
}

/** A message as a consumer, a get or a return shows it. */
export interface Message {
  readonly body: string;
  readonly bytes: Buffer;
  readonly tag: number;
  readonly redelivered: boolean;
  readonly exchange: string;
  readonly routingKey: string;
  readonly consumerTag: string;
  /** Ready messages left, of a get. */
  readonly messageCount: number;
  readonly properties: amqplib.MessageProperties;
}

function toMessage(received: Received): Message {
  const fields = received.fields as {
    deliveryTag?: number;
    redelivered?: boolean;
    exchange: string;
    routingKey: string;
    consumerTag?: string;
    messageCount?: number;
  };
  return {
    body: received.body!.toString(),
    bytes: received.body!,
    tag: fields.deliveryTag ?? 0,
    redelivered: fields.redelivered ?? false,
    exchange: fields.exchange,
    routingKey: fields.routingKey,
    consumerTag: fields.consumerTag ?? '',
    messageCount: fields.messageCount ?? 0,
    properties: received.properties!,
  };
}

interface Waiter<T> {
  resolve(value: T): void;
  reject(error: Error): void;
}

/** A promise that is rejected with `what` after WAIT_MS, so that a silent broker fails a test with a clear sentence. */
function within<T>(what: () => string, start: (waiter: Waiter<T>) => void): Promise<T> {
  const trace = new Error();
  return new Promise<T>((resolve, reject) => {
    const timer = setTimeout(() => {
      trace.message = what();
      reject(trace);
    }, WAIT_MS);
    start({
      resolve: (value) => {
        clearTimeout(timer);
        resolve(value);
      },
      reject: (error) => {
        clearTimeout(timer);
        reject(error);
      },
    });
  });
}

interface PendingCall extends Waiter<Received> {
  readonly request: string;
  readonly replies: readonly string[];
}

/** What a test expects of a refusal: the explanation without the reply name in front, and the blamed method. */
export interface ExpectedRefusal {
  readonly code: number;
  /** The explanation, the whole reply text when `wholeText` is set, or a pattern for the explanation. */
  readonly text: string | RegExp;
  readonly method: string | null;
  readonly scope?: 'channel' | 'connection';
}

/** Throws unless `closing` is what was expected, reply name, scope and blamed method included. */
export function checkClosing(closing: Closing, expected: ExpectedRefusal): void {
  const name = REPLY_NAMES[expected.code]!;
  const scope = expected.scope ?? (SOFT_CODES.has(expected.code) ? 'channel' : 'connection');
  const actual = { scope: closing.scope, code: closing.code, text: closing.text, method: closing.method };
  if (typeof expected.text === 'string') {
    // The reply text is a short string: 255 bytes at most.
    const text = Buffer.from(`${name} - ${expected.text}`).subarray(0, 255).toString();
    expect(actual).toEqual({ scope, code: expected.code, text, method: expected.method });
  } else {
    expect(actual).toEqual({ scope, code: expected.code, text: closing.text, method: expected.method });
    expect(closing.text.startsWith(`${name} - `)).toBe(true);
    expect(closing.text.slice(name.length + 3)).toMatch(expected.text);
  }
}

/** One channel: calls, sends, and everything the server said on it, in order. */
export class Channel {
  readonly number: number;
  /** Every method the server sent on this channel, in order of arrival. */
  readonly journal: Received[] = [];
  /** How the server ended the channel or its connection; null while it lives. */
  closing: Closing | null = null;
  /** Frames that arrived after the server's channel.close; must stay empty. */
  readonly afterClose: string[] = [];

  private readonly wire: WireConnection;
  private readonly peer: Peer;
  private readonly calls: PendingCall[] = [];
  private readonly watchers = new Set<() => void>();
  private readonly taken = new Set<Received>();
  /** Deliveries by consumer tag, so that a wait need not read the whole journal. */
  private readonly delivered = new Map<string, Message[]>();
  /** Publishes settled one by one above `settledUpTo`. */
  private readonly settledAbove = new Set<number>();
  private settledUpTo = 0;
  private partial: {
    method: string;
    fields: Fields;
    properties: amqplib.MessageProperties | null;
    size: number;
    chunks: Buffer[];
  } | null = null;

  constructor(peer: Peer, wire: WireConnection, number: number) {
    this.peer = peer;
    this.wire = wire;
    this.number = number;
    wire.channels[number] = {
      channel: {
        accept: (frame) => this.accept(frame),
        toClosed: () => this.end(peer.closing ?? { scope: 'connection', code: 0, text: '', method: null }),
      },
      buffer: wire.stream,
    };
  }

  /** Sends a method and waits for its reply. Calls may be pipelined: replies must come in order. */
  async call<R extends object = Fields>(method: string, fields: object = {}): Promise<R> {
    return (await this.request(method, fields)).fields as R;
  }

  private request(method: string, fields: object): Promise<Received> {
    const replies = method === 'basic.get' ? ['basic.get-ok', 'basic.get-empty'] : [`${method}-ok`];
    if (this.closing !== null) return Promise.reject(new Refusal(this.closing));
    return within(
      () => `no reply to ${method} on channel ${this.number}`,
      (waiter) => {
        this.calls.push({ request: method, replies, resolve: waiter.resolve, reject: waiter.reject });
        this.wire.sendMethod(this.number, methodId(method), fields as Fields);
      },
    );
  }

  /** Sends a method that has no reply, or whose reply `nowait` suppresses. */
  send(method: string, fields: object = {}): void {
    this.wire.sendMethod(this.number, methodId(method), fields as Fields);
  }

  /** basic.publish. Nothing is waited for. */
  publish(
    exchange: string,
    routingKey: string,
    body: string | Buffer,
    properties: amqplib.Options.Publish & { clusterId?: string } = {},
    flags: { mandatory?: boolean; immediate?: boolean } = {},
  ): void {
    this.wire.sendMessage(
      this.number,
      methodId('basic.publish'),
      { exchange, routingKey, mandatory: flags.mandatory ?? false, immediate: flags.immediate ?? false },
      methodId('basic.properties'),
      properties as Fields,
      Buffer.from(body as string),
    );
  }

  /** Publishes each body to a queue by its name, through the default exchange. */
  publishAll(queue: string, bodies: readonly string[], properties: amqplib.Options.Publish = {}): void {
    for (const body of bodies) this.publish('', queue, body, properties);
  }

  /** Round trip without an effect: when it returns, the server has handled all that was sent on this channel. */
  async fence(): Promise<void> {
    await this.call('channel.flow', { active: true });
  }

  /**
   * Counts of a queue, and every delivery that the queue made before it counted has arrived on this channel.
   * The count may overtake publishes and acks on their way to the queue: wait for confirms first, or use `untilReady`.
   */
  async settle(queue: string): Promise<{ messageCount: number; consumerCount: number }> {
    const counts = await this.call<{ messageCount: number; consumerCount: number }>('queue.declare', {
      queue,
      passive: true,
    });
    await this.fence();
    return counts;
  }

  /** Asks for the number of ready messages until it is `count`. */
  async untilReady(queue: string, count: number): Promise<void> {
    await this.untilCounts(queue, { messageCount: count });
  }

  /** Asks for a queue's counts until they are as given. */
  async untilCounts(
    queue: string,
    expected: { messageCount?: number; consumerCount?: number },
  ): Promise<void> {
    const deadline = Date.now() + WAIT_MS;
    for (;;) {
      const { messageCount, consumerCount } = await this.settle(queue);
      const actual = {
        messageCount: expected.messageCount === undefined ? undefined : messageCount,
        consumerCount: expected.consumerCount === undefined ? undefined : consumerCount,
      };
      if (actual.messageCount === expected.messageCount && actual.consumerCount === expected.consumerCount)
        return;
      if (Date.now() > deadline) expect(actual, `counts of ${queue}`).toEqual(expected);
    }
  }

  /** basic.get; null when the queue is empty. */
  async get(queue: string, options: { noAck?: boolean } = {}): Promise<Message | null> {
    const reply = await this.request('basic.get', { queue, noAck: options.noAck ?? false });
    return reply.method === 'basic.get-empty' ? null : toMessage(reply);
  }

  /** Gets with no-ack until the queue is empty; the bodies in their order. */
  async drain(queue: string): Promise<string[]> {
    const bodies: string[] = [];
    for (let message = await this.get(queue, { noAck: true }); message !== null; ) {
      bodies.push(message.body);
      message = await this.get(queue, { noAck: true });
    }
    return bodies;
  }

  /** basic.consume. The consumer's inbox fills from the journal. */
  async consume(
    queue: string,
    options: {
      consumerTag?: string;
      noAck?: boolean;
      exclusive?: boolean;
      noLocal?: boolean;
      arguments?: Fields;
    } = {},
  ): Promise<Consumer> {
    const ok = await this.call<{ consumerTag: string }>('basic.consume', { queue, ...options });
    return new Consumer(this, ok.consumerTag);
  }

  /** Limits unacknowledged deliveries, per consumer or for the whole channel. */
  async qos(prefetchCount: number, global = false): Promise<void> {
    await this.call('basic.qos', { prefetchCount, global });
  }

  ack(message: Message | number, multiple = false): void {
    this.send('basic.ack', { deliveryTag: typeof message === 'number' ? message : message.tag, multiple });
  }

  nack(message: Message | number, options: { multiple?: boolean; requeue?: boolean } = {}): void {
    this.send('basic.nack', {
      deliveryTag: typeof message === 'number' ? message : message.tag,
      multiple: options.multiple ?? false,
      requeue: options.requeue ?? true,
    });
  }

  reject(message: Message | number, requeue = true): void {
    this.send('basic.reject', { deliveryTag: typeof message === 'number' ? message : message.tag, requeue });
  }

  /** Turns the channel into confirm mode. */
  async confirms(): Promise<void> {
    await this.call('confirm.select');
  }

  /** Publishes on a confirm channel and waits until every one of them is settled; the channel must have nothing else outstanding. */
  async publishConfirmed(
    exchange: string,
    routingKey: string,
    bodies: readonly string[],
    properties: amqplib.Options.Publish = {},
  ): Promise<void> {
    const before = this.settled();
    for (const body of bodies) this.publish(exchange, routingKey, body, properties);
    await this.until(() => this.settled() >= before + bodies.length, `confirms of ${bodies.length} messages`);
  }

  /** How many publishes the server has settled: the highest number n such that 1..n are all acked or nacked. */
  settled(): number {
    return this.settledUpTo;
  }

  /** Deliveries to the consumer of that tag, in order. */
  deliveries(tag: string): Message[] {
    let messages = this.delivered.get(tag);
    if (messages === undefined) {
      messages = [];
      this.delivered.set(tag, messages);
    }
    return messages;
  }

  /** Waits until `done` holds; it is asked after every frame on this channel. */
  until(done: () => boolean, what: string): Promise<void> {
    if (done()) return Promise.resolve();
    if (this.closing !== null) return Promise.reject(new Refusal(this.closing));
    return within(
      () =>
        `no ${what} on channel ${this.number}; it got ${JSON.stringify(this.journal.map((entry) => entry.method))}`,
      (waiter) => {
        const look = (): void => {
          if (done()) waiter.resolve();
          else if (this.closing !== null) waiter.reject(new Refusal(this.closing));
          else return;
          this.watchers.delete(look);
        };
        this.watchers.add(look);
      },
    );
  }

  /** The next method of that name the test has not taken yet; waits for it. */
  async next(method: string, matches: (received: Received) => boolean = () => true): Promise<Received> {
    const find = (): Received | undefined =>
      this.journal.find((entry) => entry.method === method && !this.taken.has(entry) && matches(entry));
    await this.until(() => find() !== undefined, method);
    const found = find()!;
    this.taken.add(found);
    return found;
  }

  /** Takes the next basic.return. */
  async nextReturn(): Promise<Message & { replyCode: number; replyText: string }> {
    const received = await this.next('basic.return');
    const { replyCode, replyText } = received.fields as { replyCode: number; replyText: string };
    return { ...toMessage(received), replyCode, replyText };
  }

  /** Everything of that name so far. */
  seen(method: string): Received[] {
    return this.journal.filter((entry) => entry.method === method);
  }

  /** Waits until the server ends this channel or its connection. */
  closed(): Promise<Closing> {
    if (this.closing !== null) return Promise.resolve(this.closing);
    return within(
      () => `the server did not close channel ${this.number}`,
      (waiter) => {
        const look = (): void => {
          if (this.closing === null) return;
          this.watchers.delete(look);
          waiter.resolve(this.closing);
        };
        this.watchers.add(look);
      },
    );
  }

  /**
   * Runs `action` and expects that the server refuses it with exactly this code, text and method.
   * A server that carries on is found out at once, by a round trip behind the action.
   */
  async refused(action: () => unknown, expected: ExpectedRefusal): Promise<void> {
    let answer: unknown = null;
    try {
      answer = await action();
    } catch (error) {
      if (!(error instanceof Refusal)) throw error;
    }
    if (this.closing === null) {
      await this.fence().catch((error: unknown) => {
        if (!(error instanceof Refusal)) throw error;
      });
    }
    if (this.closing === null) {
      throw new Error(
        `expected ${expected.code} ${String(expected.text)}, but the server carried on: ${inspect(answer, { depth: 1 })}`,
      );
    }
    checkClosing(this.closing, expected);
  }

  /** A further channel of the same connection. */
  sibling(): Promise<Channel> {
    return this.peer.channel();
  }

  /** Closes the channel from our side; what is unacknowledged goes back to its queues. */
  async close(): Promise<void> {
    if (this.closing !== null) return;
    await this.call('channel.close', { replyCode: 200, replyText: 'done', classId: 0, methodId: 0 });
    this.closing = { scope: 'channel', code: 200, text: 'done', method: null };
    this.wire.channels[this.number] = null;
  }

  private accept(frame: DecodedFrame): void {
    if (frame.content !== undefined) {
      this.acceptBody(frame.content);
      return;
    }
    const name = methodName(frame.id!)!;
    if (name === 'basic.properties') {
      this.acceptHeader(frame);
    } else if (this.closing !== null) {
      this.afterClose.push(name);
    } else if (name === 'basic.deliver' || name === 'basic.return' || name === 'basic.get-ok') {
      this.partial = { method: name, fields: frame.fields!, properties: null, size: 0, chunks: [] };
    } else {
      this.arrived({ method: name, fields: frame.fields!, properties: null, body: null });
    }
  }

  private acceptHeader(frame: DecodedFrame): void {
    if (this.closing !== null) return;
    this.partial!.properties = frame.fields as unknown as amqplib.MessageProperties;
    this.partial!.size = frame.size!;
    if (frame.size === 0) this.contentComplete();
  }

  private acceptBody(chunk: Buffer): void {
    if (this.closing !== null) return;
    this.partial!.chunks.push(Buffer.from(chunk));
    const length = this.partial!.chunks.reduce((sum, part) => sum + part.length, 0);
    if (length === this.partial!.size) this.contentComplete();
  }

  private contentComplete(): void {
    const { method, fields, properties, chunks } = this.partial!;
    this.partial = null;
    this.arrived({ method, fields, properties, body: Buffer.concat(chunks) });
  }

  private arrived(received: Received): void {
    this.journal.push(received);
    if (received.method === 'basic.deliver') {
      this.deliveries(received.fields['consumerTag'] as string).push(toMessage(received));
    } else if (received.method === 'basic.ack' || received.method === 'basic.nack') {
      const { deliveryTag, multiple } = received.fields as { deliveryTag: number; multiple: boolean };
      if (multiple) this.settledUpTo = Math.max(this.settledUpTo, deliveryTag);
      else this.settledAbove.add(deliveryTag);
      while (this.settledAbove.delete(this.settledUpTo + 1)) this.settledUpTo++;
    }
    if (received.method === 'channel.close') {
      const {
        replyCode,
        replyText,
        classId,
        methodId: method,
      } = received.fields as {
        replyCode: number;
        replyText: string;
        classId: number;
        methodId: number;
      };
      this.wire.sendMethod(this.number, methodId('channel.close-ok'), {});
      this.end({
        scope: 'channel',
        code: replyCode,
        text: replyText,
        method: methodName((classId << 16) | method),
      });
      return;
    }
    const head = this.calls[0];
    if (head?.replies.includes(received.method)) {
      this.calls.shift();
      head.resolve(received);
    } else if (received.method.endsWith('-ok') || received.method === 'basic.get-empty') {
      // A reply nobody waits for: a broker that answers a no-wait request, or out of order.
      this.peer.violations.push(
        `${received.method} arrived, expected ${head?.replies.join(' or ') ?? 'no reply'}`,
      );
    }
    this.wake();
  }

  private end(closing: Closing): void {
    if (this.closing !== null) return;
    this.closing = closing;
    for (const call of this.calls.splice(0)) call.reject(new Refusal(closing));
    this.wake();
  }

  private wake(): void {
    for (const look of [...this.watchers]) look();
  }
}

/** One consumer's deliveries, in order. */
export class Consumer {
  readonly tag: string;
  readonly channel: Channel;
  private position = 0;

  constructor(channel: Channel, tag: string) {
    this.channel = channel;
    this.tag = tag;
  }

  /** All deliveries to this consumer so far, taken or not. */
  get received(): Message[] {
    return this.channel.deliveries(this.tag);
  }

  /** Bodies of all deliveries so far. */
  get bodies(): string[] {
    return this.received.map((message) => message.body);
  }

  /** The next delivery; waits for it. */
  async next(): Promise<Message> {
    await this.channel.until(
      () => this.received.length > this.position,
      `delivery ${this.position + 1} to consumer ${this.tag}`,
    );
    return this.received[this.position++]!;
  }

  /** The next `count` deliveries; waits for them. */
  async take(count: number): Promise<Message[]> {
    const messages: Message[] = [];
    while (messages.length < count) messages.push(await this.next());
    return messages;
  }

  /** basic.cancel and its reply. */
  async cancel(): Promise<void> {
    await this.channel.call('basic.cancel', { consumerTag: this.tag });
  }
}

/** How a test connects, where it differs from the target's address. */
export interface ConnectOptions {
  readonly user?: string;
  readonly password?: string;
  readonly vhost?: string;
  readonly clientProperties?: Fields;
}

/** One connection. */
export class Peer {
  /** How the server ended the connection; null while it lives or when we closed it. */
  closing: Closing | null = null;
  /** What the server did that no server may do, whatever the rule under test. */
  readonly violations: string[] = [];
  readonly channels: Channel[] = [];
  private readonly wire: WireConnection;
  private readonly model: amqplib.ChannelModel;
  private open = true;
  private nextChannel = 1;
  private readonly ended: Promise<Closing>;

  private constructor(model: amqplib.ChannelModel) {
    this.model = model;
    this.wire = model.connection as unknown as WireConnection;
    const zero = this.wire.channels[0]!.channel;
    const accept = zero.accept;
    zero.accept = (frame) => {
      if (frame.id === methodId('connection.close')) {
        const {
          replyCode,
          replyText,
          classId,
          methodId: method,
        } = frame.fields as {
          replyCode: number;
          replyText: string;
          classId: number;
          methodId: number;
        };
        this.closing = {
          scope: 'connection',
          code: replyCode,
          text: replyText,
          method: methodName((classId << 16) | method),
        };
      }
      accept(frame);
    };
    // The journal tells the story; the event must only not be fatal.
    model.on('error', () => undefined);
    this.ended = new Promise((resolve) => {
      model.on('close', () => {
        this.open = false;
        resolve(this.closing ?? { scope: 'connection', code: 0, text: '', method: null });
      });
    });
  }

  /** Opens a connection. Rejects with amqplib's error when the handshake is refused. */
  static async connect(target: Pick<Target, 'url'>, options: ConnectOptions = {}): Promise<Peer> {
    const url = new URL(target.url);
    if (options.user !== undefined) url.username = encodeURIComponent(options.user);
    if (options.password !== undefined) url.password = encodeURIComponent(options.password);
    if (options.vhost !== undefined) url.pathname = `/${encodeURIComponent(options.vhost)}`;
    const model = await amqplib.connect(url.href, {
      noDelay: true,
      ...(options.clientProperties === undefined ? {} : { clientProperties: options.clientProperties }),
    });
    return new Peer(model);
  }

  /** Whether neither side has ended the connection. */
  get isOpen(): boolean {
    return this.open;
  }

  get serverProperties(): Fields {
    return this.wire.serverProperties;
  }

  /** Opens the next channel. */
  async channel(): Promise<Channel> {
    const channel = new Channel(this, this.wire, this.nextChannel++);
    this.channels.push(channel);
    await channel.call('channel.open');
    return channel;
  }

  /** Waits until the server has ended the connection. */
  closed(): Promise<Closing> {
    return within(
      () => 'the server did not close the connection',
      (waiter) => void this.ended.then(waiter.resolve, waiter.reject),
    );
  }

  /** Closes the connection in order and waits for close-ok. */
  async close(): Promise<void> {
    if (!this.open) return;
    this.open = false;
    await this.model.close();
  }

  /** Ends the TCP connection without a word, as a crashed client does. */
  cut(): void {
    this.open = false;
    this.wire.stream.destroy();
  }
}

let nameCounter = 0;
// Several files run at once, and a name must be new to a broker that other runs have used.
const namePrefix = `conf-${process.pid.toString(36)}-${Date.now().toString(36)}`;

/** A name no other test uses. */
export function uniqueName(label: string): string {
  return `${namePrefix}-${++nameCounter}-${label}`;
}

/** One test's connections and the things it declared, all removed when the test ends. */
export class Scene {
  /** The first connection of the test. */
  readonly peer: Peer;
  /** The first channel of the first connection. */
  readonly channel: Channel;
  /** The vhost the target's address names. */
  readonly vhost: string;
  /** The user the target's address names. */
  readonly user: string;
  private readonly target: Target;
  private readonly peers: Peer[] = [];
  private readonly queues: string[] = [];
  private readonly exchanges: string[] = [];

  private constructor(target: Target, peer: Peer, channel: Channel) {
    this.target = target;
    this.peer = peer;
    this.peers.push(peer);
    this.channel = channel;
    const url = new URL(target.url);
    this.user = url.username === '' ? 'guest' : decodeURIComponent(url.username);
    const path = url.pathname;
    this.vhost = path.length > 1 ? decodeURIComponent(path.slice(1)) : '/';
  }

  /** Connects, opens a channel, and sees to it that everything is removed at the end of the running test. */
  static async open(target: Target): Promise<Scene> {
    const peer = await Peer.connect(target);
    const scene = new Scene(target, peer, await peer.channel());
    onTestFinished(() => scene.close());
    return scene;
  }

  /** A second connection. */
  async connect(options: ConnectOptions = {}): Promise<Peer> {
    const peer = await Peer.connect(this.target, options);
    this.peers.push(peer);
    return peer;
  }

  /** A further channel of the first connection. */
  newChannel(): Promise<Channel> {
    return this.peer.channel();
  }

  /** A channel of a new connection, for things that an error of the first connection must not touch. */
  async stranger(options: ConnectOptions = {}): Promise<Channel> {
    return (await this.connect(options)).channel();
  }

  /** A unique name for a queue, removed at the end whoever declares it. */
  queueName(label = 'queue'): string {
    const name = uniqueName(label);
    this.queues.push(name);
    return name;
  }

  /** A unique name for an exchange, removed at the end whoever declares it. */
  exchangeName(label = 'exchange'): string {
    const name = uniqueName(label);
    this.exchanges.push(name);
    return name;
  }

  /** Declares a queue, non-durable and shared unless told otherwise; its name. */
  async queue(fields: Fields = {}, channel: Channel = this.channel): Promise<string> {
    const name = this.queueName();
    await channel.call('queue.declare', { queue: name, ...fields });
    return name;
  }

  /** Declares an exchange; its name. */
  async exchange(type: string, fields: Fields = {}, channel: Channel = this.channel): Promise<string> {
    const name = this.exchangeName(type);
    await channel.call('exchange.declare', { exchange: name, type, ...fields });
    return name;
  }

  /** Declares a queue and binds it; its name. */
  async boundQueue(exchange: string, routingKey = '', args: Fields = {}): Promise<string> {
    const queue = await this.queue();
    await this.channel.call('queue.bind', { queue, exchange, routingKey, arguments: args });
    return queue;
  }

  /** Removes everything and reports frames that no server may send. */
  async close(): Promise<void> {
    const wrong: string[] = [];
    for (const peer of this.peers) {
      wrong.push(...peer.violations);
      for (const channel of peer.channels) {
        if (channel.afterClose.length > 0)
          wrong.push(`after channel.close: ${channel.afterClose.join(', ')}`);
      }
    }
    const [first, ...others] = this.peers;
    await Promise.all(others.map((peer) => peer.close()));
    if (this.queues.length > 0 || this.exchanges.length > 0) {
      const janitor = first!.isOpen ? first! : await Peer.connect(this.target);
      const channel = await janitor.channel();
      for (const queue of this.queues) channel.send('queue.delete', { queue, nowait: true });
      for (const exchange of this.exchanges) channel.send('exchange.delete', { exchange, nowait: true });
      await channel.fence();
      await janitor.close();
    }
    await first!.close();
    expect(wrong, 'frames no server may send').toEqual([]);
  }
}

/** Opens a scene for the running test. */
export function scene(target: Target): Promise<Scene> {
  return Scene.open(target);
}
