// Runtime parameters of a node, policies and vhost limits among them: set, cleared, stored, and put into effect.
// Owns the way from a value to what it does: checked by src/policy/, written as a definition, handed to its vhost.
// Invariant: what is stored, what is listed and what is in effect are the same, but for the turns a long pass over queues takes.

import { BrokerError } from '../base/errors.ts';
import type { Json, JsonObject } from '../base/terms.ts';
import {
  LIMITS_NAME,
  noSuchParameter,
  OPERATOR_POLICY,
  type Parameter,
  Parameters,
  POLICY,
  VHOST_LIMITS,
} from '../policy/parameters.ts';
import { type ApplyTo, policyOf } from '../policy/policies.ts';
import type { Definitions } from './definitions.ts';
import { limitOf } from './limits.ts';
import { compilePolicyPattern } from './policy-pattern.ts';
import type { VHost } from './vhost.ts';

/** Which of the two a policy is: everybody's, or the operator's, whose limits others cannot exceed. */
export type PolicyKind = 'policy' | 'operator_policy';

/** A policy as people write it. */
export interface PolicyOptions {
  readonly vhost: string;
  readonly name: string;
  /** Regular expression that is found anywhere in the names it is for. */
  readonly pattern: string;
  /** What it is for; default `all`. */
  readonly 'apply-to'?: ApplyTo;
  /** The same, for programs. */
  readonly applyTo?: ApplyTo;
  /** The highest one that matches applies; default 0. */
  readonly priority?: number;
  readonly definition: { readonly [key: string]: string | number };
}

/** A policy as it is listed, in RabbitMQ's form. */
export interface PolicyRow {
  readonly vhost: string;
  readonly name: string;
  readonly pattern: string;
  readonly 'apply-to': ApplyTo;
  readonly priority: number;
  readonly definition: { readonly [key: string]: string | number };
}

/** The node, as far as parameters need it. */
export interface ParameterHost {
  readonly definitions: Definitions;
  /** @throws BrokerError not-found */
  vhost(name: string): VHost;
}

/** The runtime parameters of one node. */
export class NodeParameters {
  private readonly host: ParameterHost;
  private readonly table = new Parameters(compilePolicyPattern);

  constructor(host: ParameterHost) {
    this.host = host;
  }

  // ── policies ──

  /** Sets a policy; it is in effect when this returns, or a few turns later when there are very many queues. @throws BrokerError */
  setPolicy(policy: PolicyOptions, kind: PolicyKind = POLICY): void {
    const { vhost, name, pattern, priority = 0, definition } = policy;
    const applyTo = policy['apply-to'] ?? policy.applyTo ?? 'all';
    this.put(vhost, kind, name, { pattern, 'apply-to': applyTo, priority, definition });
  }

  /** @throws BrokerError not-found */
  deletePolicy(vhost: string, name: string, kind: PolicyKind = POLICY): void {
    this.remove(vhost, kind, name);
  }

  /** Policies by vhost and name; of one vhost where given. */
  policies(vhost: string | null = null, kind: PolicyKind = POLICY): PolicyRow[] {
    return this.table.list(vhost, kind).map(({ vhost: place, name, value }) => {
      const { pattern, 'apply-to': applyTo = 'all', priority, definition } = value as JsonObject;
      return { vhost: place, name, pattern, 'apply-to': applyTo, priority, definition } as PolicyRow;
    });
  }

  // ── parameters ──

  /** Sets a parameter of any component but `policy` (RabbitMQ). @throws BrokerError */
  set(vhost: string, component: string, name: string, value: Json): void {
    if (component === POLICY) throw notThisWay('set');
    this.put(vhost, component, name, value);
  }

  /** @throws BrokerError not-found */
  clear(vhost: string, component: string, name: string): void {
    if (component === POLICY) throw notThisWay('cleared');
    this.remove(vhost, component, name);
  }

  /** Parameters by vhost, component and name, without policies; of one vhost or component where given. */
  list(vhost: string | null = null, component: string | null = null): Parameter[] {
    return this.table.list(vhost, component).filter((parameter) => parameter.component !== POLICY);
  }

  /** Sets the limits of a vhost (`max-connections`, `max-queues`), all of them; a negative one is none. @throws BrokerError */
  setVHostLimits(vhost: string, limits: Readonly<Record<string, number>>): void {
    this.put(vhost, VHOST_LIMITS, LIMITS_NAME, limits);
  }

  /** Lifts the limits of a vhost; nothing happens when it has none. @throws BrokerError not-found without such a vhost */
  clearVHostLimits(vhost: string): void {
    this.host.vhost(vhost);
    if (this.table.get(vhost, VHOST_LIMITS, LIMITS_NAME) !== undefined)
      this.remove(vhost, VHOST_LIMITS, LIMITS_NAME);
  }

  /** Limits of a vhost as they were set; empty when there are none. */
  vhostLimits(vhost: string): Readonly<Record<string, number>> {
    return (this.table.get(vhost, VHOST_LIMITS, LIMITS_NAME) ?? {}) as Readonly<Record<string, number>>;
  }

  /** Sets a global parameter. @throws BrokerError precondition-failed */
  setGlobal(name: string, value: Json): void {
    if (this.table.setGlobal(name, value)) this.host.definitions.saveGlobalParameter(name, value);
  }

  /** @throws BrokerError not-found */
  clearGlobal(name: string): void {
    if (!this.table.clearGlobal(name)) throw noSuchParameter();
    this.host.definitions.deleteGlobalParameter(name);
  }

  /** Global parameters by name. */
  listGlobal(): { name: string; value: Json }[] {
    return this.table.listGlobal();
  }

  // ── all of them ──

  /** Sets a parameter of any component: what recovery and definitions files do. @throws BrokerError */
  put(vhost: string, component: string, name: string, value: Json): void {
    const place = this.host.vhost(vhost);
    if (!this.table.set(vhost, component, name, value)) return;
    this.host.definitions.saveParameter({ vhost, component, name, value });
    this.takeEffect(place, component, name, value);
  }

  /** The vhost is being deleted: its parameters go, without further effect. */
  forgetVHost(vhost: string): void {
    for (const { component, name } of this.table.forgetVHost(vhost))
      this.host.definitions.deleteParameter(vhost, component, name);
  }

  private remove(vhost: string, component: string, name: string): void {
    const place = this.host.vhost(vhost);
    if (!this.table.clear(vhost, component, name)) throw noSuchParameter();
    this.host.definitions.deleteParameter(vhost, component, name);
    this.takeEffect(place, component, name, null);
  }

  /** @param value null when the parameter is gone */
  private takeEffect(vhost: VHost, component: string, name: string, value: Json): void {
    if (component === POLICY || component === OPERATOR_POLICY) {
      const operator = component === OPERATOR_POLICY;
      if (value === null) vhost.policies.delete(name, operator);
      else vhost.policies.put(policyOf(name, value, operator, compilePolicyPattern), operator);
    } else if (component === VHOST_LIMITS) {
      const limits = (value ?? {}) as Readonly<Record<string, number>>;
      vhost.connectionsMax = limitOf(limits['max-connections']);
      vhost.queuesMax = limitOf(limits['max-queues']);
    }
  }
}

function notThisWay(done: string): BrokerError {
  return new BrokerError('precondition-failed', `policies may not be ${done} using this method`);
}
