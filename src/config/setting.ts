// The kinds of value a setting can have: how a person writes one, which ones are allowed, how one is shown.
// Owns no setting. Invariant: `parse(show(value))` gives the value again, so what `leveret config` prints can be typed back.

/** How one kind of value is read, checked and shown. `undefined` means: not such a value. */
export interface Kind<T> {
  /** What is expected, to complete the sentence "must be …". */
  readonly expects: string;
  /** True where a flag takes no value (`--memory`, `--no-memory`). */
  readonly isSwitch: boolean;
  /** Checks a value that has a type already: from the file (JSON) or from a program. */
  check(value: unknown): T | undefined;
  /** Reads the text of a flag or of an environment variable. */
  parse(text: string): T | undefined;
  show(value: T): string;
}

/** One row of the table of settings. */
export interface Setting<T> {
  /** Heading under which people find it. */
  readonly group: string;
  readonly kind: Kind<T>;
  readonly default: T;
  /** How the default is written in the manual, where it depends on the machine; null: as `show` gives it. */
  readonly defaultText: string | null;
  /** What one counts; null for values that are not quantities. */
  readonly unit: string | null;
  /** One or two sentences for people: what it does, and when to change it. */
  readonly help: string;
  /** True: its value is never printed. */
  readonly secret: boolean;
}

/** Makes a row; fields that are rarely needed have their usual value. */
export function setting<T>(
  group: string,
  kind: Kind<T>,
  value: T,
  help: string,
  rest: Partial<Pick<Setting<T>, 'unit' | 'secret' | 'defaultText'>> = {},
): Setting<T> {
  return { group, kind, default: value, help, unit: null, secret: false, defaultText: null, ...rest };
}

/** Whole numbers from `min` to `max`. */
export function integer(min: number, max: number): Kind<number> {
  const check = (value: unknown): number | undefined =>
    Number.isInteger(value) && (value as number) >= min && (value as number) <= max
      ? (value as number)
      : undefined;
  return {
    expects:
      max === Number.MAX_SAFE_INTEGER
        ? `a whole number, at least ${min}`
        : `a whole number from ${min} to ${max}`,
    isSwitch: false,
    check,
    parse: (text) => (/^[0-9]{1,16}$/.test(text) ? check(Number(text)) : undefined),
    show: String,
  };
}

/** Numbers above 0, up to 1. */
export const ratio: Kind<number> = {
  expects: 'a number above 0 and at most 1',
  isSwitch: false,
  check: (value) => (typeof value === 'number' && value > 0 && value <= 1 ? value : undefined),
  parse: (text) => (/^[0-9]*\.?[0-9]+$/.test(text) ? ratio.check(Number(text)) : undefined),
  show: String,
};

/** An amount in its base unit, which people may also write with one of `suffixes` (in lower case, to how many base units). */
function amount(
  min: number,
  max: number,
  suffixes: Readonly<Record<string, number>>,
  example: string,
): Kind<number> {
  const plain = integer(min, max);
  const read = (text: string): number | undefined => {
    const match = /^([0-9]{1,16}(?:\.[0-9]{1,6})?) ?([a-z]*)$/i.exec(text);
    if (match === null) return undefined;
    const factor = match[2] === '' ? 1 : suffixes[match[2]!.toLowerCase()];
    return factor === undefined ? undefined : plain.check(Number(match[1]) * factor);
  };
  return {
    expects: `${plain.expects}, or with a unit as in ${example}`,
    isSwitch: false,
    check: (value) => (typeof value === 'string' ? read(value) : plain.check(value)),
    parse: read,
    show: String,
  };
}

const KIB = 1024;
const BYTE_SUFFIXES = {
  b: 1,
  kb: 1e3,
  mb: 1e6,
  gb: 1e9,
  tb: 1e12,
  k: KIB,
  kib: KIB,
  m: KIB ** 2,
  mib: KIB ** 2,
  g: KIB ** 3,
  gib: KIB ** 3,
  tib: KIB ** 4,
};

/** A number of bytes; people may write `64MiB`, `50MB`, `1g`. */
export function bytes(min: number, max: number = Number.MAX_SAFE_INTEGER): Kind<number> {
  return amount(min, max, BYTE_SUFFIXES, '16MiB');
}

/** A number of milliseconds; people may write `30s`, `10min`, `1h`. */
export function milliseconds(min: number, max: number): Kind<number> {
  return amount(min, max, { ms: 1, s: 1e3, m: 6e4, min: 6e4, h: 36e5, d: 864e5 }, '30s');
}

/** A word, a path, a name. */
export function text(minLength = 0, maxLength = 4096): Kind<string> {
  const check = (value: unknown): string | undefined =>
    typeof value === 'string' && value.length >= minLength && value.length <= maxLength ? value : undefined;
  return {
    expects:
      minLength > 0
        ? `a text that is not empty, of at most ${maxLength} characters`
        : `a text of at most ${maxLength} characters`,
    isSwitch: false,
    check,
    parse: check,
    show: String,
  };
}

/** One of a few words. */
export function oneOf<const W extends string>(...words: readonly W[]): Kind<W> {
  const check = (value: unknown): W | undefined => words.find((word) => word === value);
  return { expects: `one of ${words.join(', ')}`, isSwitch: false, check, parse: check, show: String };
}

/** Yes or no. */
export const yesOrNo: Kind<boolean> = {
  expects: 'true or false',
  isSwitch: true,
  check: (value) => (typeof value === 'boolean' ? value : undefined),
  parse: (text) => {
    const word = text.toLowerCase();
    if (word === 'true' || word === 'yes' || word === 'on' || word === '1') return true;
    if (word === 'false' || word === 'no' || word === 'off' || word === '0') return false;
    return undefined;
  },
  show: String,
};

/** Words with commas between them; an empty text is the empty list. */
export const words: Kind<readonly string[]> = {
  expects: 'names with commas between them (in the file: a list of names)',
  isSwitch: false,
  check: (value) =>
    Array.isArray(value) &&
    value.every((word) => typeof word === 'string' && word !== '' && !word.includes(','))
      ? (value as readonly string[])
      : undefined,
  parse: (text) =>
    text
      .split(',')
      .map((word) => word.trim())
      .filter((word) => word !== ''),
  show: (value) => value.join(','),
};

/** As `kind`, or `none` (null in the file and in programs). */
export function orNone<T>(kind: Kind<T>): Kind<T | null> {
  return {
    expects: `${kind.expects}, or none`,
    isSwitch: kind.isSwitch,
    check: (value) => (value === null || value === 'none' ? null : kind.check(value)),
    parse: (text) => (text.toLowerCase() === 'none' ? null : kind.parse(text)),
    show: (value) => (value === null ? 'none' : kind.show(value)),
  };
}
