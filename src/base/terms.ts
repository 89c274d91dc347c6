// JSON values as RabbitMQ prints them in its refusals (Erlang terms), and its check of an object's members against a list.
// Owns those texts, which tools that set policies and limits show to people. Knows nothing of what the members mean.

import { BrokerError } from './errors.ts';

/** A value of JSON. */
export type Json = string | number | boolean | null | readonly Json[] | JsonObject;
export type JsonObject = { readonly [key: string]: Json };

/** Objects inside objects that are printed; what is deeper becomes `...`. */
const DEPTH_MAX = 16;

/** One member that an object may or must have. */
export interface Member {
  readonly key: string;
  readonly needed: boolean;
  /** @returns what is wrong with the value; null when nothing is */
  readonly check: (key: string, value: Json) => string | null;
}

export function isObject(value: unknown): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** A value as an Erlang term: `<<"text">>`, `1`, `true`, `[…]`; an object as Erlang's map. */
export function termText(value: Json, depth = 0): string {
  if (typeof value === 'string') return `<<${JSON.stringify(value)}${isLatin1(value) ? '' : '/utf8'}>>`;
  if (typeof value !== 'object' || value === null) return String(value);
  if (depth === DEPTH_MAX) return '...';
  if (Array.isArray(value))
    return `[${value.map((element: Json) => termText(element, depth + 1)).join(',')}]`;
  const pairs = sortedMembers(value as JsonObject).map(
    ([key, inner]) => `${termText(key)} => ${termText(inner, depth + 1)}`,
  );
  return `#{${pairs.join(',')}}`;
}

/** Members as a list of pairs, `[{<<"key">>,1}]`. */
export function pairsText(members: readonly (readonly [string, Json])[]): string {
  return `[${members.map(([key, value]) => `{${termText(key)},${termText(value)}}`).join(',')}]`;
}

/** Members in the order in which RabbitMQ goes through them: by key. */
export function sortedMembers(object: JsonObject): [string, Json][] {
  return Object.entries(object).sort(([a], [b]) => (a < b ? -1 : 1));
}

/** All that is wrong with an object called `name`, in RabbitMQ's words and order; empty when nothing is. */
export function memberErrors(name: string, members: readonly Member[], value: Json): string[] {
  if (Array.isArray(value) && value.length !== 0) return [`Unrecognised terms ${termText(value)} in ${name}`];
  if (!isObject(value) && !Array.isArray(value)) return [`${name} not a list ${termText(value)}`];
  const object = isObject(value) ? value : {};
  const errors: string[] = [];
  const known = new Set<string>();
  for (const { key, needed, check } of members) {
    known.add(key);
    const member = Object.hasOwn(object, key) ? object[key] : undefined;
    if (member === undefined) {
      if (needed) errors.push(`Key "${key}" not found in ${name}`);
      continue;
    }
    const error = check(key, member);
    if (error !== null) errors.push(error);
  }
  const others = sortedMembers(object).filter(([key]) => !known.has(key));
  if (others.length > 0) errors.push(`Unrecognised terms ${pairsText(others)} in ${name}`);
  // RabbitMQ collects them in a list that grows at its head.
  return errors.reverse();
}

/** Check of a member that has to be a number. */
export function aNumber(key: string, value: Json): string | null {
  return typeof value === 'number' ? null : `${key} should be a number, actually was ${termText(value)}`;
}

/** Check of a member that has to be an integer. */
export function anInteger(key: string, value: Json): string | null {
  return Number.isSafeInteger(value) ? null : `${key} should be a number, actually was ${termText(value)}`;
}

/** @throws BrokerError precondition-failed as RabbitMQ reports errors of parameters, when there are any */
export function assertValid(errors: readonly string[]): void {
  if (errors.length > 0)
    throw new BrokerError('precondition-failed', `Validation failed\n\n${errors.join('\n')}`);
}

function isLatin1(text: string): boolean {
  for (let i = 0; i < text.length; i++) if (text.charCodeAt(i) > 255) return false;
  return true;
}
