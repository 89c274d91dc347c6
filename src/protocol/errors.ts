// What is wrong with bytes that a peer sent: the reply code and the explanation to close with.
// Knows no connection: a door turns a DecodeError into `connection.close` (or `channel.close` for a soft code).
// Explanations are RabbitMQ's wherever it has one, because client libraries match on them.

import { FRAME_ERROR, INTERNAL_ERROR, PRECONDITION_FAILED, SYNTAX_ERROR } from './constants.ts';

/** Text beyond this is not built: a reply text has 255 octets, and the door cuts it and marks the cut. */
const SNIPPET_TEXT_MAX = 300;
/** RabbitMQ shows this many octets of a frame that it refuses. */
const FRAME_SNIPPET_OCTETS = 16;

/** Bytes that break the protocol. `message` is the explanation without the reply name in front. */
export class DecodeError extends Error {
  /** AMQP reply code. All are hard, except 406 for a delivery tag that no channel can have issued. */
  readonly code: number;
  /** Method to blame, `(class << 16) | method`; 0 when none is. */
  readonly methodId: number;

  constructor(code: number, text: string, methodId = 0) {
    super(text);
    this.name = 'DecodeError';
    this.code = code;
    this.methodId = methodId;
  }
}

/** Octets as Erlang prints a binary: `<<"text">>` when all of them are printable, else `<<1,2,3>>`. */
export function binaryText(buf: Buffer, start: number, end: number): string {
  let text = '';
  for (let at = start; at < end && text.length < SNIPPET_TEXT_MAX; at++) {
    const octet = buf[at]!;
    // Erlang counts 160…255 as printable too and sends them raw; that is not UTF-8 and breaks clients, so numbers here.
    if (octet < 0x20 || octet > 0x7e) return octetsText(buf, start, end);
    text += octet === 0x22 || octet === 0x5c ? `\\${String.fromCharCode(octet)}` : String.fromCharCode(octet);
  }
  return end <= start ? '<<>>' : `<<"${text}">>`;
}

function octetsText(buf: Buffer, start: number, end: number): string {
  let text = '';
  for (let at = start; at < end && text.length < SNIPPET_TEXT_MAX; at++) {
    text += at === start ? `${buf[at]!}` : `,${buf[at]!}`;
  }
  return `<<${text}>>`;
}

function frameSnippet(buf: Buffer, start: number, end: number): string {
  if (end - start <= FRAME_SNIPPET_OCTETS) return `all octets = ${binaryText(buf, start, end)}`;
  return `first 16 octets = ${binaryText(buf, start, start + FRAME_SNIPPET_OCTETS)}`;
}

/** A frame that is broken as a frame: `reason` is Erlang's word for how. `start` … `end` is its payload. */
export function brokenFrame(
  type: number,
  reason: string,
  buf: Buffer,
  start: number,
  end: number,
): DecodeError {
  return new DecodeError(FRAME_ERROR, `type ${type}, ${frameSnippet(buf, start, end)}: ${reason}`);
}

/** A well-formed frame where it has no business; the text of reply code 505. */
export function unexpectedFrameText(type: number, buf: Buffer, start: number, end: number): string {
  return `type ${type}, ${frameSnippet(buf, start, end)}`;
}

/** A method whose arguments are too short, too long, or followed by something. `at` … `end` are the arguments. */
export function cannotDecode(methodId: number, buf: Buffer, at: number, end: number): DecodeError {
  // RabbitMQ prints this one always as numbers.
  return new DecodeError(FRAME_ERROR, `cannot decode ${octetsText(buf, at, end)}`, methodId);
}

/** A short string of a method that is not UTF-8. */
export function malformedUtf8(): DecodeError {
  return new DecodeError(FRAME_ERROR, 'Malformed UTF-8 in shortstr');
}

/** A delivery tag above 2^53: no channel has issued it. Same answer as for any other tag that is not known. */
export function impossibleTag(methodId: number, tag: bigint): DecodeError {
  return new DecodeError(PRECONDITION_FAILED, `unknown delivery tag ${tag}`, methodId);
}

/** A field table or array that is broken inside. RabbitMQ drops the connection without a word; an answer is friendlier. */
export function brokenTable(text: string): DecodeError {
  return new DecodeError(SYNTAX_ERROR, text);
}

/** A content header whose property list is broken or followed by something. RabbitMQ sends the bare reply name. */
export function brokenProperties(detail: string): DecodeError {
  return new DecodeError(INTERNAL_ERROR, `malformed content properties: ${detail}`);
}
