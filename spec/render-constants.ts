// Writes src/protocol/constants.ts: numbers and names of the protocol. Knows no formatter: its lines are laid out as biome wants them.

import type { ClassSpec, MethodSpec, ProtocolSpec } from './protocol-table.ts';
import { header, hex, upper } from './text.ts';

/** Name of a method's constant: `BASIC_PUBLISH`. */
export function methodConstant(owner: ClassSpec, method: MethodSpec): string {
  return `${upper(owner.name)}_${upper(method.name)}`;
}

/** Class and method id in one number. */
export function methodNumber(owner: ClassSpec, method: MethodSpec): number {
  return owner.id * 0x10000 + method.id;
}

const FRAMES = `/** Frame types. */
export const FRAME_METHOD = 1;
export const FRAME_HEADER = 2;
export const FRAME_BODY = 3;
export const FRAME_HEARTBEAT = 8;
/** Last octet of every frame. */
export const FRAME_END = 0xce;
/** Octets of a frame besides its payload: type, channel, size, end. */
export const FRAME_OVERHEAD = 8;
/** Smallest frame_max that may be agreed upon. */
export const FRAME_MIN_SIZE = 4096;

`;

const INFO = `/** What the protocol says about a method. */
export interface MethodInfo {
  /** \`(class << 16) | method\`. */
  readonly id: number;
  /** Class and method, such as \`basic.publish\`. */
  readonly name: string;
  readonly sentBy: 'client' | 'server' | 'both';
  /** True when the sender waits for a reply (unless it asks for none). */
  readonly synchronous: boolean;
  /** True when a content header and body frames follow. */
  readonly hasContent: boolean;
}

`;

const FUNCTIONS = `const NAMES: ReadonlyMap<number, string> = new Map(METHODS.map((info) => [info.id, info.name]));

/** \`basic.publish\` for 0x003c0028; \`unknown method C.M\` for a number that is none. */
export function methodName(id: number): string {
  return NAMES.get(id) ?? \`unknown method \${id >>> 16}.\${id & 0xffff}\`;
}

/** \`NOT_FOUND\` for 404; \`UNKNOWN\` for a number that is no reply code. */
export function replyName(code: number): string {
  return REPLY_NAMES.get(code) ?? 'UNKNOWN';
}

function info(
  id: number,
  name: string,
  sentBy: MethodInfo['sentBy'],
  synchronous: boolean,
  hasContent: boolean,
): MethodInfo {
  return { id, name, sentBy, synchronous, hasContent };
}
`;

/** The text of src/protocol/constants.ts. */
export function renderConstants(protocol: ProtocolSpec): string {
  let text =
    header('Frame types, class and method ids, reply codes. Knows nothing of what they are used for.') +
    FRAMES;
  text += '/** Class ids. */\n';
  for (const owner of protocol.classes) text += `export const CLASS_${upper(owner.name)} = ${owner.id};\n`;
  text += '\n/** Method ids: `(class << 16) | method`. */\n';
  for (const owner of protocol.classes) {
    for (const method of owner.methods) {
      text += `export const ${methodConstant(owner, method)} = ${hex(methodNumber(owner, method), 8)};\n`;
    }
  }
  text += '\n/** Reply codes. */\n';
  for (const reply of protocol.replyCodes) text += `export const ${upper(reply.name)} = ${reply.code};\n`;
  text += '\nconst REPLY_NAMES: ReadonlyMap<number, string> = new Map([\n';
  for (const reply of protocol.replyCodes) text += `  [${upper(reply.name)}, '${upper(reply.name)}'],\n`;
  text +=
    ']);\n\n/** Whether a reply code closes the connection; the others close only a channel, if anything. */\n';
  text += 'export function isHardError(code: number): boolean {\n  switch (code) {\n';
  for (const reply of protocol.replyCodes) {
    if (reply.kind === 'hard') text += `    case ${upper(reply.name)}:\n`;
  }
  text += '      return true;\n    default:\n      return false;\n  }\n}\n\n';
  text += `${INFO}/** Every method, in rising order of id. */\nexport const METHODS: readonly MethodInfo[] = [\n`;
  for (const owner of protocol.classes) {
    for (const method of owner.methods) {
      const name = `'${owner.name}.${method.name}', '${method.sentBy}'`;
      text += `  info(${methodConstant(owner, method)}, ${name}, ${method.synchronous}, ${method.hasContent}),\n`;
    }
  }
  return `${text}];\n\n${FUNCTIONS}`;
}
