// What the harness knows of every message it ever sent: to which queues it went, whether the broker confirmed it, who got it, whether the
// ack is certain to be on disk. Owns the rules of durability, as checks. Knows no socket and no process.
//
// A copy is a message's place in one queue. What must hold after a crash:
// - a confirmed copy whose ack was never sent is there, exactly once, whole;
// - a copy whose ack was followed, on the same connection, by a confirmed persistent publish is gone: that confirm covers the ack
//   (everything a connection sends becomes durable in its order);
// - a copy whose ack has no such successor may be there or not; of one connection's acks a prefix took effect;
// - of what one channel published, a prefix is there, and messages of one transaction or one fan-out all or none;
// - a copy that somebody got before comes with redelivered=true;
// - the order of one publisher's messages in one queue is that of their publishing.

import { bodyOf, hasBytes, readBody } from './bodies.ts';
import { Copy, type CopyState, Message, Publisher, type QueueModel, Taker } from './copies.ts';

/** A promise was broken. The message says what, and the history of the copy it was noticed on. */
export class Broken extends Error {}

const HAPPENINGS = [
  'sent',
  'confirmed',
  'delivered',
  'delivered as redelivered',
  'ack sent',
  'reject sent',
  'ack covered by a confirm',
  'nack with requeue sent',
  'given back by the end of its channel',
  'found',
  'found, marked as redelivered',
  'not found',
  'queue deleted',
] as const;
type Happening = (typeof HAPPENINGS)[number];

/** A message taken out of one queue and put into another in one transaction. */
interface Move {
  readonly from: Copy;
  readonly to: Copy;
}

/** Lives for which the messages of a publisher are remembered after all of them are done. */
const REMEMBER_LIVES = 2;

/** Counts of what was seen, for the line that a round prints. */
export class Tally {
  sent = 0;
  confirmed = 0;
  delivered = 0;
  acked = 0;
  found = 0;
  /** Found marked as redelivered although nobody got them: allowed, but should be few. */
  overmarked = 0;
  /** Came back although their ack was sent: allowed while nothing covered it. */
  returned = 0;
}

export class Ledger {
  /** Counts the broker's lives, from 1. */
  life = 0;
  tally = new Tally();
  readonly #publishers: Publisher[] = [];
  #moves: Move[] = [];
  /** Takers of the present life. */
  #takers: Taker[] = [];
  readonly #takerNames: string[] = [''];
  #verification = 0;
  readonly #began = performance.now();

  // ── publishing ──

  publisher(name: string): Publisher {
    const publisher = new Publisher(this.#publishers.length + 1, name, this.life);
    this.#publishers.push(publisher);
    return publisher;
  }

  /** A message for these queues is about to be sent. @returns it and its body */
  send(
    publisher: Publisher,
    queues: readonly QueueModel[],
    length: number,
  ): { message: Message; body: Buffer } {
    const message = new Message(publisher, publisher.messages.length, length);
    publisher.messages.push(message);
    for (const queue of queues) {
      const copy = new Copy(message, queue);
      queue.waiting++;
      queue.waitingBytes += length;
      queue.copies?.push(copy);
      this.#note(copy, 'sent');
      message.copies.push(copy);
    }
    this.tally.sent++;
    return { message, body: bodyOf(publisher.id, message.number, length) };
  }

  /** These messages, neighbours of one publisher, are committed together. */
  group(messages: readonly Message[]): void {
    const end = messages[messages.length - 1]!.number + 1;
    for (const message of messages) message.groupEnd = end;
  }

  confirm(message: Message): void {
    message.confirmed = true;
    this.tally.confirmed++;
    for (const copy of message.copies) {
      copy.secure = true;
      this.#note(copy, 'confirmed');
    }
  }

  /** The message was rolled back: nobody may ever see it. */
  lose(message: Message): void {
    for (const copy of message.copies) this.#become(copy, 'lost');
  }

  // ── taking ──

  taker(name: string): Taker {
    const taker = new Taker(this.#takerNames.length, name);
    this.#takerNames.push(name);
    this.#takers.push(taker);
    return taker;
  }

  /** Somebody got a message. @throws Broken */
  deliver(taker: Taker, queue: QueueModel, body: Buffer, redelivered: boolean): Copy | null {
    const copy = this.#copyOf(queue, body);
    if (copy === null) return null;
    this.#note(copy, redelivered ? 'delivered as redelivered' : 'delivered', taker.number);
    this.tally.delivered++;
    if (copy.state === 'done' || copy.state === 'lost')
      this.#break(copy, 'came although it was gone for good');
    if (copy.state === 'acked' && copy.ackCertain)
      this.#break(copy, 'came again although it had been acknowledged');
    if (copy.holder !== null) this.#break(copy, `was delivered while ${copy.holder.name} held it`);
    if (copy.seen && !redelivered) this.#break(copy, 'came again without its redelivered mark');
    if (!redelivered) {
      const { publisher, number } = copy.message;
      const newest = taker.newest.get(publisher.id) ?? -1;
      if (number < newest)
        this.#break(copy, `came out of order: message ${newest} of that publisher had come before`);
      taker.newest.set(publisher.id, number);
    }
    this.#become(copy, 'live');
    this.hold(taker, copy);
    return copy;
  }

  /** The taker has the copy in its hands. */
  hold(taker: Taker, copy: Copy): void {
    copy.seen = true;
    copy.holder = taker;
    taker.held.add(copy);
  }

  /** An ack (or a reject) for the copy is about to be sent. */
  ack(taker: Taker, copy: Copy, rejected = false): void {
    this.#note(copy, rejected ? 'reject sent' : 'ack sent', taker.number);
    this.tally.acked++;
    this.#letGo(taker, copy);
    this.#become(copy, 'acked');
    copy.ackCertain = true;
    copy.ackedBy = taker;
    copy.ackIndex = taker.acks.length;
    taker.acks.push(copy);
  }

  /** A requeue is about to be sent. */
  requeue(taker: Taker, copy: Copy): void {
    this.#note(copy, 'nack with requeue sent', taker.number);
    copy.requeues++;
    this.#letGo(taker, copy);
  }

  /** Everything that the taker has acknowledged up to this index is on disk. */
  cover(taker: Taker, upTo: number): void {
    for (; taker.covered < upTo; taker.covered++) {
      const copy = taker.acks[taker.covered]!;
      if (copy.state !== 'acked' || copy.ackedBy !== taker || copy.ackIndex !== taker.covered) continue;
      this.#note(copy, 'ack covered by a confirm');
      this.#become(copy, 'done');
    }
  }

  /**
   * The taker is about to leave. `politely`: what it sent before is read before it is gone; otherwise acks may have been lost on the way,
   * so that what they were for may come again.
   */
  release(taker: Taker, politely: boolean): void {
    for (const copy of taker.held) {
      this.#note(copy, 'given back by the end of its channel', taker.number);
      copy.holder = null;
    }
    taker.held.clear();
    if (politely) return;
    for (let i = taker.covered; i < taker.acks.length; i++) taker.acks[i]!.ackCertain = false;
  }

  /** `from` is acknowledged in the transaction that publishes `to`. */
  move(from: Copy, to: Copy): void {
    this.#moves.push({ from, to });
  }

  // ── crashes and what is found after them ──

  /** Begins to count anew. @returns the counts so far */
  newTally(): Tally {
    const { tally } = this;
    this.tally = new Tally();
    return tally;
  }

  /** A new life of the broker begins. */
  begin(): void {
    this.life++;
  }

  /** The broker is dead: nobody holds anything. */
  end(): void {
    for (const taker of this.#takers) this.release(taker, false);
  }

  /** A queue was deleted, for certain: with it what was in it. */
  dropQueue(queue: QueueModel): void {
    queue.deleted = true;
    for (const copy of queue.copies ?? []) {
      if (copy.state === 'done' || copy.state === 'lost') continue;
      this.#note(copy, 'queue deleted');
      this.#become(copy, 'done');
    }
  }

  /** Begins to look at everything that is stored. Every queue that exists is then shown in its order with `find`. */
  beginVerification(): void {
    this.#verification++;
  }

  /** A verification reads one queue from its head: `last` remembers what came before. @throws Broken */
  find(queue: QueueModel, body: Buffer, redelivered: boolean, last: Map<number, number>): Copy | null {
    const copy = this.#copyOf(queue, body);
    if (copy === null) return null;
    this.#note(copy, redelivered ? 'found, marked as redelivered' : 'found');
    this.tally.found++;
    if (copy.found === this.#verification) this.#break(copy, 'is there twice');
    copy.found = this.#verification;
    if (copy.state === 'done' || copy.state === 'lost')
      this.#break(copy, 'is there although it was gone for good');
    if (copy.seen && !redelivered) this.#break(copy, 'is there without its redelivered mark');
    if (!copy.seen && redelivered) this.tally.overmarked++;
    const { publisher, number } = copy.message;
    if (number < (last.get(publisher.id) ?? -1)) this.#break(copy, 'is out of order');
    last.set(publisher.id, number);
    return copy;
  }

  /** All queues were shown. @throws Broken when something is missing, or is there and must not be */
  endVerification(): void {
    const is = (copy: Copy): boolean => copy.found === this.#verification;
    for (const publisher of this.#publishers) {
      let stored = 0;
      for (let i = publisher.messages.length - 1; i >= publisher.open && stored === 0; i--) {
        const message = publisher.messages[i]!;
        if (message.copies.some(is)) stored = message.groupEnd;
      }
      for (let i = publisher.open; i < publisher.messages.length; i++) {
        const message = publisher.messages[i]!;
        for (const copy of message.copies) {
          if (is(copy) || copy.state === 'acked' || copy.state === 'done' || copy.state === 'lost') continue;
          if (copy.secure) this.#break(copy, 'is lost although it was confirmed');
          if (i < stored)
            this.#break(
              copy,
              'is missing although something that was published with it or after it is there',
            );
        }
      }
    }
    for (const { from, to } of this.#moves) {
      if (is(from) && is(to))
        this.#break(to, `is there, and so is what it replaces in ${from.queue.name} in the same transaction`);
      if (from.secure && from.state === 'acked' && !is(from) && to.state === 'live' && !is(to))
        this.#break(
          from,
          `is gone, but what replaces it in ${to.queue.name} in the same transaction is missing`,
        );
    }
    this.#moves = [];
    this.#verifyAcks(is);
    this.#takers = [];
    this.#settle(is);
  }

  /** Of what one connection acknowledged, a prefix took effect. */
  #verifyAcks(is: (copy: Copy) => boolean): void {
    for (const taker of this.#takers) {
      let back: Copy | null = null;
      for (let i = taker.covered; i < taker.acks.length; i++) {
        const copy = taker.acks[i]!;
        // It may have come to somebody else since, or never have been stored.
        if (copy.state !== 'acked' || copy.ackedBy !== taker || copy.ackIndex !== i) continue;
        if (!copy.secure && !is(copy)) continue;
        if (is(copy)) back ??= copy;
        else if (back !== null)
          this.#break(back, `is back, although a later ack of ${taker.name} took effect: ${describe(copy)}`);
      }
    }
  }

  /** What was found is stored, what was not is gone. */
  #settle(is: (copy: Copy) => boolean): void {
    for (const publisher of this.#publishers) {
      for (let i = publisher.open; i < publisher.messages.length; i++) {
        const message = publisher.messages[i]!;
        for (const copy of message.copies) {
          if (copy.state === 'done' || copy.state === 'lost') continue;
          if (is(copy)) {
            if (copy.state === 'acked') this.tally.returned++;
            this.#become(copy, 'live');
            copy.secure = true;
          } else {
            this.#note(copy, 'not found');
            this.#become(copy, copy.state === 'acked' ? 'done' : 'lost');
          }
          copy.holder = null;
        }
      }
      const { messages } = publisher;
      while (
        publisher.open < messages.length &&
        messages[publisher.open]!.copies.every(({ state }) => state === 'done' || state === 'lost')
      )
        publisher.open++;
      if (publisher.open === messages.length && publisher.life < this.life - REMEMBER_LIVES) {
        publisher.forgotten ||= messages.length > 0;
        publisher.messages = [];
        publisher.open = 0;
      }
    }
  }

  #become(copy: Copy, state: CopyState): void {
    const { queue, message } = copy;
    const change = (state === 'live' ? 1 : 0) - (copy.state === 'live' ? 1 : 0);
    queue.waiting += change;
    queue.waitingBytes += change * message.length;
    copy.state = state;
  }

  #letGo(taker: Taker, copy: Copy): void {
    taker.held.delete(copy);
    copy.holder = null;
  }

  /** The copy that a body in a queue is. Null for bodies that are not the ledger's (probes). @throws Broken */
  #copyOf(queue: QueueModel, body: Buffer): Copy | null {
    const name = readBody(body);
    if (name === null) return null;
    const { publisher: id, number } = name;
    const publisher = this.#publishers[id - 1];
    if (publisher?.forgotten === true)
      throw new Broken(
        `message ${number} of ${publisher.name} came from ${queue.name}, long after it was done`,
      );
    const message = publisher?.messages[number];
    if (publisher === undefined || message === undefined)
      throw new Broken(
        `a message that was never sent came from ${queue.name}: ${body.toString('hex', 0, 32)}`,
      );
    const copy = message.copies.find((one) => one.queue === queue);
    if (copy === undefined)
      throw new Broken(`message ${number} of ${publisher.name} came from ${queue.name}, where it never went`);
    if (!hasBytes(body, id, number, message.length)) this.#break(copy, 'has other bytes than were sent');
    return copy;
  }

  #note(copy: Copy, what: Happening, who = 0): void {
    const ms = Math.round(performance.now() - this.#began);
    copy.history.push(HAPPENINGS.indexOf(what) + this.life * 16, ms, who);
  }

  #break(copy: Copy, what: string): never {
    const { history } = copy;
    const lines: string[] = [];
    for (let i = 0; i < history.length; i += 3) {
      const code = history[i]!;
      const who = this.#takerNames[history[i + 2]!]!;
      const when = `life ${code >>> 4}, ${history[i + 1]} ms`;
      lines.push(`  ${when}: ${HAPPENINGS[code % 16]}${who === '' ? '' : ` (${who})`}`);
    }
    throw new Broken(`${describe(copy)} ${what}\n${lines.join('\n')}`);
  }
}

function describe({ message, queue }: Copy): string {
  const { publisher, number, length } = message;
  return `message ${number} of ${publisher.name} (${length} bytes) in ${queue.name}`;
}
