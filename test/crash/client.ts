// One connection of the crash harness: sends fast, cuts frames by hand, and knows at every moment whether the broker is still there.
// Owns the socket and the order of requests and answers. Knows no ledger: contents, confirms and returns are handed on at once, in the
// order of the stream. Encodes with amqplib's tables and by hand, never with the broker's own codec.
// Invariant: once the socket is gone every outstanding call is refused with `Gone`, and nothing is handed on any more.

import { connect, type Socket } from 'node:net';
import {
  BASIC_ACK,
  BASIC_DELIVER,
  BASIC_GET_EMPTY,
  BASIC_GET_OK,
  BASIC_NACK,
  BASIC_RETURN,
  CHANNEL_CLOSE,
  CHANNEL_CLOSE_OK,
  CHANNEL_OPEN_OK,
  CONNECTION_CLOSE,
  CONNECTION_CLOSE_OK,
  CONNECTION_OPEN_OK,
  CONNECTION_START,
  CONNECTION_TUNE,
  connectionClose,
  connectionCloseOk,
  connectionOpen,
  FRAME_BODY,
  FRAME_END,
  FRAME_HEADER,
  FRAME_METHOD,
  PROTOCOL_HEADER,
  startOk,
  tuneOk,
} from '../../bench/load/wire.ts';
import { type Fields, method, methodId } from '../../conformance/support/raw-client.ts';

/** Bytes of a frame around its payload. */
const FRAME_OVERHEAD = 8;
const FRAME_MAX = 131_072;
/** Reply code of a broker that stops. */
const CONNECTION_FORCED = 320;

/** The broker is not there any more: what was asked has no answer. */
export class Gone extends Error {}

/** A message that came: a delivery, the answer of a basic.get, or a return. */
export interface Content {
  readonly kind: 'delivery' | 'get' | 'return';
  readonly consumerTag: string;
  readonly deliveryTag: number;
  readonly redelivered: boolean;
  readonly routingKey: string;
  readonly body: Buffer;
}

/** What a client hands on. */
export interface ClientEvents {
  content?(content: Content): void;
  /** Confirms up to the tag, or of the tag alone. */
  confirm?(tag: number, multiple: boolean, nack: boolean): void;
  /** Called once when the broker breaks the rules, or refuses what it should not refuse, or a handler throws. */
  wrong(error: Error): void;
}

interface Waiter {
  readonly channel: number;
  readonly ids: readonly number[];
  readonly resolve: (answer: Answer) => void;
  readonly reject: (error: Error) => void;
}

/** The method that answered a call: its id, its arguments behind the id, and the content of a basic.get-ok. */
export interface Answer {
  readonly id: number;
  readonly payload: Buffer;
  readonly content: Content | null;
}

/** A connection with channel 1 open. */
export class Client {
  /** Fulfilled when the socket is gone, whoever ended it. */
  readonly ended: Promise<void>;
  gone = false;
  /** Bytes this client has written and the broker has not taken. */
  get unsent(): number {
    return this.#socket.writableLength;
  }

  readonly #socket: Socket;
  readonly #events: ClientEvents;
  readonly #waiters: Waiter[] = [];
  #input: Buffer = Buffer.alloc(0);
  #corked = false;
  /** The content that is being read: its method, and its body so far. */
  #opened: Omit<Content, 'body'> | null = null;
  #getPayload: Buffer | null = null;
  #parts: Buffer[] = [];
  #missing = 0;
  #wrong = false;

  private constructor(port: number, events: ClientEvents) {
    this.#events = events;
    this.#socket = connect({ host: '127.0.0.1', port, noDelay: true });
    this.#socket.on('data', (chunk) => this.#read(chunk));
    this.#socket.on('error', () => {});
    this.ended = new Promise((resolve) => {
      this.#socket.once('close', () => {
        this.#end();
        resolve();
      });
    });
  }

  /** Connects as guest and opens channel 1. @throws Gone */
  static async open(port: number, events: ClientEvents): Promise<Client> {
    const client = new Client(port, events);
    client.send(PROTOCOL_HEADER);
    await client.#expect(0, [CONNECTION_START]);
    await client.#request(startOk('guest', 'guest'), 0, [CONNECTION_TUNE]);
    client.send(tuneOk(2047, FRAME_MAX));
    await client.#request(connectionOpen('/'), 0, [CONNECTION_OPEN_OK]);
    await client.call('channel.open', {});
    return client;
  }

  /** Writes bytes; all of one event-loop iteration leave together. */
  send(bytes: Buffer): void {
    if (this.gone) return;
    if (!this.#corked) {
      this.#corked = true;
      this.#socket.cork();
      setImmediate(() => {
        this.#corked = false;
        this.#socket.uncork();
      });
    }
    this.#socket.write(bytes);
  }

  /** Sends a method that has an answer `name`-ok and waits for it. @throws Gone */
  call(name: string, fields: Fields): Promise<Answer> {
    return this.#request(method(1, name, fields), 1, [methodId(`${name}-ok`)]);
  }

  /** basic.get. @returns the message, or null when the queue is empty. @throws Gone */
  async get(queue: string): Promise<Content | null> {
    const answer = await this.#request(method(1, 'basic.get', { queue, noAck: false }), 1, [
      BASIC_GET_OK,
      BASIC_GET_EMPTY,
    ]);
    return answer.content;
  }

  /**
   * Asks on a channel of its own whether something can be done at all: the passive declares.
   * @returns the answer's arguments, or null when the broker closed the channel. @throws Gone
   */
  async attempt(name: string, fields: Fields): Promise<Buffer | null> {
    await this.#request(method(2, 'channel.open', {}), 2, [CHANNEL_OPEN_OK]);
    const answer = await this.#request(method(2, name, fields), 2, [methodId(`${name}-ok`), CHANNEL_CLOSE]);
    if (answer.id !== CHANNEL_CLOSE) {
      await this.#request(
        method(2, 'channel.close', { replyCode: 200, replyText: '', classId: 0, methodId: 0 }),
        2,
        [CHANNEL_CLOSE_OK],
      );
      return answer.payload;
    }
    this.send(method(2, 'channel.close-ok', {}));
    return null;
  }

  /** One persistent (or transient) message as frames. */
  publish(exchange: string, routingKey: string, body: Buffer, persistent = true, mandatory = false): void {
    const parts = [
      mandatory
        ? method(1, 'basic.publish', { exchange, routingKey, mandatory })
        : publishMethod(exchange, routingKey),
      contentHeader(body.length, persistent),
    ];
    for (let at = 0; at < body.length; at += FRAME_MAX - FRAME_OVERHEAD) {
      parts.push(bodyFrame(body.subarray(at, at + FRAME_MAX - FRAME_OVERHEAD)));
    }
    this.send(Buffer.concat(parts));
  }

  ack(tag: number, multiple = false): void {
    this.send(method(1, 'basic.ack', { deliveryTag: tag, multiple }));
  }

  /** Gives a delivery back (requeue) or throws it away. */
  nack(tag: number, requeue: boolean): void {
    this.send(method(1, 'basic.nack', { deliveryTag: tag, multiple: false, requeue }));
  }

  /** Says goodbye and waits for the end of the socket. */
  async close(): Promise<void> {
    this.send(connectionClose());
    await this.ended;
  }

  /** Cuts the connection; nothing that is under way is handed on any more. */
  destroy(): void {
    this.#end();
    this.#socket.destroy();
  }

  #end(): void {
    if (this.gone) return;
    this.gone = true;
    for (const waiter of this.#waiters.splice(0)) waiter.reject(new Gone('the broker is gone'));
  }

  #request(bytes: Buffer, channel: number, ids: readonly number[]): Promise<Answer> {
    this.send(bytes);
    return this.#expect(channel, ids);
  }

  #expect(channel: number, ids: readonly number[]): Promise<Answer> {
    if (this.gone) return Promise.reject(new Gone('the broker is gone'));
    return new Promise((resolve, reject) => this.#waiters.push({ channel, ids, resolve, reject }));
  }

  #read(chunk: Buffer): void {
    if (this.gone) return;
    let input = this.#input.length === 0 ? chunk : Buffer.concat([this.#input, chunk]);
    try {
      for (;;) {
        if (input.length < 7) break;
        const size = input.readUInt32BE(3);
        if (input.length < size + FRAME_OVERHEAD) break;
        if (input[size + 7] !== FRAME_END) throw new Error('a frame without its end octet');
        this.#frame(input[0]!, input.readUInt16BE(1), input.subarray(7, size + 7));
        if (this.gone) return;
        input = input.subarray(size + FRAME_OVERHEAD);
      }
    } catch (error) {
      this.#isWrong(error as Error);
      return;
    }
    this.#input = input;
  }

  #isWrong(error: Error): void {
    if (this.#wrong) return;
    this.#wrong = true;
    this.#events.wrong(error);
    this.destroy();
  }

  #frame(type: number, channel: number, payload: Buffer): void {
    if (type === FRAME_METHOD) this.#method(channel, payload.readUInt32BE(0), payload.subarray(4));
    else if (type === FRAME_HEADER) {
      this.#missing = payload.readUInt32BE(8);
      if (this.#missing === 0) this.#complete();
    } else if (type === FRAME_BODY) {
      this.#missing -= payload.length;
      this.#parts.push(payload);
      if (this.#missing === 0) this.#complete();
    }
  }

  #method(channel: number, id: number, payload: Buffer): void {
    switch (id) {
      case BASIC_DELIVER: {
        const tagEnd = 1 + payload[0]!;
        this.#opened = {
          kind: 'delivery',
          consumerTag: payload.toString('latin1', 1, tagEnd),
          deliveryTag: readU64(payload, tagEnd),
          redelivered: payload[tagEnd + 8] === 1,
          routingKey: '',
        };
        return;
      }
      case BASIC_GET_OK:
        this.#opened = {
          kind: 'get',
          consumerTag: '',
          deliveryTag: readU64(payload, 0),
          redelivered: payload[8] === 1,
          routingKey: '',
        };
        this.#getPayload = Buffer.from(payload);
        return;
      case BASIC_RETURN: {
        const exchangeAt = 3 + payload[2]!;
        const keyAt = exchangeAt + 1 + payload[exchangeAt]!;
        this.#opened = {
          kind: 'return',
          consumerTag: '',
          deliveryTag: 0,
          redelivered: false,
          routingKey: payload.toString('latin1', keyAt + 1, keyAt + 1 + payload[keyAt]!),
        };
        return;
      }
      case BASIC_ACK:
      case BASIC_NACK:
        this.#events.confirm?.(readU64(payload, 0), (payload[8]! & 1) === 1, id === BASIC_NACK);
        return;
      case CONNECTION_CLOSE_OK:
        this.#socket.end();
        return;
      case CONNECTION_CLOSE:
        this.send(connectionCloseOk());
        if (payload.readUInt16BE(0) !== CONNECTION_FORCED) throw refusal('the connection', payload);
        // A clean stop.
        this.#end();
        return;
    }
    const index = this.#waiters.findIndex((waiter) => waiter.channel === channel);
    const waiter = this.#waiters[index];
    if (waiter?.ids.includes(id) === true) {
      this.#waiters.splice(index, 1);
      waiter.resolve({ id, payload: Buffer.from(payload), content: null });
    } else if (id === CHANNEL_CLOSE) throw refusal('the channel', payload);
    else if (channel !== 0)
      throw new Error(`the broker sent method ${id >>> 16}.${id & 0xffff}, which nobody asked for`);
  }

  #complete(): void {
    const opened = this.#opened;
    if (opened === null) throw new Error('the broker sent a content without its method');
    const body = this.#parts.length === 1 ? this.#parts[0]! : Buffer.concat(this.#parts);
    this.#opened = null;
    this.#parts = [];
    const content = { ...opened, body };
    if (content.kind === 'get') {
      const index = this.#waiters.findIndex((waiter) => waiter.ids.includes(BASIC_GET_OK));
      const [waiter] = this.#waiters.splice(index, 1);
      // The taker must hold the message before anything behind it is read.
      this.#events.content?.(content);
      waiter?.resolve({ id: BASIC_GET_OK, payload: this.#getPayload!, content });
      return;
    }
    this.#events.content?.(content);
  }
}

function refusal(what: string, payload: Buffer): Error {
  const text = payload.toString('utf8', 3, 3 + payload[2]!);
  return new Error(`the broker closed ${what}: ${payload.readUInt16BE(0)} ${text}`);
}

function readU64(bytes: Buffer, at: number): number {
  return bytes.readUInt32BE(at) * 2 ** 32 + bytes.readUInt32BE(at + 4);
}

const publishMethods = new Map<string, Buffer>();

/** The method frame of a publish; the same few come again and again. */
function publishMethod(exchange: string, routingKey: string): Buffer {
  const name = `${exchange}\0${routingKey}`;
  let bytes = publishMethods.get(name);
  if (bytes === undefined) {
    bytes = method(1, 'basic.publish', { exchange, routingKey });
    publishMethods.set(name, bytes);
  }
  return bytes;
}

/** Content header of class basic with a delivery mode and nothing else. AMQP 0-9-1 4.2.6.1. */
function contentHeader(bodyLength: number, persistent: boolean): Buffer {
  const bytes = Buffer.alloc(23);
  bytes[0] = FRAME_HEADER;
  bytes.writeUInt16BE(1, 1);
  bytes.writeUInt32BE(15, 3);
  bytes.writeUInt16BE(60, 7);
  bytes.writeUInt32BE(bodyLength, 15);
  bytes.writeUInt16BE(0x1000, 19);
  bytes[21] = persistent ? 2 : 1;
  bytes[22] = FRAME_END;
  return bytes;
}

function bodyFrame(part: Buffer): Buffer {
  const bytes = Buffer.allocUnsafe(part.length + FRAME_OVERHEAD);
  bytes[0] = FRAME_BODY;
  bytes.writeUInt16BE(1, 1);
  bytes.writeUInt32BE(part.length, 3);
  part.copy(bytes, 7);
  bytes[part.length + 7] = FRAME_END;
  return bytes;
}
