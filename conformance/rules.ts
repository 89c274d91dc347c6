// The list of rules that a broker of this kind must keep, by id. Owns the ids: a test names its rule, `rules.test.ts`
// holds both sides together. The texts are ours; ids are `section.rule` and never change meaning.
// Each part of the protocol has a file of its own under `rules/`.
import { extensionRules } from './rules/extensions.ts';
import { fuzzRules } from './rules/fuzz.ts';
import { messagingRules } from './rules/messaging.ts';
import { wireRules } from './rules/wire.ts';

/** Where RabbitMQ itself behaves otherwise than the rule says. */
export interface Difference {
  /** What RabbitMQ does. */
  readonly rabbitmq: string;
  /** What we do. */
  readonly ours: string;
  /** Why we do not do the same. */
  readonly reason: string;
  /** First version of RabbitMQ that keeps the rule; absent when no later one does. */
  readonly below?: string;
  /** First version of RabbitMQ that breaks the rule; absent when all earlier ones do. */
  readonly from?: string;
}

/** One testable rule. */
export interface Rule {
  /** `section.word`, unique. */
  readonly id: string;
  /** The rule in one sentence. */
  readonly text: string;
  readonly difference?: Difference;
}

/** Every rule, in the order of the parts. */
export const rules: readonly Rule[] = [...wireRules, ...messagingRules, ...extensionRules, ...fuzzRules];

const byId = new Map<string, Rule>();
for (const entry of rules) {
  if (byId.has(entry.id)) throw new Error(`rule ${entry.id} is listed twice`);
  byId.set(entry.id, entry);
}

/** The rule of that id. @throws when it is not listed. */
export function findRule(id: string): Rule {
  const entry = byId.get(id);
  if (entry === undefined) throw new Error(`rule ${id} is not listed in conformance/rules/`);
  return entry;
}
