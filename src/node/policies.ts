// The policies of one vhost in force: which applies to which of its queues and exchanges, and the pass that brings a change to them.
// Owns what is applied. Which policy matches is asked of src/policy/, what it does to a queue of the queue.
// Invariants: a queue or exchange that is new has what applies to it before anyone sees it; a change is brought to all others at once, or,
// when there are very many, in the turns that follow.

import type { Clock } from '../base/clock.ts';
import { BrokerError } from '../base/errors.ts';
import type { Turn, Wakeable } from '../base/turn.ts';
import { type EffectivePolicy, NO_EFFECTIVE_POLICY, Policies, type Policy } from '../policy/policies.ts';
import { type QueueDeclaration, queueTypeOf } from '../queue/declaration.ts';
import type { DeclaredQueue } from '../queue/queue.ts';
import { type PolicyKeys, queueOptions } from '../queue/queue-options.ts';
import type { Exchange } from './exchange.ts';
import { compilePolicyPattern } from './policy-pattern.ts';

/** A change of policies may keep the broker from everything else for so long, in milliseconds; the rest is left to the next turns. */
export const POLICY_PASS_MS_MAX = 10;

/** The vhost, as far as policies need it. */
export interface PolicyHost {
  readonly name: string;
  readonly exchanges: ReadonlyMap<string, Exchange>;
  readonly queues: ReadonlyMap<string, DeclaredQueue>;
  /** Grows when a route may have changed. */
  generation: number;
}

/** Which policies apply to an object, and what they say together. */
export interface PolicyFacts {
  readonly policy: string | null;
  readonly operatorPolicy: string | null;
  readonly definition: { readonly [key: string]: string | number };
}

/** The policies of one vhost. */
export class VHostPolicies implements Wakeable {
  woken = false;
  private readonly host: PolicyHost;
  private readonly clock: Clock;
  private readonly turn: Turn;
  private readonly rules = new Policies(compilePolicyPattern);
  /** What applies, where anything does. */
  private readonly onQueues = new WeakMap<DeclaredQueue, EffectivePolicy>();
  private readonly onExchanges = new WeakMap<Exchange, EffectivePolicy>();
  /** What the present pass has not come to; null when there is none. */
  private pending: Iterator<DeclaredQueue | null> | null = null;
  private waiting: (() => void)[] = [];

  constructor(host: PolicyHost, clock: Clock, turn: Turn) {
    this.host = host;
    this.clock = clock;
    this.turn = turn;
  }

  /** Adds or replaces a policy and brings it to what it matches. */
  put(policy: Policy, operator: boolean): void {
    this.rules.put(policy, operator);
    this.changed();
  }

  /** Removes a policy, from what it matched too. */
  delete(name: string, operator: boolean): void {
    this.rules.delete(name, operator);
    this.changed();
  }

  /** What applies to a queue that is about to be made. */
  forNewQueue(declaration: QueueDeclaration): EffectivePolicy {
    if (this.rules.isEmpty) return NO_EFFECTIVE_POLICY;
    return this.rules.forQueue(declaration.name, queueTypeOf(declaration.arguments));
  }

  /** The queue was made with `policy`. */
  queueAdded(queue: DeclaredQueue, policy: EffectivePolicy): void {
    if (policy !== NO_EFFECTIVE_POLICY) this.onQueues.set(queue, policy);
  }

  /** Gives a new exchange what applies to it. */
  exchangeAdded(exchange: Exchange): void {
    if (!this.rules.isEmpty) this.applyToExchange(exchange);
  }

  /** What is in force on a queue. */
  ofQueue(queue: DeclaredQueue): EffectivePolicy {
    return this.onQueues.get(queue) ?? NO_EFFECTIVE_POLICY;
  }

  /** What is in force on a queue, for people. @throws BrokerError not-found */
  facts(queue: string): PolicyFacts {
    const found = this.host.queues.get(queue);
    if (found === undefined)
      throw new BrokerError('not-found', `no queue '${queue}' in vhost '${this.host.name}'`);
    const { policy, operatorPolicy, keys } = this.ofQueue(found);
    return {
      policy: policy?.name ?? null,
      operatorPolicy: operatorPolicy?.name ?? null,
      definition: Object.fromEntries(keys),
    };
  }

  /** What is in force on an exchange. */
  ofExchange(exchange: Exchange): EffectivePolicy {
    return this.onExchanges.get(exchange) ?? NO_EFFECTIVE_POLICY;
  }

  /** Fulfilled when every change made so far has come to all queues and exchanges. */
  applied(): Promise<void> {
    if (this.pending === null) return Promise.resolve();
    return new Promise((resolve) => this.waiting.push(resolve));
  }

  /** Goes on with a pass that was too long for one turn. */
  runTurn(): void {
    const { pending, clock } = this;
    if (pending === null) return;
    const startMs = clock.now();
    for (;;) {
      const { done, value } = pending.next();
      if (done === true) break;
      if (value !== null) this.applyToQueue(value);
      const spentMs = clock.now() - startMs;
      // The clock of a machine may be set back.
      if (spentMs >= POLICY_PASS_MS_MAX || spentMs < 0) return this.turn.wake(this);
    }
    this.pending = null;
    const { waiting } = this;
    this.waiting = [];
    for (const told of waiting) told();
  }

  /**
   * A pass that is under way starts anew, in its next turn: many changes in a row (a definitions file) cost no more time at once than one.
   * What it has done already changes no more.
   */
  private changed(): void {
    const underWay = this.pending !== null;
    this.pending = this.everything();
    if (!underWay) this.runTurn();
  }

  /** Exchanges are done in passing (null), queues are handed out. Maps show what is added meanwhile, which has its policy. */
  private *everything(): Generator<DeclaredQueue | null, void> {
    for (const exchange of this.host.exchanges.values()) {
      this.applyToExchange(exchange);
      yield null;
    }
    yield* this.host.queues.values();
  }

  private applyToQueue(queue: DeclaredQueue): void {
    const policy = this.rules.forQueue(queue.name, queue.options.type);
    const current = this.ofQueue(queue);
    if (isSame(current, policy)) return;
    if (policy === NO_EFFECTIVE_POLICY) this.onQueues.delete(queue);
    else this.onQueues.set(queue, policy);
    const keys: PolicyKeys = policy.keys;
    queue.applyOptions(queueOptions(queue.declaration.arguments, keys));
  }

  private applyToExchange(exchange: Exchange): void {
    const policy = this.rules.forExchange(exchange.name);
    if (isSame(this.ofExchange(exchange), policy)) return;
    if (policy === NO_EFFECTIVE_POLICY) this.onExchanges.delete(exchange);
    else this.onExchanges.set(exchange, policy);
    const alternate = policy.keys.get('alternate-exchange');
    if (exchange.setPolicyAlternate(typeof alternate === 'string' ? alternate : null)) this.host.generation++;
  }
}

/** Policies never change, so the same two say the same. */
function isSame(a: EffectivePolicy, b: EffectivePolicy): boolean {
  return a.policy === b.policy && a.operatorPolicy === b.operatorPolicy;
}
