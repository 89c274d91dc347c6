// What the behaviour tests share: brokers that stop themselves after the test, and a client session with the few calls they make.
// Owns what has to be ended after a test. Clients are amqplib, which knows nothing of our code.

import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import * as amqplib from 'amqplib';
import { afterEach } from 'vitest';
import { Broker, type BrokerOptions } from '../../src/index.ts';

const brokers = new Set<Broker>();
const connections = new Set<amqplib.ChannelModel>();
const folders = new Set<string>();

afterEach(async () => {
  for (const connection of connections) await connection.close().catch(() => {});
  connections.clear();
  for (const broker of brokers) await broker.stop();
  brokers.clear();
  for (const folder of folders) rmSync(folder, { recursive: true, force: true });
  folders.clear();
});

/** A broker on a free port, with patience for nobody; in memory unless told otherwise. */
export async function startBroker(options: BrokerOptions = {}): Promise<Broker> {
  const broker = await Broker.start({ port: 0, store: 'memory', stopGraceMs: 1_000, ...options });
  brokers.add(broker);
  return broker;
}

/** A folder that is gone after the test. */
export function temporaryFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'leveret-test-'));
  folders.add(folder);
  return folder;
}

/** What a message looked like when it came. */
export interface Got {
  readonly text: string;
  readonly redelivered: boolean;
}

/** One connection with one channel in confirm mode. */
export class Session {
  readonly connection: amqplib.ChannelModel;
  readonly channel: amqplib.ConfirmChannel;
  /** Fulfilled when the connection is gone. */
  readonly closed: Promise<void>;

  private constructor(connection: amqplib.ChannelModel, channel: amqplib.ConfirmChannel) {
    this.connection = connection;
    this.channel = channel;
    this.closed = new Promise((resolve) => connection.once('close', () => resolve()));
  }

  static async open(broker: Broker, url: string = broker.url): Promise<Session> {
    const connection = await amqplib.connect(url);
    connections.add(connection);
    // Ends that a test causes are looked at through `closed` and through what the calls answer.
    connection.on('error', () => {});
    const channel = await connection.createConfirmChannel();
    channel.on('error', () => {});
    return new Session(connection, channel);
  }

  /** A durable queue. */
  async queue(name: string, options: amqplib.Options.AssertQueue = {}): Promise<void> {
    await this.channel.assertQueue(name, { durable: true, ...options });
  }

  /** Publishes persistent messages through the default exchange and waits for their confirms. */
  async publish(queue: string, ...texts: readonly string[]): Promise<void> {
    for (const text of texts) this.channel.sendToQueue(queue, Buffer.from(text), { persistent: true });
    await this.channel.waitForConfirms();
  }

  /** The next message of a queue, or null; it stays unacknowledged. */
  async get(queue: string): Promise<amqplib.GetMessage | null> {
    const message = await this.channel.get(queue);
    return message === false ? null : message;
  }

  /** Takes so many messages without acknowledging them. */
  async hold(queue: string, count: number): Promise<amqplib.GetMessage[]> {
    const held: amqplib.GetMessage[] = [];
    for (let i = 0; i < count; i++) held.push((await this.get(queue))!);
    return held;
  }

  /** Everything in a queue, taken and acknowledged one by one. */
  async drain(queue: string): Promise<Got[]> {
    const all: Got[] = [];
    for (;;) {
      const message = await this.channel.get(queue, { noAck: true });
      if (message === false) return all;
      all.push({ text: message.content.toString(), redelivered: message.fields.redelivered });
    }
  }

  /** The texts of everything in a queue. */
  async texts(queue: string): Promise<string[]> {
    return (await this.drain(queue)).map(({ text }) => text);
  }

  /** Ready messages of a queue. */
  async count(queue: string): Promise<number> {
    return (await this.channel.checkQueue(queue)).messageCount;
  }

  async close(): Promise<void> {
    connections.delete(this.connection);
    await this.connection.close();
  }
}

/** Whether something exists, asked on a connection of its own because the refusal closes the channel. */
export async function exists(broker: Broker, what: 'queue' | 'exchange', name: string): Promise<boolean> {
  const session = await Session.open(broker);
  try {
    if (what === 'queue') await session.channel.checkQueue(name);
    else await session.channel.checkExchange(name);
    return true;
  } catch {
    return false;
  } finally {
    await session.close().catch(() => {});
  }
}

/** True when a message published to the exchange under the key reaches a queue. */
export async function routes(
  session: Session,
  exchange: string,
  key: string,
  headers = {},
): Promise<boolean> {
  let returned = false;
  const notice = (): void => {
    returned = true;
  };
  session.channel.once('return', notice);
  session.channel.publish(exchange, key, Buffer.from('probe'), { mandatory: true, headers });
  await session.channel.waitForConfirms();
  session.channel.off('return', notice);
  return !returned;
}

/** The texts `m1` … `m<count>`, filled up to `bytes`. */
export function texts(count: number, bytes = 0, from = 1): string[] {
  return Array.from({ length: count }, (_, i) => `m${from + i}`.padEnd(bytes, '.'));
}
