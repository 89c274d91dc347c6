// Frames: their size, end byte, type and channel, and the arguments of methods. Every refusal with its exact code and text.
import { expect } from 'vitest';
import { expectFramingError, expectHardError, expectServes } from '../../support/checks.ts';
import {
  body,
  frame,
  header,
  method,
  publish,
  type RawClient,
  rawHeader,
  rawMethod,
} from '../../support/raw-client.ts';
import { rule, type Target, useTarget } from '../../support/target.ts';
import { encodeTable, entry, long, longstr, octet, short, shortstr } from '../../support/typed-table.ts';

useTarget();

const PUBLISH = method(1, 'basic.publish', { exchange: '', routingKey: 'nowhere' });
const QOS = method(1, 'basic.qos', {});
/** The arguments of `basic.qos`, right as they are. */
const QOS_ARGS = Buffer.from([0, 0, 0, 0, 0, 0, 0]);

/** Arguments of queue.declare with a table made by hand. */
function declareArgs(queue: string | Buffer, table: Buffer): Buffer {
  return Buffer.concat([short(0), shortstr(queue), octet(0b00100), table]);
}

async function refused(
  target: Target,
  bytes: Buffer,
  refusal: Parameters<typeof expectHardError>[1],
): Promise<void> {
  const client = await target.openWithChannel();
  client.send(bytes);
  await expectHardError(client, refusal);
}

/** The same for bytes that break the framing. */
async function broken(
  target: Target,
  bytes: Buffer,
  refusal: Parameters<typeof expectHardError>[1],
): Promise<void> {
  const client = await target.openWithChannel();
  client.send(bytes);
  await expectFramingError(client, refusal);
}

/** A size limit was broken: nothing behind is read, not even close-ok, so RabbitMQ ends TCP only after 3 s. */
async function expectTooLarge(
  client: RawClient,
  type: number,
  size: number,
  frameMax: number,
): Promise<void> {
  const reason = await client.expectConnectionClose();
  expect(reason.text).toBe(
    `FRAME_ERROR - type ${type}, all octets = <<>>: {frame_too_large,${size},${frameMax - 8}}`,
  );
  expect(reason).toMatchObject({ code: 501, classId: 0, methodId: 0 });
}

rule('2.1.size', 'a payload of frame_max bytes is tolerated', async (target) => {
  for (const frameMax of [8_192, 131_072]) {
    const client = await target.openWithChannel({ frameMax });
    const queue = target.name('size');
    await client.call(1, 'queue.declare', { queue, exclusive: true });
    const content = Buffer.alloc(frameMax, 'x');
    client.send(publish(1, '', queue, content));
    expect((await client.get(1, queue)).body.equals(content)).toBe(true);
  }
});

rule('2.1.too-large', 'a body frame one byte above the limit is refused', async (target) => {
  const client = await target.openWithChannel();
  client.send(PUBLISH, header(1, 131_073), body(1, Buffer.alloc(131_073)));
  await expectTooLarge(client, 3, 131_073, 131_072);
});

for (const [name, type, size] of [
  ['a method frame', 1, 131_073],
  ['a header frame', 2, 200_000],
  ['a body frame of 2 GiB', 3, 0x8000_0000],
  ['a body frame of 4 GiB', 3, 0xffff_ffff],
] as const) {
  rule('2.1.too-large', `${name} is refused by its size alone`, async (target) => {
    const client = await target.openWithChannel();
    client.send(Buffer.concat([octet(type), short(1), long(size)]));
    await expectTooLarge(client, type, size, 131_072);
  });
}

rule('2.1.framing-end', 'what follows a broken frame is not obeyed, and TCP ends soon', async (target) => {
  const offences = [
    Buffer.concat([octet(3), short(1), long(0x7fff_ffff)]),
    frame(1, 1, QOS.subarray(7, -1), 0),
  ];
  const queue = target.name('never');
  await Promise.all(
    offences.map(async (offence) => {
      const client = await target.openWithChannel();
      client.send(offence, method(1, 'queue.declare', { queue, durable: true }));
      expect((await client.expectConnectionClose()).code).toBe(501);
      client.send(method(1, 'queue.declare', { queue, durable: true }));
      expect(await client.drainedWithin(6_000)).toEqual([]);
    }),
  );
  const other = await target.openWithChannel();
  other.sendMethod(1, 'queue.declare', { queue, passive: true });
  expect((await other.expectChannelClose(1)).code).toBe(404);
});

rule('2.1.too-large-negotiated', 'the limit is what tune-ok asked for', async (target) => {
  const client = await target.openWithChannel({ frameMax: 8_192 });
  client.send(PUBLISH, header(1, 8_193), body(1, Buffer.alloc(8_193)));
  await expectTooLarge(client, 3, 8_193, 8_192);
});

rule('2.1.outgoing', 'bodies to the client are cut at frame_max - 8', async (target) => {
  const sender = await target.openWithChannel();
  const queue = target.name('cut');
  await sender.call(1, 'queue.declare', { queue });
  for (const frameMax of [8_192, 16_384, 131_072]) {
    for (const extra of [-1, 0, 1]) {
      const size = 3 * (frameMax - 8) + extra;
      const content = Buffer.alloc(size, 'y');
      sender.send(method(1, 'basic.publish', { exchange: '', routingKey: queue }), header(1, size));
      for (let at = 0; at < size; at += 131_000) sender.send(body(1, content.subarray(at, at + 131_000)));
      await sender.expectQuiet(1);
      const client = await target.openWithChannel({ frameMax });
      const got = await client.get(1, queue);
      expect(got.body.equals(content)).toBe(true);
      const full = frameMax - 8;
      const expected =
        extra === -1 ? [full, full, full - 1] : extra === 0 ? [full, full, full] : [full, full, full, 1];
      expect(got.bodyFrames.map((bytes) => bytes.length)).toEqual(expected);
      client.destroy();
    }
  }
  await sender.call(1, 'queue.delete', { queue });
});

for (const [name, bytes, text] of [
  [
    'a method',
    frame(1, 1, QOS.subarray(7, -1), 0x41),
    /^FRAME_ERROR - type 1, all octets = <<.*>>: \{invalid_frame_end_marker,65\}$/s,
  ],
  [
    'a long method',
    frame(1, 1, Buffer.alloc(40, 'A'), 0),
    /^FRAME_ERROR - type 1, first 16 octets = <<.*>>: \{invalid_frame_end_marker,0\}$/s,
  ],
  [
    'a heartbeat',
    frame(8, 0, Buffer.alloc(0), 0xcf),
    /^FRAME_ERROR - type 8, all octets = <<>>: \{invalid_frame_end_marker,207\}$/,
  ],
  [
    'a frame on a channel that is not open',
    frame(1, 9, Buffer.alloc(4), 1),
    /^FRAME_ERROR - type 1, all octets = <<0,0,0,0>>: \{invalid_frame_end_marker,1\}$/,
  ],
] as const) {
  rule('2.1.end-byte', `a wrong end byte of ${name} is named`, (target) =>
    broken(target, bytes, { code: 501, text, method: [0, 0] }),
  );
}

rule('2.1.end-byte', 'a wrong end byte of header and body is named', async (target) => {
  const text = (type: number) =>
    new RegExp(`^FRAME_ERROR - type ${type}, all octets = <<.*>>: \\{invalid_frame_end_marker,0\\}$`, 's');
  const badHeader = frame(2, 1, header(1, 3).subarray(7, -1), 0);
  await broken(target, Buffer.concat([PUBLISH, badHeader]), { code: 501, text: text(2), method: [0, 0] });
  const badBody = frame(3, 1, Buffer.from('abc'), 0);
  await broken(target, Buffer.concat([PUBLISH, header(1, 3), badBody]), {
    code: 501,
    text: text(3),
    method: [0, 0],
  });
});

for (const [type, channel] of [
  [0, 0],
  [4, 0],
  [4, 1],
  [5, 9],
  [7, 1],
  [9, 0],
  [255, 65535],
] as const) {
  rule('2.1.unknown-type', `frame type ${type} on channel ${channel} is unknown`, (target) =>
    refused(target, frame(type, channel, Buffer.from([1, 2])), {
      code: 501,
      text: `type ${type}, all octets = <<1,2>>: unknown_frame`,
      method: [0, 0],
    }),
  );
}

rule('2.1.unknown-type', 'only the first 16 octets of a long unknown frame are told', (target) =>
  refused(target, frame(6, 0, Buffer.alloc(1_000, 1)), {
    code: 501,
    text: /^FRAME_ERROR - type 6, first 16 octets = <<1(,1){15}>>: unknown_frame$/,
    method: [0, 0],
  }),
);

rule('2.1.heartbeat-payload', 'a heartbeat has no payload', (target) =>
  refused(target, frame(8, 0, Buffer.from([7])), {
    code: 501,
    text: /^FRAME_ERROR - type 8, all octets = <<.*>>: unknown_frame$/,
    method: [0, 0],
  }),
);

for (const channel of [1, 7, 65535]) {
  rule('2.1.heartbeat-channel', `a heartbeat belongs on channel 0, not on ${channel}`, (target) =>
    refused(target, frame(8, channel, Buffer.alloc(0)), {
      code: 505,
      text: 'type 8, all octets = <<>>',
      method: [0, 0],
    }),
  );
}

rule('2.1.content-channel-0', 'channel 0 carries no content', async (target) => {
  await refused(target, header(0, 0), { code: 505, text: /^UNEXPECTED_FRAME - type 2, /, method: [0, 0] });
  await refused(target, body(0, 'x'), { code: 505, text: /^UNEXPECTED_FRAME - type 3, /, method: [0, 0] });
});

for (const length of [0, 1, 3]) {
  rule('2.1.short-method', `a method frame of ${length} bytes holds no method`, (target) =>
    refused(target, frame(1, 1, Buffer.alloc(length)), {
      code: 501,
      text: /^FRAME_ERROR - /,
      method: [0, 0],
    }),
  );
}

for (const [classId, methodId] of [
  [60, 99],
  [99, 10],
  [0, 0],
  [65535, 65535],
  [10, 99],
  [50, 0],
] as const) {
  for (const channel of [0, 1]) {
    rule(
      '2.1.unknown-method',
      `method ${classId}.${methodId} on channel ${channel} does not exist`,
      (target) =>
        refused(target, rawMethod(channel, classId, methodId), {
          // On channel 0 it is also a method that does not belong there.
          code: channel === 0 ? [503, 504, 540] : [503, 540],
          method: [classId, methodId],
        }),
      {
        onRabbitMQ: async (target) => {
          const client = await target.openWithChannel();
          client.send(rawMethod(channel, classId, methodId));
          await client.closedWithin();
        },
      },
    );
  }
}

for (const [name, bytes, ids] of [
  ['none at all', rawMethod(1, 60, 10), [60, 10]],
  ['one byte too few', rawMethod(1, 60, 10, QOS_ARGS.subarray(1)), [60, 10]],
  ['one byte too many', rawMethod(1, 60, 10, Buffer.concat([QOS_ARGS, octet(0)])), [60, 10]],
  ['a name longer than the frame', rawMethod(1, 50, 10, Buffer.from([0, 0, 5, 65])), [50, 10]],
  ['a table longer than the frame', rawMethod(1, 50, 10, declareArgs('q', long(99))), [50, 10]],
  ['a table of 4 GiB', rawMethod(1, 50, 10, declareArgs('q', long(0xffff_ffff))), [50, 10]],
  [
    'bytes behind the table',
    rawMethod(1, 50, 10, declareArgs('q', Buffer.concat([long(0), octet(0)]))),
    [50, 10],
  ],
  ['arguments of a method without any', rawMethod(1, 90, 10, octet(1)), [90, 10]],
  ['a bit octet too many', rawMethod(1, 60, 110, Buffer.from([1, 1])), [60, 110]],
  ['a publish cut off', rawMethod(1, 60, 40, Buffer.from([0, 0, 0])), [60, 40]],
  ['a channel.close cut off', rawMethod(1, 20, 40, Buffer.from([0, 200, 9, 65])), [20, 40]],
] as const) {
  rule('2.1.arguments', `${name} cannot be decoded`, (target) =>
    refused(target, bytes, { code: 501, text: /^FRAME_ERROR - cannot decode <<.*>>$/s, method: ids }),
  );
}

rule('2.1.arguments', 'the arguments are shown as numbers', (target) =>
  refused(target, rawMethod(1, 60, 10, Buffer.from([0, 0, 0, 0, 0, 1, 0, 99])), {
    code: 501,
    text: 'cannot decode <<0,0,0,0,0,1,0,99>>',
    method: [60, 10],
  }),
);

for (const [name, bytes, ids] of [
  ['connection.close cut off', rawMethod(0, 10, 50, Buffer.from([0, 200])), [10, 50]],
  ['update-secret cut off', rawMethod(0, 10, 70, long(50)), [10, 70]],
] as const) {
  rule(
    '2.1.arguments-channel-0',
    `${name} cannot be decoded`,
    (target) => refused(target, bytes, { code: 501, text: /^FRAME_ERROR - cannot decode /, method: ids }),
    {
      onRabbitMQ: (target) => refused(target, bytes, { code: 541, text: /^INTERNAL_ERROR$/, method: [0, 0] }),
    },
  );
}

async function endsSilently(target: Target, bytes: Buffer): Promise<void> {
  const client = await target.openWithChannel();
  client.send(bytes);
  await client.closedWithin();
}

for (const tag of ['Z', 'c', '\0', 'ÿ']) {
  const bytes = rawMethod(1, 50, 10, declareArgs('q', encodeTable([entry('k', tag, octet(1))])));
  rule(
    '2.1.table-type',
    `field type ${JSON.stringify(tag)} does not exist`,
    (target) => refused(target, bytes, { code: 502 }),
    { onRabbitMQ: (target) => endsSilently(target, bytes) },
  );
}

for (const [name, table] of [
  ['an integer cut off', longstr(Buffer.concat([shortstr('k'), Buffer.from('I'), octet(1)]))],
  ['a key cut off', longstr(Buffer.from([200, 65]))],
  ['a key without a value', longstr(shortstr('k'))],
  ['a string cut off', longstr(Buffer.concat([shortstr('k'), Buffer.from('S'), long(10), octet(1)]))],
  [
    'an array longer than its table',
    longstr(Buffer.concat([shortstr('k'), Buffer.from('A'), long(10), octet(1)])),
  ],
  ['an array that cuts its item', encodeTable([entry('k', 'A', longstr(Buffer.from([0x49, 0, 0])))])],
  [
    'a nested table that cuts its entry',
    encodeTable([entry('k', 'F', longstr(Buffer.from([1, 65, 0x49, 0])))]),
  ],
] as const) {
  const bytes = rawMethod(1, 50, 10, declareArgs('q', table));
  rule('2.1.table-cut', `${name} is refused`, (target) => refused(target, bytes, { code: [501, 502] }), {
    onRabbitMQ: (target) => endsSilently(target, bytes),
  });
}

/** `depth` tables (or arrays), each the only value of the one around it. */
function nested(depth: number, tag: 'F' | 'A'): Buffer {
  const head = tag === 'F' ? Buffer.concat([shortstr('k'), Buffer.from('F')]) : Buffer.from('A');
  const bytes = Buffer.alloc(depth * (head.length + 4));
  for (let level = 0, at = 0; level < depth; level++) {
    head.copy(bytes, at);
    at = bytes.writeUInt32BE(bytes.length - at - head.length - 4, at + head.length);
  }
  return bytes;
}

for (const [name, table] of [
  ['tables', longstr(nested(1_000, 'F'))],
  ['arrays', encodeTable([entry('k', 'A', longstr(nested(20_000, 'A')))])],
] as const) {
  rule('2.1.table-depth', `${name} may be nested deep without harm`, async (target) => {
    const inArguments = await target.openWithChannel();
    inArguments.send(rawMethod(1, 50, 10, declareArgs(target.name('deep'), table)));
    // Accepted or refused, but answered.
    await inArguments.next();
    const inHeaders = await target.openWithChannel();
    const properties = Buffer.concat([short(0x2000), table]);
    inHeaders.send(PUBLISH, rawHeader(1, { bodySize: 0, properties }), QOS);
    await inHeaders.next();
    await expectServes(target);
  });
}

const NOT_UTF8 = Buffer.from([0x61, 0xff, 0xfe]);

for (const [name, bytes] of [
  ['a queue', rawMethod(1, 50, 10, declareArgs(NOT_UTF8, long(0)))],
  [
    'an exchange',
    rawMethod(
      1,
      40,
      10,
      Buffer.concat([short(0), shortstr(NOT_UTF8), shortstr('direct'), octet(4), long(0)]),
    ),
  ],
  [
    'a consumer tag',
    rawMethod(1, 60, 20, Buffer.concat([short(0), shortstr('q'), shortstr(NOT_UTF8), octet(0), long(0)])),
  ],
  ['an overlong form', rawMethod(1, 50, 10, declareArgs(Buffer.from([0xc0, 0x80]), long(0)))],
  ['a cut character', rawMethod(1, 50, 10, declareArgs(Buffer.from([0x61, 0xe2, 0x82]), long(0)))],
] as const) {
  rule('2.1.utf8', `${name} that is no UTF-8 is refused`, (target) =>
    refused(target, bytes, { code: 501, text: 'Malformed UTF-8 in shortstr' }),
  );
}

rule('2.1.utf8-publish', 'a routing key may hold any bytes, and comes back as they are', async (target) => {
  const client = await target.openWithChannel();
  const queue = target.name('bytes');
  await client.call(1, 'queue.declare', { queue, exclusive: true });
  // An exchange of its own: what other tests publish to amq.fanout would come too.
  const exchange = target.name('bytes');
  await client.call(1, 'exchange.declare', { exchange, type: 'fanout', autoDelete: true });
  await client.call(1, 'queue.bind', { queue, exchange, routingKey: '' });
  const publishBytes = rawMethod(
    1,
    60,
    40,
    Buffer.concat([short(0), shortstr(exchange), shortstr(NOT_UTF8), octet(0)]),
  );
  client.send(publishBytes, header(1, 0));
  const { method: getOk } = await client.get(1, queue);
  // class, method, tag, redelivered, exchange, then the key
  const at = 4 + 8 + 1 + 1 + exchange.length;
  expect([...getOk.payload.subarray(at, at + 4)]).toEqual([3, ...NOT_UTF8]);
});

for (const [name, properties] of [
  ['bytes behind the properties', Buffer.from([0, 0, 1])],
  ['a property cut off', Buffer.from([0x80, 0, 200, 65])],
  ['a property missing', Buffer.from([0x80, 0])],
  ['a timestamp cut off', Buffer.from([0, 0x40, 0, 0, 0])],
  ['no flags', Buffer.alloc(0)],
  ['half the flags', Buffer.from([0])],
  ['a headers table longer than the frame', Buffer.from([0x20, 0, 0, 0, 0, 9, 1])],
] as const) {
  rule('2.1.properties', `${name}: refused without detail`, (target) =>
    refused(target, Buffer.concat([PUBLISH, rawHeader(1, { bodySize: 0, properties }), QOS]), {
      code: 541,
      text: /^INTERNAL_ERROR/,
      method: [0, 0],
    }),
  );
}

for (const [name, table] of [
  ['an unknown field type', encodeTable([entry('k', 'Z', octet(1))])],
  ['an entry cut off', longstr(Buffer.from([1, 65, 0x49, 0]))],
  [
    'a nested table with an unknown type',
    encodeTable([entry('k', 'F', encodeTable([entry('k', 'Z', octet(1))]))]),
  ],
] as const) {
  rule('2.1.properties-table', `headers with ${name} are refused`, (target) =>
    refused(
      target,
      Buffer.concat([
        PUBLISH,
        rawHeader(1, { bodySize: 0, properties: Buffer.concat([short(0x2000), table]) }),
        QOS,
      ]),
      { code: [541, 501, 502] },
    ),
  );
}

rule('0.no-method', 'a framing error blames no method', (target) =>
  broken(target, frame(1, 1, QOS.subarray(7, -1), 0), { code: 501, method: [0, 0] }),
);
