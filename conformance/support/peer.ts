// One connection of a test. Owns the TCP connection and the numbers of its channels.
// Must not know which broker it talks to: the address comes from the target.

import * as amqplib from 'amqplib';
import { Channel, type WireConnection } from './channel.ts';
import { type Closing, closingOf } from './closing.ts';
import { methodId } from './raw-client.ts';
import type { Target } from './target.ts';
import { within } from './waiting.ts';

type Fields = Record<string, unknown>;

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
        this.closing = closingOf('connection', frame.fields!);
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
