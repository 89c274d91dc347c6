// What the ledger keeps of queues, messages, their copies, and those who publish and take them. Owns the fields, no rule.

/** Where a copy stands: on its way or waiting, acknowledged by somebody, gone for good, or never stored. */
export type CopyState = 'live' | 'acked' | 'done' | 'lost';

/** One queue in one life of its name. */
export class QueueModel {
  readonly name: string;
  /** Copies that are live; for pacing. */
  waiting = 0;
  waitingBytes = 0;
  deleted = false;
  /** What was sent to it, for a queue that is to be deleted; null for one that stays. */
  readonly copies: Copy[] | null;

  constructor(name: string, stays: boolean) {
    this.name = name;
    this.copies = stays ? null : [];
  }
}

/** Somebody who takes messages. */
export class Taker {
  readonly number: number;
  readonly name: string;
  /** Newest sequence number got for the first time, by publisher. */
  readonly newest = new Map<number, number>();
  readonly held = new Set<Copy>();
  /** Acks in the order of sending, with what covers them. */
  readonly acks: Copy[] = [];
  /** Acks up to this index are covered. */
  covered = 0;

  constructor(number: number, name: string) {
    this.number = number;
    this.name = name;
  }
}

export class Copy {
  readonly message: Message;
  readonly queue: QueueModel;
  state: CopyState = 'live';
  /** Confirmed, or found after a crash: it must not get lost. */
  secure = false;
  /** Somebody got it at least once. */
  seen = false;
  holder: Taker | null = null;
  /** The ack was certainly read by the broker that is alive. */
  ackCertain = false;
  /** Who acknowledged it last, and as which of its acks. */
  ackedBy: Taker | null = null;
  ackIndex = 0;
  /** Number of the verification that found it. */
  found = 0;
  requeues = 0;
  /** Three numbers for each thing that happened: what, when (life and ms), and to whom. */
  readonly history: number[] = [];

  constructor(message: Message, queue: QueueModel) {
    this.message = message;
    this.queue = queue;
  }
}

export class Message {
  readonly publisher: Publisher;
  readonly number: number;
  readonly length: number;
  readonly copies: Copy[] = [];
  /** Number of the first message behind those that stand or fall with this one. */
  groupEnd: number;
  confirmed = false;

  constructor(publisher: Publisher, number: number, length: number) {
    this.publisher = publisher;
    this.number = number;
    this.length = length;
    this.groupEnd = number + 1;
  }
}

/** One publishing channel. Its messages are numbered from 0. */
export class Publisher {
  readonly id: number;
  readonly name: string;
  /** Life of the broker it published in. */
  readonly life: number;
  messages: Message[] = [];
  /** Messages below are all done. */
  open = 0;
  /** Everything was done long ago and has been forgotten. */
  forgotten = false;

  constructor(id: number, name: string, life: number) {
    this.id = id;
    this.name = name;
    this.life = life;
  }
}
