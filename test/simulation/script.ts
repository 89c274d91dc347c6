// What a seed does to a world: topology, publishes, consumers, settles, time, restarts and crashes, in a random order.
// Owns the choice, but for what policies say (policy-script.ts). Every step is written down, so that a failure can be read.

import { SeededRandom } from '../support/faulty-engine.ts';
import { finish, restart } from './clean-stop.ts';
import { crash } from './crash.ts';
import {
  cancel,
  consume,
  get,
  PLAIN,
  type Publish,
  publish,
  publishMany,
  setLimit,
  settle,
} from './messages.ts';
import type { Marks, QueueSpec, UniqueSpec } from './model.ts';
import { move, pickOut, redrive, remove } from './operators.ts';
import { advance } from './passing-time.ts';
import { PolicyScript } from './policy-script.ts';
import { STEP_MS } from './real-side.ts';
import type { ModelExchange } from './routing-model.ts';
import {
  bind,
  declareExchange,
  declareQueue,
  deleteExchange,
  deletePolicy,
  deleteQueue,
  pause,
  purge,
  setPolicy,
  unbind,
} from './topology.ts';
import { type Held, World } from './world.ts';

const QUEUES = ['a', 'b', 'c', 'd', 'e'];
const EXCHANGES = ['x1', 'x2', 'x3'];

/**
 * What a world has beside what all have: nothing; or policies that come, change and go, ordering keys, queues and exchanges that drop
 * duplicates, and operators who pick single messages out.
 */
export const KINDS = ['plain', 'rich'] as const;
export type Kind = (typeof KINDS)[number];

/** So that what a kind has besides is drawn apart from what all have. */
const BESIDE = 0x5eed;

/** Runs one seed. @throws Error that names the seed, what is wrong, and the steps that led there */
export async function simulate(seed: number, steps: number, kind: Kind = 'plain'): Promise<void> {
  const script = new Script(seed, kind);
  try {
    await script.run(steps);
  } catch (error) {
    const { message, stack } = error as Error;
    const trail = script.trail.slice(-40).join('\n  ');
    throw new Error(
      `seed ${seed} (${kind}): ${message}\nagain: npm run simulate -- --first ${seed} --seeds 1 --steps ${steps} --kind ${kind}\nqueues:\n  ${script.queues()}\nlast steps:\n  ${trail}\n${stack}`,
    );
  }
}

class Script {
  readonly trail: string[] = [];
  private readonly random: SeededRandom;
  /** Says what a kind of world has besides. */
  private readonly beside: SeededRandom;
  private readonly kind: Kind;
  private readonly world: World;
  /** Where dead messages of each queue go: no two queues share a target, so that their order is known. */
  private readonly graves: ReadonlyMap<string, string>;
  /** Queues have limits; then nothing comes by time but what expires, for the order of such things decides over what is cut. */
  private readonly limits: boolean;
  private readonly policies: PolicyScript;

  constructor(seed: number, kind: Kind) {
    this.random = new SeededRandom(seed);
    this.beside = new SeededRandom(seed ^ BESIDE);
    this.kind = kind;
    this.limits = this.random.chance(0.5);
    this.world = new World(this.random, seed, this.limits);
    if (kind === 'rich') {
      this.world.marks = () => this.marks();
      this.world.mildPolicy = (name) => this.policies.mild(name);
    }
    const targets = [...QUEUES];
    this.graves = new Map(
      QUEUES.map((name) => [name, targets.splice(this.random.below(targets.length), 1)[0]!]),
    );
    this.policies = new PolicyScript(this.beside, this.world, QUEUES, this.limits, this.graves);
  }

  /** The queues that stand, with their arguments. */
  queues(): string {
    return [...this.world.model.queues]
      .map(([name, { spec }]) => `${name} ${JSON.stringify(spec)}`)
      .join('\n  ');
  }

  async run(steps: number): Promise<void> {
    await this.world.real.open();
    for (let i = 0; i < steps; i++) {
      await this.step();
      if (this.random.chance(0.1)) await this.world.look();
    }
    await this.world.look();
    this.trail.push('finish');
    await finish(this.world);
  }

  private async step(): Promise<void> {
    const { random, world } = this;
    const { model } = world;
    const names = [...model.queues.keys()];
    if (this.kind === 'rich' && this.beside.chance(0.15))
      return this.beside.chance(0.75) ? this.changePolicy() : this.pickOut();
    const what = random.below(100);
    if (what < 12 || names.length === 0) return this.declare();
    const name = this.pick(names);
    if (what < 38) return this.publish();
    if (what < 42) {
      const times = 1 + random.below(random.chance(0.3) ? 300 : 20);
      const bytes = 10 + random.below(random.chance(0.5) ? 2_000 : 50);
      const message = {
        ...PLAIN,
        key: name,
        persistent: random.chance(0.5),
        bytes,
        priority: random.chance(0.3) ? random.below(6) : 0,
      };
      return this.did(
        `publish ${times} times ${bytes} bytes to ${name}, ${message.persistent}`,
        publishMany(world, message, times),
      );
    }
    if (what < 50) {
      const [noAck, priority, limit] = [
        random.chance(0.25),
        random.below(3) - 1,
        random.chance(0.1) ? 0 : 1 + random.below(8),
      ];
      return this.did(
        `consume ${name} ${JSON.stringify({ noAck, priority, limit })}`,
        consume(world, name, noAck, priority, limit),
      );
    }
    if (what < 53 && world.consumers.length > 0) {
      const consumer = this.pick(world.consumers);
      const back = random.chance(0.5);
      return this.did(
        `cancel ${consumer.real.tag} of ${consumer.queue.name}, back ${back}`,
        cancel(world, consumer, back),
      );
    }
    if (what < 56 && world.consumers.length > 0) {
      const consumer = this.pick(world.consumers);
      const limit = random.below(10);
      return this.did(`limit of ${consumer.real.tag} is ${limit}`, setLimit(world, consumer, limit));
    }
    if (what < 72) return this.settle();
    if (what < 76) {
      const noAck = random.chance(0.5);
      return this.did(`get ${name}, ${noAck}`, get(world, name, noAck));
    }
    if (what < 81) {
      const ms = 100 * (1 + random.below(random.chance(0.2) ? 60 : 8));
      return this.did(`advance ${ms}`, advance(world, ms));
    }
    if (what < 82) return this.operate(name);
    if (what < 85) {
      const on = !model.queues.get(name)!.paused;
      return this.did(`${on ? 'pause' : 'resume'} ${name}`, pause(world, name, on));
    }
    if (what < 86) return this.did(`purge ${name}`, purge(world, name));
    if (what < 87) return this.did(`delete ${name}`, deleteQueue(world, name));
    if (what < 94) return this.topology();
    if (what < 96) return this.did('restart', restart(world));
    if (what < 98) {
      const steps = random.below(25);
      return this.did(`crash after ${steps} steps`, crash(world, steps));
    }
  }

  private marks(): Marks {
    const { beside } = this;
    const rememberMs = beside.chance(0.1) ? 100 * beside.below(8) : null;
    return {
      key: beside.chance(0.8) ? `k${beside.below(4)}` : null,
      likeness: beside.chance(0.7) ? `like ${beside.below(beside.chance(0.5) ? 6 : 500)}` : null,
      rememberMs,
    };
  }

  private unique(hasLevels: boolean): UniqueSpec {
    const { beside } = this;
    // Which of the messages of several levels came first, a restart does not tell.
    const sizeMax = !hasLevels && beside.chance(0.4) ? 1 + beside.below(12) : null;
    // Where memory is short, consumers are sometimes served earlier: who needs no ack decides what is still there.
    const isByTime = beside.chance(0.3) || this.world.real.pages;
    return { sizeMax, ttl: isByTime ? 100 * (1 + beside.below(12)) : null };
  }

  private uniqueExchange(): ModelExchange['unique'] {
    return { ...this.unique(false), disk: this.beside.chance(0.6) };
  }

  private async changePolicy(): Promise<void> {
    const { beside, world } = this;
    const { policies } = world.model;
    if (policies.length > 0 && beside.chance(0.35)) {
      const rule = policies[beside.below(policies.length)]!;
      return this.did(`delete policy ${rule.name}`, deletePolicy(world, rule));
    }
    const rule = this.policies.draw();
    if (rule === null) return;
    await this.did(`set policy ${JSON.stringify(rule)}`, setPolicy(world, rule));
  }

  /** An operator picks messages out of a queue. */
  private async pickOut(): Promise<void> {
    const { beside, world } = this;
    const names = [...world.model.queues.keys()];
    if (names.length === 0) return;
    const name = names[beside.below(names.length)]!;
    await world.look();
    const queue = world.model.queues.get(name);
    if (queue === undefined) return;
    const all = [...queue.ready, ...queue.unacked].map(({ text }) => text);
    // A message and its dead letter may both be there; which of them is meant, a text does not say.
    const texts = all.filter((text, i) => all.indexOf(text) === i && all.lastIndexOf(text) === i);
    const some: string[] = [];
    // Those that are only in the store go after the others.
    const count = world.real.pages ? 1 : 1 + beside.below(8);
    for (let i = count; i > 0 && texts.length > 0; i--)
      some.push(...texts.splice(beside.below(Math.min(texts.length, 30)), 1));
    if (beside.chance(0.1)) some.push('not there');
    if (some.length === 0) return;
    const target = names[beside.below(names.length)]!;
    const exchanges = ['', ...world.routing.exchanges.keys()];
    const exchange = exchanges[beside.below(exchanges.length)]!;
    // In which order it enters several queues that have limits, nobody tells.
    const to = [null, { queue: target }, { exchange }][beside.below(this.limits ? 2 : 3)]!;
    const what = some.map((text) => text.slice(0, 8)).join(' ');
    await this.did(`pick ${what} of ${name} to ${JSON.stringify(to)}`, pickOut(world, name, some, to));
  }

  private async declare(): Promise<void> {
    const { random, world } = this;
    const name = this.pick(QUEUES);
    if (world.model.queues.has(name)) return;
    const { limits } = this;
    const bounded = limits && random.chance(0.5);
    const quorum = random.chance(0.25);
    const levels = !quorum && random.chance(0.25) ? 1 + random.below(5) : 0;
    // What expires together in a queue with priorities goes in any order, and a limit elsewhere would tell.
    const hasPolicy = world.model.policies.some(
      ({ queues, keys }) => queues.includes(name) && 'dead-letter-exchange' in keys,
    );
    const priorityMax = limits && hasPolicy ? 0 : levels;
    const grave = this.graves.get(name)!;
    const overflows = ['drop-head', 'drop-head', 'reject-publish', 'reject-publish-dlx'] as const;
    const overflow = this.pick(overflows);
    const spec: QueueSpec = {
      quorum,
      durable: quorum || random.chance(0.7),
      autoDelete: !quorum && random.chance(0.15),
      // What is to be handed out at once or never, and has no place in memory, dies before what came before it.
      ttl: random.chance(0.3) ? 100 * (world.real.pages ? 1 + random.below(11) : random.below(12)) : null,
      lengthMax: bounded && random.chance(0.8) ? random.below(random.chance(0.2) ? 100 : 6) : null,
      bytesMax: bounded && random.chance(0.4) ? random.below(3_000) : null,
      overflow: quorum && overflow === 'reject-publish-dlx' ? 'drop-head' : overflow,
      deadLetterKey:
        random.chance(0.6) && !(limits && priorityMax > 0)
          ? grave === name && random.chance(0.5)
            ? ''
            : grave
          : null,
      singleActive: random.chance(0.15),
      priorityMax,
      deliveryLimit: random.chance(0.3) ? random.below(4) : quorum ? 20 : null,
      retry:
        !limits && random.chance(0.4)
          ? { limit: 1 + random.below(3), delayMs: this.someTime(), multiplier: 1 + random.below(2) }
          : null,
      expires: random.chance(0.1) ? 100 * (1 + random.below(30)) : null,
      returnDelayMs: null,
      ordered: this.kind === 'rich' && this.beside.chance(0.4),
      unique: this.kind === 'rich' && this.beside.chance(0.35) ? this.unique(priorityMax > 0) : null,
    };
    await this.did(`declare ${name} ${JSON.stringify(spec)}`, declareQueue(world, name, spec));
  }

  private async publish(): Promise<void> {
    const { random, world } = this;
    const exchange = random.chance(0.5) ? '' : this.pick(['', ...world.routing.exchanges.keys()]);
    const message: Publish = {
      exchange,
      key: this.pick(QUEUES),
      persistent: random.chance(0.6),
      bytes: 10 + random.below(random.chance(0.1) ? 6_000 : 300),
      expiration: random.chance(0.2) ? 100 * random.below(10) : null,
      copies: random.chance(0.1) ? [this.pick(QUEUES)] : [],
      priority: random.chance(0.3) ? random.below(6) : 0,
      delayMs: random.chance(0.5) ? this.someTime() : 0,
    };
    const { key, copies, expiration } = message;
    const route = world.routing.route(exchange, [key, ...copies], message.delayMs);
    const atOnce = expiration === 0 || route.some((name) => world.model.queues.get(name)?.spec.ttl === 0);
    // Which of several queues gives up a message first is a matter of chance, and may decide whether another one has room for it.
    if (atOnce && route.length > 1) return;
    await this.did(`publish ${JSON.stringify(message)}`, publish(world, message));
  }

  private async operate(name: string): Promise<void> {
    const { random, world } = this;
    const max = 1 + random.below(random.chance(0.3) ? 300 : 5);
    const what = random.below(5);
    // Which messages are the first must be known.
    await world.look();
    if (what < 2) {
      const wanted = this.pick(['queue', 'exchange'] as const);
      const to = this.kind === 'rich' && this.limits ? 'queue' : wanted;
      return this.did(`redrive ${max} of ${name} to their ${to}`, redrive(world, name, to, max));
    }
    if (what < 3) return this.did(`remove ${max} of ${name}`, remove(world, name, max));
    const queue = this.pick([...world.model.queues.keys()]);
    const exchange = this.pick(['', ...world.routing.exchanges.keys()]);
    const isToQueue = random.chance(0.5) || (this.kind === 'rich' && this.limits);
    const to = isToQueue ? { queue } : { exchange };
    await this.did(`move ${max} of ${name} to ${JSON.stringify(to)}`, move(world, name, to, max));
  }

  private async settle(): Promise<void> {
    const { random, world } = this;
    const held = world.held();
    if (held.length === 0) return;
    const how = this.pick(['ack', 'ack', 'requeue', 'reject'] as const);
    const some: Held[] = random.chance(0.3)
      ? held.filter(({ queue }) => queue === held[0]!.queue)
      : [held[random.below(held.length)]!];
    const texts = some.map(({ model, queue }) => `${queue.name} ${model.text.slice(0, 8)}`).join(', ');
    await this.did(`${how} ${texts}`, settle(world, some, how));
  }

  private async topology(): Promise<void> {
    const { random, world } = this;
    const missing = EXCHANGES.filter((name) => !world.routing.exchanges.has(name));
    const present = [...world.routing.exchanges.keys()];
    const what = random.below(10);
    if ((what < 4 || present.length === 0) && missing.length > 0) {
      const name = this.pick(missing);
      const type = this.pick(['direct', 'fanout', 'topic']);
      const exchange = {
        type,
        durable: random.chance(0.6),
        autoDelete: random.chance(0.3),
        // Two of them would release their messages in no order.
        delays: !this.limits && name === EXCHANGES[0] && random.chance(0.7),
        unique: this.kind === 'rich' && this.beside.chance(0.5) ? this.uniqueExchange() : null,
      };
      await this.did(
        `declare exchange ${name} ${JSON.stringify(exchange)}`,
        declareExchange(world, name, exchange),
      );
    } else if (what < 8 && present.length > 0) {
      const isQueue = random.chance(0.75);
      const [source, to] = [
        this.pick(present),
        this.pick(isQueue ? [...world.model.queues.keys()] : present),
      ];
      const key = random.chance(0.2) ? this.pick(['#', '*']) : this.pick(QUEUES);
      await this.did(`bind ${source} ${to} ${isQueue} ${key}`, bind(world, source, to, isQueue, key));
    } else if (what < 9 && world.routing.bindings.length > 0) {
      const at = random.below(world.routing.bindings.length);
      await this.did(`unbind ${JSON.stringify(world.routing.bindings[at])}`, unbind(world, at));
    } else if (present.length > 0) {
      const name = this.pick(present);
      await this.did(`delete exchange ${name}`, deleteExchange(world, name));
    }
  }

  private async did(what: string, done: Promise<void>): Promise<void> {
    this.trail.push(what);
    await done;
  }

  /** A time that no other time of the script falls upon, and that has come by the next look at the clock. */
  private someTime(): number {
    return STEP_MS * (1 + this.random.below(10)) - STEP_MS / 2;
  }

  private pick<T>(of: readonly T[]): T {
    return of[this.random.below(of.length)]!;
  }
}
