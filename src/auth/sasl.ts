// SASL mechanisms: what a client sends to say who it is, taken apart.
// Owns the formats of the responses. Knows neither users nor connections, and checks no password.
// Invariant: no text that is handed out contains what the client sent: it may be a password.

import { decodeTable, type FieldTable } from '../protocol/field-table.ts';

/** What came of one response. */
export type SaslStep =
  /** The client claims a name and proves it with a password. */
  | { readonly kind: 'credentials'; readonly user: string; readonly password: string }
  /** Who it is is settled without a password. */
  | { readonly kind: 'user'; readonly user: string }
  /** The client must answer this (`connection.secure`). */
  | { readonly kind: 'challenge'; readonly challenge: Buffer }
  /** Not in the mechanism's format; `why` is for the log. */
  | { readonly kind: 'malformed'; readonly why: string };

/** One login under way. */
export interface SaslSession {
  /** Takes the client's next response, the first one from `connection.start-ok`. The buffer is not kept. */
  respond(response: Buffer): SaslStep;
}

/** Names of the mechanisms there are. */
export type SaslMechanism = 'PLAIN' | 'AMQPLAIN' | 'ANONYMOUS' | 'RABBIT-CR-DEMO';

/** Which mechanisms are offered. */
export interface SaslOptions {
  readonly mechanisms: readonly SaslMechanism[];
  /** Who logs in with ANONYMOUS; null: nobody can, and it is not offered. */
  readonly anonymousUser: string | null;
}

/** PLAIN and AMQPLAIN. */
export const DEFAULT_SASL: SaslOptions = { mechanisms: ['PLAIN', 'AMQPLAIN'], anonymousUser: null };

/** All mechanisms there are. */
export const SASL_MECHANISMS: readonly SaslMechanism[] = ['PLAIN', 'AMQPLAIN', 'ANONYMOUS', 'RABBIT-CR-DEMO'];

/** The names for `connection.start`, separated by one space. */
export function offeredMechanisms(options: SaslOptions): string {
  return options.mechanisms
    .filter((name) => name !== 'ANONYMOUS' || options.anonymousUser !== null)
    .join(' ');
}

/** Begins a login; null when the mechanism is not offered. */
export function startSasl(mechanism: string, options: SaslOptions): SaslSession | null {
  if (!options.mechanisms.some((name) => name === mechanism)) return null;
  switch (mechanism) {
    case 'PLAIN':
      return { respond: plain };
    case 'AMQPLAIN':
      return { respond: amqplain };
    case 'ANONYMOUS': {
      const user = options.anonymousUser;
      return user === null ? null : { respond: () => ({ kind: 'user', user }) };
    }
    case 'RABBIT-CR-DEMO':
      return new ChallengeDemo();
    default:
      return null;
  }
}

/** NUL user NUL password. The part before the first NUL, a name to act for, must be empty. */
function plain(response: Buffer): SaslStep {
  const second = response.indexOf(0, 1);
  if (response[0] !== 0 || second < 0 || response.indexOf(0, second + 1) >= 0) {
    return malformed('response is not NUL, user, NUL, password');
  }
  return {
    kind: 'credentials',
    user: response.toString('utf8', 1, second),
    password: response.toString('utf8', second + 1),
  };
}

/** The body of a field table, without its length, with LOGIN and PASSWORD. */
function amqplain(response: Buffer): SaslStep {
  const framed = Buffer.allocUnsafe(4 + response.length);
  framed.writeUInt32BE(response.length, 0);
  response.copy(framed, 4);
  let table: FieldTable;
  try {
    table = decodeTable(framed, 0, framed.length);
  } catch {
    return malformed('response is not a field table');
  }
  const user = textField(table, 'LOGIN');
  const password = textField(table, 'PASSWORD');
  if (user === null || password === null) return malformed('response is missing LOGIN or PASSWORD');
  return { kind: 'credentials', user, password };
}

function textField(table: FieldTable, name: string): string | null {
  const value = table.get(name);
  if (value === undefined || (value.tag !== 'S' && value.tag !== 'x')) return null;
  return typeof value.value === 'string' ? value.value : value.value.toString('utf8');
}

const CHALLENGE = Buffer.from('Please tell me your password');
const ANSWER = 'My password is ';

/** Two steps, to show that a client can do `connection.secure`: first the name, then a sentence with the password. */
class ChallengeDemo implements SaslSession {
  /** The name, once the client has said it. */
  #user: string | null = null;

  respond(response: Buffer): SaslStep {
    const text = response.toString('utf8');
    if (this.#user === null) {
      this.#user = text;
      return { kind: 'challenge', challenge: CHALLENGE };
    }
    if (!text.startsWith(ANSWER)) return malformed('response is not the sentence asked for');
    return { kind: 'credentials', user: this.#user, password: text.slice(ANSWER.length) };
  }
}

function malformed(why: string): SaslStep {
  return { kind: 'malformed', why };
}
