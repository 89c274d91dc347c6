// Policies, limits and parameters: section 12, and what sections 1, 4, 5 and 14 say of limits.
import type { Rule } from '../rules.ts';

export const policiesRules: readonly Rule[] = [
  // Which policy applies.
  {
    id: '12.1.living',
    text: 'A policy applies at once to what was declared before it, to what is declared later, and no more when it is deleted.',
  },
  { id: '12.1.pattern', text: 'A pattern is found anywhere in a name, if it is not anchored.' },
  { id: '12.1.priority', text: 'Of the policies that match, only that of the highest priority applies.' },
  {
    id: '12.1.tie',
    text: 'Of policies of equal priority that match, the one whose name comes first applies.',
  },
  { id: '12.1.apply-to', text: 'A policy for queues passes exchanges by, and the other way round.' },
  {
    id: '12.1.apply-to-type',
    text: 'A policy for classic queues, quorum queues or streams applies to queues of that type only.',
    difference: {
      rabbitmq: 'the types cannot be named: apply-to is queues, exchanges or all',
      ours: 'classic_queues, quorum_queues and streams are taken',
      reason: 'RabbitMQ 3.12 added them.',
      below: '3.12.0',
    },
  },
  {
    id: '12.1.unsupported-key',
    text: "A policy with a key that the queue's type does not know is not applied to it at all; the next one that matches is.",
  },
  {
    id: '12.1.operator',
    text: 'With a policy and an operator policy, the smaller of two limits holds, and keys of one alone hold too.',
  },
  {
    id: '12.1.operator-overflow',
    text: 'Where both name an overflow, that of the operator policy holds.',
    difference: {
      rabbitmq: 'refuses overflow in operator policies',
      ours: 'takes it, and it goes before that of a policy',
      reason: 'RabbitMQ 3.12.7 added it.',
      below: '3.12.7',
    },
  },
  { id: '12.1.default-exchange', text: 'A policy gives the default exchange no alternate exchange.' },

  // What its keys do.
  { id: '12.1.max-length', text: 'max-length cuts a queue that is too long when the policy comes.' },
  { id: '12.1.max-length-bytes', text: 'max-length-bytes likewise.' },
  {
    id: '12.1.overflow',
    text: 'overflow reject-publish has publishes refused from then on, and no more when the policy is gone.',
  },
  { id: '12.1.message-ttl', text: 'message-ttl holds for messages that come while the policy is there.' },
  {
    id: '12.1.message-ttl-waiting',
    text: 'Messages that wait when a policy brings message-ttl expire that long after it came, if not sooner.',
    difference: {
      rabbitmq: 'they keep the time they had when they came',
      ours: 'they live no longer than messages that come now',
      reason:
        'Who gives a queue a time to live wants to be rid of old messages, those that wait most of all.',
    },
  },
  { id: '12.1.expires', text: 'expires deletes a queue that nobody uses.' },
  {
    id: '12.1.dead-letter',
    text: 'dead-letter-exchange and dead-letter-routing-key hold for messages that were there before.',
  },
  {
    id: '12.1.alternate',
    text: 'alternate-exchange takes what an exchange cannot route, as long as the policy is there.',
  },

  // Policy and argument.
  {
    id: '12.1.argument-smaller',
    text: 'Of message-ttl, max-length and max-length-bytes the smaller of argument and policy holds.',
  },
  {
    id: '12.1.argument-dead-letter',
    text: 'Arguments for dead-lettering and the alternate exchange go before policies.',
  },
  {
    id: '12.1.argument-delivery-limit',
    text: 'Of delivery-limit the smaller of argument and policy holds.',
  },
  { id: '12.1.argument-overflow', text: 'On a classic queue the argument x-overflow goes before a policy.' },
  {
    id: '12.1.quorum-overflow',
    text: 'On a quorum queue the overflow of a policy goes before the argument.',
  },

  { id: '12.1.argument-expires', text: 'Of expires, too, the smaller of argument and policy holds.' },
  {
    id: '12.1.argument-unlimited',
    text: 'A negative delivery limit of one of the two gives way to the other.',
    difference: {
      rabbitmq:
        'refuses a negative limit in a policy; one in an argument is the smaller, and counts as none left',
      ours: 'takes it for no limit',
      reason: 'RabbitMQ 4.0 does so.',
      below: '4.0.0',
    },
  },
  { id: '12.1.argument-stream', text: 'On a stream the limits of a policy go before the arguments.' },
  {
    id: '12.1.operator-limits',
    text: 'Of every limit that a policy and an operator policy name, the smaller holds.',
  },
  {
    id: '12.1.operator-unlimited',
    text: 'A negative delivery limit of one of the two gives way to that of the other.',
    difference: {
      rabbitmq: 'refuses a negative limit in a policy',
      ours: 'takes it for no limit',
      reason: 'RabbitMQ 4.0 does so.',
      below: '4.0.0',
    },
  },
  {
    id: '12.1.keys',
    text: 'A policy takes every key of queues and exchanges, at the bounds of what is allowed.',
  },
  {
    id: '12.1.later-keys',
    text: 'So it does with those that came later.',
    difference: {
      rabbitmq: 'does not know them',
      ours: 'takes them',
      reason: 'RabbitMQ 4 has them, the last since 4.4.',
      below: '4.4.0',
    },
  },
  {
    id: '12.1.operator-keys',
    text: 'An operator policy takes limits, expires and message-ttl.',
  },
  {
    id: '12.1.operator-later-keys',
    text: 'So it does with those that came later.',
    difference: {
      rabbitmq: 'does not know them',
      ours: 'takes them',
      reason: 'RabbitMQ 4 has them, the last since 4.4.',
      below: '4.4.0',
    },
  },

  // What is refused.
  {
    id: '12.1.unknown-key',
    text: 'Unknown keys are refused, listed with their values: `[{<<"foo">>,1}] are not recognised policy settings`.',
  },
  {
    id: '12.1.not-available',
    text: 'Priorities, a single active consumer, the type and flags of queues cannot be set by a policy.',
  },
  { id: '12.1.wrong-value', text: 'A wrong value is refused and the key is named.' },
  { id: '12.1.operator-key', text: 'An operator policy takes limits only.' },
  { id: '12.1.empty', text: 'A policy without any key is refused: `no policy provided`.' },
  { id: '12.1.bad-pattern', text: 'A pattern that is no regular expression is refused.' },
  {
    id: '12.1.bad-apply-to',
    text: 'An apply-to that is none is refused, with those there are.',
    difference: {
      rabbitmq: 'names queues, exchanges and all',
      ours: 'names the types of queues too',
      reason: 'RabbitMQ 3.12 added them.',
      below: '3.12.0',
    },
  },
  { id: '12.1.missing', text: 'Deleting a policy that is not there: `Parameter does not exist`.' },

  // Limits.
  {
    id: '1.6.vhost-limit',
    text: "A vhost that has max-connections connections: 530 `access to vhost 'V' refused for user 'U': connection limit (N) is reached`.",
  },
  {
    id: '1.6.user-limit',
    text: "A user that has max-connections connections: 530 `connection refused for user 'U': user connection limit (N) is reached`.",
  },
  {
    id: '1.6.limits-order',
    text: 'The limit of the vhost is asked before that of the user, and both before permissions.',
  },
  {
    id: '1.13.user-limit',
    text: "A user that has max-channels channels, on all connections together: 530 `number of channels opened for user 'U' has reached the maximum allowed user limit of N`.",
    difference: {
      rabbitmq: 'writes the limit in brackets',
      ours: 'writes it without',
      reason: 'RabbitMQ does so since it has a limit of channels for the node.',
      below: '3.13.0',
    },
  },
  {
    id: '4.2.exchange-limit',
    text: "A node with as many exchanges as it may have: 406 `cannot declare exchange 'E' in vhost 'V': exchange limit of N is reached`.",
  },
  {
    id: '5.4.vhost-queue-limit',
    text: "A vhost that has max-queues queues: 406 `cannot declare queue 'Q': queue limit in vhost 'V' (N) is reached`; those that exist can be declared again.",
  },
  { id: '12.2.zero', text: 'A limit of 0 allows nothing.' },
  { id: '12.2.negative', text: 'A negative limit is none.' },
  { id: '12.2.counts', text: 'However a connection ends, it counts no more.' },
  { id: '12.2.validation', text: 'Limits that are not known, or no integers, are refused.' },
  { id: '12.2.vhosts', text: 'A node with as many vhosts as it may have makes no further one.' },

  // Parameters.
  { id: '12.3.parameter', text: 'A parameter is set, listed and cleared, and takes effect.' },
  { id: '12.3.component', text: 'A parameter of a component that is not there is refused.' },
  { id: '12.3.policy', text: 'Policies cannot be set as parameters.' },
  { id: '12.3.operator-policy', text: 'Operator policies can be set as parameters, with all their parts.' },
  { id: '12.3.missing', text: 'Clearing a parameter that is not there: `Parameter does not exist`.' },
  { id: '12.3.global', text: 'Global parameters have a name and any value.' },
  {
    id: '12.3.kept',
    text: 'Parameters of federation and shovels are kept.',
    difference: {
      rabbitmq: 'knows them with its plugins only',
      ours: 'keeps them, without any effect',
      reason: 'Definitions files bring them.',
    },
  },
  { id: '12.3.restart', text: 'Policies, parameters and limits are there after a restart.' },

  // Defaults.
  {
    id: '14.defaults',
    text: 'Memory 0.6, disk 50 MB, messages 16 MiB, 10 s for the handshake, 30 minutes to acknowledge; as many connections, channels, queues, exchanges and vhosts as there are.',
  },
  { id: '14.alarm-no-error', text: 'An alarm closes nothing: declares and gets go on, and publishes wait.' },
];
