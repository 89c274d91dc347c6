// Writes src/protocol/methods.ts: per method an interface, a decoder and an encoder, as straight-line code.
//
// How a decoder checks: it adds the lengths of all arguments up and compares the end that comes out with the end that is, once. Lengths
// only ever add, so an argument that reaches too far makes the sum too large; a length octet beyond the buffer makes it NaN.

import type { ClassSpec, FieldSpec, FieldType, MethodSpec, ProtocolSpec } from './protocol-table.ts';
import { methodConstant } from './render-constants.ts';
import { camel, header, importOf, pascal } from './text.ts';

/** Octets a method frame has around its arguments: frame header, method id, end octet. */
const FRAME_OCTETS = 12;

const TYPES: Readonly<Record<FieldType, string>> = {
  bit: 'boolean',
  octet: 'number',
  short: 'number',
  long: 'number',
  tag: 'number',
  shortstr: 'string',
  name: 'string',
  anyname: 'string',
  longstr: 'Buffer',
  table: 'FieldTable',
};

const READERS: Readonly<Record<'shortstr' | 'name' | 'anyname', string>> = {
  shortstr: 'decodeShortString',
  name: 'internShortString',
  anyname: 'internAnyShortString',
};

const SENDERS = { client: 'client to server', server: 'server to client', both: 'both directions' };

const HELPERS = `function deliveryTagAt(methodId: number, buf: Buffer, at: number): number {
  const tag = u64At(buf, at);
  if (typeof tag === 'bigint') throw impossibleTag(methodId, tag);
  return tag;
}

/** A copy: a slice would keep the chunk that was read alive. */
function copyOf(buf: Buffer, start: number, end: number): Buffer {
  return Buffer.from(buf.subarray(start, end));
}
`;

/** An offset in the arguments: a variable plus a constant. */
interface Place {
  readonly base: string;
  readonly offset: number;
}

function at(place: Place, more = 0): string {
  const offset = place.offset + more;
  return offset === 0 ? place.base : `${place.base} + ${offset}`;
}

function moved(place: Place, octets: number): Place {
  return { base: place.base, offset: place.offset + octets };
}

/** Fields with their places; bits carry their mask. */
interface Step {
  readonly field: FieldSpec;
  readonly place: Place;
  /** Variable that holds the end, for what has a length. */
  readonly end: string;
  readonly mask: number;
}

const FIXED: Readonly<Partial<Record<FieldType, number>>> = { octet: 1, short: 2, long: 4, tag: 8 };

function sized(type: FieldType): boolean {
  return type !== 'bit' && FIXED[type] === undefined;
}

/** Walks over the arguments: where each starts, and where the last one ends. */
function steps(method: MethodSpec): { readonly list: readonly Step[]; readonly end: Place } {
  let place: Place = { base: 'at', offset: 0 };
  let mask = 0;
  const list: Step[] = [];
  for (const field of method.fields) {
    // A bit joins the octet of the bit in front of it.
    if (field.type === 'bit' && mask > 0 && mask < 0x80) {
      mask *= 2;
      list.push({ field, place: moved(place, -1), end: '', mask });
      continue;
    }
    mask = field.type === 'bit' ? 1 : 0;
    const end = `${camel(field.name)}End`;
    list.push({ field, place, end, mask });
    if (field.type === 'bit') place = moved(place, 1);
    else if (sized(field.type)) place = { base: end, offset: 0 };
    else place = moved(place, FIXED[field.type] ?? 0);
  }
  return { list, end: place };
}

function visible(method: MethodSpec): readonly FieldSpec[] {
  return method.fields.filter((field) => !field.reserved);
}

function readExpression(step: Step, constant: string): string {
  const from = at(step.place);
  switch (step.field.type) {
    case 'bit':
      return `(buf[${from}]! & ${step.mask}) !== 0`;
    case 'octet':
      return `buf[${from}]!`;
    case 'short':
      return `u16At(buf, ${from})`;
    case 'long':
      return `u32At(buf, ${from})`;
    case 'tag':
      return `deliveryTagAt(${constant}, buf, ${from})`;
    case 'longstr':
      return `copyOf(buf, ${at(step.place, 4)}, ${step.end})`;
    case 'table':
      return `decodeTable(buf, ${from}, ${step.end})`;
    default:
      return `${READERS[step.field.type]}(buf, ${at(step.place, 1)}, ${step.end})`;
  }
}

function renderDecoder(name: string, constant: string, method: MethodSpec): string {
  const { list, end } = steps(method);
  const hasResult = visible(method).length > 0;
  let text = `/** Arguments of \`${constant}\` between \`at\` and \`end\`. @throws DecodeError */\n`;
  text += `export function decode${name}(buf: Buffer, at: number, end: number): ${hasResult ? name : 'void'} {\n`;
  for (const step of list) {
    if (!sized(step.field.type)) continue;
    const long = step.field.type === 'longstr' || step.field.type === 'table';
    const start = at(step.place, long ? 4 : 1);
    const length = long ? `u32At(buf, ${at(step.place)})` : `buf[${at(step.place)}]!`;
    text += `  const ${step.end} = ${start} + ${length};\n`;
  }
  text += `  if (${at(end)} !== end) throw cannotDecode(${constant}, buf, at, end);\n`;
  if (hasResult) {
    text += '  return {\n';
    for (const step of list) {
      if (!step.field.reserved) text += `    ${camel(step.field.name)}: ${readExpression(step, constant)},\n`;
    }
    text += '  };\n';
  }
  return `${text}}\n\n`;
}

/** What has to be free for the whole frame: fixed octets, 256 for each short string, the rest counted when it is written. */
function roomExpression(method: MethodSpec): string {
  let fixed = FRAME_OCTETS;
  const counted: string[] = [];
  let previous: FieldType | null = null;
  for (const field of method.fields) {
    const { type } = field;
    if (type === 'bit') fixed += previous === 'bit' ? 0 : 1;
    else if (type === 'table') counted.push(`tableByteLength(fields.${camel(field.name)})`);
    else if (type === 'longstr') {
      fixed += 4;
      if (!field.reserved) counted.push(`fields.${camel(field.name)}.length`);
    } else fixed += FIXED[type] ?? (field.reserved ? 1 : 256);
    previous = type;
  }
  return [`${fixed}`, ...counted].join(' + ');
}

/** Statements that gather consecutive bits in one octet. */
function bitsStatements(bits: readonly Step[]): string {
  const set = bits.filter((step) => !step.field.reserved);
  const first = set[0];
  if (first === undefined) return '  w.u8(0);\n';
  const firstTerm = `fields.${camel(first.field.name)} ? ${first.mask} : 0`;
  if (set.length === 1) return `  w.u8(${firstTerm});\n`;
  const rest = set.slice(1).map((step) => `  if (fields.${camel(step.field.name)}) bits |= ${step.mask};\n`);
  return `  let bits = ${firstTerm};\n${rest.join('')}  w.u8(bits);\n`;
}

function writeStatement(field: FieldSpec): string {
  const value = field.reserved ? null : `fields.${camel(field.name)}`;
  switch (field.type) {
    case 'octet':
      return `w.u8(${value ?? 0})`;
    case 'short':
      return `w.u16(${value ?? 0})`;
    case 'long':
      return `w.u32(${value ?? 0})`;
    case 'tag':
      return `w.u64(${value ?? 0})`;
    case 'longstr':
      return value === null ? 'w.u32(0)' : `w.writeLongString(${value})`;
    case 'table':
      return `w.at = writeTable(w.buffer, w.at, ${value ?? 'EMPTY_TABLE'})`;
    default:
      return value === null ? 'w.u8(0)' : `w.writeShortString(${value})`;
  }
}

function renderEncoder(name: string, constant: string, method: MethodSpec): string {
  const parameters = ['w: FrameWriter', 'channel: number'];
  if (visible(method).length > 0) parameters.push(`fields: ${name}`);
  const { list } = steps(method);
  let text = `/** Writes a whole \`${constant}\` frame. */\n`;
  text += signature(`encode${name}`, parameters);
  text += `  w.reserve(${roomExpression(method)});\n  w.beginMethod(channel, ${constant});\n`;
  for (let i = 0; i < list.length; i++) {
    const step = list[i];
    if (step === undefined) break;
    if (step.field.type !== 'bit') {
      text += `  ${writeStatement(step.field)};\n`;
      continue;
    }
    if (step.mask !== 1) continue;
    let last = i + 1;
    while ((list[last]?.mask ?? 0) > 1) last++;
    text += bitsStatements(list.slice(i, last));
  }
  return `${text}  w.endMethod();\n}\n\n`;
}

/** Laid out as the formatter does: one parameter a line when one line is too short for all. */
function signature(name: string, parameters: readonly string[]): string {
  const line = `export function ${name}(${parameters.join(', ')}): void {\n`;
  if (line.length <= 111) return line;
  return `export function ${name}(\n${parameters.map((parameter) => `  ${parameter},\n`).join('')}): void {\n`;
}

function renderMethod(owner: ClassSpec, method: MethodSpec): string {
  const name = `${pascal(owner.name)}${pascal(method.name)}`;
  const constant = methodConstant(owner, method);
  const about = `\`${owner.name}.${method.name}\`, ${owner.id}.${method.id}, ${SENDERS[method.sentBy]}`;
  let text = '';
  if (visible(method).length > 0) {
    text += `/** ${about}${method.hasContent ? '; content follows' : ''}. */\nexport interface ${name} {\n`;
    for (const field of visible(method)) text += `  readonly ${camel(field.name)}: ${TYPES[field.type]};\n`;
    text += '}\n\n';
  } else text += `// ${about}: nothing to say.\n\n`;
  return text + renderDecoder(name, constant, method) + renderEncoder(name, constant, method);
}

/** The text of src/protocol/methods.ts. */
export function renderMethods(protocol: ProtocolSpec): string {
  const constants: string[] = [];
  let body = '';
  for (const owner of protocol.classes) {
    for (const method of owner.methods) {
      constants.push(methodConstant(owner, method));
      body += renderMethod(owner, method);
    }
  }
  return (
    header(
      'Arguments of every method: what they are, how they are read, how a whole method frame is written.',
      'A decoder starts behind the four octets of class and method id and accepts nothing but exactly its arguments.',
    ) +
    importOf(constants, './constants.ts') +
    importOf(['cannotDecode', 'impossibleTag'], './errors.ts') +
    importOf(['decodeTable', 'type FieldTable', 'tableByteLength', 'writeTable'], './field-table.ts') +
    `import type { FrameWriter } from './frame-writer.ts';\n` +
    importOf(['u16At', 'u32At', 'u64At'], './octets.ts') +
    importOf(['decodeShortString', 'internAnyShortString', 'internShortString'], './short-strings.ts') +
    `\n${body}${HELPERS}`
  );
}
