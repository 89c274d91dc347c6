// The bytes a load generator sends: client methods of AMQP 0-9-1 and ready-made publishes.
// Owns encoding only; knows no socket. Written apart from src/protocol on purpose: a generator that shares the broker's
// encoder would not notice its mistakes, and would grow slower and faster with the thing that it measures.

/** Frame types and the octet that ends every frame. AMQP 0-9-1 4.2.3. */
export const FRAME_METHOD = 1;
export const FRAME_HEADER = 2;
export const FRAME_BODY = 3;
export const FRAME_END = 0xce;

/** Method ids as the first four payload bytes show them: class id above, method id below. */
export const CONNECTION_START = 0x000a000a;
export const CONNECTION_TUNE = 0x000a001e;
export const CONNECTION_OPEN_OK = 0x000a0029;
export const CONNECTION_CLOSE = 0x000a0032;
export const CONNECTION_CLOSE_OK = 0x000a0033;
export const CONNECTION_BLOCKED = 0x000a003c;
export const CONNECTION_UNBLOCKED = 0x000a003d;
export const CHANNEL_OPEN_OK = 0x0014000b;
export const CHANNEL_CLOSE = 0x00140028;
export const CHANNEL_CLOSE_OK = 0x00140029;
export const EXCHANGE_DECLARE_OK = 0x0028000b;
export const EXCHANGE_DELETE_OK = 0x00280015;
export const QUEUE_DECLARE_OK = 0x0032000b;
export const QUEUE_BIND_OK = 0x00320015;
export const QUEUE_PURGE_OK = 0x0032001f;
export const QUEUE_DELETE_OK = 0x00320029;
export const BASIC_QOS_OK = 0x003c000b;
export const BASIC_CONSUME_OK = 0x003c0015;
export const BASIC_RETURN = 0x003c0032;
export const BASIC_DELIVER = 0x003c003c;
export const BASIC_GET_OK = 0x003c0047;
export const BASIC_GET_EMPTY = 0x003c0048;
export const BASIC_ACK = 0x003c0050;
export const BASIC_NACK = 0x003c0078;
export const CONFIRM_SELECT_OK = 0x0055000b;

/** `AMQP` and the version, the first eight bytes of a connection. */
export const PROTOCOL_HEADER = Buffer.from([0x41, 0x4d, 0x51, 0x50, 0, 0, 9, 1]);

function u8(value: number): Buffer {
  return Buffer.from([value]);
}

function u16(value: number): Buffer {
  const bytes = Buffer.allocUnsafe(2);
  bytes.writeUInt16BE(value);
  return bytes;
}

function u32(value: number): Buffer {
  const bytes = Buffer.allocUnsafe(4);
  bytes.writeUInt32BE(value);
  return bytes;
}

function u64(value: number): Buffer {
  const bytes = Buffer.allocUnsafe(8);
  bytes.writeUInt32BE(Math.floor(value / 2 ** 32));
  bytes.writeUInt32BE(value >>> 0, 4);
  return bytes;
}

function shortString(text: string): Buffer {
  const bytes = Buffer.from(text, 'utf8');
  if (bytes.length > 255) throw new Error('a short string is at most 255 bytes');
  return Buffer.concat([u8(bytes.length), bytes]);
}

function longString(bytes: Buffer): Buffer {
  return Buffer.concat([u32(bytes.length), bytes]);
}

/** A field table of strings, booleans, whole numbers and nested tables; all that the generator ever sends. */
export interface Table {
  readonly [name: string]: string | boolean | number | Table;
}

function table(fields: Table): Buffer {
  const parts: Buffer[] = [];
  for (const [name, value] of Object.entries(fields)) {
    parts.push(shortString(name));
    if (typeof value === 'string') parts.push(Buffer.from('S'), longString(Buffer.from(value, 'utf8')));
    else if (typeof value === 'boolean') parts.push(Buffer.from('t'), u8(value ? 1 : 0));
    else if (typeof value === 'number') parts.push(Buffer.from('I'), u32(value));
    else parts.push(Buffer.from('F'), table(value));
  }
  return longString(Buffer.concat(parts));
}

const NO_ARGUMENTS = table({});

function frame(type: number, channel: number, payload: Buffer): Buffer {
  return Buffer.concat([u8(type), u16(channel), u32(payload.length), payload, u8(FRAME_END)]);
}

function method(channel: number, classId: number, methodId: number, ...fields: Buffer[]): Buffer {
  return frame(FRAME_METHOD, channel, Buffer.concat([u16(classId), u16(methodId), ...fields]));
}

/** connection.start-ok with PLAIN. */
export function startOk(user: string, password: string): Buffer {
  const properties: Table = {
    product: 'leveret-bench',
    capabilities: {
      publisher_confirms: true,
      'basic.nack': true,
      consumer_cancel_notify: true,
      'connection.blocked': true,
      authentication_failure_close: true,
    },
  };
  const response = Buffer.from(`\0${user}\0${password}`, 'utf8');
  return method(
    0,
    10,
    11,
    table(properties),
    shortString('PLAIN'),
    longString(response),
    shortString('en_US'),
  );
}

/** connection.tune-ok. Heartbeats are off: a generator that sends nothing for a while is on purpose. */
export function tuneOk(channelMax: number, frameMax: number): Buffer {
  return method(0, 10, 31, u16(channelMax), u32(frameMax), u16(0));
}

export function connectionOpen(vhost: string): Buffer {
  return method(0, 10, 40, shortString(vhost), shortString(''), u8(0));
}

export function connectionClose(): Buffer {
  return method(0, 10, 50, u16(200), shortString('done'), u16(0), u16(0));
}

export function connectionCloseOk(): Buffer {
  return method(0, 10, 51);
}

export function channelOpen(channel: number): Buffer {
  return method(channel, 20, 10, shortString(''));
}

export function channelClose(channel: number): Buffer {
  return method(channel, 20, 40, u16(200), shortString('done'), u16(0), u16(0));
}

export function exchangeDeclare(
  channel: number,
  name: string,
  type: string,
  durable: boolean,
  args: Table = {},
): Buffer {
  return method(
    channel,
    40,
    10,
    u16(0),
    shortString(name),
    shortString(type),
    u8(durable ? 2 : 0),
    table(args),
  );
}

export function exchangeDelete(channel: number, name: string): Buffer {
  return method(channel, 40, 20, u16(0), shortString(name), u8(0));
}

export function queueDeclare(
  channel: number,
  name: string,
  durable: boolean,
  exclusive = false,
  args: Table = {},
): Buffer {
  const bits = (durable ? 2 : 0) | (exclusive ? 4 : 0);
  return method(channel, 50, 10, u16(0), shortString(name), u8(bits), table(args));
}

export function queueDeclarePassive(channel: number, name: string): Buffer {
  return method(channel, 50, 10, u16(0), shortString(name), u8(1), NO_ARGUMENTS);
}

export function queueBind(channel: number, queue: string, exchange: string, routingKey: string): Buffer {
  return method(
    channel,
    50,
    20,
    u16(0),
    shortString(queue),
    shortString(exchange),
    shortString(routingKey),
    u8(0),
    NO_ARGUMENTS,
  );
}

export function queueDelete(channel: number, name: string): Buffer {
  return method(channel, 50, 40, u16(0), shortString(name), u8(0));
}

export function basicQos(channel: number, prefetch: number): Buffer {
  return method(channel, 60, 10, u32(0), u16(prefetch), u8(0));
}

export function basicConsume(channel: number, queue: string, tag: string, noAck: boolean): Buffer {
  return method(
    channel,
    60,
    20,
    u16(0),
    shortString(queue),
    shortString(tag),
    u8(noAck ? 2 : 0),
    NO_ARGUMENTS,
  );
}

/** Declares a stream: a durable queue of that type. */
export function streamDeclare(channel: number, name: string): Buffer {
  const args = table({ 'x-queue-type': 'stream' });
  return method(channel, 50, 10, u16(0), shortString(name), u8(2), args);
}

/** Consumes from a stream, with acknowledgements, from 'first', 'last' or 'next' on. */
export function streamConsume(channel: number, stream: string, tag: string, offset: string): Buffer {
  const args = table({ 'x-stream-offset': offset });
  return method(channel, 60, 20, u16(0), shortString(stream), shortString(tag), u8(0), args);
}

export function basicGet(channel: number, queue: string, noAck: boolean): Buffer {
  return method(channel, 60, 70, u16(0), shortString(queue), u8(noAck ? 1 : 0));
}

export function confirmSelect(channel: number): Buffer {
  return method(channel, 85, 10, u8(0));
}

/** Length of a basic.ack frame. */
export const ACK_LENGTH = 21;

/** Writes a basic.ack frame at `at`; returns the offset behind it. */
export function writeAck(into: Buffer, at: number, channel: number, tag: number, multiple: boolean): number {
  into[at] = FRAME_METHOD;
  into.writeUInt16BE(channel, at + 1);
  into.writeUInt32BE(13, at + 3);
  into.writeUInt32BE(BASIC_ACK, at + 7);
  into.writeUInt32BE(Math.floor(tag / 2 ** 32), at + 11);
  into.writeUInt32BE(tag >>> 0, at + 15);
  into[at + 19] = multiple ? 1 : 0;
  into[at + 20] = FRAME_END;
  return at + ACK_LENGTH;
}

/** What one publish says. */
export interface Publish {
  readonly exchange: string;
  readonly routingKey: string;
  readonly persistent: boolean;
  readonly body: Buffer;
  /** 0 … 255; none when it is left out. */
  readonly priority?: number;
}

/** One message as frames: basic.publish, content header, as many body frames as `frameMax` asks for. */
export function encodePublish(channel: number, frameMax: number, publish: Publish): Buffer {
  // Property flags: bit 12 is delivery-mode, bit 11 priority. AMQP 0-9-1 4.2.6.1.
  const { priority } = publish;
  const flags = (publish.persistent ? 0x1000 : 0) | (priority === undefined ? 0 : 0x0800);
  const values = [...(publish.persistent ? [2] : []), ...(priority === undefined ? [] : [priority])];
  const properties = Buffer.concat([u16(flags), Buffer.from(values)]);
  const parts = [
    method(channel, 60, 40, u16(0), shortString(publish.exchange), shortString(publish.routingKey), u8(0)),
    frame(FRAME_HEADER, channel, Buffer.concat([u16(60), u16(0), u64(publish.body.length), properties])),
  ];
  const step = frameMax - 8;
  for (let at = 0; at < publish.body.length; at += step) {
    parts.push(
      frame(FRAME_BODY, channel, publish.body.subarray(at, Math.min(at + step, publish.body.length))),
    );
  }
  return Buffer.concat(parts);
}

/** Many messages in one piece of memory, so that any run of them is one write without a copy. */
export class Batch {
  /** The frames of all messages. */
  readonly bytes: Buffer;
  /** Messages in the batch. */
  readonly count: number;
  /** Offset behind message i. */
  private readonly ends: Uint32Array;

  constructor(messages: readonly Buffer[]) {
    this.bytes = Buffer.concat(messages as Buffer[]);
    this.count = messages.length;
    this.ends = new Uint32Array(messages.length);
    let end = 0;
    for (let i = 0; i < messages.length; i++) {
      end += messages[i]!.length;
      this.ends[i] = end;
    }
  }

  /** The frames of messages [from, to). */
  slice(from: number, to: number): Buffer {
    return this.bytes.subarray(from === 0 ? 0 : this.ends[from - 1]!, this.ends[to - 1]!);
  }

  /** As many copies of one message as fill about `byteLength`, at least one. */
  static repeat(message: Buffer, byteLength: number): Batch {
    return new Batch(new Array<Buffer>(Math.max(1, Math.floor(byteLength / message.length))).fill(message));
  }
}
