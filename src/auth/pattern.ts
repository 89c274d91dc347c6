// The regular expressions of permissions: written by administrators for Erlang's engine, run against names that clients choose.
// Owns their translation and their cost. Knows nothing of users.
// Invariants: a pattern that this engine cannot take is refused when it is set, never misread; no single test takes longer than
// TEST_MS_MAX; a test that would is answered with no.

import { type Context, createContext, Script } from 'node:vm';
import { BrokerError } from '../base/errors.ts';

/** A test that runs longer than this has gone wrong: names are at most 255 bytes long. */
const TEST_MS_MAX = 20;
/** A test of a name of 255 bytes is cheap as long as it takes a few million steps at most: 2 to this power. */
const CHEAP_BITS_MAX = 22;
/** What one more unbounded repetition multiplies the steps by, as such a power: the bytes of a name. */
const REPETITION_BITS = 8;
/** Patterns may be this long. */
const PATTERN_LENGTH_MAX = 4_096;
/** Answers of a costly pattern that are remembered; then all are forgotten. */
const ANSWERS_MAX = 1_000;

/** A pattern that is ready to use. */
export interface CompiledPattern {
  /** True when the pattern is found anywhere in `name`. */
  test(name: string): boolean;
}

/** RabbitMQ: the empty pattern stands for `^$`, and no resource has an empty name. */
const nothing: CompiledPattern = { test: (name) => name === '' };
const everything: CompiledPattern = { test: () => true };

/** Makes a pattern ready. @throws BrokerError precondition-failed when it is not a regular expression that this engine can take */
export function compilePattern(pattern: string): CompiledPattern {
  if (pattern === '') return nothing;
  if (pattern === '.*' || pattern === '^.*$' || pattern === '^.*') return everything;
  if (pattern.length > PATTERN_LENGTH_MAX) {
    throw new BrokerError('precondition-failed', `regular expression is longer than ${PATTERN_LENGTH_MAX}`);
  }
  let source = pattern;
  let flags = '';
  if (source.startsWith('(?i)')) {
    source = source.slice(4);
    flags = 'i';
  }
  let expression: RegExp;
  try {
    source = translate(source);
    expression = new RegExp(source, flags);
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    throw new BrokerError('precondition-failed', `invalid regular expression '${pattern}': ${why}`);
  }
  return mayBeCostly(source) ? new CostlyPattern(expression) : expression;
}

/** Text as a pattern that matches exactly this text. */
export function escapePattern(text: string): string {
  return text.replace(/[\\^$.*+?()[\]{}|/-]/g, '\\$&');
}

/** Runs on a watch. Some 90 us a test, so answers are remembered. */
class CostlyPattern implements CompiledPattern {
  readonly #expression: RegExp;
  readonly #answers = new Map<string, boolean>();

  constructor(expression: RegExp) {
    this.#expression = expression;
  }

  test(name: string): boolean {
    const known = this.#answers.get(name);
    if (known !== undefined) return known;
    const answer = testOnWatch(this.#expression, name);
    if (this.#answers.size >= ANSWERS_MAX) this.#answers.clear();
    this.#answers.set(name, answer);
    return answer;
  }
}

/** Where expressions run on a watch; made at the first use, holds nothing between uses. */
let watched: { readonly script: Script; readonly context: Context } | null = null;

function testOnWatch(expression: RegExp, name: string): boolean {
  watched ??= { script: new Script('expression.test(name)'), context: createContext({}) };
  const { script, context } = watched;
  context['expression'] = expression;
  context['name'] = name;
  try {
    return script.runInContext(context, { timeout: TEST_MS_MAX }) === true;
  } catch {
    // Out of time. RabbitMQ's engine gives up at a limit too, and then it does not match.
    return false;
  } finally {
    context['expression'] = null;
    context['name'] = null;
  }
}

/** POSIX classes as they stand inside brackets. */
const POSIX: Readonly<Record<string, string>> = {
  alnum: 'a-zA-Z0-9',
  alpha: 'a-zA-Z',
  digit: '0-9',
  lower: 'a-z',
  upper: 'A-Z',
  space: '\\s',
  word: '\\w',
  xdigit: '0-9a-fA-F',
  punct: '!-\\/:-@\\[-`{-~',
};

/** What the two engines write differently and mean alike. Anything else that is foreign must fail, not be misread. */
function translate(pattern: string): string {
  let out = '';
  let inClass = false;
  for (let i = 0; i < pattern.length; i++) {
    const c = pattern[i]!;
    const next = pattern[i + 1] ?? '';
    if (c === '\\') {
      if (next === 'x' && pattern[i + 2] === '{') throw new Error('\\x{...} is not supported');
      out += translateEscape(next, inClass);
      i += 1;
    } else if (inClass && c === '[' && next === ':') {
      const end = pattern.indexOf(':]', i + 2);
      const set = end < 0 ? undefined : POSIX[pattern.slice(i + 2, end)];
      if (set === undefined) throw new Error('unknown character class');
      out += set;
      i = end + 1;
    } else if (inClass) {
      if (c === ']') inClass = false;
      out += c;
    } else if (c === '[') {
      inClass = true;
      out += c;
      // A bracket that comes first stands for itself there; here it would close an empty class.
      if (next === '^') {
        out += '^';
        i += 1;
      }
      if (pattern[i + 1] === ']') {
        out += '\\]';
        i += 1;
      }
    } else {
      out += c;
    }
  }
  return out;
}

/** One escape. Letters that this engine would take for themselves without a word are refused. */
function translateEscape(letter: string, inClass: boolean): string {
  if (!inClass) {
    if (letter === 'A') return '^';
    if (letter === 'z') return '$';
    if (letter === 'Z') return '(?=\\n?$)';
  }
  if (/[A-Za-z]/.test(letter) && !'dDwWsSbBnrtfx'.includes(letter)) {
    throw new Error(`\\${letter} is not supported`);
  }
  return `\\${letter}`;
}

/** A group of a pattern that is still open. */
interface OpenGroup {
  /** It can match the same text in more than one way. */
  ambiguous: boolean;
  alternatives: number;
}

/** True unless the pattern's form shows that a name of 255 bytes is tested in a few million steps at most. */
function mayBeCostly(pattern: string): boolean {
  // Without an anchor the engine starts anew at each character: one more repetition.
  let bits = pattern.startsWith('^') ? 0 : REPETITION_BITS;
  /** The last one is the innermost; the first is the pattern itself. */
  const groups: OpenGroup[] = [{ ambiguous: false, alternatives: 1 }];
  /** The group that ended at the character before can. */
  let ambiguousBefore = false;
  let inClass = false;
  for (let i = 0; i < pattern.length; i++) {
    const c = pattern[i]!;
    const ambiguous = ambiguousBefore;
    ambiguousBefore = false;
    if (c === '\\') {
      // A reference back to a group.
      if (/[1-9]/.test(pattern[i + 1] ?? '') && !inClass) return true;
      i += 1;
    } else if (inClass) {
      inClass = c !== ']';
    } else if (c === '[') {
      inClass = true;
      // A bracket that comes first, or second after `^`, does not close.
      if (pattern[i + 1] === '^') i += 1;
      if (pattern[i + 1] === ']') i += 1;
    } else if (c === '*' || c === '+' || c === '{') {
      // A repetition of what is ambiguous can take time that doubles with each character.
      if (ambiguous) return true;
      bits += REPETITION_BITS;
      innermost(groups).ambiguous = true;
    } else if (c === '|') {
      const group = innermost(groups);
      group.ambiguous = true;
      group.alternatives++;
    } else if (c === '?') {
      bits += 1;
      innermost(groups).ambiguous = true;
    } else if (c === '(') {
      groups.push({ ambiguous: false, alternatives: 1 });
      if (pattern[i + 1] === '?') i += 1;
    } else if (c === ')') {
      // What stands one behind the other multiplies, without any repetition: each group tries all its alternatives for each of the others'.
      const group = groups.pop()!;
      bits += Math.log2(group.alternatives);
      ambiguousBefore = group.ambiguous;
      if (ambiguousBefore) innermost(groups).ambiguous = true;
    }
  }
  const { alternatives } = groups[0]!;
  // An anchor at the start is one of the first alternative only.
  if (alternatives > 1) bits += REPETITION_BITS + Math.log2(alternatives);
  return bits > CHEAP_BITS_MAX;
}

function innermost(groups: readonly OpenGroup[]): OpenGroup {
  return groups[groups.length - 1]!;
}
