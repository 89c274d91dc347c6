// The policies of one virtual host: which one applies to a queue or an exchange, and what it and the operator's policy say together.
// Owns matching, order and merging. Knows no queue and no node: names and types come in, keys with values go out.
// Invariants: policies never change, a new one takes the place of the old; equal objects get the same `EffectivePolicy` until
// something changes, so that whoever keeps one sees by identity whether anything is new.

import { BrokerError } from '../base/errors.ts';
import {
  aNumber,
  assertValid,
  isObject,
  type Json,
  type JsonObject,
  type Member,
  memberErrors,
  pairsText,
  sortedMembers,
  termText,
} from '../base/terms.ts';
import {
  isPolicyKey,
  mergePolicyValue,
  type PolicyQueueType,
  type PolicyValue,
  policyValueError,
  takesPolicyKey,
} from './policy-keys.ts';

/** Policies, and operator policies, that one virtual host may have: each change of them is held against every queue. */
export const POLICIES_MAX = 1_000;

/** What a policy is for. */
export type ApplyTo = 'all' | 'queues' | 'exchanges' | 'classic_queues' | 'quorum_queues' | 'streams';

/** A policy or an operator policy. */
export interface Policy {
  readonly name: string;
  /** Regular expression, found anywhere in a name. */
  readonly pattern: string;
  readonly applyTo: ApplyTo;
  /** The highest that matches applies. */
  readonly priority: number;
  readonly definition: ReadonlyMap<string, PolicyValue>;
}

/** What applies to one object. */
export interface EffectivePolicy {
  readonly policy: Policy | null;
  readonly operatorPolicy: Policy | null;
  /** Both together, one value a key. */
  readonly keys: ReadonlyMap<string, PolicyValue>;
}

/** A pattern ready to use. */
export interface Matcher {
  test(name: string): boolean;
}

/** Makes a pattern ready. @throws BrokerError, with what is wrong with the pattern */
export type CompilePattern = (pattern: string) => Matcher;

/** Nothing applies. */
export const NO_EFFECTIVE_POLICY: EffectivePolicy = { policy: null, operatorPolicy: null, keys: new Map() };

const QUEUE_TYPES: Readonly<Record<PolicyQueueType, ApplyTo>> = {
  classic: 'classic_queues',
  quorum: 'quorum_queues',
  stream: 'streams',
};
const TARGETS: readonly string[] = ['all', 'queues', 'exchanges', ...Object.values(QUEUE_TYPES)];

/** A policy with its pattern ready. */
interface Rule {
  readonly policy: Policy;
  readonly matcher: Matcher;
}

/** The policies of one virtual host. */
export class Policies {
  private readonly compile: CompilePattern;
  /** By falling priority, then by name: the first that matches applies. */
  private readonly rules: readonly [policies: Rule[], operator: Rule[]] = [[], []];
  /** Merged pairs since the last change. */
  private readonly merged = new Map<Policy | null, Map<Policy | null, EffectivePolicy>>();

  constructor(compile: CompilePattern) {
    this.compile = compile;
  }

  /** No policy of either kind is there. */
  get isEmpty(): boolean {
    return this.rules[0].length === 0 && this.rules[1].length === 0;
  }

  /** Adds a policy, or puts it in the place of the one of that name. @throws BrokerError when the pattern is none */
  put(policy: Policy, operator: boolean): void {
    const rule = { policy, matcher: this.compile(policy.pattern) };
    const list = this.listOf(operator);
    remove(list, policy.name);
    list.push(rule);
    list.sort((a, b) => b.policy.priority - a.policy.priority || (a.policy.name < b.policy.name ? -1 : 1));
    this.merged.clear();
  }

  /** Forgets a policy; nothing happens when there is none of that name. */
  delete(name: string, operator: boolean): void {
    remove(this.listOf(operator), name);
    this.merged.clear();
  }

  /** What applies to a queue. */
  forQueue(name: string, type: PolicyQueueType): EffectivePolicy {
    const own = QUEUE_TYPES[type];
    const fits = ({ policy, matcher }: Rule): boolean => {
      const { applyTo, definition } = policy;
      if (applyTo !== 'all' && applyTo !== 'queues' && applyTo !== own) return false;
      for (const key of definition.keys()) if (!takesPolicyKey(type, key)) return false;
      return matcher.test(name);
    };
    return this.effective(fits);
  }

  /** What applies to an exchange. */
  forExchange(name: string): EffectivePolicy {
    return this.effective(
      ({ policy: { applyTo }, matcher }) =>
        (applyTo === 'all' || applyTo === 'exchanges') && matcher.test(name),
    );
  }

  private listOf(operator: boolean): Rule[] {
    return this.rules[operator ? 1 : 0];
  }

  private effective(fits: (rule: Rule) => boolean): EffectivePolicy {
    const policy = this.rules[0].find(fits)?.policy ?? null;
    const operatorPolicy = this.rules[1].find(fits)?.policy ?? null;
    if (policy === null && operatorPolicy === null) return NO_EFFECTIVE_POLICY;
    let row = this.merged.get(policy);
    if (row === undefined) {
      row = new Map();
      this.merged.set(policy, row);
    }
    let both = row.get(operatorPolicy);
    if (both === undefined) {
      both = { policy, operatorPolicy, keys: mergedKeys(policy, operatorPolicy) };
      row.set(operatorPolicy, both);
    }
    return both;
  }
}

function remove(list: Rule[], name: string): void {
  const at = list.findIndex(({ policy }) => policy.name === name);
  if (at >= 0) list.splice(at, 1);
}

function mergedKeys(policy: Policy | null, operator: Policy | null): ReadonlyMap<string, PolicyValue> {
  if (policy === null || operator === null) return (policy ?? operator)!.definition;
  const keys = new Map(policy.definition);
  for (const [key, value] of operator.definition) {
    const own = keys.get(key);
    keys.set(key, own === undefined ? value : mergePolicyValue(key, own, value));
  }
  return keys;
}

// ── from and to JSON ──

/** A policy as the value of a runtime parameter (`policy`, `operator_policy`), checked. @throws BrokerError precondition-failed */
export function policyOf(name: string, value: Json, operator: boolean, compile: CompilePattern): Policy {
  assertValid(memberErrors(name, members(operator, compile), value));
  const { pattern, priority, definition, 'apply-to': applyTo = 'all' } = value as JsonObject;
  return {
    name,
    pattern: pattern as string,
    applyTo: applyTo as ApplyTo,
    priority: priority as number,
    definition: new Map(sortedMembers(definition as JsonObject)) as ReadonlyMap<string, PolicyValue>,
  };
}

function members(operator: boolean, compile: CompilePattern): readonly Member[] {
  return [
    { key: 'priority', needed: true, check: aNumber },
    { key: 'pattern', needed: true, check: (key, value) => patternError(key, value, compile) },
    { key: 'apply-to', needed: false, check: applyToError },
    { key: 'definition', needed: true, check: (key, value) => definitionError(key, value, operator) },
  ];
}

function patternError(key: string, value: Json, compile: CompilePattern): string | null {
  if (typeof value !== 'string') return `${key} should be a binary but was ${termText(value)}`;
  try {
    compile(value);
    return null;
  } catch (error) {
    if (!(error instanceof BrokerError)) throw error;
    return `${key} should be regular expression but is invalid: ${error.message}`;
  }
}

function applyToError(_key: string, value: Json): string | null {
  if (typeof value === 'string' && TARGETS.includes(value)) return null;
  return (
    `apply-to '${typeof value === 'string' ? value : termText(value)}' unrecognised; should be one of: ` +
    "'queues', 'classic_queues',  'quorum_queues', 'streams', 'exchanges', or 'all'"
  );
}

/** RabbitMQ: values of known keys first, by key; then the keys that are not known, all together. */
function definitionError(key: string, value: Json, operator: boolean): string | null {
  if (Array.isArray(value) && value.length > 0) return `definition must be a dictionary: ${termText(value)}`;
  if (!isObject(value) && !Array.isArray(value)) {
    const validator = operator ? 'operator_policy_validator' : 'policy_validator';
    return `parse error while reading policy ${key}: ${termText(value)}. Validator: ${validator}.`;
  }
  const entries = isObject(value) ? sortedMembers(value) : [];
  if (entries.length === 0) return 'no policy provided';
  const known = entries.filter(([name]) => isPolicyKey(name, operator));
  for (const [name, member] of known) {
    const error = policyValueError(name, member);
    if (error !== null) return error;
  }
  const retry = delayedRetryError(value as JsonObject);
  if (retry !== null) return retry;
  const others = entries.filter(([name]) => !isPolicyKey(name, operator));
  return others.length === 0 ? null : `${pairsText(others)} are not recognised policy settings`;
}

/** RabbitMQ: a back-off needs its shortest delay, and the longest is not shorter. */
function delayedRetryError(definition: JsonObject): string | null {
  const { 'delayed-retry-type': type, 'delayed-retry-min': least, 'delayed-retry-max': most } = definition;
  if (type !== undefined && type !== 'disabled' && least === undefined)
    return `delayed-retry-min is required when delayed-retry-type is ${String(type)}`;
  if (typeof least === 'number' && typeof most === 'number' && most < least)
    return `delayed-retry-max (${most}) must not be smaller than delayed-retry-min (${least})`;
  return null;
}
