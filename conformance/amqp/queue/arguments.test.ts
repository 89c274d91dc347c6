// The arguments of a queue: which are refused with which words, and which are accepted.
import { scene, uniqueName } from '../../support/scene.ts';
import { type RuleTest, rule, type Target, useTarget } from '../../support/target.ts';

useTarget();

const DECLARE = 'queue.declare';
type Table = Record<string, unknown>;
const typed = (type: string, value: number | boolean): Table => ({ '!': type, value });

/** Every integer type of the wire. */
const INTEGERS = ['byte', 'short', 'int', 'int64', 'unsignedbyte', 'unsignedshort', 'unsignedint'];
const TEN_YEARS_MS = 315_360_000_000;
const NOT_CLASSIC = ' of queue type rabbit_classic_queue';

/** Declares and expects 406 `invalid arg …` that ends in `says`, and no queue. */
async function refused(target: Target, argument: string, args: Table, says: string): Promise<void> {
  await refusedWith(
    target,
    args,
    (queue, vhost) => `invalid arg '${argument}' for queue '${queue}' in vhost '${vhost}'${says}`,
  );
}

async function refusedWith(
  target: Target,
  args: Table,
  text: (queue: string, vhost: string) => string,
): Promise<void> {
  const t = await scene(target);
  const queue = uniqueName('refused');
  await t.channel.refused(() => t.channel.call(DECLARE, { queue, arguments: args }), {
    code: 406,
    text: text(queue, t.vhost),
    method: DECLARE,
  });
}

/** Declares and expects that it is accepted. */
async function accepted(target: Target, args: Table, flags: Table = {}): Promise<void> {
  const t = await scene(target);
  await t.queue({ ...flags, arguments: args });
}

/** The test of one refused argument. */
function refuses(argument: string, value: unknown, says: string): RuleTest {
  return (target) => refused(target, argument, { [argument]: value }, says);
}

for (const argument of [
  'x-expires',
  'x-message-ttl',
  'x-max-length',
  'x-max-length-bytes',
  'x-max-priority',
  'x-queue-version',
]) {
  rule(
    '5.5.integer-type',
    `${argument} as a string is refused`,
    refuses(argument, '1', ': "expected integer, got longstr"'),
  );
  rule('5.5.negative', argument, refuses(argument, -1, ': {value_negative,-1}'));
}
rule(
  '5.5.integer-type',
  'a boolean is refused',
  refuses('x-max-length', true, ': "expected integer, got bool"'),
);
rule(
  '5.5.integer-type',
  'a float is refused',
  refuses('x-max-length', typed('double', 1), ': "expected integer, got double"'),
);
for (const type of INTEGERS)
  rule('5.5.integer-type', `${type} is accepted`, (target) =>
    accepted(target, { 'x-max-length': typed(type, 7) }),
  );

rule('5.5.zero', 'a queue cannot expire at once', refuses('x-expires', 0, ': {value_zero,0}'));
for (const argument of ['x-expires', 'x-message-ttl'])
  rule(
    '5.5.too-large',
    argument,
    refuses(argument, TEN_YEARS_MS + 1, `: {value_too_large,${TEN_YEARS_MS + 1}}`),
  );
rule('5.5.octet', '256 priorities', refuses('x-max-priority', 256, ': {max_value_exceeded,256}'));

rule('5.5.other-type', 'x-overflow', refuses('x-overflow', 1, ': {unacceptable_type,byte}'));
rule('5.5.other-type', 'x-queue-type', refuses('x-queue-type', 1, ': {unacceptable_type,byte}'));
rule(
  '5.5.other-type',
  'x-single-active-consumer',
  refuses('x-single-active-consumer', 'true', ': {unacceptable_type,longstr}'),
);
rule('5.5.other-type', 'x-dead-letter-routing-key', (target) =>
  refused(
    target,
    'x-dead-letter-routing-key',
    { 'x-dead-letter-exchange': '', 'x-dead-letter-routing-key': 1 },
    ': {unacceptable_type,byte}',
  ),
);

rule(
  '5.5.dead-letter-key',
  'a key without an exchange',
  refuses('x-dead-letter-routing-key', 'k', ': routing_key_but_no_dlx_defined'),
);
rule('5.5.dead-letter-exchange', 'a number', (target) =>
  refusedWith(
    target,
    { 'x-dead-letter-exchange': typed('int64', 1) },
    (queue, vhost) =>
      `invalid type 'long' for arg 'x-dead-letter-exchange' in queue '${queue}' in vhost '${vhost}'`,
  ),
);
rule('5.5.overflow', 'a value nobody knows', refuses('x-overflow', 'drop-tail', ': invalid_overflow'));
rule(
  '5.5.version',
  'a version that never was',
  refuses('x-queue-version', 3, `: "unsupported queue version '3'"`),
);
rule('5.5.type', 'a type nobody knows', refuses('x-queue-type', 'foo', `: "unsupported queue type 'foo'"`));
rule(
  '5.5.locator',
  'a value nobody knows',
  refuses('x-queue-leader-locator', 'moon', ': invalid_queue_locator_arg'),
  { onRabbitMQ: refuses('x-queue-leader-locator', 'moon', NOT_CLASSIC) },
);
rule('5.5.mode', 'a value nobody knows', (target) => accepted(target, { 'x-queue-mode': 'busy' }), {
  onRabbitMQ: refuses('x-queue-mode', 'busy', `: "unsupported queue mode 'busy'"`),
});

rule('5.5.nothing', 'the queue is not there afterwards', async (target) => {
  const t = await scene(target);
  const queue = uniqueName('refused');
  const fields = { queue, arguments: { 'x-max-length': -1 } };
  await t.channel.refused(() => t.channel.call(DECLARE, fields), {
    code: 406,
    text: `invalid arg 'x-max-length' for queue '${queue}' in vhost '${t.vhost}': {value_negative,-1}`,
    method: DECLARE,
  });
  const channel = await t.peer.channel();
  await channel.refused(() => channel.call(DECLARE, { queue, passive: true }), {
    code: 404,
    text: `no queue '${queue}' in vhost '${t.vhost}'`,
    method: DECLARE,
  });
});

const CLASSIC: readonly Table[] = [
  { 'x-message-ttl': 0 },
  { 'x-message-ttl': TEN_YEARS_MS },
  { 'x-expires': TEN_YEARS_MS },
  { 'x-max-length': 0 },
  { 'x-max-length-bytes': 0 },
  { 'x-overflow': 'drop-head' },
  { 'x-overflow': 'reject-publish' },
  { 'x-overflow': 'reject-publish-dlx' },
  { 'x-dead-letter-exchange': '' },
  { 'x-dead-letter-exchange': 'no such exchange', 'x-dead-letter-routing-key': '' },
  { 'x-max-priority': 0 },
  { 'x-max-priority': 255 },
  { 'x-single-active-consumer': true },
  { 'x-single-active-consumer': false },
  { 'x-queue-type': 'classic' },
  { 'x-queue-mode': 'lazy' },
  { 'x-queue-mode': 'default' },
  { 'x-queue-version': 1 },
  { 'x-queue-version': 2 },
  { 'x-queue-master-locator': 'min-masters' },
];
for (const args of CLASSIC) rule('5.6.classic', JSON.stringify(args), (target) => accepted(target, args));

const OTHERS: Table = {
  'x-quorum-initial-group-size': 1,
  'x-initial-cluster-size': 1,
  'x-max-in-memory-length': 1,
  'x-max-in-memory-bytes': 1,
  'x-max-age': '1h',
  'x-stream-max-segment-size-bytes': 1000,
};
for (const [argument, value] of Object.entries(OTHERS))
  rule('5.6.other-types', argument, refuses(argument, value, NOT_CLASSIC));
rule('5.6.filter-size', 'on a classic queue', refuses('x-stream-filter-size-bytes', 16, NOT_CLASSIC), {
  onRabbitMQ: (target) => accepted(target, { 'x-stream-filter-size-bytes': 16 }),
});
for (const value of ['client-local', 'balanced', 'random', 'least-leaders'])
  rule('5.6.leader-locator', value, (target) => accepted(target, { 'x-queue-leader-locator': value }), {
    onRabbitMQ: refuses('x-queue-leader-locator', value, NOT_CLASSIC),
  });

for (const argument of ['x-cancel-on-ha-failover', 'x-ha-policy', 'x-nobody-knows', 'nobody.knows', ''])
  rule('5.6.unknown', `the name '${argument}'`, (target) =>
    accepted(target, { [argument]: { any: ['thing', 1, true] } }),
  );
