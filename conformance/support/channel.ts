// One channel of a test: requests whose bytes amqplib encodes, and a journal of every frame the server sent.
// Owns two expectations of its own: replies come in the order of the requests, and nothing follows a channel.close.
// Must not know which broker it talks to.
// Invariant: a wait ends by what it waits for, by the end of the channel or connection, or by WAIT_MS.

import type { Socket } from 'node:net';
import { inspect } from 'node:util';
import type * as amqplib from 'amqplib';
import { expect } from 'vitest';
import {
  type Closing,
  checkClosing,
  closingOf,
  type ExpectedRefusal,
  methodName,
  Refusal,
} from './closing.ts';
import type { Peer } from './peer.ts';
import { methodId } from './raw-client.ts';
import { WAIT_MS, type Waiter, within } from './waiting.ts';

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
export interface WireConnection {
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

interface PendingCall extends Waiter<Received> {
  readonly request: string;
  readonly replies: readonly string[];
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
      this.wire.sendMethod(this.number, methodId('channel.close-ok'), {});
      this.end(closingOf('channel', received.fields));
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
