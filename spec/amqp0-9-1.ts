// AMQP 0-9-1 as a table: classes, methods, arguments, properties, reply codes, field-table tags.
// Owns what the specification document says; what RabbitMQ adds is in `extensions.ts`. Knows nothing of the code made from it.
// Where the document and every real client differ, the clients' reading stands, with a comment.

import type { ClassSpec, FieldTag, PropertySpec, ReplyCode } from './protocol-table.ts';
import { content, fields, notice, request } from './protocol-table.ts';

/** The classes of the specification document. */
export const CLASSES: readonly ClassSpec[] = [
  {
    id: 10,
    name: 'connection',
    methods: [
      request(
        10,
        'start',
        'server',
        fields(
          'version-major: octet',
          'version-minor: octet',
          'server-properties: table',
          'mechanisms: longstr',
          'locales: longstr',
        ),
      ),
      notice(
        11,
        'start-ok',
        'client',
        fields('client-properties: table', 'mechanism: shortstr', 'response: longstr', 'locale: shortstr'),
      ),
      request(20, 'secure', 'server', fields('challenge: longstr')),
      notice(21, 'secure-ok', 'client', fields('response: longstr')),
      request(30, 'tune', 'server', fields('channel-max: short', 'frame-max: long', 'heartbeat: short')),
      notice(31, 'tune-ok', 'client', fields('channel-max: short', 'frame-max: long', 'heartbeat: short')),
      request(40, 'open', 'client', fields('vhost: name', 'shortstr', 'bit')),
      notice(41, 'open-ok', 'server', fields('shortstr')),
      request(
        50,
        'close',
        'both',
        fields('reply-code: short', 'reply-text: shortstr', 'class-id: short', 'method-id: short'),
      ),
      notice(51, 'close-ok', 'both', []),
    ],
  },
  {
    id: 20,
    name: 'channel',
    methods: [
      request(10, 'open', 'client', fields('shortstr')),
      // A long string, other than everywhere else: the reserved argument was a channel id once.
      notice(11, 'open-ok', 'server', fields('longstr')),
      request(20, 'flow', 'both', fields('active: bit')),
      notice(21, 'flow-ok', 'both', fields('active: bit')),
      request(
        40,
        'close',
        'both',
        fields('reply-code: short', 'reply-text: shortstr', 'class-id: short', 'method-id: short'),
      ),
      notice(41, 'close-ok', 'both', []),
    ],
  },
  {
    id: 40,
    name: 'exchange',
    methods: [
      request(
        10,
        'declare',
        'client',
        // The document reserves auto-delete and internal; RabbitMQ and its clients kept their older meaning.
        fields(
          'short',
          'exchange: name',
          'type: name',
          'passive: bit',
          'durable: bit',
          'auto-delete: bit',
          'internal: bit',
          'no-wait: bit',
          'arguments: table',
        ),
      ),
      notice(11, 'declare-ok', 'server', []),
      request(20, 'delete', 'client', fields('short', 'exchange: name', 'if-unused: bit', 'no-wait: bit')),
      notice(21, 'delete-ok', 'server', []),
    ],
  },
  {
    id: 50,
    name: 'queue',
    methods: [
      request(
        10,
        'declare',
        'client',
        fields(
          'short',
          'queue: name',
          'passive: bit',
          'durable: bit',
          'exclusive: bit',
          'auto-delete: bit',
          'no-wait: bit',
          'arguments: table',
        ),
      ),
      notice(
        11,
        'declare-ok',
        'server',
        fields('queue: name', 'message-count: long', 'consumer-count: long'),
      ),
      request(
        20,
        'bind',
        'client',
        fields(
          'short',
          'queue: name',
          'exchange: name',
          'routing-key: name',
          'no-wait: bit',
          'arguments: table',
        ),
      ),
      notice(21, 'bind-ok', 'server', []),
      request(30, 'purge', 'client', fields('short', 'queue: name', 'no-wait: bit')),
      notice(31, 'purge-ok', 'server', fields('message-count: long')),
      request(
        40,
        'delete',
        'client',
        fields('short', 'queue: name', 'if-unused: bit', 'if-empty: bit', 'no-wait: bit'),
      ),
      notice(41, 'delete-ok', 'server', fields('message-count: long')),
      // No no-wait bit here, unlike every other request of the class.
      request(
        50,
        'unbind',
        'client',
        fields('short', 'queue: name', 'exchange: name', 'routing-key: name', 'arguments: table'),
      ),
      notice(51, 'unbind-ok', 'server', []),
    ],
  },
  {
    id: 60,
    name: 'basic',
    methods: [
      request(10, 'qos', 'client', fields('prefetch-size: long', 'prefetch-count: short', 'global: bit')),
      notice(11, 'qos-ok', 'server', []),
      request(
        20,
        'consume',
        'client',
        fields(
          'short',
          'queue: name',
          'consumer-tag: name',
          'no-local: bit',
          'no-ack: bit',
          'exclusive: bit',
          'no-wait: bit',
          'arguments: table',
        ),
      ),
      notice(21, 'consume-ok', 'server', fields('consumer-tag: name')),
      request(30, 'cancel', 'client', fields('consumer-tag: name', 'no-wait: bit')),
      notice(31, 'cancel-ok', 'server', fields('consumer-tag: name')),
      content(
        40,
        'publish',
        'client',
        fields('short', 'exchange: anyname', 'routing-key: anyname', 'mandatory: bit', 'immediate: bit'),
      ),
      content(
        50,
        'return',
        'server',
        fields('reply-code: short', 'reply-text: shortstr', 'exchange: anyname', 'routing-key: anyname'),
      ),
      content(
        60,
        'deliver',
        'server',
        fields(
          'consumer-tag: name',
          'delivery-tag: tag',
          'redelivered: bit',
          'exchange: anyname',
          'routing-key: anyname',
        ),
      ),
      request(70, 'get', 'client', fields('short', 'queue: name', 'no-ack: bit')),
      content(
        71,
        'get-ok',
        'server',
        fields(
          'delivery-tag: tag',
          'redelivered: bit',
          'exchange: anyname',
          'routing-key: anyname',
          'message-count: long',
        ),
      ),
      notice(72, 'get-empty', 'server', fields('shortstr')),
      notice(80, 'ack', 'client', fields('delivery-tag: tag', 'multiple: bit')),
      notice(90, 'reject', 'client', fields('delivery-tag: tag', 'requeue: bit')),
      notice(100, 'recover-async', 'client', fields('requeue: bit')),
      request(110, 'recover', 'client', fields('requeue: bit')),
      notice(111, 'recover-ok', 'server', []),
    ],
  },
  {
    id: 90,
    name: 'tx',
    methods: [
      request(10, 'select', 'client', []),
      notice(11, 'select-ok', 'server', []),
      request(20, 'commit', 'client', []),
      notice(21, 'commit-ok', 'server', []),
      request(30, 'rollback', 'client', []),
      notice(31, 'rollback-ok', 'server', []),
    ],
  },
];

/** Basic properties, in the order in which they lie behind the flags word. */
export const PROPERTIES: readonly PropertySpec[] = [
  { bit: 15, name: 'content-type', type: 'interned', peeked: false },
  { bit: 14, name: 'content-encoding', type: 'interned', peeked: false },
  { bit: 13, name: 'headers', type: 'table', peeked: true },
  { bit: 12, name: 'delivery-mode', type: 'octet', peeked: true },
  { bit: 11, name: 'priority', type: 'octet', peeked: true },
  { bit: 10, name: 'correlation-id', type: 'shortstr', peeked: true },
  { bit: 9, name: 'reply-to', type: 'shortstr', peeked: true },
  { bit: 8, name: 'expiration', type: 'shortstr', peeked: true },
  { bit: 7, name: 'message-id', type: 'shortstr', peeked: true },
  { bit: 6, name: 'timestamp', type: 'timestamp', peeked: true },
  { bit: 5, name: 'type', type: 'interned', peeked: true },
  { bit: 4, name: 'user-id', type: 'interned', peeked: true },
  { bit: 3, name: 'app-id', type: 'interned', peeked: true },
  // Reserved in the document, still sent by clients.
  { bit: 2, name: 'cluster-id', type: 'shortstr', peeked: false },
];

/** Reply codes. */
export const REPLY_CODES: readonly ReplyCode[] = [
  { code: 200, name: 'reply-success', kind: 'success' },
  { code: 311, name: 'content-too-large', kind: 'soft' },
  { code: 313, name: 'no-consumers', kind: 'soft' },
  { code: 320, name: 'connection-forced', kind: 'hard' },
  { code: 402, name: 'invalid-path', kind: 'hard' },
  { code: 403, name: 'access-refused', kind: 'soft' },
  { code: 404, name: 'not-found', kind: 'soft' },
  { code: 405, name: 'resource-locked', kind: 'soft' },
  { code: 406, name: 'precondition-failed', kind: 'soft' },
  { code: 501, name: 'frame-error', kind: 'hard' },
  { code: 502, name: 'syntax-error', kind: 'hard' },
  { code: 503, name: 'command-invalid', kind: 'hard' },
  { code: 504, name: 'channel-error', kind: 'hard' },
  { code: 505, name: 'unexpected-frame', kind: 'hard' },
  { code: 506, name: 'resource-error', kind: 'hard' },
  { code: 530, name: 'not-allowed', kind: 'hard' },
  { code: 540, name: 'not-implemented', kind: 'hard' },
  { code: 541, name: 'internal-error', kind: 'hard' },
];

/**
 * Types of values in a field table. Every client library and broker reads these tags as RabbitMQ does; the document's own table
 * (short strings under `s`, unsigned numbers under capitals) was never implemented.
 */
export const FIELD_TAGS: readonly FieldTag[] = [
  { tag: 't', name: 'bool', size: 1 },
  { tag: 'b', name: 'byte', size: 1 },
  { tag: 'B', name: 'unsignedbyte', size: 1 },
  { tag: 's', name: 'short', size: 2 },
  { tag: 'u', name: 'unsignedshort', size: 2 },
  { tag: 'I', name: 'signedint', size: 4 },
  { tag: 'i', name: 'unsignedint', size: 4 },
  { tag: 'l', name: 'long', size: 8 },
  // Signed as well, and never written: it goes out again as `l`.
  { tag: 'L', name: 'long', size: 8 },
  { tag: 'f', name: 'float', size: 4 },
  { tag: 'd', name: 'double', size: 8 },
  { tag: 'D', name: 'decimal', size: 5 },
  { tag: 'S', name: 'longstr', size: null },
  { tag: 'x', name: 'binary', size: null },
  { tag: 'A', name: 'array', size: null },
  { tag: 'T', name: 'timestamp', size: 8 },
  { tag: 'F', name: 'table', size: null },
  { tag: 'V', name: 'void', size: 0 },
];
