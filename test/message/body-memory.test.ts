// Memory of large contents: who may use it again, and when.

import { describe, expect, it } from 'vitest';
import { addressOf } from '../../src/message/address.ts';
import {
  adopt,
  BODY_REUSE_MIN,
  BodyMemory,
  disown,
  heldMemoryOf,
  offer,
  settled,
  withdraw,
} from '../../src/message/body-memory.ts';
import { buildMessage, type Message, messageFromFrames } from '../../src/message/message.ts';
import { NO_PROPERTIES } from '../../src/protocol/properties.ts';

const MIB = 1024 * 1024;

function messageIn(memory: BodyMemory, bodyLength = MIB, fill = 7): Message {
  const built = buildMessage(addressOf('e', 'k'), NO_PROPERTIES, Buffer.alloc(bodyLength, fill));
  return messageFromFrames(built.address, built.buffer, built.at, built.headerLength, bodyLength, memory);
}

/** As its only entry has it. */
function owned(memory: BodyMemory, owner: object, bodyLength?: number): Message {
  const message = messageIn(memory, bodyLength);
  offer(message);
  adopt(message, owner);
  withdraw(message);
  return message;
}

describe('memory of a large content', () => {
  it('is used again when its entry is settled, and shows nothing of the next content to who still looks at it', () => {
    const memory = new BodyMemory(32 * MIB);
    const entry = {};
    const message = owned(memory, entry);
    const forgotten = message.body();
    expect(memory.idleBytes).toBe(0);
    settled(message, entry);
    expect(memory.idleBytes).toBeGreaterThanOrEqual(message.contentLength);
    const next = messageIn(memory, MIB, 9);
    expect(memory.idleBytes).toBe(0);
    expect(next.body().equals(Buffer.alloc(MIB, 9))).toBe(true);
    expect(next.buffer.length).toBe(next.contentLength);
    expect(forgotten.length).toBe(0);
    expect(message.buffer.length).toBe(0);
  });

  it('comes back once, however often its entry is settled', () => {
    const memory = new BodyMemory(32 * MIB);
    const entry = {};
    const message = owned(memory, entry);
    settled(message, entry);
    const { idleBytes } = memory;
    settled(message, entry);
    memory.giveBack(message.buffer);
    expect(memory.idleBytes).toBe(idleBytes);
  });

  it('waits for every output that lies in it', () => {
    const memory = new BodyMemory(32 * MIB);
    const entry = {};
    const message = owned(memory, entry);
    const held = heldMemoryOf(message)!;
    held.hold();
    held.hold();
    held.release();
    settled(message, entry);
    expect(memory.idleBytes).toBe(0);
    expect(message.body()[0]).toBe(7);
    held.release();
    expect(memory.idleBytes).toBeGreaterThan(0);
  });

  it('does not come back for outputs alone', () => {
    const memory = new BodyMemory(32 * MIB);
    const message = owned(memory, {});
    const held = heldMemoryOf(message)!;
    held.hold();
    held.release();
    expect(memory.idleBytes).toBe(0);
    expect(message.body()[0]).toBe(7);
  });

  it.each<[string, (message: Message, entry: object) => void]>([
    ['that nobody offered', (message, entry) => adopt(message, entry)],
    [
      'whose offer was withdrawn',
      (message, entry) => {
        offer(message);
        withdraw(message);
        adopt(message, entry);
      },
    ],
    [
      'that another entry owns',
      (message, entry) => {
        offer(message);
        adopt(message, {});
        adopt(message, entry);
      },
    ],
    [
      'that somebody may have kept',
      (message, entry) => {
        offer(message);
        adopt(message, entry);
        disown(message);
      },
    ],
  ])('%s is left to the garbage collector', (_, prepare) => {
    const memory = new BodyMemory(32 * MIB);
    const entry = {};
    const message = messageIn(memory);
    prepare(message, entry);
    settled(message, entry);
    expect(memory.idleBytes).toBe(0);
    expect(message.body().equals(Buffer.alloc(MIB, 7))).toBe(true);
  });

  it('that was disowned while output lay in it does not come back after that', () => {
    const memory = new BodyMemory(32 * MIB);
    const entry = {};
    const message = owned(memory, entry);
    const held = heldMemoryOf(message)!;
    held.hold();
    disown(message);
    settled(message, entry);
    held.release();
    expect(memory.idleBytes).toBe(0);
    expect(message.body()[0]).toBe(7);
  });

  it('belongs to the entry, whatever address the message is given', () => {
    const memory = new BodyMemory(32 * MIB);
    const entry = {};
    const message = owned(memory, entry);
    const other = message.withAddress(addressOf('', 'other'));
    settled(other, {});
    expect(memory.idleBytes).toBe(0);
    settled(message, entry);
    expect(other.buffer.length).toBe(0);
  });

  it('is kept up to a number of bytes, that used last', () => {
    const memory = new BodyMemory(4 * MIB);
    for (let i = 0; i < 3; i++) {
      const entries = [{}, {}, {}, {}, {}, {}];
      const messages = entries.map((entry) => owned(memory, entry));
      for (const [at, message] of messages.entries()) settled(message, entries[at]!);
      expect(memory.idleBytes).toBeLessThanOrEqual(4 * MIB);
      expect(memory.idleBytes).toBeGreaterThan(3 * MIB);
    }
  });

  it('is not given to a much smaller content, nor to a larger one', () => {
    const memory = new BodyMemory(32 * MIB);
    const entry = {};
    settled(owned(memory, entry), entry);
    const { idleBytes } = memory;
    memory.take(MIB / 2);
    memory.take(2 * MIB);
    expect(memory.idleBytes).toBe(idleBytes);
    memory.take(MIB - 4096);
    expect(memory.idleBytes).toBe(0);
  });

  it.each([
    ['a small one', 32 * MIB, BODY_REUSE_MIN - 1],
    ['one larger than all that is kept', MIB, 2 * MIB],
    ['any while it is switched off', 0, MIB],
  ])('is not kept of %s', (_, idleMax, bodyLength) => {
    const memory = new BodyMemory(idleMax);
    const entry = {};
    const message = owned(memory, entry, bodyLength);
    settled(message, entry);
    expect(memory.idleBytes).toBe(0);
    expect(message.body().length).toBe(bodyLength);
  });

  it('that the caller alone has seen can be given back, and no other', () => {
    const memory = new BodyMemory(32 * MIB);
    memory.giveBack(memory.take(MIB));
    expect(memory.idleBytes).toBe(MIB);
    const other = Buffer.alloc(MIB);
    memory.giveBack(other);
    expect(other.length).toBe(MIB);
    expect(memory.idleBytes).toBe(MIB);
  });
});
