// What operators do with queues: look, pause, move, delete, purge, send dead letters back. The same for an embedding program, an HTTP door or a
// command; whoever calls has asked whether this person may.
// Owns the work that goes beyond one turn: it goes in pieces, each of which is whole. A promise here is fulfilled when what was done is on
// disk, and rejected with a BrokerError, or with the store's error when that is lost.

import { BrokerError } from '../base/errors.ts';
import { addressOf } from '../message/address.ts';
import type { Message } from '../message/message.ts';
import type { Found, MessageId, MessageState } from '../queue/peek.ts';
import { idOf, idText } from '../queue/peek.ts';
import { type MessageFilter, messageTest } from '../queue/peek-filter.ts';
import { type PeekedMessage, peeked } from '../queue/peek-view.ts';
import type { DeclaredQueue } from '../queue/queue.ts';
import type { BrokerNode } from './node.ts';
import { type QueueInfo, queueInfo } from './operations-info.ts';
import { keysOf, type StayReason, targetsOf, transfer, type Way } from './operations-transfer.ts';
import { Redrive, type RedriveProgress } from './redrive.ts';
import type { VHost } from './vhost.ts';

/** Messages of one page of a look, and ids of one call, at most. */
export const PAGE_MAX = 1_000;
/** Messages of a page when nobody says how many. */
const PAGE_DEFAULT = 50;
/** Bytes of a body that a look shows when nobody says how many. */
const PAYLOAD_DEFAULT = 64 * 1024;
/** Bytes of all bodies of one page. */
const PAGE_BYTES_MAX = 16 * 1024 * 1024;
/** Messages that one synchronous run moves or deletes, so that clients are served in between. */
const STEP_MAX = 500;
/** Ended redrives that are remembered, for people to read how they ended. */
const REDRIVES_KEPT = 100;
/** Redrives under way in one broker. */
const REDRIVES_MAX = 100;

/** How to look into a queue. */
export interface PeekOptions {
  /** Messages to show, 1 … 1,000; 50 by default. */
  readonly max?: number;
  /** `next` of the page before; without it, the front of the queue. */
  readonly after?: string | null;
  readonly filter?: MessageFilter | null;
  /** Ready messages only by default. */
  readonly states?: readonly MessageState[];
  /** Bytes of each body to show; 65,536 by default. */
  readonly payloadMax?: number;
}

/** A page of messages. */
export interface PeekPage {
  readonly messages: readonly PeekedMessage[];
  /**
   * Where the next page begins; null when this was the last. A page may have fewer messages than asked for, or none, and a next one all the
   * same: one look goes through a bounded number of messages.
   */
  readonly next: string | null;
}

/** Which messages are meant: those with these ids, or those that pass a filter and were there when the call was made. */
export interface Selection {
  /** At most 1,000. */
  readonly ids?: readonly string[];
  readonly filter?: MessageFilter;
  /** With a filter: so many at most. Without a limit all. */
  readonly max?: number;
}

/** Where messages are moved. */
export interface MoveTarget {
  /** Straight into this queue; they keep exchange and routing key. */
  readonly queue?: string;
  /** Or published to this exchange. */
  readonly exchange?: string;
  /** With an exchange: the routing key. Without it, their own (and their CC keys). */
  readonly routingKey?: string;
  /** The vhost of the queue or exchange; by default that of the messages. */
  readonly vhost?: string;
}

/** What became of the messages that were meant. */
export interface SelectionResult {
  /** Moved, or deleted. */
  readonly done: number;
  /** Those that stay, with their reason; of a filter the first 1,000 only. */
  readonly skipped: readonly { readonly id: string; readonly reason: StayReason | 'not-found' }[];
}

/** How dead letters are to go back. */
export interface RedriveRequest {
  readonly filter?: MessageFilter;
  /** Back to the queue they died in (the default), or to the exchange and routing keys they had been published with. */
  readonly to?: 'queue' | 'exchange';
  /** As fast as the broker can without a rate. */
  readonly messagesPerSecond?: number;
  /** So many at most. */
  readonly max?: number;
  /** The headers of their deaths (x-death and the others) stay in the messages; by default they go. */
  readonly keepDeathHeaders?: boolean;
}

/** A redrive under way, or ended. */
export interface RedriveHandle {
  readonly vhost: string;
  readonly queue: string;
  readonly startedAt: number;
  readonly progress: RedriveProgress;
  /** Moves nothing more from now on. */
  stop(): void;
  /** Fulfilled with the last report when it has ended and everything it moved is on disk. */
  readonly finished: Promise<RedriveProgress>;
}

/** What the operations of one broker share. */
export class Operations {
  private readonly node: BrokerNode;
  /** Oldest first. */
  private readonly handles: RedriveHandle[] = [];

  constructor(node: BrokerNode) {
    this.node = node;
  }

  /** All queues of one vhost, or of all. @throws BrokerError not-found for a vhost that is not there */
  queues(vhost: string | null = null): QueueInfo[] {
    const vhosts = vhost === null ? [...this.node.vhosts.values()] : [this.node.vhost(vhost)];
    return vhosts.flatMap((each) => [...each.queues.values()].map((queue) => queueInfo(each, queue)));
  }

  /** A queue by its name, which need not be there yet. */
  queue(vhost: string, name: string): QueueOperator {
    return new QueueOperator(this.node, this, vhost, name);
  }

  /** Redrives under way, and the last of those that ended; oldest first. */
  redrives(): readonly RedriveHandle[] {
    return [...this.handles];
  }

  /** Starts a redrive. @throws BrokerError precondition-failed when the queue has one, or when there are too many */
  redrive(vhost: VHost, queue: DeclaredQueue, request: RedriveRequest): RedriveHandle {
    const running = this.handles.filter(({ progress }) => progress.state === 'running');
    if (running.some((each) => each.vhost === vhost.name && each.queue === queue.name))
      throw refused(
        `messages of the queue '${queue.name}' in vhost '${vhost.name}' are being sent back already`,
      );
    if (running.length >= REDRIVES_MAX) throw refused(`${REDRIVES_MAX} queues are being sent back already`);
    const { node } = this;
    const { filter, to = 'queue', messagesPerSecond, max, keepDeathHeaders = false } = request;
    if (to !== 'queue' && to !== 'exchange') throw refused(`to must be 'queue' or 'exchange'`);
    const options = {
      test: messageTest(filter),
      to,
      messagesPerSecond: positive(messagesPerSecond, 'messagesPerSecond'),
      max: positive(max, 'max'),
      keepDeathHeaders,
    };
    const { clock, messageWheel, turn } = node;
    const redrive = new Redrive(vhost, queue, options, { clock, wheel: messageWheel, turn });
    const finished = new Promise<RedriveProgress>((resolve, reject) => {
      redrive.onEnd = () => {
        const { progress } = redrive;
        committed(node).then(() => resolve(progress), reject);
      };
    });
    // Whoever does not look at it must not be troubled by it.
    finished.catch(() => {});
    const handle: RedriveHandle = {
      vhost: vhost.name,
      queue: queue.name,
      startedAt: redrive.startedAt,
      get progress() {
        return redrive.progress;
      },
      stop: () => redrive.stop(),
      finished,
    };
    if (this.handles.length - running.length >= REDRIVES_KEPT)
      this.handles.splice(
        this.handles.findIndex(({ progress }) => progress.state !== 'running'),
        1,
      );
    this.handles.push(handle);
    return handle;
  }
}

/**
 * One queue in an operator's hands. It is looked up by its name at every call, so that it may be deleted and declared again in between.
 * Every call throws, or rejects with, a BrokerError `not-found` while there is no such queue.
 */
export class QueueOperator {
  readonly name: string;
  readonly vhost: string;
  private readonly node: BrokerNode;
  private readonly operations: Operations;

  /** @internal */
  constructor(node: BrokerNode, operations: Operations, vhost: string, name: string) {
    this.node = node;
    this.operations = operations;
    this.vhost = vhost;
    this.name = name;
  }

  /** What it is, what is in it, what is done with it. */
  info(): QueueInfo {
    const { vhost, queue } = this.find();
    return queueInfo(vhost, queue);
  }

  /** Nothing is delivered any more, to nobody; a basic.get finds nothing. Publishing, settling, expiring go on. Survives a restart. */
  async pause(): Promise<void> {
    await this.setPaused(true);
  }

  /** Deliveries go on. */
  async resume(): Promise<void> {
    await this.setPaused(false);
  }

  /** Shows messages, in the order in which they would be delivered, and leaves no trace. */
  async peek(options: PeekOptions = {}): Promise<PeekPage> {
    const { queue } = this.find();
    const { filter, states = ['ready'], payloadMax = PAYLOAD_DEFAULT } = options;
    const max = bounded(options.max ?? PAGE_DEFAULT, 'max', 1);
    bounded(payloadMax, 'payloadMax', 0, Number.MAX_SAFE_INTEGER);
    const test = messageTest(filter);
    const after = options.after === undefined || options.after === null ? null : parsed(options.after);
    const messages: PeekedMessage[] = [];
    let bytes = 0;
    const next = await walked(queue, after, new Set(states), null, (found) => {
      if (test === null || test(found.message)) {
        const message = peeked(found, payloadMax);
        messages.push(message);
        bytes += message.payload.length;
      }
      return messages.length < max && bytes < PAGE_BYTES_MAX;
    });
    return { messages, next: next === null ? null : idText(next) };
  }

  /**
   * Moves ready messages. Each is moved whole or not at all, whatever happens; a message moved counts as never delivered there.
   * @throws BrokerError (as a rejection) for a stream, for a target that is not there, for a selection that is none
   */
  async move(selection: Selection, target: MoveTarget): Promise<SelectionResult> {
    const { vhost, queue } = this.find();
    refuseStream(queue);
    const contents = queue.contents();
    const wayOf = this.wayTo(vhost, target);
    return await this.each(queue, selection, (found) =>
      transfer(queue, contents, found, wayOf(found.message)),
    );
  }

  /** Deletes ready messages; no dead letters come of it. @throws BrokerError (as a rejection) for a stream, for a selection that is none */
  async delete(selection: Selection): Promise<SelectionResult> {
    const { queue } = this.find();
    refuseStream(queue);
    const contents = queue.contents();
    return await this.each(queue, selection, (found) => (contents.take(found) === null ? 'not-ready' : null));
  }

  /** Removes all ready messages. @returns how many */
  async purge(): Promise<number> {
    const { queue } = this.find();
    refuseStream(queue);
    queue.catchUp();
    const count = queue.purge();
    await committed(this.node);
    return count;
  }

  /**
   * Sends dead letters back to where they died. Looks at what is in the queue now and not at what comes later.
   * @throws BrokerError precondition-failed when it is under way already, for a stream, for a request that is none
   */
  redrive(request: RedriveRequest = {}): RedriveHandle {
    const { vhost, queue } = this.find();
    queue.catchUp();
    return this.operations.redrive(vhost, queue, request);
  }

  private find(): { vhost: VHost; queue: DeclaredQueue } {
    const vhost = this.node.vhost(this.vhost);
    const queue = vhost.queues.get(this.name);
    queue?.catchUp();
    if (queue === undefined || queue.deleted)
      throw new BrokerError('not-found', `no queue '${this.name}' in vhost '${vhost.name}'`);
    return { vhost, queue };
  }

  private async setPaused(paused: boolean): Promise<void> {
    const { vhost, queue } = this.find();
    vhost.setPaused(queue, paused);
    await this.node.definitionsCommitted();
  }

  /** The way of every message to a target. @throws BrokerError when the target is not there, or is none */
  private wayTo(own: VHost, target: MoveTarget): (message: Message) => Way {
    const vhost = target.vhost === undefined ? own : this.node.vhost(target.vhost);
    const { queue: name, exchange: exchangeName, routingKey } = target;
    if ((name === undefined) === (exchangeName === undefined))
      throw refused('a target is either a queue or an exchange');
    if (name !== undefined) {
      const queue = vhost.queues.get(name);
      if (queue === undefined)
        throw new BrokerError('not-found', `no queue '${name}' in vhost '${vhost.name}'`);
      const way: Way = { vhost, targets: [queue], isRouted: false, changed: null };
      return () => (queue.deleted ? { ...way, targets: [] } : way);
    }
    const exchange = vhost.exchange(exchangeName!);
    return (message) => {
      const keys = routingKey === undefined ? keysOf(message) : [routingKey];
      const address = addressOf(exchange.name, keys[0]!);
      const isRouted = !exchange.deleted;
      const targets = isRouted ? targetsOf(vhost, exchange, message, keys) : [];
      return { vhost, targets, isRouted, changed: (moved) => moved.withAddress(address) };
    };
  }

  /** Does something with every message of a selection, in pieces. @param act null when it is done, else why the message stays */
  private async each(
    queue: DeclaredQueue,
    selection: Selection,
    act: (found: Found) => StayReason | null,
  ): Promise<SelectionResult> {
    const { ids, filter } = selection;
    if ((ids === undefined) === (filter === undefined))
      throw refused('a selection has either ids or a filter');
    const result = ids !== undefined ? await byId(queue, ids, act) : await byFilter(queue, selection, act);
    if (result.done !== 0) await committed(this.node);
    return result;
  }
}

/** Fulfilled when everything done so far is on disk; also when nothing of it was for the disk. */
async function committed(node: BrokerNode): Promise<void> {
  const ticket = node.shard.hasten();
  node.turn.request();
  await node.committed(ticket);
}

async function byId(
  queue: DeclaredQueue,
  ids: readonly string[],
  act: (found: Found) => StayReason | null,
): Promise<SelectionResult> {
  if (ids.length > PAGE_MAX) throw refused(`at most ${PAGE_MAX} ids`);
  const wanted = new Map(ids.map((id) => [id, parsed(id)]));
  const reasons = new Map<string, StayReason | 'not-found'>(
    [...wanted.keys()].map((id) => [id, 'not-found']),
  );
  let done = 0;
  await new Promise<void>((resolve, reject) => {
    queue.contents().find(
      [...wanted.values()],
      (found) => {
        const reason = act(found);
        if (reason !== null) reasons.set(idText(found), reason);
        else {
          reasons.delete(idText(found));
          done++;
        }
      },
      (error) => (error === null ? resolve() : reject(error)),
    );
  });
  return { done, skipped: [...reasons].map(([id, reason]) => ({ id, reason })) };
}

async function byFilter(
  queue: DeclaredQueue,
  { filter, max = Number.POSITIVE_INFINITY }: Selection,
  act: (found: Found) => StayReason | null,
): Promise<SelectionResult> {
  const test = messageTest(filter);
  positive(max, 'max');
  // What comes from now on, perhaps because of this very move, is not meant.
  const bounds = queue.contents().bounds();
  const skipped: { id: string; reason: StayReason }[] = [];
  let done = 0;
  let after: MessageId | null = null;
  do {
    let step = 0;
    after = await walked(queue, after, READY, bounds, (found) => {
      if (test === null || test(found.message)) {
        const reason = act(found);
        if (reason === null) {
          done++;
          step++;
        } else if (skipped.length < PAGE_MAX) skipped.push({ id: idText(found), reason });
      }
      return step < STEP_MAX && done < max;
    });
    // The broker's clients have their turn.
    if (after !== null) await new Promise((resolve) => setImmediate(resolve));
  } while (after !== null && done < max);
  return { done, skipped };
}

const READY: ReadonlySet<MessageState> = new Set(['ready']);

function walked(
  queue: DeclaredQueue,
  after: MessageId | null,
  states: ReadonlySet<MessageState>,
  bounds: ReadonlyMap<number, number> | null,
  visit: (found: Found) => boolean,
): Promise<MessageId | null> {
  return new Promise((resolve, reject) => {
    queue.contents().walk({ after, states, bounds }, visit, (error, { next }) => {
      if (error === null) resolve(next);
      else reject(error);
    });
  });
}

function parsed(id: string): MessageId {
  const parsedId = idOf(id);
  if (parsedId === null) throw refused(`'${id}' is no message id`);
  return parsedId;
}

function refuseStream(queue: DeclaredQueue): void {
  if (queue.options.type === 'stream')
    throw refused(`messages of the stream '${queue.name}' stay where they are until they are too old`);
}

/** A limit that may be left out. */
function positive(value: number | undefined, what: string): number {
  if (value === undefined) return Number.POSITIVE_INFINITY;
  if (!(value > 0)) throw refused(`${what} must be more than 0`);
  return value;
}

function bounded(value: number, what: string, min: number, max = PAGE_MAX): number {
  if (!Number.isInteger(value) || value < min || value > max)
    throw refused(`${what} must be a whole number from ${min} to ${max}`);
  return value;
}

function refused(text: string): BrokerError {
  return new BrokerError('precondition-failed', text);
}
