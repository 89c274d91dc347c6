// From the first byte to an open connection: protocol header, start, secure, tune, open.
// Owns what the client must say in which order, and how a client that fails is let go: until the connection is being opened RabbitMQ
// says nothing but closes after a delay, which slows down guessing; a refused login is told only to clients that asked for it.

import type { LoginResult } from '../auth/login.ts';
import {
  offeredMechanisms,
  type SaslOptions,
  type SaslSession,
  type SaslStep,
  startSasl,
} from '../auth/sasl.ts';
import {
  ACCESS_REFUSED,
  CHANNEL_ERROR,
  COMMAND_INVALID,
  CONNECTION_OPEN,
  CONNECTION_SECURE_OK,
  CONNECTION_START_OK,
  CONNECTION_TUNE_OK,
  FRAME_METHOD,
  INTERNAL_ERROR,
  NOT_ALLOWED,
  UNEXPECTED_FRAME,
} from '../protocol/constants.ts';
import { unexpectedFrameText } from '../protocol/errors.ts';
import type { FieldTable, FieldValue } from '../protocol/field-table.ts';
import {
  type ConnectionTuneOk,
  decodeConnectionOpen,
  decodeConnectionSecureOk,
  decodeConnectionStartOk,
  decodeConnectionTuneOk,
  encodeConnectionOpenOk,
  encodeConnectionSecure,
  encodeConnectionStart,
  encodeConnectionTune,
} from '../protocol/methods.ts';
import type { Connection } from './connection.ts';
import { AmqpError } from './errors.ts';
import { FRAME_MIN, STRICT_FRAME_MIN } from './options.ts';

/** AMQP 0-9-1 4.2.2. */
const HEADER = Buffer.from('AMQP\0\0\x09\x01', 'latin1');
/** The older form of the same version, which RabbitMQ takes too. */
const HEADER_OLD_FORM = Buffer.from('AMQP\x01\x01\0\x09', 'latin1');
export const HEADER_LENGTH = 8;

/** What a client says it can do. */
export interface Capabilities {
  readonly authenticationFailureClose: boolean;
  readonly connectionBlocked: boolean;
  readonly consumerCancelNotify: boolean;
}

export const NO_CAPABILITIES: Capabilities = {
  authenticationFailureClose: false,
  connectionBlocked: false,
  consumerCancelNotify: false,
};

/** The handshake of one connection; thrown away when it is open. */
export class Handshake {
  private readonly connection: Connection;
  private readonly saslOptions: SaslOptions;
  private sasl: SaslSession | null = null;
  private mechanism = '';

  constructor(connection: Connection) {
    this.connection = connection;
    const { anonymousUser } = connection.options;
    this.saslOptions = {
      mechanisms: anonymousUser === null ? ['PLAIN', 'AMQPLAIN'] : ['PLAIN', 'AMQPLAIN', 'ANONYMOUS'],
      anonymousUser,
    };
  }

  /** The first eight bytes. */
  onHeader(bytes: Buffer): void {
    const { connection } = this;
    if (!bytes.equals(HEADER) && !bytes.equals(HEADER_OLD_FORM)) {
      connection.log.warn(`a client that does not speak AMQP 0-9-1 was turned away: ${likelyCause(bytes)}`, {
        connection: connection.name,
      });
      connection.sendRawAndEnd(HEADER);
      return;
    }
    connection.become('starting');
    encodeConnectionStart(connection.writer, 0, {
      versionMajor: 0,
      versionMinor: 9,
      serverProperties: connection.options.serverProperties,
      mechanisms: Buffer.from(offeredMechanisms(this.saslOptions)),
      locales: Buffer.from('en_US'),
    });
    connection.wantsFlush();
  }

  /** A frame before the connection is open. @throws AmqpError */
  onFrame(type: number, channel: number, buffer: Buffer, start: number, stop: number): void {
    const { connection } = this;
    if (channel !== 0)
      throw new AmqpError(UNEXPECTED_FRAME, unexpectedFrameText(type, buffer, start, stop), 0);
    if (type !== FRAME_METHOD) return;
    const id = buffer.readUInt32BE(start);
    const at = start + 4;
    const { state } = connection;
    if (state === 'starting' && id === CONNECTION_START_OK) this.onStartOk(buffer, at, stop);
    else if (state === 'securing' && id === CONNECTION_SECURE_OK) {
      this.take(this.sasl!.respond(decodeConnectionSecureOk(buffer, at, stop).response));
    } else if (state === 'tuning' && id === CONNECTION_TUNE_OK)
      this.onTuneOk(decodeConnectionTuneOk(buffer, at, stop));
    else if (state === 'opening' && id === CONNECTION_OPEN)
      this.onOpen(decodeConnectionOpen(buffer, at, stop).vhost);
    else throw new AmqpError(CHANNEL_ERROR, `unexpected method in connection state ${state}`, id);
  }

  private onStartOk(buffer: Buffer, at: number, stop: number): void {
    const { connection } = this;
    const { clientProperties, mechanism, response } = decodeConnectionStartOk(buffer, at, stop);
    connection.clientProperties = clientProperties;
    connection.capabilities = capabilitiesOf(clientProperties);
    this.mechanism = mechanism;
    this.sasl = startSasl(mechanism, this.saslOptions);
    if (this.sasl === null) {
      throw new AmqpError(
        COMMAND_INVALID,
        `unknown authentication mechanism '${mechanism}'`,
        CONNECTION_START_OK,
      );
    }
    connection.become('securing');
    this.take(this.sasl.respond(response));
  }

  private take(step: SaslStep): void {
    const { connection } = this;
    const { login } = connection.node;
    const address = connection.peer.remoteAddress;
    switch (step.kind) {
      case 'challenge':
        encodeConnectionSecure(connection.writer, 0, { challenge: step.challenge });
        connection.wantsFlush();
        return;
      case 'malformed':
        throw new AmqpError(COMMAND_INVALID, `${this.mechanism}: ${step.why}`, 0);
      case 'user':
        return this.onLogin(login.withoutPassword(step.user, address));
      case 'credentials': {
        const known = login.withKnownPassword(step.user, step.password, address);
        if (known !== null) return this.onLogin(known);
        connection.waitFor(
          login.withPassword(step.user, step.password, address),
          (result) => this.onLogin(result),
          (why) => this.onLogin({ user: null, why }),
        );
      }
    }
  }

  private onLogin(result: LoginResult): void {
    const { connection } = this;
    if (result.user === null) {
      connection.log.warn(`login refused: ${result.why}`, {
        connection: connection.name,
        mechanism: this.mechanism,
      });
      // RabbitMQ: 403 at once, but only to clients that declared they understand it.
      if (connection.capabilities.authenticationFailureClose) {
        const text = `Login was refused using authentication mechanism ${this.mechanism}. For details see the broker logfile.`;
        connection.closeWith(new AmqpError(ACCESS_REFUSED, text, 0), connection.options.authFailureDelayMs);
      } else connection.closeSilently();
      return;
    }
    connection.username = result.user.name;
    connection.become('tuning');
    const { channelMax, frameMax, heartbeatSeconds } = connection.options;
    encodeConnectionTune(connection.writer, 0, { channelMax, frameMax, heartbeat: heartbeatSeconds });
    connection.wantsFlush();
  }

  private onTuneOk(m: ConnectionTuneOk): void {
    const { connection } = this;
    const { options } = connection;
    const frameMin = options.strict ? STRICT_FRAME_MIN : FRAME_MIN;
    checkNegotiated('frame_max', m.frameMax, options.frameMax, frameMin);
    checkNegotiated('channel_max', m.channelMax, options.channelMax, 1);
    connection.become('opening');
    connection.tuned(m.frameMax, m.channelMax, m.heartbeat);
  }

  private onOpen(name: string): void {
    const { connection } = this;
    const { node, username } = connection;
    const refuse = (text: string): never => {
      throw new AmqpError(NOT_ALLOWED, text, CONNECTION_OPEN);
    };
    const full = node.limits.nodeRefusal();
    if (full !== null) refuse(full);
    const vhost = node.vhosts.get(name);
    if (vhost === undefined) return refuse(`vhost ${name} not found`);
    const tooMany = node.limits.connectionRefusal(username, vhost);
    if (tooMany !== null) refuse(tooMany);
    if (!node.access.mayOpen(username, name))
      refuse(`access to vhost '${name}' refused for user '${username}'`);
    connection.opened(vhost);
    encodeConnectionOpenOk(connection.writer, 0);
    connection.wantsFlush();
  }
}

/** RabbitMQ: what the client proposes must lie between the minimum and what the server offered; the text is only logged. */
function checkNegotiated(what: string, value: number, max: number, min: number): void {
  if (value === 0) {
    throw new AmqpError(
      NOT_ALLOWED,
      `negotiated ${what} = 0 (no limit) is higher than the maximum allowed value (${max})`,
      CONNECTION_TUNE_OK,
    );
  }
  if (value > max) {
    throw new AmqpError(
      NOT_ALLOWED,
      `negotiated ${what} = ${value} is higher than the maximum allowed value (${max})`,
      CONNECTION_TUNE_OK,
    );
  }
  if (value < min) {
    throw new AmqpError(
      NOT_ALLOWED,
      `negotiated ${what} = ${value} is lower than the minimum allowed value (${min})`,
      CONNECTION_TUNE_OK,
    );
  }
}

function capabilitiesOf(properties: FieldTable): Capabilities {
  const table = properties.get('capabilities');
  if (table?.tag !== 'F') return NO_CAPABILITIES;
  return {
    authenticationFailureClose: isTrue(table.value.get('authentication_failure_close')),
    connectionBlocked: isTrue(table.value.get('connection.blocked')),
    consumerCancelNotify: isTrue(table.value.get('consumer_cancel_notify')),
  };
}

function isTrue(value: FieldValue | undefined): boolean {
  return value?.tag === 't' && value.value;
}

/** What a wrong header most likely means, for the log. */
function likelyCause(bytes: Buffer): string {
  const text = bytes.toString('latin1');
  if (/^(GET|PUT|POST|HEAD|DELETE|OPTIONS|PATCH) ?/.test(text)) return 'it looks like HTTP';
  if (bytes[0] === 0x16 && bytes[1] === 0x03) return 'it looks like TLS on the plain port';
  if (text.startsWith('AMQP\x03\x01') || text.startsWith('AMQP\0\x01')) return 'it looks like AMQP 1.0';
  if (text.startsWith('AMQP')) return 'it speaks another version of AMQP';
  return `its first bytes are ${bytes.toString('hex')}`;
}

/** An error that nobody caused but us. */
export function internalError(): AmqpError {
  return new AmqpError(INTERNAL_ERROR, '', 0);
}
