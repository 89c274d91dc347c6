// Headers routing: binding arguments against message headers; the routing key plays no part.
// Owns which destinations match a header table. Knows nothing of queues: a destination is opaque.
//
// Each binding hangs under headers that must be there for it to match: an `all` binding under one of them (the one with the fewest
// neighbours), an `any` binding under each. A message looks only at the bindings under the headers it carries.
// Invariant: a rule is in the index once for `all`, once per distinct required header for `any`; empty index nodes are removed.

import { BrokerError } from '../base/errors.ts';
import type { FieldTable, FieldValue } from '../protocol/field-table.ts';
import { fieldTypeName, sameValue } from '../protocol/field-values.ts';
import { DestinationList } from './destination-list.ts';
import { erlangTerm, textOf } from './erlang-term.ts';
import { type Binding, type Destination, NO_HISTORY, type Routable, type Router } from './router.ts';

/** One binding, taken apart. */
class Rule {
  readonly destination: Destination;
  /** True when one header is enough. */
  readonly any: boolean;
  /** Names and values that are compared, in step. */
  readonly names: readonly string[];
  readonly values: readonly FieldValue[];
  /** Which of them the index holds an `all` rule under. */
  indexed = 0;
  /** Look-up that took this rule last, so that an `any` rule counts once. */
  visit = 0;

  constructor(
    destination: Destination,
    any: boolean,
    names: readonly string[],
    values: readonly FieldValue[],
  ) {
    this.destination = destination;
    this.any = any;
    this.names = names;
    this.values = values;
  }
}

/** The rules that require one header. */
class HeaderNode {
  /** Rules by the text form of the value they require. */
  readonly byValue = new Map<string, Set<Rule>>();
  /** Rules that require a value without a text form (tables, arrays, decimals), each compared in turn. */
  readonly byComparison = new Set<Rule>();
  /** Rules that only require the header to be there. */
  readonly byPresence = new Set<Rule>();

  get isEmpty(): boolean {
    return this.byValue.size === 0 && this.byComparison.size === 0 && this.byPresence.size === 0;
  }
}

export class HeadersRouter implements Router {
  readonly byKeyOnly = false;
  readonly history = NO_HISTORY;
  readonly #rules = new Map<Binding, Rule>();
  readonly #byHeader = new Map<string, HeaderNode>();
  /** Destinations of `all` bindings without a single condition: they get every message. */
  readonly #unconditional = new DestinationList();
  /** Number of the current look-up. */
  #visit = 0;

  check(binding: Binding): void {
    const match = binding.arguments.get('x-match');
    if (match === undefined) return;
    if (match.tag !== 'S') {
      throw new BrokerError(
        'precondition-failed',
        `Invalid x-match field type ${fieldTypeName(match)} (value ${erlangTerm(match)}); expected longstr`,
      );
    }
    const text = textOf(match.value);
    if (text === 'all' || text === 'any' || text === 'all-with-x' || text === 'any-with-x') return;
    throw new BrokerError(
      'precondition-failed',
      `Invalid x-match field value ${erlangTerm(match)}; expected all, any, all-with-x, or any-with-x`,
    );
  }

  bind(binding: Binding): void {
    const rule = ruleOf(binding);
    this.#rules.set(binding, rule);
    if (rule.any) {
      for (let i = 0; i < rule.names.length; i++) this.#bucketFor(rule.names[i]!, rule.values[i]!).add(rule);
      return;
    }
    if (rule.names.length === 0) {
      this.#unconditional.add(rule.destination);
      return;
    }
    rule.indexed = this.#rarest(rule);
    this.#bucketFor(rule.names[rule.indexed]!, rule.values[rule.indexed]!).add(rule);
  }

  unbind(binding: Binding): void {
    const rule = this.#rules.get(binding);
    if (rule === undefined) return;
    this.#rules.delete(binding);
    if (rule.any) {
      for (let i = 0; i < rule.names.length; i++) this.#removeFrom(rule.names[i]!, rule.values[i]!, rule);
    } else if (rule.names.length === 0) {
      this.#unconditional.remove(rule.destination);
    } else {
      this.#removeFrom(rule.names[rule.indexed]!, rule.values[rule.indexed]!, rule);
    }
  }

  route(message: Routable, _keys: readonly string[], out: Destination[]): void {
    this.#unconditional.appendTo(out);
    if (this.#byHeader.size === 0) return;
    const headers = message.headers();
    if (headers === null) return;
    this.#visit += 1;
    for (const [name, value] of headers) {
      const node = this.#byHeader.get(name);
      if (node === undefined) continue;
      for (const rule of node.byPresence) this.#take(rule, headers, out);
      const text = textForm(value);
      const equal = text === null ? undefined : node.byValue.get(text);
      if (equal !== undefined) for (const rule of equal) this.#takeEqual(rule, name, value, headers, out);
      for (const rule of node.byComparison) this.#takeEqual(rule, name, value, headers, out);
    }
  }

  /** Appends the rule's destination if it matches: an `any` rule that was found has its match, an `all` rule is checked. */
  #take(rule: Rule, headers: FieldTable, out: Destination[]): void {
    if (rule.visit === this.#visit) return;
    if (rule.any || matchesAll(rule, headers)) {
      rule.visit = this.#visit;
      out.push(rule.destination);
    }
  }

  /** As #take for a rule that was found under a value which is only likely to be the one it wants. */
  #takeEqual(rule: Rule, name: string, value: FieldValue, headers: FieldTable, out: Destination[]): void {
    if (!rule.any || requires(rule, name, value)) this.#take(rule, headers, out);
  }

  /** Which condition of an `all` rule fewest other rules hang under. A mere presence is taken only when there is nothing else. */
  #rarest(rule: Rule): number {
    let best = 0;
    let bestSize = Number.POSITIVE_INFINITY;
    for (let i = 0; i < rule.names.length; i++) {
      const value = rule.values[i]!;
      const node = this.#byHeader.get(rule.names[i]!);
      const text = textForm(value);
      let size: number;
      if (value.tag === 'V') size = 1_000_000 + (node?.byPresence.size ?? 0);
      else if (text === null) size = 1_000 + (node?.byComparison.size ?? 0);
      else size = node?.byValue.get(text)?.size ?? 0;
      if (size < bestSize) {
        best = i;
        bestSize = size;
      }
    }
    return best;
  }

  #bucketFor(name: string, value: FieldValue): Set<Rule> {
    let node = this.#byHeader.get(name);
    if (node === undefined) {
      node = new HeaderNode();
      this.#byHeader.set(name, node);
    }
    if (value.tag === 'V') return node.byPresence;
    const text = textForm(value);
    if (text === null) return node.byComparison;
    let bucket = node.byValue.get(text);
    if (bucket === undefined) {
      bucket = new Set();
      node.byValue.set(text, bucket);
    }
    return bucket;
  }

  #removeFrom(name: string, value: FieldValue, rule: Rule): void {
    const node = this.#byHeader.get(name);
    if (node === undefined) return;
    const text = value.tag === 'V' ? null : textForm(value);
    if (value.tag === 'V') node.byPresence.delete(rule);
    else if (text === null) node.byComparison.delete(rule);
    else {
      const bucket = node.byValue.get(text);
      bucket?.delete(rule);
      if (bucket?.size === 0) node.byValue.delete(text);
    }
    if (node.isEmpty) this.#byHeader.delete(name);
  }
}

/** Reads a binding's arguments; `check` has accepted them. */
function ruleOf(binding: Binding): Rule {
  const match = binding.arguments.get('x-match');
  const mode = match?.tag === 'S' ? textOf(match.value) : 'all';
  const withX = mode.endsWith('-with-x');
  const names: string[] = [];
  const values: FieldValue[] = [];
  for (const [name, value] of binding.arguments) {
    if (name === 'x-match' || (!withX && name.startsWith('x-'))) continue;
    names.push(name);
    values.push(value);
  }
  return new Rule(binding.destination, mode.startsWith('any'), names, values);
}

function matchesAll(rule: Rule, headers: FieldTable): boolean {
  for (let i = 0; i < rule.names.length; i++) {
    const value = headers.get(rule.names[i]!);
    if (value === undefined) return false;
    const wanted = rule.values[i]!;
    // RabbitMQ: a void argument asks only that the header be there.
    if (wanted.tag !== 'V' && !sameHeader(wanted, value)) return false;
  }
  return true;
}

/** True when the rule has this very header among its conditions. */
function requires(rule: Rule, name: string, value: FieldValue): boolean {
  for (let i = 0; i < rule.names.length; i++) {
    if (rule.names[i] === name && sameHeader(rule.values[i]!, value)) return true;
  }
  return false;
}

/** RabbitMQ: a long string and a byte array of the same octets are the same header. */
function sameHeader(wanted: FieldValue, value: FieldValue): boolean {
  if (wanted.tag === 'S' && value.tag === 'x') return octetsOf(wanted.value).equals(value.value);
  if (wanted.tag === 'x' && value.tag === 'S') return wanted.value.equals(octetsOf(value.value));
  return sameValue(wanted, value);
}

function octetsOf(value: string | Buffer): Buffer {
  return typeof value === 'string' ? Buffer.from(value, 'utf8') : value;
}

/**
 * A text that values share when they are the same; values that share it are compared all the same, so that it need not tell `1` from
 * `1.0` or a long string from a byte array. Null for the types that are rare in bindings.
 */
function textForm(value: FieldValue): string | null {
  switch (value.tag) {
    case 'S':
    case 'x':
      return `s${textOf(value.value)}`;
    case 't':
      return value.value ? 'true' : 'false';
    case 'D':
    case 'A':
    case 'F':
    case 'V':
      return null;
    default:
      return `n${value.value}`;
  }
}
