// Queue types: which arguments and properties a quorum queue and a stream take, and which are refused with which words.
import { scene, uniqueName } from '../../support/scene.ts';
import { type RuleTest, rule, type Target, useTarget } from '../../support/target.ts';

useTarget();

const DECLARE = 'queue.declare';
type Table = Record<string, unknown>;
const TEN_YEARS_MS = 315_360_000_000;
const OWN = 'an argument that only Leveret has';

/** Declares a durable queue of a type and expects 406 with a text; `@` stands for the queue and its vhost. */
function refuses(type: string, args: Table, says: string, flags: Table = {}): RuleTest {
  return async (target) => {
    const t = await scene(target);
    const queue = uniqueName('refused');
    const fields = { queue, durable: true, ...flags, arguments: { 'x-queue-type': type, ...args } };
    await t.channel.refused(() => t.channel.call(DECLARE, fields), {
      code: 406,
      text: says.replace('@', `for queue '${queue}' in vhost '${t.vhost}'`),
      method: DECLARE,
    });
  };
}

/** Declares a durable queue of a type and expects that it is accepted. */
async function accepted(target: Target, type: string, args: Table): Promise<void> {
  const t = await scene(target);
  await t.queue({ durable: true, arguments: { 'x-queue-type': type, ...args } });
}
const accepts =
  (type: string, args: Table): RuleTest =>
  (target) =>
    accepted(target, type, args);

// ── what a type takes ──

const QUORUM: readonly Table[] = [
  {},
  { 'x-message-ttl': 0 },
  { 'x-expires': TEN_YEARS_MS },
  { 'x-max-length': 0 },
  { 'x-max-length-bytes': 0 },
  { 'x-max-in-memory-length': 0, 'x-max-in-memory-bytes': 0 },
  { 'x-overflow': 'drop-head' },
  { 'x-overflow': 'reject-publish' },
  { 'x-overflow': 'reject-publish-dlx' },
  {
    'x-dead-letter-exchange': '',
    'x-dead-letter-routing-key': 'k',
    'x-dead-letter-strategy': 'at-most-once',
  },
  { 'x-dead-letter-strategy': 'at-least-once' },
  { 'x-single-active-consumer': true },
  { 'x-quorum-initial-group-size': 1 },
  { 'x-delivery-limit': 0 },
  { 'x-delivery-limit': -1 },
  { 'x-queue-leader-locator': 'client-local' },
  { 'x-queue-leader-locator': 'balanced' },
  { 'x-nobody-knows': 1 },
];
for (const args of QUORUM) rule('5.6.quorum', JSON.stringify(args), accepts('quorum', args));

const STREAM: readonly Table[] = [
  {},
  { 'x-max-length-bytes': 0 },
  { 'x-max-age': '1Y' },
  { 'x-max-age': '007s' },
  { 'x-stream-max-segment-size-bytes': 100_000_000 },
  { 'x-stream-filter-size-bytes': 16 },
  { 'x-initial-cluster-size': 1 },
  { 'x-queue-leader-locator': 'least-leaders' },
  { 'x-nobody-knows': 1 },
];
for (const args of STREAM) rule('5.6.stream', JSON.stringify(args), accepts('stream', args));

// ── what is wrong with a value ──

const WRONG: readonly [string, string, unknown, string][] = [
  ['quorum', 'x-message-ttl', 'abc', '"expected integer, got longstr"'],
  ['quorum', 'x-expires', 0, '{value_zero,0}'],
  ['quorum', 'x-max-length', -1, '{value_negative,-1}'],
  ['quorum', 'x-max-in-memory-length', -1, '{value_negative,-1}'],
  ['quorum', 'x-max-in-memory-bytes', 'a', '"expected integer, got longstr"'],
  ['quorum', 'x-overflow', 'drop-tail', 'invalid_overflow'],
  ['quorum', 'x-dead-letter-routing-key', 'k', 'routing_key_but_no_dlx_defined'],
  ['quorum', 'x-dead-letter-strategy', 'sometimes', 'invalid_dlx_strategy'],
  ['quorum', 'x-dead-letter-strategy', true, '{unacceptable_type,bool}'],
  ['quorum', 'x-single-active-consumer', 'true', '{unacceptable_type,longstr}'],
  ['quorum', 'x-quorum-initial-group-size', 0, '{value_zero,0}'],
  ['quorum', 'x-quorum-initial-group-size', 1.5, '"expected integer, got double"'],
  ['quorum', 'x-queue-leader-locator', 'moon', 'invalid_queue_locator_arg'],
  ['stream', 'x-max-length-bytes', -1, '{value_negative,-1}'],
  ['stream', 'x-initial-cluster-size', 0, '{value_zero,0}'],
  ['stream', 'x-stream-max-segment-size-bytes', -1, '{value_negative,-1}'],
  ['stream', 'x-queue-leader-locator', 'moon', 'invalid_queue_locator_arg'],
];
for (const [type, argument, value, reason] of WRONG) {
  rule(
    '5.6.type-arguments',
    `${type}: ${argument} ${JSON.stringify(value)}`,
    refuses(type, { [argument]: value }, `invalid arg '${argument}' @: ${reason}`),
  );
}
rule(
  '5.6.segment-size',
  'four gigabytes',
  refuses(
    'stream',
    { 'x-stream-max-segment-size-bytes': 4_000_000_000 },
    'Exceeded max value for x-stream-max-segment-size-bytes',
  ),
);

// ── arguments of other types ──

const FOREIGN: Readonly<Record<string, Table>> = {
  quorum: {
    'x-max-priority': 5,
    'x-queue-mode': 'lazy',
    'x-queue-version': 2,
    'x-queue-master-locator': 'min-masters',
    'x-initial-cluster-size': 1,
    'x-max-age': '1h',
    'x-stream-max-segment-size-bytes': 1000,
  },
  stream: {
    'x-message-ttl': 1,
    'x-expires': 1,
    'x-max-length': 1,
    'x-overflow': 'drop-head',
    'x-dead-letter-exchange': '',
    'x-dead-letter-strategy': 'at-most-once',
    'x-max-priority': 5,
    'x-single-active-consumer': true,
    'x-delivery-limit': 5,
    'x-quorum-initial-group-size': 1,
  },
};
for (const [type, args] of Object.entries(FOREIGN)) {
  for (const [argument, value] of Object.entries(args)) {
    rule(
      '5.6.foreign',
      `${argument} on a ${type} queue`,
      refuses(type, { [argument]: value }, `invalid arg '${argument}' @ of queue type rabbit_${type}_queue`),
    );
  }
}
rule(
  '5.6.foreign',
  'a wrong value of an own argument is named first',
  refuses(
    'quorum',
    { 'x-max-age': '1D', 'x-message-ttl': -1 },
    `invalid arg 'x-message-ttl' @: {value_negative,-1}`,
  ),
);

// ── properties ──

for (const type of ['quorum', 'stream']) {
  const cases: readonly [Table, string][] = [
    [{ durable: false }, 'non-durable'],
    [{ exclusive: true }, 'exclusive-owner'],
    [{ autoDelete: true }, 'auto-delete'],
    [{ durable: false, exclusive: true }, 'exclusive-owner'],
    [{ durable: false, exclusive: true, autoDelete: true }, 'auto-delete'],
  ];
  for (const [flags, property] of cases) {
    rule(
      '5.6.properties',
      `${type} ${JSON.stringify(flags)}`,
      refuses(type, {}, `invalid property '${property}' @`, flags),
    );
  }
}
rule(
  '5.6.properties',
  'a wrong argument is named before them',
  refuses('quorum', { 'x-expires': 0 }, "invalid arg 'x-expires' @: {value_zero,0}", { durable: false }),
);

// ── where we differ ──

for (const [argument, value] of Object.entries({
  'x-delivery-limit': 5,
  'x-dead-letter-strategy': 'at-least-once',
})) {
  rule('5.6.limits-everywhere', argument, accepts('classic', { [argument]: value }), {
    onRabbitMQ: refuses(
      'classic',
      { [argument]: value },
      `invalid arg '${argument}' @ of queue type rabbit_classic_queue`,
    ),
  });
}
rule(
  '5.6.delivery-limit-type',
  'a string',
  refuses(
    'quorum',
    { 'x-delivery-limit': '5' },
    `invalid arg 'x-delivery-limit' @: "expected integer, got longstr"`,
  ),
  { onRabbitMQ: accepts('quorum', { 'x-delivery-limit': '5' }) },
);
for (const [value, reason] of [
  ['1', '"expected integer, got longstr"'],
  [-1, '{value_negative,-1}'],
] as const) {
  rule(
    '5.6.consumer-timeout-type',
    String(value),
    refuses('quorum', { 'x-consumer-timeout': value }, `invalid arg 'x-consumer-timeout' @: ${reason}`),
    { onRabbitMQ: accepts('quorum', { 'x-consumer-timeout': value }) },
  );
}

const RETRY: readonly [string, unknown, string][] = [
  ['x-retry-limit', 0, '{value_zero,0}'],
  ['x-retry-limit', -1, '{value_negative,-1}'],
  ['x-retry-limit', 256, '{max_value_exceeded,256}'],
  ['x-retry-limit', '3', '"expected integer, got longstr"'],
  ['x-retry-delay', -1, '{value_negative,-1}'],
  ['x-retry-delay', TEN_YEARS_MS + 1, `{value_too_large,${TEN_YEARS_MS + 1}}`],
  ['x-retry-multiplier', 0.5, '{value_too_small,0.5}'],
  ['x-retry-multiplier', '2', '"expected number, got longstr"'],
  ['x-retry-delay-max', 'an hour', '"expected integer, got longstr"'],
  ['x-ordering-key', 5, '{unacceptable_type,byte}'],
  ['x-ordering-key', '', 'empty_name'],
  ['x-message-deduplication', 'yes', '{unacceptable_type,longstr}'],
];
for (const [argument, value, reason] of RETRY) {
  for (const type of ['classic', 'quorum']) {
    rule(
      '5.6.retry',
      `${type}: ${argument} ${JSON.stringify(value)}`,
      refuses(type, { [argument]: value }, `invalid arg '${argument}' @: ${reason}`),
      { ownOnly: OWN },
    );
  }
}
for (const [argument, value] of Object.entries({
  'x-retry-limit': 3,
  'x-retry-delay': 100,
  'x-retry-multiplier': 1.5,
  'x-retry-delay-max': 1000,
  'x-ordering-key': 'customer',
  'x-message-deduplication': true,
})) {
  rule('5.6.retry', `${argument} on a classic queue`, accepts('classic', { [argument]: value }), {
    ownOnly: OWN,
  });
  rule(
    '5.6.retry',
    `${argument} on a stream`,
    refuses('stream', { [argument]: value }, `invalid arg '${argument}' @ of queue type rabbit_stream_queue`),
    { ownOnly: OWN },
  );
}

// ── redeclaring ──

rule('5.2.type-known', 'an argument of the type, and one that it does not know', async (target) => {
  const t = await scene(target);
  const args = { 'x-queue-type': 'quorum', 'x-delivery-limit': 5 };
  const queue = await t.queue({ durable: true, arguments: args });
  await t.channel.call(DECLARE, { queue, durable: true, arguments: { ...args, 'x-nobody-knows': 1 } });
  await t.channel.refused(
    () => t.channel.call(DECLARE, { queue, durable: true, arguments: { ...args, 'x-delivery-limit': 6 } }),
    {
      code: 406,
      text: `inequivalent arg 'x-delivery-limit' for queue '${queue}' in vhost '${t.vhost}': received '6' but current is '5'`,
      method: DECLARE,
    },
  );
});
rule('5.2.type-known', 'the type is named before a delivery limit', async (target) => {
  const t = await scene(target);
  const args = { 'x-queue-type': 'quorum', 'x-delivery-limit': 5 };
  const queue = await t.queue({ durable: true, arguments: args });
  await t.channel.refused(
    () => t.channel.call(DECLARE, { queue, durable: true, arguments: { 'x-queue-type': 'classic' } }),
    {
      code: 406,
      text: `inequivalent arg 'x-queue-type' for queue '${queue}' in vhost '${t.vhost}': received 'classic' but current is 'quorum'`,
      method: DECLARE,
    },
  );
});
