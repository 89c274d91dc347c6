// What policies should do to a queue, as docs/policies.md has it: which one applies, and what holds beside an argument.
// Owns the merging. Knows nothing of the broker's code.

import type { QueueSpec } from './model.ts';

/** Keys as a policy names them. */
export type PolicyKeys = Readonly<Record<string, number | string>>;

/** A policy, or an operator's. */
export interface PolicyRule {
  readonly name: string;
  readonly operator: boolean;
  /** The highest that fits applies. */
  readonly priority: number;
  /** Names of the queues that its pattern matches. */
  readonly queues: readonly string[];
  readonly keys: PolicyKeys;
}

/** Keys of which the smaller one holds, whoever says them. */
const SMALLER = ['message-ttl', 'expires', 'max-length', 'max-length-bytes'];

/** What holds for a queue that was declared like this. */
export function specUnder(rules: readonly PolicyRule[], name: string, declared: QueueSpec): QueueSpec {
  const of = (operator: boolean): PolicyKeys | null => {
    const fitting = rules.filter(
      (rule) =>
        rule.operator === operator &&
        rule.queues.includes(name) &&
        // A key that only quorum queues know.
        (declared.quorum || !('delivery-limit' in rule.keys)),
    );
    const best = Math.max(...fitting.map(({ priority }) => priority));
    return fitting.find(({ priority }) => priority === best)?.keys ?? null;
  };
  const [policy, operator] = [of(false), of(true)];
  if (policy === null && operator === null) return declared;
  return withKeys(declared, bothOf(policy ?? {}, operator ?? {}));
}

function bothOf(policy: PolicyKeys, operator: PolicyKeys): PolicyKeys {
  const both: Record<string, number | string> = { ...policy, ...operator };
  for (const key of SMALLER)
    if (key in policy && key in operator) both[key] = Math.min(Number(policy[key]), Number(operator[key]));
  if ('delivery-limit' in policy && 'delivery-limit' in operator)
    both['delivery-limit'] = smallerLimit(
      Number(policy['delivery-limit']),
      Number(operator['delivery-limit']),
    );
  return both;
}

function withKeys(declared: QueueSpec, keys: PolicyKeys): QueueSpec {
  const { quorum, deadLetterKey, deliveryLimit, retry } = declared;
  const least = (argument: number | null, key: string): number | null =>
    key in keys ? Math.min(argument ?? Number.POSITIVE_INFINITY, Number(keys[key])) : argument;
  // An argument that says what happens anyway was not given.
  const own = declared.overflow === 'drop-head' ? undefined : declared.overflow;
  const other = keys['overflow'] as QueueSpec['overflow'] | undefined;
  const overflow = (quorum ? (other ?? own) : (own ?? other)) ?? 'drop-head';
  const isDeadLettering = deadLetterKey !== null || 'dead-letter-exchange' in keys;
  const key = deadLetterKey || String(keys['dead-letter-routing-key'] ?? '');
  return {
    ...declared,
    ttl: least(declared.ttl, 'message-ttl'),
    lengthMax: least(declared.lengthMax, 'max-length'),
    bytesMax: least(declared.bytesMax, 'max-length-bytes'),
    expires: least(declared.expires, 'expires'),
    overflow: quorum && overflow === 'reject-publish-dlx' ? 'drop-head' : overflow,
    deadLetterKey: isDeadLettering ? key : null,
    // Other queues take the keys too, and do nothing with them.
    returnDelayMs: quorum && 'delayed-retry-min' in keys ? Number(keys['delayed-retry-min']) : null,
    deliveryLimit:
      'delivery-limit' in keys
        ? smallerLimit(deliveryLimit ?? -1, Number(keys['delivery-limit']))
        : deliveryLimit,
    retry:
      retry ??
      ('retry-limit' in keys
        ? {
            limit: Number(keys['retry-limit']),
            delayMs: Number(keys['retry-delay']),
            multiplier: Number(keys['retry-multiplier']),
          }
        : null),
  };
}

/** A negative limit is none. */
function smallerLimit(a: number, b: number): number {
  return a < 0 || b < 0 ? Math.max(a, b) : Math.min(a, b);
}

/** What the broker calls this kind of policy. */
export function kindOf({ operator }: PolicyRule): 'policy' | 'operator_policy' {
  return operator ? 'operator_policy' : 'policy';
}
