// How long the bytes take: names, methods, properties, tables, frames in and out. Run: node .ci/ready.mjs run bench/micro/decode.ts
// Prints nanoseconds per operation, the best of seven rounds: trust ratios, not absolutes.

import { decodeTable, encodeTable, skipTable, tableOf } from '../../src/protocol/field-table.ts';
import { FrameReader } from '../../src/protocol/frame-reader.ts';
import { ChunkPool, FrameWriter } from '../../src/protocol/frame-writer.ts';
import {
  decodeBasicAck,
  decodeBasicDeliver,
  decodeBasicPublish,
  encodeBasicAck,
  encodeBasicDeliver,
  encodeBasicPublish,
} from '../../src/protocol/methods.ts';
import {
  type BasicProperties,
  decodeProperties,
  encodeProperties,
  NO_PROPERTIES,
  PropertyScan,
  scanProperties,
} from '../../src/protocol/properties.ts';
import { internShortString } from '../../src/protocol/short-strings.ts';
import { QUICK } from './quick.ts';

const ROUNDS = QUICK ? 1 : 7;
/** Length of a round. */
const ROUND_MS = QUICK ? 1 : 60;
/** Frames in the stream that the reader cases read. */
const FRAMES = 60;

const pool = new ChunkPool();
const writer = new FrameWriter(pool);
/** Gathers results, so that nothing measured can be left out as unused. */
let sink = 0;

/** Prints what one of `perCall` operations in a call of `work` costs. */
function measure(name: string, work: () => number, perCall = 1): void {
  let best = Number.POSITIVE_INFINITY;
  for (let round = 0; round < ROUNDS; round++) {
    let calls = 0;
    const start = performance.now();
    let now = start;
    while (now - start < ROUND_MS) {
      for (let i = 0; i < 500; i++) sink ^= work();
      calls += 500;
      now = performance.now();
    }
    best = Math.min(best, ((now - start) * 1e6) / (calls * perCall));
  }
  console.log(`${name.padEnd(52)} ${best.toFixed(1).padStart(9)} ns`);
}

/** Everything written, in one buffer. */
function flushed(): Buffer {
  const chunks = writer.detach();
  const octets = Buffer.concat(chunks.map((chunk) => chunk.buffer.subarray(0, chunk.length)));
  pool.giveAll(chunks);
  return octets;
}

/** Gives full chunks back now and then, as a turn does. */
function flush(): void {
  if (writer.pendingBytes < 60_000) return;
  pool.giveAll(writer.detach());
}

function names(): void {
  for (const length of [4, 12, 24, 36, 60]) {
    const buf = Buffer.from(
      'orders.eu.created.customer-1234567890.abcdefghijklmnopqrstuvwxyz'.slice(0, length),
    );
    measure(`name of ${length} octets, seen before`, () => internShortString(buf, 0, length).length);
  }
  const fresh = Buffer.from('reply.00000000-aaaa-bbbb-cccc-000000000000');
  let n = 0;
  measure('name of 42 octets, never seen', () => {
    fresh.writeUInt32LE((n++ & 0x0f0f0f0f) | 0x40404040, 6);
    fresh.writeUInt32LE(((n >>> 4) & 0x0f0f0f0f) | 0x40404040, 10);
    return internShortString(fresh, 0, fresh.length).length;
  });
  measure('the same with toString', () => fresh.toString('utf8', 0, fresh.length).length);
}

function methods(): void {
  const deliver = {
    consumerTag: 'ctag-1.abcdef',
    deliveryTag: 1234,
    redelivered: false,
    exchange: 'orders',
    routingKey: 'eu.created',
  };
  const publish = { exchange: 'orders', routingKey: 'orders.eu.created', mandatory: false, immediate: false };
  encodeBasicPublish(writer, 1, publish);
  const published = flushed();
  encodeBasicAck(writer, 1, { deliveryTag: 1234, multiple: false });
  const acked = flushed();
  encodeBasicDeliver(writer, 1, deliver);
  const delivered = flushed();
  measure(
    'decode basic.publish',
    () => decodeBasicPublish(published, 11, published.length - 1).routingKey.length,
  );
  measure('decode basic.ack', () => decodeBasicAck(acked, 11, acked.length - 1).deliveryTag);
  measure('decode basic.deliver', () => decodeBasicDeliver(delivered, 11, delivered.length - 1).deliveryTag);
  measure('encode basic.publish', () => {
    encodeBasicPublish(writer, 1, publish);
    flush();
    return writer.at;
  });
  measure('encode basic.ack', () => {
    encodeBasicAck(writer, 1, { deliveryTag: 1234, multiple: false });
    flush();
    return writer.at;
  });
  measure('encode basic.deliver', () => {
    encodeBasicDeliver(writer, 1, deliver);
    flush();
    return writer.at;
  });
}

function properties(): void {
  const scan = new PropertyScan();
  const headers = tableOf({ 'x-trace': 'abcdef0123456789', attempt: 3, tenant: 'eu-1' });
  const cases: readonly (readonly [string, BasicProperties])[] = [
    ['none', NO_PROPERTIES],
    ['delivery-mode', { ...NO_PROPERTIES, deliveryMode: 2 }],
    ['content-type, delivery-mode', { ...NO_PROPERTIES, contentType: 'application/json', deliveryMode: 2 }],
    [
      'the same and three headers',
      { ...NO_PROPERTIES, contentType: 'application/json', headers, deliveryMode: 2 },
    ],
    [
      'a request',
      {
        ...NO_PROPERTIES,
        contentType: 'application/json',
        deliveryMode: 1,
        correlationId: 'abcdef0123456789',
        replyTo: 'amq.reply',
      },
    ],
  ];
  for (const [name, value] of cases) {
    const octets = encodeProperties(value);
    measure(`scan properties: ${name}`, () => {
      scanProperties(octets, 0, octets.length, scan);
      return scan.flags + scan.deliveryMode;
    });
  }
  const [, value] = cases[3] ?? ['', NO_PROPERTIES];
  const octets = encodeProperties(value);
  measure(
    'decode properties with three headers',
    () => decodeProperties(octets, 0, octets.length).deliveryMode ?? 0,
  );
  measure('encode properties with three headers', () => encodeProperties(value).length);
  const table = encodeTable(headers);
  measure('skip a table of three', () => skipTable(table, 0, table.length));
  measure('decode a table of three', () => decodeTable(table, 0, table.length).size);
}

/** The frames of `FRAMES / 3` published messages. */
function publishes(bodyLength: number): Buffer {
  const body = Buffer.alloc(bodyLength, 1);
  const octets = encodeProperties({ ...NO_PROPERTIES, deliveryMode: 2 });
  for (let i = 0; i < FRAMES / 3; i++) {
    encodeBasicPublish(writer, 1, { exchange: '', routingKey: 'queue', mandatory: false, immediate: false });
    writer.contentHeader(1, bodyLength, octets);
    writer.bodyFrames(1, body, 0, bodyLength, 131_072);
  }
  return flushed();
}

function framesIn(): void {
  for (const [bodyLength, chunkBytes] of [
    [16, 65_536],
    [1024, 65_536],
    [1024, 1460],
    [16, 100],
  ] as const) {
    const stream = publishes(bodyLength);
    const chunks: Buffer[] = [];
    for (let at = 0; at < stream.length; at += chunkBytes) chunks.push(stream.subarray(at, at + chunkBytes));
    const reader = new FrameReader(131_072);
    const work = () => {
      let total = 0;
      for (let i = 0; i < chunks.length; i++) {
        reader.push(chunks[i]!);
        while (reader.next()) total += reader.stop - reader.start;
      }
      return total;
    };
    measure(`read a frame, bodies of ${bodyLength} in chunks of ${chunkBytes}`, work, FRAMES);
  }
}

function framesOut(): void {
  const octets = encodeProperties({ ...NO_PROPERTIES, deliveryMode: 2 });
  measure('write a content header', () => {
    writer.contentHeader(1, 1000, octets);
    flush();
    return writer.at;
  });
  for (const bodyLength of [16, 24, 25, 32, 48, 64, 128, 1024, 16_384, 200_000]) {
    const body = Buffer.alloc(bodyLength, 1);
    measure(`write a body of ${bodyLength}`, () => {
      writer.bodyFrames(1, body, 0, bodyLength, 131_072);
      flush();
      return writer.at;
    });
  }
}

names();
methods();
properties();
framesIn();
framesOut();
if (sink === 0.5) console.log('');
