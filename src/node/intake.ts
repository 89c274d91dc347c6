// What an exchange does with a message before it is routed: hold it back. Most exchanges have no intake at all, and pay one field test.
// Owns the reading of the exchange's arguments for it, and its content in the store. Knows no binding: what comes after is the route walk's.

import { BrokerError } from '../base/errors.ts';
import { delayOf } from '../message/delay.ts';
import type { Message } from '../message/message.ts';
import { fieldTypeName } from '../protocol/field-table.ts';
import { DelayLine, KeyedDelay } from '../queue/delay-line.ts';
import type { QueueContext } from '../queue/queue-context.ts';
import type { Destination } from '../routing/router.ts';
import type { StoredEntry } from '../store/store.ts';
import type { Exchange, ExchangeDeclaration } from './exchange.ts';

/** What is recovered under one number of the store: a queue, or something of an exchange. */
export interface StoredContent {
  restoreFacts(number: number, nextPosition: number, deliveredUpTo: number): void;
  restore(number: number, run: readonly StoredEntry[]): void;
}

/** What an intake needs around it. */
export interface IntakeContext {
  readonly queues: QueueContext;
  /** A number for content in the store. */
  nextQueueNumber(): number;
}

/** The vhost, as far as an intake needs it. */
export interface IntakeHost {
  readonly name: string;
  /** Routes and publishes a message that was held back, at once. */
  release(exchange: Exchange, message: Message, keys: readonly string[]): void;
}

/** Line of the messages that wait, in the exchange's definition. */
const DELAYS_LINE = 0;

/** Before the routing of one exchange. */
export class Intake {
  /** Messages that wait for their time; null where none is held back. */
  readonly delays: DelayLine | null;
  /** Numbers of its content in the store, by line. */
  readonly lines = new Map<number, number>();

  constructor(delays: DelayLine | null) {
    this.delays = delays;
    if (delays !== null) this.lines.set(DELAYS_LINE, delays.number);
  }

  /** Its content in the store, by number. */
  get contents(): [number, StoredContent][] {
    return this.delays === null ? [] : [[this.delays.number, this.delays]];
  }

  /**
   * Takes a message that is not to be routed now.
   * @param out where a message that waits is appended to what it reaches
   * @returns false when it is to be routed
   */
  takes(message: Message, keys: readonly string[], out: Destination[]): boolean {
    const { delays } = this;
    if (delays === null || delayOf(message) === 0) return false;
    out.push(keys.length === 1 ? delays : new KeyedDelay(delays, keys));
    return true;
  }

  /** Recovery has ended. */
  resume(): void {
    this.delays?.resume();
  }

  /** The exchange is gone. */
  delete(): void {
    this.delays?.delete();
  }
}

/**
 * The intake of an exchange; null for most.
 * @param lines numbers of its content in the store; none for a new exchange
 * @throws BrokerError precondition-failed
 */
export function createIntake(
  exchange: Exchange,
  lines: ReadonlyMap<number, number>,
  vhost: IntakeHost,
  context: IntakeContext,
): Intake | null {
  const { declaration } = exchange;
  if (declaration.arguments.size === 0) return null;
  const holdsBack = flagOf(declaration, 'x-delayed-exchange', vhost.name);
  if (declaration.type !== 'x-delayed-message' && !holdsBack) return null;
  const number = lines.get(DELAYS_LINE) ?? context.nextQueueNumber();
  const { name, durable } = declaration;
  const delays = new DelayLine(name, durable, number, context.queues, {
    release: (message, keys) => vhost.release(exchange, message, keys),
  });
  return new Intake(delays);
}

/** A boolean argument of ours; false when it is not there. @throws BrokerError precondition-failed */
function flagOf(declaration: ExchangeDeclaration, argument: string, vhost: string): boolean {
  const value = declaration.arguments.get(argument);
  if (value === undefined) return false;
  if (value.tag === 't') return value.value;
  throw new BrokerError(
    'precondition-failed',
    `invalid arg '${argument}' for exchange '${declaration.name}' in vhost '${vhost}': {unacceptable_type,${fieldTypeName(value)}}`,
  );
}
