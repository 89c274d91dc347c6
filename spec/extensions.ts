// What RabbitMQ adds to AMQP 0-9-1 and its clients rely on: methods, and methods that the other side may send as well.
// Owns the additions and the merged table (`PROTOCOL`), which is what the generator and the tests read.

import { CLASSES, FIELD_TAGS, PROPERTIES, REPLY_CODES } from './amqp0-9-1.ts';
import type { ClassSpec, MethodSpec, ProtocolSpec, ReplyCode } from './protocol-table.ts';
import { fields, notice, request } from './protocol-table.ts';

/** Methods added, by class. A class that the document does not have is added whole. */
export const ADDED: readonly ClassSpec[] = [
  {
    id: 10,
    name: 'connection',
    methods: [
      notice(60, 'blocked', 'server', fields('reason: shortstr')),
      notice(61, 'unblocked', 'server', []),
      request(70, 'update-secret', 'client', fields('new-secret: longstr', 'reason: shortstr')),
      notice(71, 'update-secret-ok', 'server', []),
    ],
  },
  {
    // Gone from 0-9-1; old clients still ask for a ticket and get a dummy.
    id: 30,
    name: 'access',
    methods: [
      request(
        10,
        'request',
        'client',
        fields('realm: shortstr', 'exclusive: bit', 'passive: bit', 'active: bit', 'write: bit', 'read: bit'),
      ),
      notice(11, 'request-ok', 'server', fields('ticket: short')),
    ],
  },
  {
    id: 40,
    name: 'exchange',
    methods: [
      request(
        30,
        'bind',
        'client',
        fields(
          'short',
          'destination: name',
          'source: name',
          'routing-key: name',
          'no-wait: bit',
          'arguments: table',
        ),
      ),
      notice(31, 'bind-ok', 'server', []),
      request(
        40,
        'unbind',
        'client',
        fields(
          'short',
          'destination: name',
          'source: name',
          'routing-key: name',
          'no-wait: bit',
          'arguments: table',
        ),
      ),
      // 51, not 41.
      notice(51, 'unbind-ok', 'server', []),
    ],
  },
  {
    id: 60,
    name: 'basic',
    methods: [notice(120, 'nack', 'both', fields('delivery-tag: tag', 'multiple: bit', 'requeue: bit'))],
  },
  {
    id: 85,
    name: 'confirm',
    methods: [request(10, 'select', 'client', fields('no-wait: bit')), notice(11, 'select-ok', 'server', [])],
  },
];

/**
 * Methods of the document that both sides may send: acknowledgements settle publishes in confirm mode, and the server cancels
 * consumers of a queue that went away.
 */
export const SENT_BY_BOTH: readonly string[] = ['basic.ack', 'basic.cancel', 'basic.cancel-ok'];

/** Reply codes added. */
export const ADDED_REPLY_CODES: readonly ReplyCode[] = [{ code: 312, name: 'no-route', kind: 'soft' }];

function widened(className: string, method: MethodSpec): MethodSpec {
  return SENT_BY_BOTH.includes(`${className}.${method.name}`) ? { ...method, sentBy: 'both' } : method;
}

function mergedClasses(): readonly ClassSpec[] {
  const ids = [...new Set([...CLASSES, ...ADDED].map((spec) => spec.id))].sort((a, b) => a - b);
  return ids.map((id) => {
    const parts = [...CLASSES, ...ADDED].filter((spec) => spec.id === id);
    const name = parts[0]?.name ?? '';
    const methods = parts.flatMap((part) => part.methods).map((method) => widened(name, method));
    return { id, name, methods: methods.sort((a, b) => a.id - b.id) };
  });
}

/** The protocol as it is spoken. */
export const PROTOCOL: ProtocolSpec = {
  classes: mergedClasses(),
  properties: PROPERTIES,
  replyCodes: [...REPLY_CODES, ...ADDED_REPLY_CODES].sort((a, b) => a.code - b.code),
  fieldTags: FIELD_TAGS,
};
