// One running broker without doors: what every door is handed.
// Owns the vhosts, users, connections, alarms and the heartbeat of the broker (the turn), and ties them to the store's callbacks.
// Invariant: after the store was lost nothing is confirmed and nothing is answered; the owner is told once.

import { Access } from '../auth/access.ts';
import { usersToDefinition } from '../auth/definitions.ts';
import { Login } from '../auth/login.ts';
import { PasswordVerifier } from '../auth/password.ts';
import { Users } from '../auth/users.ts';
import type { Clock } from '../base/clock.ts';
import { BrokerError } from '../base/errors.ts';
import type { Logger } from '../base/logger.ts';
import { TimerWheel } from '../base/timer-wheel.ts';
import { DELIVER_MS_MAX, Turn } from '../base/turn.ts';
import { BodyMemory } from '../message/body-memory.ts';
import { MemoryBudget } from '../queue/memory-budget.ts';
import { MESSAGE_TICK_MS, type QueueContext } from '../queue/queue-context.ts';
import type { ReplyQueue } from '../queue/reply-queue.ts';
import { Commits } from '../store/commits.ts';
import type { Shard, ShardListener, Ticket } from '../store/store.ts';
import { type AlarmOptions, Alarms } from './alarms.ts';
import { Connections } from './connections.ts';
import { Definitions } from './definitions.ts';
import { Limits } from './limits.ts';
import { NodeParameters } from './parameters.ts';
import { VHost, type VHostContext } from './vhost.ts';
import { NO_METADATA, type VHostMetadata } from './vhost-metadata.ts';

/** Limits and marks of one broker. Infinity where there is no limit. */
export interface NodeOptions {
  readonly name: string;
  readonly queueMemoryBytes: number;
  /** Bytes of memory of large contents that waits for the next ones. */
  readonly idleBodyBytes: number;
  readonly pagingMemoryBytes: number;
  /** Queues in all vhosts together. */
  readonly queueMax: number;
  /** Exchanges in all vhosts together, those that stand there from the start included. */
  readonly exchangeMax: number;
  readonly vhostMax: number;
  /** Messages one queue may deliver before the next has its turn. */
  readonly deliveriesPerTurn: number;
  readonly connectionMax: number;
  readonly channelMaxPerNode: number;
  readonly alarms: AlarmOptions;
  /** Users who may log in from this machine only. */
  readonly loopbackUsers: readonly string[];
  /** A quorum queue may be declared again as a classic one. */
  readonly quorumRelaxedChecks: boolean;
}

/** A broker's state, shared by its doors. */
export class BrokerNode {
  readonly name: string;
  readonly options: NodeOptions;
  readonly clock: Clock;
  readonly log: Logger;
  readonly turn: Turn;
  readonly wheel: TimerWheel;
  /** Timers of single messages. */
  readonly messageWheel: TimerWheel;
  readonly users: Users;
  readonly access: Access;
  readonly login: Login;
  readonly commits = new Commits();
  readonly connections = new Connections();
  /** Who is in, and who may still come. */
  readonly limits: Limits;
  /** Runtime parameters, policies among them. */
  readonly parameters: NodeParameters;
  readonly alarms: Alarms;
  readonly vhosts = new Map<string, VHost>();
  readonly memory: MemoryBudget;
  /** Memory of large contents. */
  readonly bodies: BodyMemory;
  readonly startedAt: number;
  /** Where direct replies arrive, by generated name. */
  readonly replies = new Map<string, ReplyQueue>();
  /** The store has too much in hand: publishers are not read from. */
  pressure = false;
  /** The store is gone; nothing may be confirmed. */
  lost = false;
  /** Told once when the store is lost. Set by the owner. */
  onLost: (error: Error) => void = () => {};

  /** Who is to hear that a commit will never come. */
  private readonly failCommits = new Set<(error: Error) => void>();
  private openShard: Shard | null = null;
  private openDefinitions: Definitions | null = null;
  private vhostContext: VHostContext | null = null;
  private queueNumber = 0;

  constructor(
    options: NodeOptions,
    clock: Clock,
    log: Logger,
    turn: Turn = new Turn(setImmediate, DELIVER_MS_MAX),
  ) {
    this.name = options.name;
    this.options = options;
    this.clock = clock;
    this.log = log;
    this.turn = turn;
    this.startedAt = clock.now();
    this.wheel = new TimerWheel(clock);
    this.messageWheel = new TimerWheel(clock, MESSAGE_TICK_MS);
    this.users = new Users();
    this.access = new Access(this.users, { loopbackUsers: options.loopbackUsers });
    this.login = new Login(this.users, this.access, new PasswordVerifier());
    this.limits = new Limits(options, this.users);
    this.parameters = new NodeParameters(this);
    this.memory = new MemoryBudget(options.queueMemoryBytes, options.pagingMemoryBytes);
    this.bodies = new BodyMemory(options.idleBodyBytes);
    this.alarms = new Alarms(options.alarms, log, (reason) => {
      for (const connection of this.connections) connection.setBlocked(reason);
    });
  }

  /** The store's open log. Only after `attach`. */
  get shard(): Shard {
    return this.openShard!;
  }

  get definitions(): Definitions {
    return this.openDefinitions!;
  }

  /** What the store calls. */
  readonly storeListener: ShardListener = {
    durable: (upTo: Ticket) => {
      this.commits.durable(upTo);
    },
    pressure: (on) => {
      this.pressure = on;
      for (const connection of this.connections) connection.setPressure(on);
    },
    lost: (error) => {
      this.lost = true;
      this.log.error('the store is lost: nothing more is confirmed, the broker stops', {
        error: error.message,
      });
      const waiting = [...this.failCommits];
      this.failCommits.clear();
      for (const fail of waiting) fail(error);
      this.onLost(error);
    },
  };

  /** Ties the node to the opened log. Call it before recovery. */
  attach(shard: Shard): void {
    this.openShard = shard;
    this.openDefinitions = new Definitions(shard, () => this.turn.request());
    this.turn.commit = () => shard.commit();
    this.turn.onError = (error) => {
      this.log.error('an error in a turn of the broker', {
        error: error instanceof Error ? (error.stack ?? error.message) : String(error),
      });
    };
    const queues: QueueContext = {
      shard,
      turn: this.turn,
      clock: this.clock,
      wheel: this.wheel,
      messageWheel: this.messageWheel,
      memory: this.memory,
      bodies: this.bodies,
      commits: this.commits,
      log: this.log,
      shared: null,
      burying: false,
      deliveriesPerTurn: this.options.deliveriesPerTurn,
    };
    this.vhostContext = {
      queues,
      definitions: this.definitions,
      replies: this.replies,
      nextQueueNumber: () => ++this.queueNumber,
      queuesMax: this.options.queueMax,
      queueCount: 0,
      exchangesMax: this.options.exchangeMax,
      exchangeCount: 0,
      quorumRelaxedChecks: this.options.quorumRelaxedChecks,
    };
  }

  /** Nothing fires any more. */
  stopTimers(): void {
    this.wheel.stop();
    this.messageWheel.stop();
  }

  /** Queue numbers go on behind this one. */
  sawQueueNumber(number: number): void {
    if (number > this.queueNumber) this.queueNumber = number;
  }

  /** @throws BrokerError not-found */
  vhost(name: string): VHost {
    const vhost = this.vhosts.get(name);
    if (vhost === undefined) throw new BrokerError('not-found', `vhost '${name}' not found`);
    return vhost;
  }

  /** Puts a vhost in place; storing it is the caller's business. */
  addVHost(name: string, metadata: VHostMetadata = NO_METADATA): VHost {
    const vhost = new VHost(name, this.vhostContext!, metadata);
    this.vhosts.set(name, vhost);
    return vhost;
  }

  /** A vhost that is new: in place and stored. @throws BrokerError precondition-failed when there are too many */
  createVHost(name: string, metadata: VHostMetadata = NO_METADATA): VHost {
    const { vhostMax } = this.options;
    if (this.vhosts.size >= vhostMax)
      throw new BrokerError(
        'precondition-failed',
        `cannot create vhost '${name}': vhost limit of ${vhostMax} is reached`,
      );
    const vhost = this.addVHost(name, metadata);
    this.definitions.saveVHost(name, metadata);
    return vhost;
  }

  /** Fulfilled when every definition written so far is on disk. Rejected when the store is lost. */
  definitionsCommitted(): Promise<void> {
    return this.committed(this.definitions.lastTicket);
  }

  /** Fulfilled when a batch is on disk: for the operations of people, not for messages. Rejected when the store is lost. */
  committed(ticket: Ticket): Promise<void> {
    const { shard, commits, failCommits } = this;
    if (this.lost) return Promise.reject(new BrokerError('internal-error', 'the store is lost'));
    if (ticket <= shard.durableTicket) return Promise.resolve();
    return new Promise((resolve, reject) => {
      failCommits.add(reject);
      commits.await({
        awaitingCommit: false,
        committed: (upTo) => {
          if (upTo < ticket) return true;
          failCommits.delete(reject);
          resolve();
          return false;
        },
      });
    });
  }

  /** Stores users and permissions as they are now. */
  saveUsers(): void {
    this.definitions.saveUsers(usersToDefinition(this.users));
  }
}
