// One test's connections and declarations. Owns unique names and the removal of what a test declared.
// Must not know how any broker works inside.

import { expect, onTestFinished } from 'vitest';
import type { Channel } from './channel.ts';
import { type ConnectOptions, Peer } from './peer.ts';
import type { Target } from './target.ts';

type Fields = Record<string, unknown>;

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
