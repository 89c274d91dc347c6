// A broker that does nothing: it answers set-up methods, throws publishes away, confirms them and floods consumers with ready-made
// deliveries. What the generator reaches against it is the most that any measurement with this generator can show.
// Owns no queue and no message. Runs in a process of its own: `node stub.js` prints its port.

import { createServer, type Socket } from 'node:net';
import * as wire from './wire.ts';

const CHANNEL = 1;
const BODY_BYTES = 16;
/** Deliveries in one write. */
const RUN = 1500;

function frame(channel: number, id: number, fields: Buffer): Buffer {
  const bytes = Buffer.alloc(12 + fields.length);
  bytes[0] = wire.FRAME_METHOD;
  bytes.writeUInt16BE(channel, 1);
  bytes.writeUInt32BE(4 + fields.length, 3);
  bytes.writeUInt32BE(id, 7);
  fields.copy(bytes, 11);
  bytes[11 + fields.length] = wire.FRAME_END;
  return bytes;
}

const NONE = Buffer.alloc(0);

/** What the stub says to a method, by its id; methods that are not here get no answer. */
const ANSWERS = new Map<number, Buffer>([
  [0x000a000b, frame(0, wire.CONNECTION_TUNE, Buffer.from([0, 16, 0, 2, 0, 0, 0, 0]))],
  [0x000a0028, frame(0, wire.CONNECTION_OPEN_OK, Buffer.from([0]))],
  [0x000a0032, frame(0, wire.CONNECTION_CLOSE_OK, NONE)],
  [0x0014000a, frame(CHANNEL, wire.CHANNEL_OPEN_OK, Buffer.alloc(4))],
  [0x00140028, frame(CHANNEL, wire.CHANNEL_CLOSE_OK, NONE)],
  [0x0032000a, frame(CHANNEL, wire.QUEUE_DECLARE_OK, Buffer.from([1, 0x71, 0, 0, 0, 0, 0, 0, 0, 0]))],
  [0x00320028, frame(CHANNEL, wire.QUEUE_DELETE_OK, Buffer.alloc(4))],
  [0x003c000a, frame(CHANNEL, wire.BASIC_QOS_OK, NONE)],
  [0x003c0014, frame(CHANNEL, wire.BASIC_CONSUME_OK, Buffer.from([1, 0x63]))],
  [0x0055000a, frame(CHANNEL, wire.CONFIRM_SELECT_OK, NONE)],
]);

/** One delivery as a broker would send it: consumer tag `c`, default exchange, a short queue name. */
function delivery(): Buffer {
  const key = Buffer.from('bench.transient-16.12345.q0');
  const fields = Buffer.concat([Buffer.from([1, 0x63, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, key.length]), key]);
  const publish = { exchange: '', routingKey: 'k', persistent: false, body: Buffer.alloc(BODY_BYTES) };
  const content = wire.encodePublish(CHANNEL, 131_072, publish);
  const method = content.readUInt32BE(3) + 8;
  return Buffer.concat([frame(CHANNEL, wire.BASIC_DELIVER, fields), content.subarray(method)]);
}

function flood(socket: Socket, run: Buffer): void {
  const write = () => {
    while (!socket.destroyed && socket.write(run));
  };
  socket.on('drain', () => setImmediate(write));
  write();
}

/** Answers the set-up methods of one client; stops looking at its bytes once it publishes or consumes. */
function serve(socket: Socket, run: Buffer): void {
  let pending = NONE;
  let greeted = false;
  let deaf = false;
  socket.on('error', () => {});
  socket.on('data', (chunk) => {
    if (deaf) return;
    pending = pending.length === 0 ? chunk : Buffer.concat([pending, chunk]);
    if (!greeted && pending.length >= 8) {
      greeted = true;
      pending = pending.subarray(8);
      socket.write(
        frame(0, wire.CONNECTION_START, Buffer.concat([Buffer.from([0, 9, 0, 0, 0, 0]), Buffer.alloc(8)])),
      );
    }
    while (pending.length >= 11) {
      const total = pending.readUInt32BE(3) + 8;
      if (pending.length < total) return;
      const id = pending.readUInt32BE(7);
      const answer = ANSWERS.get(id);
      if (id === 0x003c0028) {
        deaf = true;
        return;
      }
      if (answer !== undefined) socket.write(answer);
      if (id === 0x003c0014) flood(socket, run);
      pending = pending.subarray(total);
    }
  });
}

const run = wire.Batch.repeat(delivery(), RUN * delivery().length).bytes;
const server = createServer({ noDelay: true }, (socket) => serve(socket, run));
server.listen(0, '127.0.0.1', () => {
  const address = server.address();
  if (address !== null && typeof address === 'object') process.stdout.write(`${address.port}\n`);
});
process.once('SIGTERM', () => process.exit(0));
