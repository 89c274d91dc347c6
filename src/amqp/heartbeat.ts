// Heartbeats of one connection, both ways. Any byte counts as a sign of life (AMQP 0-9-1 4.2.7, RabbitMQ).
// Sends one after half an interval without output; gives the peer up after two whole intervals without input.

import { Timer, type TimerWheel } from '../base/timer-wheel.ts';
import { FRAME_OVERHEAD } from '../protocol/constants.ts';

/** The connection, as far as heartbeats go. */
export interface HeartbeatPeer {
  /** Bytes that came in so far. */
  readonly bytesIn: number;
  /** Bytes that went out so far. */
  readonly bytesOut: number;
  /** We are not reading for reasons of our own (an alarm, say): silence means nothing. */
  readonly readingPaused: boolean;
  /** We are not reading because the client does not take our answers: bytes that it takes are its sign of life; null otherwise. */
  readonly bytesTaken: number | null;
  sendHeartbeat(): void;
  /** The peer was silent for two intervals. */
  peerSilent(): void;
}

/** Silent intervals after which a peer is given up. */
const MISSES_MAX = 2;

/** Runs on the broker's timer wheel. */
export class Heartbeat {
  private readonly wheel: TimerWheel;
  private readonly peer: HeartbeatPeer;
  private readonly intervalMs: number;
  private readonly sendTimer = new Timer(() => this.onSendTick());
  private readonly receiveTimer = new Timer(() => this.onReceiveTick());
  private lastOut = 0;
  private lastIn = 0;
  private lastTaken: number | null = null;
  private misses = 0;

  constructor(wheel: TimerWheel, peer: HeartbeatPeer, intervalSeconds: number) {
    this.wheel = wheel;
    this.peer = peer;
    this.intervalMs = intervalSeconds * 1000;
  }

  /** Starts both directions; an interval of 0 means no heartbeats. */
  start(): void {
    if (this.intervalMs === 0) return;
    this.lastIn = this.peer.bytesIn;
    this.lastOut = this.peer.bytesOut;
    this.wheel.set(this.sendTimer, this.intervalMs / 2);
    this.wheel.set(this.receiveTimer, this.intervalMs);
  }

  stop(): void {
    this.wheel.clear(this.sendTimer);
    this.wheel.clear(this.receiveTimer);
  }

  private onSendTick(): void {
    const { bytesOut } = this.peer;
    const idle = bytesOut === this.lastOut;
    if (idle) this.peer.sendHeartbeat();
    // Our own heartbeat is no sign that somebody had something to say.
    this.lastOut = idle ? bytesOut + FRAME_OVERHEAD : bytesOut;
    this.wheel.set(this.sendTimer, this.intervalMs / 2);
  }

  private onReceiveTick(): void {
    const { bytesIn, bytesTaken, readingPaused } = this.peer;
    const takes = bytesTaken !== null && bytesTaken !== this.lastTaken;
    if (bytesIn !== this.lastIn || takes || readingPaused) this.misses = 0;
    else this.misses++;
    this.lastIn = bytesIn;
    this.lastTaken = bytesTaken;
    if (this.misses >= MISSES_MAX) this.peer.peerSilent();
    else this.wheel.set(this.receiveTimer, this.intervalMs);
  }
}
