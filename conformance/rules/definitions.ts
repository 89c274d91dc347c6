// Definitions files and what they describe, virtual hosts and users as people manage them. Owns the ids that begin with 12.4.
import type { Rule } from '../rules.ts';

export const definitionsRules: readonly Rule[] = [
  {
    id: '12.4.number-types',
    text: 'Whole numbers of imported arguments are of type long, others double, texts longstr.',
  },
  { id: '12.4.null', text: 'A null among arguments is refused: null_not_allowed.' },
  { id: '12.4.existing', text: 'Queues, exchanges and bindings that exist stay as they are.' },
  { id: '12.4.overwrite', text: 'Users, permissions and policies of the same name are overwritten.' },
  { id: '12.4.reserved', text: 'The default exchange and names that begin with amq. are passed over.' },
  { id: '12.4.first-error', text: 'The first error stops an import; what was imported before it stays.' },
  {
    id: '12.4.no-vhost',
    text: 'An object of a vhost that does not exist is refused.',
    difference: {
      rabbitmq: 'an Erlang term, no_such_vhost, in the log',
      ours: "RabbitMQ 4's words: Please create virtual host … prior to importing definitions.",
      reason: 'RabbitMQ 3.11 gave the refusal words.',
      below: '3.11.0',
    },
  },
  { id: '12.4.orphan', text: 'A file whose queues name no vhost is refused as a whole.' },
  {
    id: '12.4.dangling',
    text: 'A binding from or to something that is not there is passed over.',
    difference: {
      rabbitmq: 'the import stops with an error',
      ours: 'the binding is passed over, and the log says so',
      reason:
        "Files of rabbitmqctl have the bindings of exclusive queues without the queues; RabbitMQ's own would not come back.",
      from: '4.0.0',
    },
  },
  {
    id: '12.4.single-vhost',
    text: 'A file without vhosts can be imported into one virtual host, and nothing but what belongs to it is taken.',
  },
  {
    id: '12.4.queue-limit',
    text: 'A file with more queues than the vhost may have is refused before any is made.',
  },
  {
    id: '12.4.password-hash',
    text: 'Users log in with the passwords that imported hashes were made of: SHA-256, SHA-512, MD5.',
  },
  {
    id: '12.4.password',
    text: 'A user may have a password in clear text instead of a hash, and tags as a text with commas.',
  },
  {
    id: '12.4.in-force',
    text: 'What was imported is in force: bindings route, policies apply, permissions hold.',
  },
  {
    id: '12.4.export-own',
    text: 'An export has the queues, exchanges and bindings that clients declared, transient ones too, and no amq. exchange.',
  },
  { id: '12.4.export-exclusive', text: 'Exclusive queues are not exported.' },
  {
    id: '12.4.export-bindings',
    text: 'Bindings of exclusive queues are not exported.',
    difference: {
      rabbitmq: 'rabbitmqctl exports them, the HTTP API does not',
      ours: 'they are left out',
      reason: 'Without the queue they lead nowhere.',
    },
  },
  {
    id: '12.4.export-internal',
    text: 'Internal exchanges are exported.',
    difference: {
      rabbitmq: 'rabbitmqctl leaves them out, the HTTP API of 4.2 exports them',
      ours: 'they are exported, with the flag',
      reason: 'Bindings between exchanges would be lost with them.',
    },
  },
  { id: '12.4.round-trip', text: 'What was imported is exported as it was.' },
  {
    id: '12.4.default-type',
    text: 'A queue declared without a type has the default type of its vhost, if it can.',
  },
  {
    id: '12.4.vhost-deleted',
    text: 'Deleting a vhost closes its connections with 320, and all of its content goes.',
  },
  { id: '12.4.user-deleted', text: 'Deleting a user closes its connections with 320.' },
  {
    id: '12.4.metadata',
    text: 'Description, tags and default type of a vhost are taken from its metadata and from beside it.',
  },
  { id: '12.4.limits', text: 'Limits of users and of vhosts are imported, in force, and exported.' },
  { id: '12.4.topic-permissions', text: 'Topic permissions are imported, in force, and exported.' },
  {
    id: '12.4.parameters',
    text: 'Global parameters and those of federation and shovels are exported as they were imported.',
  },
  {
    id: '12.4.form',
    text: 'An export says who wrote it, in which version and form, and has every list, also when it is empty.',
  },
];
