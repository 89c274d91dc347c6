// Runtime parameters: JSON values under (virtual host, component, name), and global ones under a name alone.
// Owns which components there are, what their values must look like, and how many there may be. What a value brings about is up to
// whoever keeps this table; where it is stored too.
// Invariant: every value in the table has passed the check of its component.

import { BrokerError } from '../base/errors.ts';
import { anInteger, assertValid, isObject, type Json, memberErrors, termText } from '../base/terms.ts';
import { type CompilePattern, POLICIES_MAX, policyOf } from './policies.ts';

/** Parameters of one component in one virtual host; of policies as many as POLICIES_MAX. */
export const PARAMETERS_MAX = 10_000;
/** Global parameters. */
export const GLOBAL_PARAMETERS_MAX = 1_000;
/** Size of one value as JSON. */
export const PARAMETER_BYTES_MAX = 65_536;
/** RabbitMQ's command line and API take names of any length; stored keys should have an end. */
export const PARAMETER_NAME_BYTES_MAX = 1_024;

export const POLICY = 'policy';
export const OPERATOR_POLICY = 'operator_policy';
export const VHOST_LIMITS = 'vhost-limits';
/** The one name of parameters of the component `vhost-limits` (RabbitMQ). */
export const LIMITS_NAME = 'limits';

/** A runtime parameter. */
export interface Parameter {
  readonly vhost: string;
  readonly component: string;
  readonly name: string;
  readonly value: Json;
}

/** Checks a value. @throws BrokerError precondition-failed in RabbitMQ's words */
type Check = (name: string, value: Json, compile: CompilePattern) => void;

const COMPONENTS: ReadonlyMap<string, Check> = new Map<string, Check>([
  [POLICY, (name, value, compile) => void policyOf(name, value, false, compile)],
  [OPERATOR_POLICY, (name, value, compile) => void policyOf(name, value, true, compile)],
  [VHOST_LIMITS, checkLimits],
  // Kept for the sake of definitions files; nothing reads them.
  ['federation-upstream', anObject],
  ['federation-upstream-set', aListOfObjects],
  ['shovel', anObject],
]);

/** The parameters of one broker. */
export class Parameters {
  private readonly compile: CompilePattern;
  /** By virtual host, component and name. */
  private readonly table = new Map<string, Map<string, Map<string, Json>>>();
  private readonly globals = new Map<string, Json>();

  constructor(compile: CompilePattern) {
    this.compile = compile;
  }

  /** Sets a parameter. @returns false when it had this value. @throws BrokerError precondition-failed */
  set(vhost: string, component: string, name: string, given: Json): boolean {
    const check = COMPONENTS.get(component);
    if (check === undefined) assertValid([`component ${component} not found`]);
    const value = ownCopy(name, given);
    check!(name, value, this.compile);
    const values = child(child(this.table, vhost), component);
    const current = values.get(name);
    if (current !== undefined && sameJson(current, value)) return false;
    const limit = component === POLICY || component === OPERATOR_POLICY ? POLICIES_MAX : PARAMETERS_MAX;
    if (current === undefined && values.size >= limit)
      assertValid([`component ${component} is limited to ${limit}`]);
    values.set(name, value);
    return true;
  }

  /** Removes a parameter. @returns false when there was none */
  clear(vhost: string, component: string, name: string): boolean {
    return this.table.get(vhost)?.get(component)?.delete(name) === true;
  }

  get(vhost: string, component: string, name: string): Json | undefined {
    return this.table.get(vhost)?.get(component)?.get(name);
  }

  /** Parameters by virtual host, component and name; of one virtual host or component where given. */
  list(vhost: string | null = null, component: string | null = null): Parameter[] {
    const found: Parameter[] = [];
    for (const [place, byComponent] of this.table) {
      if (vhost !== null && vhost !== place) continue;
      for (const [kind, values] of byComponent) {
        if (component !== null && component !== kind) continue;
        for (const [name, value] of values) found.push({ vhost: place, component: kind, name, value });
      }
    }
    return found.sort(
      (a, b) => compare(a.vhost, b.vhost) || compare(a.component, b.component) || compare(a.name, b.name),
    );
  }

  /** Forgets the parameters of a virtual host that is being deleted. @returns what they were */
  forgetVHost(vhost: string): Parameter[] {
    const forgotten = this.list(vhost);
    this.table.delete(vhost);
    return forgotten;
  }

  /** Sets a global parameter. @returns false when it had this value. @throws BrokerError precondition-failed */
  setGlobal(name: string, given: Json): boolean {
    const value = ownCopy(name, given);
    const current = this.globals.get(name);
    if (current !== undefined && sameJson(current, value)) return false;
    if (current === undefined && this.globals.size >= GLOBAL_PARAMETERS_MAX)
      assertValid([`global parameters are limited to ${GLOBAL_PARAMETERS_MAX}`]);
    this.globals.set(name, value);
    return true;
  }

  /** Removes a global parameter. @returns false when there was none */
  clearGlobal(name: string): boolean {
    return this.globals.delete(name);
  }

  /** Global parameters by name. */
  listGlobal(): { name: string; value: Json }[] {
    return [...this.globals]
      .map(([name, value]) => ({ name, value }))
      .sort((a, b) => compare(a.name, b.name));
  }
}

/** The value as nothing but JSON, out of reach of whoever gave it. @throws BrokerError when it or the name is too long */
function ownCopy(name: string, value: Json): Json {
  const errors: string[] = [];
  if (Buffer.byteLength(name) > PARAMETER_NAME_BYTES_MAX)
    errors.push(`the name is longer than ${PARAMETER_NAME_BYTES_MAX} bytes`);
  const json = JSON.stringify(value) as string | undefined;
  if (json === undefined) errors.push('the value is not JSON');
  else if (Buffer.byteLength(json) > PARAMETER_BYTES_MAX)
    errors.push(`the value is longer than ${PARAMETER_BYTES_MAX} bytes`);
  assertValid(errors);
  return JSON.parse(json!) as Json;
}

function checkLimits(name: string, value: Json): void {
  if (name !== LIMITS_NAME) assertValid([`name not recognised: ${termText(name)}`]);
  const integer = { needed: false, check: anInteger };
  assertValid(
    memberErrors(
      name,
      [
        { key: 'max-connections', ...integer },
        { key: 'max-queues', ...integer },
      ],
      value,
    ),
  );
}

function anObject(name: string, value: Json): void {
  if (!isObject(value)) assertValid([`${name} not a list ${termText(value)}`]);
}

function aListOfObjects(name: string, value: Json): void {
  if (!Array.isArray(value) || !value.every(isObject)) assertValid([`${name} not a list ${termText(value)}`]);
}

/** Equal but for the order of members. */
function sameJson(a: Json, b: Json): boolean {
  return a === b || canonical(a) === canonical(b);
}

function canonical(value: Json): string {
  return JSON.stringify(value, (_key, inner: unknown) =>
    isObject(inner) ? Object.fromEntries(Object.entries(inner).sort(([x], [y]) => compare(x, y))) : inner,
  );
}

function child<V>(map: Map<string, Map<string, V>>, key: string): Map<string, V> {
  let found = map.get(key);
  if (found === undefined) {
    found = new Map();
    map.set(key, found);
  }
  return found;
}

function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

/** The refusal when what is to be cleared is not there, in RabbitMQ's words. */
export function noSuchParameter(): BrokerError {
  return new BrokerError('not-found', 'Parameter does not exist');
}
