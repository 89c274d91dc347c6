// One thing after the other on a connection that another process opened: write, wait for the answer, write again. A program of its own.
// Owns its standard input, which is that connection and blocks: a round trip is one write and one read, without an event loop, and so costs
// about what it would in a C program. Knows no handshake: channel 1 is open, and set up for what the job asks.

import { readSync, writeSync } from 'node:fs';
import { monotonicMs } from './clock.ts';
import { Histogram } from './histogram.ts';
import { Scanner, type ScannerSink } from './scanner.ts';
import { GETS_TOLD, type TripJob, type TripWord } from './trip-job.ts';
import * as wire from './wire.ts';

const SOCKET = 0;
const CHANNEL = 1;
const READ_BYTES = 65_536;
/** Between two writes at a fixed rate. */
const PACE_MS = 1;

class Trips implements ScannerSink {
  readonly histogram = new Histogram();
  empties = 0;
  confirmed = 0;
  refused = 0;
  onBody: ((bytes: Buffer, at: number, size: number) => void) | null = null;
  private readonly scanner = new Scanner(this);
  private readonly buffer = Buffer.allocUnsafeSlow(READ_BYTES);
  private readonly job: TripJob;
  private readonly request: Buffer;
  /** An acknowledgement with the next request behind it, in one piece: one write. */
  private readonly ackAndRequest: Buffer;
  /** Deliveries acknowledged: the tag of the last one. */
  private acked = 0;
  private closed = false;
  /** What nobody ever wakes: a sleep without an event loop, to some 60 us. */
  private readonly sleeper = new Int32Array(new SharedArrayBuffer(4));
  private paced = 0;
  private readonly paceFrom = monotonicMs();

  constructor(job: TripJob) {
    this.job = job;
    this.request = Buffer.from(job.request, 'base64');
    this.ackAndRequest = Buffer.concat([Buffer.alloc(wire.ACK_LENGTH), this.request]);
  }

  onMethod(id: number, bytes: Buffer, at: number): void {
    switch (id) {
      case wire.BASIC_ACK:
        this.confirmed += 1;
        return;
      case wire.BASIC_NACK:
        this.refused += 1;
        return;
      case wire.BASIC_GET_EMPTY:
        this.empties += 1;
        return;
      case wire.CONNECTION_CLOSE_OK:
        this.closed = true;
        return;
      case wire.CONNECTION_CLOSE:
      case wire.CHANNEL_CLOSE: {
        const length = bytes[at + 6]!;
        throw new Error(`${bytes.readUInt16BE(at + 4)} ${bytes.toString('utf8', at + 7, at + 7 + length)}`);
      }
    }
  }

  /** Whole round trips until now, or messages read. */
  get count(): number {
    const { kind } = this.job;
    if (kind === 'confirm') return this.confirmed + this.refused;
    if (kind === 'pace') return this.paced;
    return this.scanner.contents + this.empties;
  }

  /** Goes on until `seconds` have passed. @returns milliseconds it took */
  run(seconds: number): number {
    const began = performance.now();
    const until = began + seconds * 1000;
    const { kind } = this.job;
    let now = began;
    while (now < until) {
      if (kind === 'get') this.get();
      else if (kind === 'confirm') this.confirm();
      else if (kind === 'pace') this.pace();
      else this.read();
      const after = performance.now();
      if (kind === 'get' || kind === 'confirm') this.histogram.record((after - now) * 1000);
      now = after;
    }
    return now - began;
  }

  /** Says goodbye, so that the broker has nothing to warn of. */
  close(): void {
    this.write(wire.connectionClose());
    while (!this.closed) this.read();
  }

  private get(): void {
    const before = this.count;
    const { contents } = this.scanner;
    if (contents === this.acked) this.write(this.request);
    else {
      this.acked = contents;
      wire.writeAck(this.ackAndRequest, 0, CHANNEL, contents, false);
      this.write(this.ackAndRequest);
      if (contents % GETS_TOLD === 0) say({ word: 'got', count: contents });
    }
    while (this.count === before) this.read();
  }

  private confirm(): void {
    const before = this.count;
    this.write(this.request);
    while (this.count === before) this.read();
  }

  /** What is due by now in one write, then a rest. */
  private pace(): void {
    const now = monotonicMs();
    const due = Math.floor(((now - this.paceFrom) * this.job.perSecond) / 1000) - this.paced;
    if (due > 0) {
      const { request } = this;
      const bytes = Buffer.allocUnsafe(due * request.length);
      for (let i = 0; i < due; i++) {
        request.copy(bytes, i * request.length);
        // The body is the end of the request, but for the end octet of its frame.
        bytes.writeDoubleBE(now, (i + 1) * request.length - 1 - this.job.bodyBytes);
      }
      this.write(bytes);
      this.paced += due;
    }
    Atomics.wait(this.sleeper, 0, 0, PACE_MS);
  }

  private write(bytes: Buffer): void {
    for (let at = 0; at < bytes.length; ) at += writeSync(SOCKET, bytes, at, bytes.length - at);
  }

  private read(): void {
    const length = readSync(SOCKET, this.buffer, 0, READ_BYTES, null);
    if (length === 0) throw new Error('the broker closed the connection');
    this.scanner.push(this.buffer, length);
  }
}

function say(word: TripWord): void {
  writeSync(1, `${JSON.stringify(word)}\n`);
}

function main(): void {
  const job = JSON.parse(process.argv[2] ?? '') as TripJob;
  const trips = new Trips(job);
  const { histogram } = trips;
  if (job.kind === 'read')
    trips.onBody = (bytes, at) => histogram.record((monotonicMs() - bytes.readDoubleBE(at)) * 1000);
  trips.run(job.warmupSeconds);
  histogram.clear();
  say({ word: 'begin' });
  const cpu0 = process.cpuUsage();
  const { count, empties, refused } = trips;
  const ms = trips.run(job.seconds);
  const cpu = process.cpuUsage(cpu0);
  const quantile = (share: number) => histogram.quantile(share) / 1000;
  say({
    word: 'end',
    count: trips.count - count,
    seconds: ms / 1000,
    cpu: (cpu.user + cpu.system) / 1e6,
    empties: trips.empties - empties,
    refused: trips.refused - refused,
    p50: quantile(0.5),
    p99: quantile(0.99),
    p999: quantile(0.999),
    max: histogram.max / 1000,
  });
  trips.close();
}

try {
  main();
} catch (error) {
  say({ word: 'failed', reason: error instanceof Error ? error.message : String(error) });
  process.exitCode = 1;
}
