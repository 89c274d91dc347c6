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
import { binaryText, DecodeError } from '../protocol/errors.ts';
import { fitShortString } from '../protocol/short-strings.ts';

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
    return fitShortString(this.message === '' ? name : `${name} - ${this.message}`);
  }
}

/** @returns the AMQP form of a refusal, or null for an error that is none (a bug of ours) */
export function amqpErrorOf(error: unknown): AmqpError | null {
  if (error instanceof AmqpError) return error;
  if (error instanceof BrokerError) return new AmqpError(CODES[error.reason], error.message);
  if (error instanceof DecodeError) {
    // RabbitMQ: broken properties crash its reader of them, and the client reads the bare name of the code.
    return new AmqpError(error.code, error.code === INTERNAL_ERROR ? '' : error.message, error.methodId);
  }
  return null;
}

/** The stream of frames itself is broken: no method is to blame, and what follows cannot be trusted. */
export class FramingError extends AmqpError {
  constructor(cause: DecodeError) {
    super(cause.code, cause.message, 0);
    this.name = 'FramingError';
  }
}

/** Class and method id at the start of a method frame's payload. @throws AmqpError when it is too short to have one */
export function methodIdAt(buffer: Buffer, start: number, stop: number): number {
  if (stop - start < 4)
    throw new AmqpError(FRAME_ERROR, `cannot decode ${binaryText(buffer, start, stop)}`, 0);
  return buffer.readUInt32BE(start);
}

/** Reply code of a refusal's reason. */
export function replyCodeOf(reason: Reason): number {
  return CODES[reason];
}
