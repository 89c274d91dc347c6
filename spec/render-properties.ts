// Writes src/protocol/properties.ts: basic properties as values, and the scan that finds single ones on the message path.

import type { PropertySpec, PropertyType, ProtocolSpec } from './protocol-table.ts';
import { camel, header, hex, importOf } from './text.ts';

const TYPES: Readonly<Record<PropertyType, string>> = {
  octet: 'number',
  timestamp: 'number | bigint',
  shortstr: 'string',
  interned: 'string',
  table: 'FieldTable',
};

/** Behind this property the rest is skipped when no flag of it is set: most messages have none. */
const LAST_USUAL_BIT = 12;
/** Bits 1 and 0 mean nothing. */
const MEANINGLESS_BITS = 0x0003;

const HELPERS = `/** What \`decodeProperties\` checks with. */
const CHECKED = new PropertyScan();

function skipHeaders(buf: Buffer, at: number, end: number): number {
  try {
    return skipTable(buf, at, end);
  } catch (error) {
    throw error instanceof DecodeError ? brokenProperties(error.message) : error;
  }
}
`;

function mask(property: PropertySpec): string {
  return hex(2 ** property.bit, 4);
}

function isString(property: PropertySpec): boolean {
  return property.type === 'shortstr' || property.type === 'interned';
}

/** Fields of PropertyScan that belong to a property, each with its value when the property is absent. */
function scanFields(
  property: PropertySpec,
): readonly { readonly name: string; readonly absent: string; readonly about: string }[] {
  const name = camel(property.name);
  if (!property.peeked) return [];
  switch (property.type) {
    case 'table':
      return [
        {
          name: `${name}At`,
          absent: '-1',
          about: `Where the ${property.name} table starts, at its length; -1 when absent.`,
        },
        { name: `${name}End`, absent: '-1', about: 'Where it ends; -1 when absent.' },
      ];
    case 'octet':
      // Delivery mode 0 is no mode, so 0 can stand for absent; priority 0 is a priority.
      return property.name === 'delivery-mode'
        ? [{ name, absent: '0', about: 'Value of delivery-mode; 0 when absent.' }]
        : [{ name, absent: '-1', about: `Value of ${property.name}; -1 when absent.` }];
    case 'timestamp':
      return [
        {
          name: `${name}At`,
          absent: '-1',
          about: `Where the eight octets of ${property.name} are; -1 when absent.`,
        },
      ];
    default:
      return [
        {
          name: `${name}At`,
          absent: '-1',
          about: `Where ${property.name} is, at its length octet; -1 when absent.`,
        },
      ];
  }
}

function renderInterface(properties: readonly PropertySpec[]): string {
  let text =
    '/** Properties of a message; null for absent, which is not the same as empty. */\nexport interface BasicProperties {\n';
  for (const property of properties)
    text += `  readonly ${camel(property.name)}: ${TYPES[property.type]} | null;\n`;
  text += '}\n\n/** No property at all. */\nexport const NO_PROPERTIES: BasicProperties = {\n';
  for (const property of properties) text += `  ${camel(property.name)}: null,\n`;
  return `${text}};\n\n`;
}

function renderScanClass(properties: readonly PropertySpec[]): string {
  const all = properties.flatMap(scanFields);
  let text =
    '/** What `scanProperties` found; offsets count from the start of the buffer it was given. One is made and used again. */\n';
  text += 'export class PropertyScan {\n  /** The flags word as it was sent. */\n  flags: number;\n';
  for (const field of all) text += `  /** ${field.about} */\n  ${field.name}: number;\n`;
  text += '\n  constructor() {\n    this.flags = 0;\n';
  for (const field of all) text += `    this.${field.name} = ${field.absent};\n`;
  return `${text}  }\n}\n\n`;
}

function scanStatements(property: PropertySpec): readonly string[] {
  const name = camel(property.name);
  const note = property.peeked ? [`into.${name}At = from;`] : [];
  switch (property.type) {
    case 'table':
      return [`into.${name}At = from;`, 'from = skipHeaders(buf, from, end);', `into.${name}End = from;`];
    case 'octet':
      return [`into.${name} = buf[from]!;`, 'from += 1;'];
    case 'timestamp':
      return [...note, 'from += 8;'];
    default:
      return [...note, 'from += 1 + buf[from]!;'];
  }
}

function block(indent: string, condition: string, statements: readonly string[]): string {
  if (statements.length === 1) return `${indent}if (${condition}) ${statements[0]}\n`;
  return `${indent}if (${condition}) {\n${statements.map((line) => `${indent}  ${line}\n`).join('')}${indent}}\n`;
}

function renderScan(properties: readonly PropertySpec[]): string {
  const usual = properties.filter((property) => property.bit >= LAST_USUAL_BIT);
  const rare = properties.filter((property) => property.bit < LAST_USUAL_BIT);
  const rareMask = hex((2 ** LAST_USUAL_BIT - 1) & ~MEANINGLESS_BITS, 4);
  let text = `/**
 * Checks the flags word at \`at\` and the values behind it, which must end at \`end\`, and notes where they are. Makes nothing.
 * @throws DecodeError 541, as RabbitMQ answers; \`into\` is then of no use
 */
export function scanProperties(buf: Buffer, at: number, end: number, into: PropertyScan): void {
  if (at + 2 > end) throw brokenProperties('no flags');
  const flags = u16At(buf, at);
  let from = at + 2;
  // What the last scan noted is taken back; most of the time it noted nothing rare.
  if ((into.flags & ${rareMask}) !== 0) {
`;
  for (const field of rare.flatMap(scanFields)) text += `    into.${field.name} = ${field.absent};\n`;
  text += '  }\n';
  for (const field of usual.flatMap(scanFields)) text += `  into.${field.name} = ${field.absent};\n`;
  text += '  into.flags = flags;\n';
  for (const property of usual)
    text += block('  ', `(flags & ${mask(property)}) !== 0`, scanStatements(property));
  text += `  if ((flags & ${rareMask}) !== 0) {\n`;
  for (const property of rare)
    text += block('    ', `(flags & ${mask(property)}) !== 0`, scanStatements(property));
  text += '  }\n';
  // As in the method decoders: lengths only add, so one comparison at the end catches whatever reached too far.
  return `${text}  if (from !== end) throw brokenProperties('lengths do not add up');\n}\n\n`;
}

function decodeStatements(property: PropertySpec): readonly string[] {
  const name = camel(property.name);
  switch (property.type) {
    case 'table':
      return [`${name} = decodeTable(buf, from, end);`, 'from += 4 + u32At(buf, from);'];
    case 'octet':
      return [`${name} = buf[from]!;`, 'from += 1;'];
    case 'timestamp':
      return [`${name} = u64At(buf, from);`, 'from += 8;'];
    default: {
      const read = property.type === 'interned' ? 'internAnyShortString' : 'decodeAnyShortString';
      return [
        'const stop = from + 1 + buf[from]!;',
        `${name} = ${read}(buf, from + 1, stop);`,
        'from = stop;',
      ];
    }
  }
}

/** The last value needs no offset behind it. */
function withoutAdvance(statements: readonly string[]): readonly string[] {
  return statements.filter((line) => !line.startsWith('from'));
}

function renderDecode(properties: readonly PropertySpec[]): string {
  let text = `/**
 * Properties as values: the flags word at \`at\`, then the values up to \`end\`. Short strings need not be UTF-8, as in RabbitMQ; octets
 * that are not are kept.
 * @throws DecodeError 541
 */
export function decodeProperties(buf: Buffer, at: number, end: number): BasicProperties {
  scanProperties(buf, at, end, CHECKED);
  const flags = CHECKED.flags;
  let from = at + 2;
`;
  for (const property of properties)
    text += `  let ${camel(property.name)}: ${TYPES[property.type]} | null = null;\n`;
  properties.forEach((property, i) => {
    const statements = decodeStatements(property);
    const last = i === properties.length - 1;
    text += block('  ', `(flags & ${mask(property)}) !== 0`, last ? withoutAdvance(statements) : statements);
  });
  text += '  return {\n';
  for (const property of properties) text += `    ${camel(property.name)},\n`;
  return `${text}  };\n}\n\n`;
}

function sizeExpression(property: PropertySpec): string {
  const value = `p.${camel(property.name)}`;
  if (property.type === 'table') return `tableByteLength(${value})`;
  if (property.type === 'octet') return '1';
  if (property.type === 'timestamp') return '8';
  return `1 + shortStringByteLength(${value})`;
}

function writeStatement(property: PropertySpec): string {
  const value = `p.${camel(property.name)}`;
  if (property.type === 'table') return `to = writeTable(buf, to, ${value});`;
  if (property.type === 'octet') return `buf[to++] = ${value};`;
  if (property.type === 'timestamp') return `to = writeU64(buf, to, ${value});`;
  return `to = writeShortString(buf, to, ${value});`;
}

function renderEncode(properties: readonly PropertySpec[]): string {
  let text = `/** Flags word and values, as they stand behind the body size in a content header. */
export function encodeProperties(p: BasicProperties): Buffer {
  let flags = 0;
  let length = 2;
`;
  for (const property of properties) {
    text += block('  ', `p.${camel(property.name)} !== null`, [
      `flags |= ${mask(property)};`,
      `length += ${sizeExpression(property)};`,
    ]);
  }
  text += '  const buf = Buffer.allocUnsafeSlow(length);\n  writeU16(buf, 0, flags);\n  let to = 2;\n';
  properties.forEach((property, i) => {
    const statement = writeStatement(property);
    const last = i === properties.length - 1 && isString(property);
    text += block('  ', `p.${camel(property.name)} !== null`, [
      last ? statement.replace('to = ', '') : statement,
    ]);
  });
  return `${text}  return buf;\n}\n\n`;
}

/** The text of src/protocol/properties.ts. */
export function renderProperties(protocol: ProtocolSpec): string {
  const { properties } = protocol;
  return (
    header(
      'Properties of basic content: as values for rules that change them, as offsets for those that only look.',
      'Knows nothing of what a property means.',
    ) +
    importOf(['brokenProperties', 'DecodeError'], './errors.ts') +
    importOf(
      ['decodeTable', 'type FieldTable', 'skipTable', 'tableByteLength', 'writeTable'],
      './field-table.ts',
    ) +
    importOf(['u16At', 'u32At', 'u64At', 'writeU16', 'writeU64'], './octets.ts') +
    importOf(
      ['decodeAnyShortString', 'internAnyShortString', 'shortStringByteLength', 'writeShortString'],
      './short-strings.ts',
    ) +
    `\n${renderInterface(properties)}${renderScanClass(properties)}${renderScan(properties)}` +
    `${renderDecode(properties)}${renderEncode(properties)}${HELPERS}`
  );
}
