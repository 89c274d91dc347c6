// Who is given up over silence, and who is not.

import { expect, it } from 'vitest';
import { Heartbeat, type HeartbeatPeer } from '../../src/amqp/heartbeat.ts';
import { FakeClock } from '../../src/base/fake-clock.ts';
import { TimerWheel } from '../../src/base/timer-wheel.ts';

class FakePeer implements HeartbeatPeer {
  bytesIn = 0;
  bytesOut = 0;
  readingPaused = false;
  bytesTaken: number | null = null;
  sent = 0;
  silent = 0;

  sendHeartbeat(): void {
    this.sent++;
    this.bytesOut += 8;
  }

  peerSilent(): void {
    this.silent++;
  }
}

function beating(peer: FakePeer) {
  const clock = new FakeClock();
  const heartbeat = new Heartbeat(new TimerWheel(clock), peer, 10);
  heartbeat.start();
  return { clock, heartbeat };
}

it('gives up a client that neither sends nor takes the answers it asked for', () => {
  const peer = new FakePeer();
  const { clock } = beating(peer);
  peer.bytesTaken = 1_000;
  clock.advance(35_000);
  expect(peer.silent).toBe(1);
});

it('keeps a client that takes its answers, however slowly', () => {
  const peer = new FakePeer();
  const { clock } = beating(peer);
  for (let i = 0; i < 20; i++) {
    peer.bytesTaken = i;
    clock.advance(5_000);
  }
  expect(peer.silent).toBe(0);
});

it('keeps a client that we do not read from for reasons of our own', () => {
  const peer = new FakePeer();
  const { clock } = beating(peer);
  peer.readingPaused = true;
  clock.advance(100_000);
  expect(peer.silent).toBe(0);
  peer.readingPaused = false;
  clock.advance(20_500);
  expect(peer.silent).toBe(1);
});

it('sends at half the interval when nothing else was sent', () => {
  const peer = new FakePeer();
  const { clock } = beating(peer);
  peer.bytesTaken = 0;
  for (let i = 0; i < 4; i++) {
    peer.bytesIn++;
    clock.advance(5_000);
  }
  expect(peer.sent).toBeGreaterThanOrEqual(3);
});
