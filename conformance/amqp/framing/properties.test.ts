// Field tables and the content header: what is sent is what arrives, type octets included.
import { expect } from 'vitest';
import { method, type RawClient, rawHeader, rawMethod } from '../../support/raw-client.ts';
import { rule, type Target, useTarget } from '../../support/target.ts';
import {
  decodeTable,
  encodeArray,
  encodeTable,
  entry,
  long,
  longlong,
  longstr,
  octet,
  short,
  shortstr,
  type TypedEntry,
} from '../../support/typed-table.ts';

useTarget();

async function withQueue(target: Target): Promise<{ client: RawClient; queue: string }> {
  const client = await target.openWithChannel();
  const queue = target.name('properties');
  await client.call(1, 'queue.declare', { queue, exclusive: true });
  return { client, queue };
}

/** Sends a message with these property bytes and gives back those that come with it. */
async function roundTrip(client: RawClient, queue: string, properties: Buffer): Promise<Buffer> {
  client.send(
    method(1, 'basic.publish', { exchange: '', routingKey: queue }),
    rawHeader(1, { bodySize: 0, properties }),
  );
  return (await client.get(1, queue)).rawProperties;
}

/** Sends `headers` and gives back what arrives. */
async function headersRoundTrip(
  client: RawClient,
  queue: string,
  headers: readonly TypedEntry[],
): Promise<TypedEntry[]> {
  const properties = Buffer.concat([short(0x2000), encodeTable(headers)]);
  const received = await roundTrip(client, queue, properties);
  expect(received.readUInt16BE(0)).toBe(0x2000);
  return decodeTable(received, 2);
}

function float(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeFloatBE(value);
  return bytes;
}

function double(value: number): Buffer {
  const bytes = Buffer.alloc(8);
  bytes.writeDoubleBE(value);
  return bytes;
}

/** Every type with the values at its edges. */
const VALUES: readonly TypedEntry[] = [
  entry('true', 't', octet(1)),
  entry('false', 't', octet(0)),
  entry('int8 smallest', 'b', octet(0x80)),
  entry('int8 largest', 'b', octet(0x7f)),
  entry('uint8 largest', 'B', octet(0xff)),
  entry('int16 smallest', 's', short(0x8000)),
  entry('int16 largest', 's', short(0x7fff)),
  entry('uint16 largest', 'u', short(0xffff)),
  entry('int32 smallest', 'I', long(0x8000_0000)),
  entry('int32 largest', 'I', long(0x7fff_ffff)),
  entry('uint32 largest', 'i', long(0xffff_ffff)),
  entry('int64 smallest', 'l', longlong(-(2n ** 63n))),
  entry('int64 largest', 'l', longlong(2n ** 63n - 1n)),
  entry('int64 beyond doubles', 'l', longlong(2n ** 53n + 1n)),
  entry('float', 'f', float(1.5)),
  entry('float smallest', 'f', float(1e-45)),
  entry('double', 'd', double(0.1)),
  entry('double largest', 'd', double(Number.MAX_VALUE)),
  entry('minus zero', 'd', double(-0)),
  entry('decimal', 'D', Buffer.concat([octet(2), long(31_415)])),
  entry('decimal of many places', 'D', Buffer.concat([octet(255), long(0xffff_ffff)])),
  entry('text', 'S', longstr('some text, häßlich')),
  entry('empty text', 'S', longstr('')),
  entry('text that is no UTF-8', 'S', longstr(Buffer.from([0xff, 0xfe, 0]))),
  entry('long text', 'S', longstr('x'.repeat(70_000))),
  entry('bytes', 'x', longstr(Buffer.from([0, 1, 254, 255]))),
  entry('no bytes', 'x', longstr('')),
  entry('empty array', 'A', longstr('')),
  entry('timestamp', 'T', longlong(1_700_000_000)),
  entry('timestamp largest', 'T', longlong(-1n)),
  entry('empty table', 'F', long(0)),
  entry('void', 'V', Buffer.alloc(0)),
];

for (const value of VALUES) {
  rule('2.5.types', `${value.key} (${value.tag}) comes back as it was sent`, async (target) => {
    const { client, queue } = await withQueue(target);
    expect(await headersRoundTrip(client, queue, [value])).toEqual([value]);
  });
}

rule('2.5.types', 'all types together come back as they were sent', async (target) => {
  const { client, queue } = await withQueue(target);
  const byKey = (a: TypedEntry, b: TypedEntry) => (a.key < b.key ? -1 : 1);
  const received = await headersRoundTrip(client, queue, VALUES);
  // The order of keys is not promised.
  expect([...received].sort(byKey)).toEqual([...VALUES].sort(byKey));
});

rule('2.5.signed-long', 'a 64-bit value of type L keeps its bits', async (target) => {
  const { client, queue } = await withQueue(target);
  for (const value of [0n, 1n, 2n ** 63n - 1n, 2n ** 63n, 2n ** 64n - 1n]) {
    const [received] = await headersRoundTrip(client, queue, [entry('k', 'L', longlong(value))]);
    expect(['l', 'L']).toContain(received?.tag);
    expect(received?.bytes).toEqual(longlong(value));
  }
});

rule('2.5.nested', 'tables and arrays nest', async (target) => {
  const { client, queue } = await withQueue(target);
  const deep = encodeArray([
    { tag: 'I', bytes: long(1) },
    { tag: 'S', bytes: longstr('two') },
    { tag: 'A', bytes: encodeArray([{ tag: 'V', bytes: Buffer.alloc(0) }]) },
    {
      tag: 'F',
      bytes: encodeTable([
        entry(
          'inner',
          'F',
          encodeTable([entry('innermost', 'A', encodeArray([{ tag: 't', bytes: octet(1) }]))]),
        ),
      ]),
    },
  ]);
  const headers = [entry('deep', 'A', deep)];
  expect(await headersRoundTrip(client, queue, headers)).toEqual(headers);
});

rule('2.5.duplicates', 'a key that comes twice is accepted', async (target) => {
  const { client, queue } = await withQueue(target);
  const received = await headersRoundTrip(client, queue, [
    entry('twice', 'I', long(1)),
    entry('once', 'I', long(3)),
    entry('twice', 'I', long(2)),
  ]);
  expect(received).toContainEqual(entry('once', 'I', long(3)));
  expect(received.filter(({ key }) => key === 'twice').length).toBeGreaterThanOrEqual(1);
});

rule('2.5.empty-key', 'the empty key and a key of 255 bytes are kept', async (target) => {
  const { client, queue } = await withQueue(target);
  for (const key of ['', 'k'.repeat(255), 'ключ', '__proto__', 'constructor']) {
    const headers = [entry(key, 'I', long(7))];
    expect(await headersRoundTrip(client, queue, headers)).toEqual(headers);
  }
});

rule('2.5.arguments', 'arguments of unknown keys may have any type', async (target) => {
  const client = await target.openWithChannel();
  const queue = target.name('arguments');
  const args = [...VALUES, entry('L', 'L', longlong(5)), entry('__proto__', 'S', longstr('x'))].map(
    (value) => ({
      ...value,
      key: `app-${value.key}`,
    }),
  );
  const declare = Buffer.concat([short(0), shortstr(queue), octet(0b00100), encodeTable(args)]);
  client.send(rawMethod(1, 50, 10, declare));
  expect(await client.expect('queue.declare-ok', 1)).toMatchObject({ queue });
  const bind = Buffer.concat([
    short(0),
    shortstr(queue),
    shortstr('amq.headers'),
    shortstr(''),
    octet(0),
    encodeTable(args),
  ]);
  client.send(rawMethod(1, 50, 20, bind));
  await client.expect('queue.bind-ok', 1);
  const consume = Buffer.concat([short(0), shortstr(queue), shortstr('tag'), octet(0), encodeTable(args)]);
  client.send(rawMethod(1, 60, 20, consume));
  await client.expect('basic.consume-ok', 1);
});

/** Bit and value of each property, in the order of the wire. */
const PROPERTIES: readonly (readonly [string, number, Buffer])[] = [
  ['content-type', 15, shortstr('text/plain')],
  ['content-encoding', 14, shortstr('gzip')],
  ['headers', 13, encodeTable([entry('a', 'I', long(1))])],
  ['delivery-mode', 12, octet(1)],
  ['priority', 11, octet(9)],
  ['correlation-id', 10, shortstr('correlated')],
  ['reply-to', 9, shortstr('some queue')],
  ['expiration', 8, shortstr('3600000')],
  ['message-id', 7, shortstr('id')],
  ['timestamp', 6, longlong(1_700_000_000)],
  ['type', 5, shortstr('some type')],
  ['user-id', 4, shortstr('guest')],
  ['app-id', 3, shortstr('some app')],
  ['cluster-id', 2, shortstr('some cluster')],
];

for (const [name, bit, bytes] of PROPERTIES) {
  rule('2.6.properties', `${name} alone comes back as it was sent`, async (target) => {
    const { client, queue } = await withQueue(target);
    const properties = Buffer.concat([short(1 << bit), bytes]);
    expect(await roundTrip(client, queue, properties)).toEqual(properties);
  });
}

rule('2.6.properties', 'all properties together come back as they were sent', async (target) => {
  const { client, queue } = await withQueue(target);
  const properties = Buffer.concat([short(0xfffc), ...PROPERTIES.map(([, , bytes]) => bytes)]);
  expect(await roundTrip(client, queue, properties)).toEqual(properties);
});

rule('2.6.properties', 'unusual values pass unchecked', async (target) => {
  const { client, queue } = await withQueue(target);
  for (const [bit, bytes] of [
    [15, shortstr(Buffer.from([0xff, 0]))],
    [11, octet(255)],
    [7, shortstr('m'.repeat(255))],
    [6, longlong(-1n)],
  ] as const) {
    const properties = Buffer.concat([short(1 << bit), bytes]);
    expect(await roundTrip(client, queue, properties)).toEqual(properties);
  }
});

rule('2.6.absent', 'a message without properties arrives without properties', async (target) => {
  const { client, queue } = await withQueue(target);
  expect(await roundTrip(client, queue, short(0))).toEqual(short(0));
});

rule('2.6.absent', 'empty strings and an empty table are not absent', async (target) => {
  const { client, queue } = await withQueue(target);
  for (const bit of [15, 14, 10, 9, 7, 5, 3, 2]) {
    const properties = Buffer.concat([short(1 << bit), shortstr('')]);
    expect(await roundTrip(client, queue, properties)).toEqual(properties);
  }
  const properties = Buffer.concat([short(0x2000), long(0)]);
  expect(await roundTrip(client, queue, properties)).toEqual(properties);
});

for (const flags of [0b01, 0b10, 0b11]) {
  rule('2.6.flag-bits', `the spare flag bits ${flags.toString(2)} are ignored`, async (target) => {
    const { client, queue } = await withQueue(target);
    const received = await roundTrip(
      client,
      queue,
      Buffer.concat([short(0x8000 | flags), shortstr('text/plain')]),
    );
    expect(received.readUInt16BE(0) & 0xfffc).toBe(0x8000);
    expect(received.subarray(2)).toEqual(shortstr('text/plain'));
  });
}
