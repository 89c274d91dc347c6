// JSON whose numbers keep what JavaScript's would lose: integers beyond 2^53, and floats that happen to be whole (`2.0`).
// Owns only those numbers; everything else is JSON.parse and JSON.stringify. Knows nothing of what the JSON says.
// Invariant: a text that is read and written again has the same numbers in it.

import { randomBytes } from 'node:crypto';

/** A number as its text, where a JavaScript number would not give the same text back. */
export class ExactNumber {
  /** As JSON writes it. */
  readonly text: string;

  constructor(text: string) {
    this.text = text;
  }

  /** It is a float: it has a fraction or an exponent. */
  get isFloat(): boolean {
    return /[.eE]/.test(this.text);
  }

  /** The nearest JavaScript number, for whoever writes it by JSON.stringify. */
  toJSON(): number {
    return Number(this.text);
  }
}

const NUMBER = /-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?/y;

/** As JSON.parse, with an `ExactNumber` for each number that needs one. @throws SyntaxError */
export function parseExactJson(text: string): unknown {
  // A mark that no text can foresee stands in front of these numbers while JSON.parse takes them for strings.
  const mark = randomBytes(12).toString('hex');
  const marked = markNumbers(text, mark);
  if (marked === null) return JSON.parse(text);
  return JSON.parse(marked, (_, value: unknown) =>
    typeof value === 'string' && value.startsWith(mark) ? new ExactNumber(value.slice(mark.length)) : value,
  );
}

/** As JSON.stringify, with exact numbers in their place. */
export function stringifyExactJson(value: unknown, indent = 0): string {
  const mark = randomBytes(12).toString('hex');
  const text = JSON.stringify(
    value,
    function (this: Readonly<Record<string, unknown>>, key, plain: unknown) {
      const it = this[key];
      return it instanceof ExactNumber ? mark + it.text : plain;
    },
    indent,
  );
  return text.replace(new RegExp(`"${mark}([^"]*)"`, 'g'), '$1');
}

/** The same value with JavaScript's numbers instead of exact ones. */
export function plainJson(value: unknown): unknown {
  if (value instanceof ExactNumber) return Number(value.text);
  if (Array.isArray(value)) return value.map(plainJson);
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, plainJson(inner)]));
}

/** The text with a marked string instead of each number that is to stay exact; null when there is none. */
function markNumbers(text: string, mark: string): string | null {
  const pieces: string[] = [];
  let done = 0;
  for (let at = 0; at < text.length; at++) {
    const code = text.charCodeAt(at);
    if (code === QUOTE) at = stringEnd(text, at);
    else if (code === MINUS || (code >= ZERO && code <= NINE)) {
      NUMBER.lastIndex = at;
      const number = NUMBER.exec(text)?.[0];
      // No JSON: JSON.parse says so.
      if (number === undefined) return null;
      if (needsExactness(number)) {
        pieces.push(text.slice(done, at), `"${mark}${number}"`);
        done = at + number.length;
      }
      at += number.length - 1;
    }
  }
  if (pieces.length === 0) return null;
  pieces.push(text.slice(done));
  return pieces.join('');
}

const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const MINUS = 0x2d;
const ZERO = 0x30;
const NINE = 0x39;

/** Where the string that begins at `at` has its closing quote, or the end of the text. */
function stringEnd(text: string, at: number): number {
  for (let i = at + 1; i < text.length; i++) {
    const code = text.charCodeAt(i);
    if (code === BACKSLASH) i++;
    else if (code === QUOTE) return i;
  }
  return text.length;
}

function needsExactness(number: string): boolean {
  const value = Number(number);
  return /[.eE]/.test(number) ? Number.isInteger(value) : !Number.isSafeInteger(value);
}
