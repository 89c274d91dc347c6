// Content: how method, header and body frames make a message, and every way in which they do not.
import { expect } from 'vitest';
import { expectFramingError, expectHardError, expectServes, type Refusal } from '../../support/checks.ts';
import { Random } from '../../support/random.ts';
import {
  body,
  type Fields,
  frame,
  header,
  heartbeat,
  method,
  parseUrl,
  publish,
  type RawClient,
  rawHeader,
} from '../../support/raw-client.ts';
import { rule, type Target, useTarget } from '../../support/target.ts';

useTarget();

const PUBLISH = method(1, 'basic.publish', { exchange: '', routingKey: 'nowhere' });
const QOS = method(1, 'basic.qos', {});
const CHANNEL_CLOSE = method(1, 'channel.close', { replyCode: 200, replyText: '', classId: 0, methodId: 0 });

async function refused(target: Target, bytes: Buffer, refusal: Refusal): Promise<void> {
  const client = await target.openWithChannel();
  client.send(bytes);
  await expectHardError(client, refusal);
}

async function withQueue(
  target: Target,
  options: Fields = {},
): Promise<{ client: RawClient; queue: string }> {
  const client = await target.openWithChannel(options);
  const queue = target.name('content');
  await client.call(1, 'queue.declare', { queue, exclusive: true });
  return { client, queue };
}

const NO_METHOD: Refusal = {
  code: 505,
  text: 'expected method frame, got non method frame instead',
  method: [0, 0],
};
const NO_HEADER: Refusal = {
  code: 505,
  text: 'expected content header for class 60, got non content header frame instead',
  method: [60, 40],
};
const NO_BODY: Refusal = {
  code: 505,
  text: 'expected content body, got non content body frame instead',
  method: [60, 40],
};

rule('2.2.no-method', 'a header without a publish is refused', (target) =>
  refused(target, header(1, 0), NO_METHOD),
);
rule('2.2.no-method', 'a body without a publish is refused', (target) =>
  refused(target, body(1, 'x'), NO_METHOD),
);
rule('2.2.no-method', 'a body after a complete message is refused', (target) =>
  refused(target, Buffer.concat([publish(1, '', 'nowhere', 'abc'), body(1, 'd')]), NO_METHOD),
);
rule('2.2.no-method', 'a header after a method without content is refused', (target) =>
  refused(
    target,
    Buffer.concat([method(1, 'basic.ack', { deliveryTag: 0, multiple: true }), header(1, 0)]),
    NO_METHOD,
  ),
);

for (const classId of [50, 10, 0, 65535]) {
  rule('2.2.other-class', `a header of class ${classId} after publish is refused`, (target) =>
    refused(target, Buffer.concat([PUBLISH, rawHeader(1, { classId, bodySize: 0 })]), {
      code: 505,
      text: `expected content header for class 60, got one for class ${classId} instead`,
      method: [60, 40],
    }),
  );
}

for (const [name, bytes] of [
  ['a method', QOS],
  ['another publish', PUBLISH],
  ['channel.close', CHANNEL_CLOSE],
  ['a body', body(1, 'x')],
  ['a header with a weight', rawHeader(1, { weight: 1, bodySize: 0 })],
] as const) {
  rule('2.2.no-header', `${name} where a header is due is refused`, (target) =>
    refused(target, Buffer.concat([PUBLISH, bytes]), NO_HEADER),
  );
}

for (const [name, bytes] of [
  ['a method', QOS],
  ['another publish', PUBLISH],
  ['channel.close', CHANNEL_CLOSE],
  ['another header', header(1, 3)],
] as const) {
  rule('2.2.no-body', `${name} where a body is due is refused`, (target) =>
    refused(target, Buffer.concat([PUBLISH, header(1, 3), bytes]), NO_BODY),
  );
}

rule('2.2.no-body', 'a method in the middle of a body is refused', (target) =>
  refused(target, Buffer.concat([PUBLISH, header(1, 3), body(1, 'a'), QOS]), NO_BODY),
);

for (const [name, size] of [
  ['one byte more than 512 MiB', 536_870_913n],
  ['2^53', 2n ** 53n],
  ['2^53 + 1', 2n ** 53n + 1n],
  ['2^63', 2n ** 63n],
  ['2^64 - 1', 2n ** 64n - 1n],
] as const) {
  rule(
    '2.2.body-limit',
    `an announced body of ${name} is refused at once`,
    (target) =>
      refused(target, Buffer.concat([PUBLISH, rawHeader(1, { bodySize: size })]), {
        code: 501,
        text: `content body size ${size} exceeds maximum allowed size 536870912`,
      }),
    {
      onRabbitMQ: async (target) => {
        const client = await target.openWithChannel();
        await client.openChannel(2);
        client.send(PUBLISH, rawHeader(1, { bodySize: size }));
        // Channel 1 waits for its body; channel 2 shows that nothing was refused.
        await client.expectQuiet(2);
      },
    },
  );
}

for (const [name, bodies] of [
  ['one frame that is too long', ['abcd']],
  ['a last frame that is too long', ['ab', 'cd']],
] as const) {
  rule(
    '2.2.body-excess',
    `${name} is refused`,
    (target) =>
      refused(target, Buffer.concat([PUBLISH, header(1, 3), ...bodies.map((text) => body(1, text))]), {
        code: 501,
        text: 'content body frame exceeds remaining content size',
      }),
    {
      onRabbitMQ: async (target) => {
        const client = await target.openWithChannel();
        await client.openChannel(2);
        client.send(PUBLISH, header(1, 3), ...bodies.map((text) => body(1, text)));
        await client.expectQuiet(2);
      },
    },
  );
}

rule('2.2.empty', 'a message without a body needs no body frame, in either direction', async (target) => {
  const { client, queue } = await withQueue(target);
  client.send(method(1, 'basic.publish', { exchange: '', routingKey: queue }), header(1, 0));
  const content = await client.get(1, queue);
  expect([content.bodySize, content.bodyFrames.length]).toEqual([0, 0]);
  await client.expectQuiet(1);
});

rule('2.2.empty', 'a body frame of length 0 after such a message is refused', (target) =>
  refused(target, Buffer.concat([PUBLISH, header(1, 0), body(1, '')]), NO_METHOD),
);

rule('2.2.zero-length-frames', 'empty body frames mean nothing', async (target) => {
  const { client, queue } = await withQueue(target);
  client.send(method(1, 'basic.publish', { exchange: '', routingKey: queue }), header(1, 3));
  client.send(body(1, ''), body(1, ''), body(1, 'a'), body(1, ''), body(1, 'bc'));
  const content = await client.get(1, queue);
  expect(content.bodyFrames.map(String)).toEqual(['abc']);
});

rule('2.2.boundaries', 'a body sent byte by byte arrives as one', async (target) => {
  const { client, queue } = await withQueue(target);
  const text = 'a body in many small frames';
  client.send(method(1, 'basic.publish', { exchange: '', routingKey: queue }), header(1, text.length));
  client.send(...[...text].map((letter) => body(1, letter)));
  const content = await client.get(1, queue);
  expect(content.bodyFrames.map(String)).toEqual([text]);
});

rule('2.2.boundaries', 'bodies of many sizes arrive whole, however they are cut', async (target) => {
  const { client, queue } = await withQueue(target, { frameMax: 8192 });
  for (const size of [1, 255, 256, 8183, 8184, 8185, 8192, 16368, 50_000, 300_000]) {
    for (const cut of [1_000, 4_096, 8_184, 8_192]) {
      const content = Buffer.from(Array.from({ length: size }, (_, i) => (i * 31 + size) & 0xff));
      const frames: Buffer[] = [];
      for (let at = 0; at < size; at += cut) frames.push(body(1, content.subarray(at, at + cut)));
      client.send(
        method(1, 'basic.publish', { exchange: '', routingKey: queue }),
        header(1, size),
        ...frames,
      );
      const got = await client.get(1, queue);
      expect(got.body.equals(content), `${size} bytes cut at ${cut}`).toBe(true);
    }
  }
});

rule('2.2.interleaved', 'three channels send their messages at the same time', async (target) => {
  const { client, queue } = await withQueue(target);
  await client.openChannel(2);
  await client.openChannel(65535);
  const start = (channel: number) => method(channel, 'basic.publish', { exchange: '', routingKey: queue });
  client.send(
    start(1),
    start(2),
    header(2, 4, { messageId: 'two' }),
    start(65535),
    header(1, 6, { messageId: 'one' }),
    header(65535, 2, { messageId: 'last' }),
    body(1, 'on'),
    body(2, 'tw'),
    method(0, 'connection.update-secret', {
      newSecret: Buffer.from(parseUrl(target.url).password),
      reason: 'in between',
    }),
    heartbeat(),
    body(65535, 'zz'),
    body(1, 'e '),
    body(2, 'o!'),
    body(1, '1!'),
  );
  await client.expect('connection.update-secret-ok', 0);
  for (const channel of [1, 2, 65535]) await client.expectQuiet(channel);
  const seen = new Map<unknown, string>();
  for (let i = 0; i < 3; i++) {
    const content = await client.get(1, queue);
    seen.set(content.header.fields['messageId'], content.body.toString());
  }
  expect(Object.fromEntries(seen)).toEqual({ one: 'one 1!', two: 'two!', last: 'zz' });
});

rule('2.2.interleaved', 'a channel may close while another is in the middle of a message', async (target) => {
  const { client, queue } = await withQueue(target);
  await client.openChannel(2);
  client.send(method(1, 'basic.publish', { exchange: '', routingKey: queue }), header(1, 4), body(1, 'ab'));
  await client.call(2, 'channel.close', { replyCode: 200, replyText: '', classId: 0, methodId: 0 });
  await client.openChannel(2);
  client.send(body(1, 'cd'));
  expect((await client.get(1, queue)).body.toString()).toBe('abcd');
});

rule(
  '2.2.interleaved',
  'a soft error on one channel leaves the half message of another alone',
  async (target) => {
    const { client, queue } = await withQueue(target);
    await client.openChannel(2);
    client.send(method(1, 'basic.publish', { exchange: '', routingKey: queue }), header(1, 4), body(1, 'ab'));
    client.sendMethod(2, 'queue.declare', { queue: target.name('missing'), passive: true });
    await client.expectChannelClose(2);
    client.send(body(1, 'cd'));
    expect((await client.get(1, queue)).body.toString()).toBe('abcd');
  },
);

rule(
  '2.2.channel-0-between',
  'a connection method in the middle of a message is answered',
  async (target) => {
    const { client, queue } = await withQueue(target);
    const newSecret = Buffer.from(parseUrl(target.url).password);
    client.send(method(1, 'basic.publish', { exchange: '', routingKey: queue }), header(1, 2));
    await client.call(0, 'connection.update-secret', { newSecret, reason: '' });
    client.send(body(1, 'ok'));
    expect((await client.get(1, queue)).body.toString()).toBe('ok');
  },
);

/** A body that no two places of are alike. */
function largeBody(size: number): Buffer {
  const content = Buffer.alloc(size);
  for (let at = 0; at + 4 <= size; at += 4) content.writeUInt32BE((at * 2_654_435_761) >>> 0, at);
  return content;
}

rule('2.2.boundaries', 'large body frames may arrive in segments of any size', async (target) => {
  const { client, queue } = await withQueue(target);
  const random = new Random(7);
  for (let round = 0; round < 20; round++) {
    const size = 1 + random.below(300_000);
    const content = largeBody(size);
    const frames = [method(1, 'basic.publish', { exchange: '', routingKey: queue }), header(1, size)];
    for (let at = 0; at < size; at += 131_064) frames.push(body(1, content.subarray(at, at + 131_064)));
    const bytes = Buffer.concat(frames);
    const cuts = Array.from({ length: random.below(12) }, () => random.below(bytes.length));
    // The places where something could go wrong: around the end of the first body frame.
    const end = bytes.length - (size % 131_064) - 8;
    cuts.push(...[end - 1, end, end + 1, bytes.length - 1].filter((cut) => cut > 0 && cut < bytes.length));
    await client.sendSplit(bytes, ...cuts.sort((a, b) => a - b));
    expect((await client.get(1, queue)).body.equals(content), `round ${round}, ${size} bytes`).toBe(true);
  }
});

rule(
  '2.1.end-byte',
  'a wrong end byte of a large body frame is named, and the message is not taken',
  async (target) => {
    const watcher = await target.openWithChannel();
    const queue = target.name('large');
    await watcher.call(1, 'queue.declare', { queue });
    const client = await target.openWithChannel();
    const content = largeBody(120_000);
    const bytes = Buffer.concat([
      method(1, 'basic.publish', { exchange: '', routingKey: queue }),
      header(1, content.length),
      frame(3, 1, content, 0),
    ]);
    await client.sendSplit(bytes, 50_000, 100_000);
    await expectFramingError(client, {
      code: 501,
      text: /^FRAME_ERROR - type 3, first 16 octets = <<.*>>: \{invalid_frame_end_marker,0\}$/s,
      method: [0, 0],
    });
    expect(await watcher.call(1, 'queue.delete', { queue })).toEqual({ messageCount: 0 });
  },
);

rule(
  '2.2.body-excess',
  'a large body frame that goes beyond the announced size is refused',
  (target) =>
    refused(target, Buffer.concat([PUBLISH, header(1, 99_999), body(1, largeBody(100_000))]), {
      code: 501,
      text: 'content body frame exceeds remaining content size',
    }),
  {
    onRabbitMQ: async (target) => {
      const client = await target.openWithChannel();
      await client.openChannel(2);
      client.send(PUBLISH, header(1, 99_999), body(1, largeBody(100_000)));
      await client.expectQuiet(2);
    },
  },
);

rule('2.2.no-method', 'a large body frame without a publish is refused', async (target) => {
  await refused(target, body(1, largeBody(100_000)), NO_METHOD);
  await refused(
    target,
    Buffer.concat([publish(1, '', 'nowhere', 'x'), body(1, largeBody(100_000))]),
    NO_METHOD,
  );
});

rule('2.4.swallowed-content', 'large body frames on a closed channel are swallowed', async (target) => {
  const { client, queue } = await withQueue(target);
  const content = largeBody(100_000);
  const lost = publish(1, '', queue, content);
  client.send(publish(1, target.name('no exchange'), '', content));
  await client.expectChannelClose(1, false);
  await client.sendSplit(Buffer.concat([lost, lost]), 30_000, 110_000, 170_000);
  client.send(method(1, 'channel.close-ok'), method(1, 'channel.open'));
  await client.expect('channel.open-ok', 1);
  client.send(publish(1, '', queue, content));
  const got = await client.get(1, queue);
  expect([got.body.equals(content), got.method.fields['messageCount']]).toEqual([true, 0]);
});

rule('2.2.interleaved', 'large messages of two channels, body frame by body frame', async (target) => {
  const { client, queue } = await withQueue(target);
  await client.openChannel(2);
  const contents = [largeBody(400_000), Buffer.from(largeBody(400_000)).reverse()];
  const frames: Buffer[] = [];
  for (const channel of [1, 2]) {
    frames.push(
      method(channel, 'basic.publish', { exchange: '', routingKey: queue }),
      header(channel, 400_000),
    );
  }
  for (let at = 0; at < 400_000; at += 100_000) {
    for (const channel of [1, 2])
      frames.push(body(channel, contents[channel - 1]!.subarray(at, at + 100_000)));
  }
  await client.sendSplit(Buffer.concat(frames), 150_000, 150_100, 420_000, 600_001);
  for (const channel of [1, 2]) await client.expectQuiet(channel);
  // Which of two channels is first in the queue is not promised.
  const got = [(await client.get(1, queue)).body, (await client.get(1, queue)).body];
  for (const [i, content] of contents.entries())
    expect(got.filter((arrived) => arrived.equals(content)).length, `message of channel ${i + 1}`).toBe(1);
});

rule('1.9.lost', 'a client lost in the middle of a large frame leaves no message behind', async (target) => {
  const watcher = await target.openWithChannel();
  const queue = target.name('half');
  await watcher.call(1, 'queue.declare', { queue });
  for (const reset of [false, true]) {
    const client = await target.openWithChannel();
    const bytes = publish(1, '', queue, largeBody(120_000));
    await client.sendSplit(bytes.subarray(0, 70_000), 40_000);
    client.destroy(reset);
  }
  await expectServes(target);
  await expectServes(target);
  expect(await watcher.call(1, 'queue.delete', { queue })).toEqual({ messageCount: 0 });
});
