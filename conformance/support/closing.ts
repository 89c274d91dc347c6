// How a server ends a channel or a connection, and what a test expects of it.
// Owns the names of methods as closings blame them. Must not know a socket.

import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { expect } from 'vitest';
import { REPLY_NAMES } from './checks.ts';

const require = createRequire(import.meta.url);
const defs = require(join(dirname(require.resolve('amqplib')), 'lib', 'defs.js')) as {
  readonly [name: string]: unknown;
};

const SOFT_CODES = new Set([311, 312, 313, 403, 404, 405, 406]);

const methodNames = new Map<number, string>();

/** Numeric id to `queue.declare-ok`; `null` for 0, `class.method` in figures for unknown ids. */
export function methodName(id: number): string | null {
  if (id === 0) return null;
  let name = methodNames.get(id);
  if (name === undefined) {
    const known = Object.entries(defs).find(([key, value]) => value === id && key !== 'FRAME_OVERHEAD');
    name =
      known === undefined
        ? `${id >>> 16}.${id & 0xffff}`
        : known[0].replace(/^([A-Z][a-z]+)(.*)$/, (_all, first: string, rest: string) => {
            const words = rest.replace(/([A-Z])/g, '-$1').toLowerCase();
            return `${first.toLowerCase()}.${words.slice(1)}`;
          });
    methodNames.set(id, name);
  }
  return name;
}

/** Why the server ended a channel or a connection. `code` 0 = the socket ended without a word. */
export interface Closing {
  readonly scope: 'channel' | 'connection';
  readonly code: number;
  readonly text: string;
  /** The method the server blames, such as `queue.bind`; null when it blames none. */
  readonly method: string | null;
}

/** What a pending call is rejected with when the server closes the channel or the connection. */
export class Refusal extends Error {
  readonly closing: Closing;

  constructor(closing: Closing) {
    super(`${closing.scope} closed: ${closing.code} ${closing.text} (${closing.method ?? 'no method'})`);
    this.name = 'Refusal';
    this.closing = closing;
  }
}

/** A close method's fields as a closing. */
export function closingOf(scope: 'channel' | 'connection', fields: Record<string, unknown>): Closing {
  const { replyCode, replyText, classId, methodId } = fields as {
    replyCode: number;
    replyText: string;
    classId: number;
    methodId: number;
  };
  return { scope, code: replyCode, text: replyText, method: methodName((classId << 16) | methodId) };
}

/** What a test expects of a refusal: the explanation without the reply name in front, and the blamed method. */
export interface ExpectedRefusal {
  readonly code: number;
  /** The explanation, or a pattern for it. */
  readonly text: string | RegExp;
  readonly method: string | null;
  readonly scope?: 'channel' | 'connection';
}

/** Throws unless `closing` is what was expected, reply name, scope and blamed method included. */
export function checkClosing(closing: Closing, expected: ExpectedRefusal): void {
  const name = REPLY_NAMES[expected.code]!;
  const scope = expected.scope ?? (SOFT_CODES.has(expected.code) ? 'channel' : 'connection');
  const actual = { scope: closing.scope, code: closing.code, text: closing.text, method: closing.method };
  if (typeof expected.text === 'string') {
    // The reply text is a short string: 255 bytes at most.
    const text = Buffer.from(`${name} - ${expected.text}`).subarray(0, 255).toString();
    expect(actual).toEqual({ scope, code: expected.code, text, method: expected.method });
  } else {
    expect(actual).toEqual({ scope, code: expected.code, text: closing.text, method: expected.method });
    expect(closing.text.startsWith(`${name} - `)).toBe(true);
    expect(closing.text.slice(name.length + 3)).toMatch(expected.text);
  }
}
