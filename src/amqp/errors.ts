// AMQP's view of a refusal: reply code, text, the method to blame, and whether the channel or the whole connection ends.
// Owns the translation of BrokerError and DecodeError. RabbitMQ: reply-text is `NAME - explanation`, cut to fit a shortstr.

import { BrokerError, type Reason } from '../base/errors.ts';
import {
  ACCESS_REFUSED,
  CHANNEL_ERROR,
  COMMAND_INVALID,
  CONNECTION_FORCED,
  CONTENT_TOO_LARGE,
  FRAME_ERROR,
  INTERNAL_ERROR,
  isHardError,
  NO_ROUTE,
  NOT_ALLOWED,
  NOT_FOUND,
  NOT_IMPLEMENTED,
  PRECONDITION_FAILED,
  RESOURCE_ERROR,
  RESOURCE_LOCKED,
  replyName,
  SYNTAX_ERROR,
  UNEXPECTED_FRAME,
} from '../protocol/constants.ts';
import { DecodeError } from '../protocol/errors.ts';

const CODES: Readonly<Record<Reason, number>> = {
  'content-too-large': CONTENT_TOO_LARGE,
  'no-route': NO_ROUTE,
  'connection-forced': CONNECTION_FORCED,
  'access-refused': ACCESS_REFUSED,
  'not-found': NOT_FOUND,
  'resource-locked': RESOURCE_LOCKED,
  'precondition-failed': PRECONDITION_FAILED,
  'frame-error': FRAME_ERROR,
  'syntax-error': SYNTAX_ERROR,
  'command-invalid': COMMAND_INVALID,
  'channel-error': CHANNEL_ERROR,
  'unexpected-frame': UNEXPECTED_FRAME,
  'resource-error': RESOURCE_ERROR,
  'not-allowed': NOT_ALLOWED,
  'not-implemented': NOT_IMPLEMENTED,
  'internal-error': INTERNAL_ERROR,
};

/** Longest reply text, in bytes of UTF-8 (shortstr). */
const REPLY_TEXT_MAX = 255;

/** A refusal on its way to the client. */
export class AmqpError extends Error {
  readonly code: number;
  /** Ends the connection rather than the channel. */
  readonly hard: boolean;
  /** Method to blame as class << 16 | method; 0 when none is; null to blame the method that is being handled. */
  readonly methodId: number | null;

  constructor(code: number, explanation: string, methodId: number | null = null) {
    super(explanation);
    this.name = 'AmqpError';
    this.code = code;
    this.hard = isHardError(code);
    this.methodId = methodId;
  }

  /** The text as it goes over the wire. */
  get replyText(): string {
    const name = replyName(this.code);
    return cutToShortString(this.message === '' ? name : `${name} - ${this.message}`);
  }
}

/** @returns the AMQP form of a refusal, or null for an error that is none (a bug of ours) */
export function amqpErrorOf(error: unknown): AmqpError | null {
  if (error instanceof AmqpError) return error;
  if (error instanceof BrokerError) return new AmqpError(CODES[error.reason], error.message);
  // RabbitMQ: what cannot be decoded has no method to blame.
  if (error instanceof DecodeError) return new AmqpError(error.code, error.message, 0);
  return null;
}

/** Reply code of a refusal's reason. */
export function replyCodeOf(reason: Reason): number {
  return CODES[reason];
}

/** Cuts a text to what fits a shortstr, at a character. */
export function cutToShortString(text: string): string {
  if (Buffer.byteLength(text) <= REPLY_TEXT_MAX) return text;
  let bytes = Buffer.from(text).subarray(0, REPLY_TEXT_MAX);
  while (bytes.length > 0 && (bytes[bytes.length - 1]! & 0xc0) === 0x80) bytes = bytes.subarray(0, -1);
  return bytes.subarray(0, (bytes[bytes.length - 1] ?? 0) >= 0xc0 ? -1 : undefined).toString();
}
