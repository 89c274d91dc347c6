// Rules of the wire: errors in general, connection, framing, channels, methods and limits. Owns the ids that begin with
// 0, 1, 2, 3 and 14. A rule that only an operator's page or log can show is not listed: these tests see the wire alone.
import type { Difference, Rule } from '../rules.ts';

/** RabbitMQ's reader process dies of input it has no clause for, and the client sees nothing but the end of TCP. */
function readerDies(ours: string): Difference {
  return {
    rabbitmq: 'ends the TCP connection without a word (its reader process crashes)',
    ours,
    reason: 'A client library author learns what was wrong with the bytes.',
  };
}

export const wireRules: readonly Rule[] = [
  // Errors in general.
  { id: '0.reply-text', text: 'reply-text is the name of the code, a dash and an explanation.' },
  {
    id: '0.reply-text-cut',
    text: 'reply-text never exceeds the 255 bytes of a short string, whatever names it quotes.',
  },
  { id: '0.failed-method', text: 'class-id and method-id of a close name the method that failed.' },
  { id: '0.no-method', text: 'class-id and method-id are 0 when no method is to blame.' },
  { id: '0.soft', text: 'A soft error closes its channel only; other channels and the connection go on.' },
  {
    id: '0.hard',
    text: 'A hard error closes the whole connection, channels that did nothing wrong included.',
  },
  {
    id: '0.wording',
    text: "Texts name a resource as `queue 'Q' in vhost 'V'` or `exchange 'E' in vhost 'V'`.",
  },

  // Protocol header.
  { id: '1.1.header', text: 'The header AMQP 0 0 9 1 is answered with connection.start.' },
  {
    id: '1.1.old-header',
    text: 'The header AMQP 1 1 0 9, the old form of 0-9-1, is answered with connection.start.',
  },
  {
    id: '1.1.legacy-header',
    text: 'The headers of 0-8 (AMQP 1 1 8 0) and AMQP 1 1 9 1 are answered with AMQP 0 0 9 1 and the end of TCP.',
    difference: {
      rabbitmq:
        'before 4.0 speaks 0-8 to them: connection.start with version 8.0; from 4.0 on answers AMQP 3 1 0 0',
      ours: 'answers AMQP 0 0 9 1',
      reason: 'We speak 0-9-1 only; the header we answer with is the one the client should have sent.',
    },
  },
  {
    id: '1.1.later-header',
    text: 'AMQP 0 0 M R with M >= 9 other than 9,1 is answered with AMQP 0 0 9 1 and the end of TCP.',
  },
  {
    id: '1.1.amqp-1.0-header',
    text: 'The headers of AMQP 1.0, with and without SASL, are answered with AMQP 0 0 9 1 and the end of TCP.',
    difference: {
      rabbitmq: 'speaks AMQP 1.0, or answers AMQP 3 1 0 0',
      ours: 'answers AMQP 0 0 9 1',
      reason: 'We do not speak AMQP 1.0.',
      from: '4.0',
    },
  },
  {
    id: '1.1.junk',
    text: 'Any other first bytes (HTTP, TLS on the plain port, noise) are answered with AMQP 0 0 9 1 and the end of TCP.',
    difference: {
      rabbitmq: 'answers AMQP 3 1 0 0',
      ours: 'answers AMQP 0 0 9 1',
      reason: 'We do not speak AMQP 1.0; the answer names the protocol we do speak.',
      from: '4.0',
    },
  },
  { id: '1.1.split-header', text: 'The header may arrive byte by byte.' },
  {
    id: '1.1.health-check',
    text: 'Connecting and leaving without a byte, or with half a header, disturbs nobody.',
  },
  {
    id: '1.1.handshake-timeout',
    text: 'A connection that is not open in time, at whatever step it stopped, is closed silently.',
  },

  // Sequence.
  { id: '1.2.sequence', text: 'header, start, start-ok, tune, tune-ok, open, open-ok, in this order.' },
  { id: '1.2.pipelined-open', text: 'tune-ok and open may arrive in one segment.' },
  {
    id: '1.2.pipelined-all',
    text: 'channel.open, declare, publish and get may be sent behind open without waiting; they run in order.',
  },
  {
    id: '1.2.pipelined-from-header',
    text: 'A client may even send everything, the header first, without waiting once.',
  },
  { id: '1.2.vhost-literal', text: 'The vhost of open is a name as it stands; `%2F` is not decoded.' },
  { id: '1.2.reserved', text: 'The reserved fields of open, insist among them, are ignored.' },
  { id: '1.2.open-ok', text: 'open-ok carries an empty short string.' },
  { id: '1.2.any-split', text: 'A conversation may be cut into segments at any byte.' },
  { id: '1.2.one-byte-segments', text: 'A conversation may arrive in segments of one byte each.' },

  // connection.start.
  { id: '1.3.version', text: 'start announces version 0.9.' },
  {
    id: '1.3.mechanisms',
    text: 'mechanisms is a list separated by one space with PLAIN and AMQPLAIN in it.',
  },
  { id: '1.3.locales', text: 'locales is `en_US`.' },
  { id: '1.3.locale-unchecked', text: 'The locale of start-ok is not checked.' },
  {
    id: '1.3.capabilities',
    text: 'server-properties holds a table `capabilities` with nine booleans, all true.',
  },
  {
    id: '1.3.properties',
    text: 'server-properties names cluster_name, copyright, information, platform, product and version as long strings.',
  },
  { id: '1.3.sorted', text: 'The keys of server-properties are sorted.' },
  {
    id: '1.3.product',
    text: 'product is `RabbitMQ` and version a plausible one, because clients compare them.',
  },
  {
    id: '1.3.real-product',
    text: 'The real product stands under further keys of server-properties.',
    difference: {
      rabbitmq: 'is RabbitMQ and adds no such key',
      ours: 'adds keys that begin with `leveret_`',
      reason: 'Tools must be able to tell us apart.',
    },
  },

  // Mechanisms and logins.
  { id: '1.4.plain', text: 'PLAIN: NUL, user, NUL, password.' },
  {
    id: '1.4.plain-malformed',
    text: 'A PLAIN response of another form, a non-empty authorisation identity included, ends in a silent close.',
  },
  {
    id: '1.4.amqplain',
    text: 'AMQPLAIN: entries LOGIN and PASSWORD of a table without its length, in any order, other keys ignored.',
  },
  {
    id: '1.4.amqplain-malformed',
    text: 'An AMQPLAIN response with a key missing, of a wrong type, or that is no table, ends in a silent close.',
  },
  {
    id: '1.4.amqplain-type',
    text: 'AMQPLAIN entries that are no strings end in a silent close.',
    difference: {
      rabbitmq: 'takes them for wrong credentials: 403',
      ours: 'closes silently',
      reason: 'A malformed response is not a guess; later versions of RabbitMQ treat it so.',
      below: '4.0',
    },
  },
  {
    id: '1.4.anonymous',
    text: 'ANONYMOUS logs in as the configured user, whatever the response.',
    difference: {
      rabbitmq: 'does not offer ANONYMOUS: silent close',
      ours: 'offers it when a user is configured for it',
      reason: 'Later versions of RabbitMQ do.',
      below: '4.0',
    },
  },
  {
    id: '1.4.unknown-mechanism',
    text: 'A mechanism that was not offered (EXTERNAL without TLS, RABBIT-CR-DEMO, any other) ends in a silent close.',
  },
  {
    id: '1.4.refused-403',
    text: 'Refused credentials are answered with 403, class 0 method 0, when the client declared authentication_failure_close.',
  },
  { id: '1.4.refused-403-end', text: 'After that 403 TCP ends at close-ok, or after the delay without one.' },
  {
    id: '1.4.refused-silent',
    text: 'Without that capability nothing is sent: a silent close after the delay.',
  },
  { id: '1.4.unknown-user', text: 'An unknown user is refused exactly as a wrong password is.' },
  { id: '1.4.delay', text: 'Every silent close during start and tune comes after the delay, never at once.' },

  {
    id: '1.4.loopback',
    text: 'A user on the loopback list is refused from any other address, with the 403 of a wrong password.',
  },

  // Tune.
  { id: '1.5.proposal', text: 'The server proposes channel_max 2047, frame_max 131072 and heartbeat 60.' },
  { id: '1.5.lower', text: 'A client may lower channel_max and frame_max.' },
  {
    id: '1.5.frame-max-4096',
    text: 'frame_max 4096 is accepted.',
    difference: {
      rabbitmq: 'closes silently: its minimum is 8192',
      ours: 'accepts 4096',
      reason: 'amqplib before 0.10.7 and other old clients propose 4096; refusing them gains nothing.',
      from: '4.1',
    },
  },
  { id: '1.5.frame-max-low', text: 'frame_max below 4096, 0 included, ends in a silent close.' },
  { id: '1.5.frame-max-high', text: 'frame_max above the proposal ends in a silent close.' },
  { id: '1.5.channel-max-bad', text: 'channel_max 0 or above the proposal ends in a silent close.' },
  { id: '1.5.heartbeat-any', text: 'Any heartbeat of tune-ok is accepted, above the proposal too.' },
  {
    id: '1.5.initial-frame',
    text: 'Before tune-ok a frame may have 8192 bytes, so that a long token fits into start-ok.',
    difference: {
      rabbitmq: 'allows 4096 bytes',
      ours: 'allows 8192 bytes',
      reason: 'Later versions of RabbitMQ do.',
      below: '4.1',
    },
  },
  { id: '1.5.initial-frame-limit', text: 'A larger frame before tune-ok ends in a silent close.' },

  // connection.open.
  { id: '1.6.vhost-missing', text: 'An unknown vhost: 530 `vhost V not found`, class 10 method 40.' },
  {
    id: '1.6.node-limit',
    text: 'Beyond the connection limit: 530 `connection refused: node connection limit (N) is reached`.',
  },
  {
    id: '1.6.vhost-refused',
    text: "A user without permissions in the vhost: 530 `access to vhost 'V' refused for user 'U'`.",
  },

  // Heartbeats.
  {
    id: '1.7.sends',
    text: 'The server sends a heartbeat every half interval in which it sent nothing else.',
  },
  { id: '1.7.frame', text: 'A heartbeat is a frame of type 8 on channel 0 without payload.' },
  { id: '1.7.disabled', text: 'Heartbeat 0 in tune-ok switches both directions off.' },
  { id: '1.7.missed', text: 'A client that is silent for two to three intervals is dropped silently.' },
  { id: '1.7.any-byte', text: 'Any byte from the client counts, not only heartbeat frames.' },
  {
    id: '1.7.ignored',
    text: 'Heartbeats of the client are accepted at any place, between the frames of a message too, and not answered.',
  },

  { id: '1.7.blocked', text: 'A client that is blocked by an alarm is not dropped for its silence.' },

  // Errors before and around open.
  {
    id: '1.8.silent',
    text: 'A method out of order, any other frame and broken bytes during start and tune end in a silent close.',
  },
  {
    id: '1.8.channel-early',
    text: 'A frame on a channel above 0 during start and tune ends in a silent close.',
  },
  {
    id: '1.8.opening',
    text: 'A wrong method on channel 0 before open: 504 `unexpected method in connection state opening`.',
  },
  { id: '1.8.opening-channel', text: 'A frame on a channel above 0 before open: 505.' },
  { id: '1.8.opening-framing', text: 'A broken frame before open: 501 like later.' },
  {
    id: '1.8.running',
    text: 'Any method on channel 0 that does not belong there: 504 `unexpected method in connection state running`.',
  },

  // Closing.
  {
    id: '1.9.close',
    text: 'connection.close is answered with close-ok, in the middle of a message too; later frames are ignored.',
  },
  { id: '1.9.close-requeues', text: 'Unacked messages are back in their queue at close-ok.' },
  { id: '1.9.close-exclusive', text: 'Exclusive queues are gone at close-ok: their names are free.' },
  {
    id: '1.9.close-tcp',
    text: 'After close-ok the server ends TCP after the heartbeat interval (30 s without one) if the client does not.',
  },
  { id: '1.9.server-close-ends', text: 'After a close by the server TCP ends at the client’s close-ok.' },
  {
    id: '1.9.server-close-ignores',
    text: 'After a close by the server every frame but close and close-ok is ignored.',
  },
  {
    id: '1.9.crossing',
    text: 'A close by the client that crosses the close by the server is answered with close-ok.',
  },
  { id: '1.9.lost', text: 'A lost connection gives back its unacked messages, and its exclusive queues go.' },
  { id: '1.9.lost-reset', text: 'A connection reset does the same as a connection ended.' },
  {
    id: '1.9.shutdown',
    text: "A stopping broker closes with 320 `broker forced connection closure with reason 'shutdown'`.",
  },

  // Blocked.
  {
    id: '1.10.blocked',
    text: 'During an alarm a publishing client with the capability gets connection.blocked with the reason, and unblocked after it.',
  },
  { id: '1.10.consumer-free', text: 'A connection that does not publish is not blocked by an alarm.' },
  { id: '1.10.capability', text: 'A client without the capability is blocked without being told.' },
  { id: '1.10.new-connection', text: 'A connection opened during an alarm is blocked at its first publish.' },

  // update-secret.
  {
    id: '1.11.update-secret',
    text: 'update-secret with a good secret is answered with update-secret-ok, and work goes on.',
  },
  {
    id: '1.11.refused',
    text: 'update-secret with a wrong secret closes with 530 `New secret was refused by one of the backends`.',
    difference: {
      rabbitmq: 'accepts any new secret for users of its internal database',
      ours: 'checks the password again',
      reason: 'A secret that would not log in should not keep a connection alive.',
    },
  },

  // Client properties.
  {
    id: '1.12.cancel-notify',
    text: 'A consumer whose queue goes is told by basic.cancel if the client declared consumer_cancel_notify.',
  },
  { id: '1.12.no-cancel-notify', text: 'Without that capability it is told nothing.' },
  { id: '1.12.free-form', text: 'Client properties may hold any keys and types, none included.' },

  // Channel limits.
  {
    id: '1.13.channel-max',
    text: 'One channel more than negotiated: 530 `number of channels opened (N) has reached the negotiated channel_max (M)`.',
  },
  {
    id: '1.13.count-not-number',
    text: 'The number of open channels counts, not how high a channel is numbered.',
  },
  { id: '1.13.freed', text: 'A closed channel makes room for another.' },
  {
    id: '1.13.node-limit',
    text: "Beyond the node's limit: 530 `number of channels opened on node 'X' has reached the maximum allowed limit of N`.",
  },

  // Frames.
  { id: '2.1.size', text: 'A payload of exactly frame_max bytes is tolerated.' },
  {
    id: '2.1.too-large',
    text: 'A larger payload: 501 `type T, all octets = <<>>: {frame_too_large,SIZE,FRAME_MAX-8}`, refused by its size alone.',
  },
  { id: '2.1.too-large-negotiated', text: 'The limit is the negotiated frame_max.' },
  {
    id: '2.1.framing-end',
    text: 'Behind a broken frame nothing is read, close-ok neither, and TCP ends about 3 s later.',
  },
  {
    id: '2.1.outgoing',
    text: 'Body frames to the client carry at most frame_max - 8 bytes, and as much of the body as fits.',
  },
  {
    id: '2.1.end-byte',
    text: 'A wrong end byte: 501 `type T, all octets = <<...>>: {invalid_frame_end_marker,N}`, `first 16 octets` when long.',
  },
  {
    id: '2.1.unknown-type',
    text: 'An unknown frame type: 501 `type T, all octets = <<...>>: unknown_frame`.',
  },
  { id: '2.1.heartbeat-payload', text: 'A heartbeat with a payload: 501 `... unknown_frame`.' },
  { id: '2.1.heartbeat-channel', text: 'A heartbeat on a channel above 0: 505 `type 8, all octets = <<>>`.' },
  { id: '2.1.content-channel-0', text: 'A header or body frame on channel 0: 505.' },
  { id: '2.1.short-method', text: 'A method frame too short for its ids: 501.' },
  {
    id: '2.1.unknown-method',
    text: 'An unknown class or method: 503 `unimplemented method`, or 540.',
    difference: readerDies('answers 503 or 540'),
  },
  {
    id: '2.1.arguments',
    text: 'Arguments too short, too long, or with bytes behind them: 501 `cannot decode <<...>>`, naming the method.',
  },
  {
    id: '2.1.arguments-channel-0',
    text: 'The same for methods of the connection.',
    difference: {
      rabbitmq: 'answers 541 with the bare text INTERNAL_ERROR',
      ours: 'answers 501 as on other channels',
      reason: 'One rule for all methods.',
    },
  },
  {
    id: '2.1.table-type',
    text: 'An unknown field type in an argument table: 502.',
    difference: readerDies('answers 502'),
  },
  {
    id: '2.1.table-cut',
    text: 'A table whose entry is cut off by its length: 501 or 502.',
    difference: readerDies('answers 501 or 502'),
  },
  { id: '2.1.table-depth', text: 'Tables nested a thousand deep neither crash nor stall the broker.' },
  { id: '2.1.utf8', text: 'A name that is no UTF-8: 501 `Malformed UTF-8 in shortstr`.' },
  {
    id: '2.1.utf8-publish',
    text: 'Exchange and routing key of basic.publish are exempt: any bytes are a routing key.',
  },
  {
    id: '2.1.properties',
    text: 'A broken property list, or bytes behind it: 541.',
  },
  { id: '2.1.properties-table', text: 'A broken headers table closes the connection with 541, 501 or 502.' },

  // Content.
  {
    id: '2.2.no-method',
    text: 'A header or body frame where a method is expected: 505 `expected method frame, got non method frame instead`.',
  },
  {
    id: '2.2.other-class',
    text: 'A header of another class: 505 `expected content header for class 60, got one for class N instead`.',
  },
  {
    id: '2.2.no-header',
    text: 'Anything but a header after publish, or a header with a weight: 505 `expected content header for class 60, got non content header frame instead`.',
  },
  {
    id: '2.2.no-body',
    text: 'Anything but a body where one is due: 505 `expected content body, got non content body frame instead`.',
  },
  {
    id: '2.2.body-limit',
    text: 'An announced body above 512 MiB: 501 `content body size N exceeds maximum allowed size 536870912`, before any of it arrives.',
    difference: {
      rabbitmq: 'waits for the body',
      ours: 'refuses the header',
      reason: 'Later versions of RabbitMQ do.',
      below: '4.0',
    },
  },
  {
    id: '2.2.body-excess',
    text: 'Body frames beyond the announced size: 501 `content body frame exceeds remaining content size`.',
    difference: {
      rabbitmq: 'takes the surplus for the end of the message and waits on',
      ours: 'refuses the frame',
      reason: 'Later versions of RabbitMQ do.',
      below: '4.0',
    },
  },
  {
    id: '2.2.empty',
    text: 'A message of size 0 is complete with its header, in both directions; a body frame after it: 505.',
  },
  { id: '2.2.zero-length-frames', text: 'Body frames of length 0 are legal and mean nothing.' },
  { id: '2.2.boundaries', text: 'How a body is cut into frames carries no meaning.' },
  {
    id: '2.2.interleaved',
    text: 'Frames of several channels may alternate in the middle of their messages.',
  },
  {
    id: '2.2.channel-0-between',
    text: 'Methods of the connection may stand between the frames of a message.',
  },

  // Channel numbers.
  { id: '2.3.expected-open', text: "A method on a channel that is not open: 504 `expected 'channel.open'`." },
  {
    id: '2.3.content-unopened',
    text: 'A header or body frame on a channel that is not open: 505 `expected method frame, got non method frame instead`.',
  },
  { id: '2.3.second-open', text: "channel.open on an open channel: 504 `second 'channel.open' seen`." },
  {
    id: '2.3.connection-method',
    text: 'A method of class connection on an open channel: 503 `unimplemented method`.',
  },
  { id: '2.3.server-method', text: 'A method that only servers send: 503 `unimplemented method`.' },
  {
    id: '2.3.close-ok',
    text: 'channel.close-ok without a close from the server: 503 `unimplemented method`.',
  },
  {
    id: '2.3.pipelined',
    text: 'Further methods may follow a synchronous one before its reply; they run, and are answered, in order.',
  },
  { id: '2.3.any-number', text: 'Channels may be opened in any order and with any number up to 65535.' },

  // After channel.close.
  {
    id: '2.4.order',
    text: 'When channel.close arrives, the unacked messages of that channel are back in their queues.',
  },
  {
    id: '2.4.nothing-after',
    text: 'Nothing is sent on a channel after its close.',
  },
  {
    id: '2.4.nothing-crosses',
    text: 'No delivery follows channel.close, though messages for its consumers were coming in at that moment.',
    difference: {
      rabbitmq: 'deliveries that its queues had sent off already may follow channel.close',
      ours: 'channel.close is the last frame on its channel',
      reason:
        'A client may take the number for free when it has answered; nothing of the old channel may meet the new one.',
    },
  },
  {
    id: '2.4.swallowed',
    text: 'Until close-ok, frames on a closed channel are swallowed; publishes among them are lost.',
  },
  {
    id: '2.4.swallowed-content',
    text: 'Content of a publish that was refused is swallowed too, also when it comes in pieces.',
  },
  { id: '2.4.crossing', text: 'A channel.close by the client that crosses ours is answered with close-ok.' },
  {
    id: '2.4.reopened',
    text: 'After close-ok the number may be opened again, and delivery tags begin at 1.',
  },
  {
    id: '2.4.reopen-unanswered',
    text: 'A client may open the number again without waiting for close-ok.',
    difference: {
      rabbitmq: "may answer 504 `second 'channel.open' seen` while its channel is still ending",
      ours: 'opens it',
      reason: 'Methods are processed strictly in order; there is no moment in between.',
    },
  },
  {
    id: '2.4.client-close',
    text: 'channel.close by the client gives back unacked messages before close-ok; the number may be reopened at once.',
  },

  // Field tables.
  { id: '2.5.types', text: 'Every field type comes back as it was sent.' },
  {
    id: '2.5.signed-long',
    text: '`L` is a 64-bit value with the bits it was sent with; it may come back as `l`.',
  },
  { id: '2.5.nested', text: 'Tables and arrays nest.' },
  { id: '2.5.duplicates', text: 'A table with a key twice is accepted.' },
  { id: '2.5.arguments', text: 'All field types are accepted in arguments too.' },
  { id: '2.5.empty-key', text: 'Empty and 255-byte keys are kept.' },

  // Content header.
  {
    id: '2.6.properties',
    text: 'Each of the fourteen properties, alone and all together, comes back as it was sent.',
  },
  { id: '2.6.absent', text: 'An absent property stays absent; an empty string is not absent.' },
  { id: '2.6.flag-bits', text: 'Bits 1 and 0 of the flags are ignored; no second flag word is read.' },

  // Methods: layout on the wire, byte for byte.
  {
    id: '3.1.connection',
    text: 'connection: start, start-ok, tune, tune-ok, open, open-ok, close, close-ok.',
  },
  { id: '3.1.update-secret', text: 'connection.update-secret 10.70 is answered with 10.71.' },
  { id: '3.1.channel', text: 'channel: open-ok carries an empty long string; close and flow.' },
  { id: '3.1.access', text: 'access.request 30.10 is answered with ticket 1.' },
  { id: '3.2.exchange-declare', text: 'exchange.declare and its five bits.' },
  { id: '3.2.exchange-delete', text: 'exchange.delete and its two bits.' },
  { id: '3.2.exchange-bind', text: 'exchange.bind 40.30 is answered with 40.31.' },
  { id: '3.2.exchange-unbind', text: 'exchange.unbind 40.40 is answered with 40.51.' },
  { id: '3.2.queue-declare', text: 'queue.declare and its five bits; declare-ok with name and two counts.' },
  { id: '3.2.queue-bind', text: 'queue.bind.' },
  { id: '3.2.queue-purge', text: 'queue.purge; purge-ok with a count.' },
  { id: '3.2.queue-delete', text: 'queue.delete and its three bits; delete-ok with a count.' },
  { id: '3.2.queue-unbind', text: 'queue.unbind has no no-wait bit.' },
  { id: '3.2.no-wait', text: 'A method with no-wait has no reply.' },
  { id: '3.3.qos', text: 'basic.qos.' },
  { id: '3.3.consume', text: 'basic.consume and its four bits; deliver.' },
  { id: '3.3.cancel', text: 'basic.cancel.' },
  { id: '3.3.publish', text: 'basic.publish; return.' },
  { id: '3.3.get', text: 'basic.get; get-ok with content, get-empty with an empty short string.' },
  { id: '3.3.ack', text: 'basic.ack, reject and nack.' },
  {
    id: '3.3.recover',
    text: 'basic.recover 60.110 is answered with 60.111, recover-async 60.100 with nothing.',
  },
  { id: '3.3.confirm', text: 'confirm.select; confirms are basic.ack.' },
  { id: '3.3.tx', text: 'tx.select, commit and rollback.' },
  { id: '3.ticket', text: 'Tickets are ignored.' },

  // Accepted, refused, absent.
  { id: '3.4.access', text: 'access.request is granted, whatever it asks.' },
  { id: '3.4.flow-on', text: 'channel.flow active is answered with flow-ok active.' },
  { id: '3.4.flow-off', text: 'channel.flow inactive: 540 `active=false`.' },
  { id: '3.4.prefetch-size', text: 'basic.qos with a prefetch-size: 540 `prefetch_size!=0 (N)`.' },
  { id: '3.4.immediate', text: 'basic.publish immediate: 540 `immediate=true`.' },
  { id: '3.4.recover-drop', text: 'basic.recover and recover-async without requeue: 540 `requeue=false`.' },
  {
    id: '3.4.absent',
    text: 'connection.redirect and the classes file, stream, dtx and tunnel do not exist: refused like any unknown method.',
    difference: readerDies('answers 503 or 540'),
  },

  // Limits.
  {
    id: '14.message-size',
    text: 'A body above 16 MiB is refused after its last frame: 406 `message size N is larger than configured max size 16777216`.',
    difference: {
      rabbitmq: 'accepts up to 128 MiB',
      ours: 'accepts up to 16 MiB',
      reason: 'Later versions of RabbitMQ do.',
      below: '4.0',
    },
  },
  {
    id: '14.message-size-soft',
    text: 'That refusal closes the channel only.',
    difference: {
      rabbitmq: 'accepts up to 128 MiB',
      ours: 'closes the channel',
      reason: 'Later versions of RabbitMQ do.',
      below: '4.0',
    },
  },
  { id: '14.largest-message', text: 'A body of 16 MiB arrives whole.' },
  { id: '14.handshake-timeout', text: 'By default the handshake may take 10 seconds.' },
  { id: '14.slow-consumer', text: 'A consumer that does not read delays nobody, and loses nothing.' },
  { id: '14.flood', text: 'A client that publishes without a pause keeps nobody else waiting.' },
  { id: '14.consumers', text: 'Consumers on one channel have no limit by default.' },
  { id: '14.channels', text: 'All 2047 channels of the proposal can be opened.' },
];
