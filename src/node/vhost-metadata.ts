// What is known of a virtual host beside its content: description, tags, the type of queues that name none, protection from deletion.
// Owns these facts' form and the rule of default queue types. Knows no vhost: it is handed declarations.
// Invariant: a default type is the name of a type that exists.

import { BrokerError } from '../base/errors.ts';
import type { FieldTable, FieldValue } from '../protocol/field-table.ts';
import type { QueueType } from '../queue/queue-options.ts';

/** Facts about a virtual host that people set (RabbitMQ: vhost metadata). */
export interface VHostMetadata {
  readonly description: string;
  readonly tags: readonly string[];
  /** Type of queues that are declared without x-queue-type; null: classic. */
  readonly defaultQueueType: QueueType | null;
  /** It cannot be deleted. */
  readonly protectedFromDeletion: boolean;
}

/** A vhost that nobody has said anything about. */
export const NO_METADATA: VHostMetadata = {
  description: '',
  tags: [],
  defaultQueueType: null,
  protectedFromDeletion: false,
};

const QUEUE_TYPES: readonly QueueType[] = ['classic', 'quorum', 'stream'];
const TYPE_ARGUMENT = 'x-queue-type';

const TYPE_VALUES: Readonly<Record<QueueType, FieldValue>> = {
  classic: { tag: 'S', value: 'classic' },
  quorum: { tag: 'S', value: 'quorum' },
  stream: { tag: 'S', value: 'stream' },
};
/** Most queues have no other argument, and share this one table. */
const ONLY_CLASSIC: FieldTable = new Map([[TYPE_ARGUMENT, TYPE_VALUES.classic]]);

/** True for the name of a queue type. */
export function isQueueType(name: string): name is QueueType {
  return QUEUE_TYPES.includes(name as QueueType);
}

/** @throws BrokerError precondition-failed with RabbitMQ's text when no queue type has that name */
export function queueTypeOf(name: string): QueueType {
  if (name === '')
    throw new BrokerError('precondition-failed', 'default_queue_type must not be an empty string');
  if (!isQueueType(name)) throw new BrokerError('precondition-failed', `${name} is not a valid queue type`);
  return name;
}

/**
 * The arguments of a declaration with its queue type among them: where none is given, the vhost's default, or classic for queues that the
 * default type cannot be (RabbitMQ 4).
 */
export function withQueueType(
  args: FieldTable,
  lasts: { readonly durable: boolean; readonly exclusive: boolean; readonly autoDelete: boolean },
  metadata: VHostMetadata,
): FieldTable {
  if (args.has(TYPE_ARGUMENT)) return args;
  const { durable, exclusive, autoDelete } = lasts;
  const type = durable && !exclusive && !autoDelete ? (metadata.defaultQueueType ?? 'classic') : 'classic';
  if (args.size === 0 && type === 'classic') return ONLY_CLASSIC;
  return new Map(args).set(TYPE_ARGUMENT, TYPE_VALUES[type]);
}
