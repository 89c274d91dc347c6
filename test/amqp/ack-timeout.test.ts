// Deliveries that nobody acknowledges: when their channel is closed over it.

import { expect, it } from 'vitest';
import { AckTimeout, type WatchedChannel } from '../../src/amqp/ack-timeout.ts';
import type { AmqpError } from '../../src/amqp/errors.ts';
import { FakeClock } from '../../src/base/fake-clock.ts';
import type { BrokerNode } from '../../src/node/node.ts';

const TIMEOUT_MS = 30 * 60_000;
const MINUTE_MS = 60_000;

/** A channel that says what it is told to say. */
class FakeChannel implements WatchedChannel {
  readonly number = 7;
  oldestUnacked = 0;
  nextDeliveryTag = 1;
  /** Timeouts of single deliveries, by tag. */
  readonly own = new Map<number, number>();
  readonly closings: AmqpError[] = [];

  get hasOwnTimeouts(): boolean {
    return this.own.size !== 0;
  }

  ackTimeoutOf(tag: number): number | null {
    return this.own.get(tag) ?? null;
  }

  closeWith(error: AmqpError): void {
    this.closings.push(error);
    this.oldestUnacked = 0;
  }

  deliver(): void {
    if (this.oldestUnacked === 0) this.oldestUnacked = this.nextDeliveryTag;
    this.nextDeliveryTag++;
  }
}

function watched(timeoutMs = TIMEOUT_MS) {
  const clock = new FakeClock();
  const channel = new FakeChannel();
  const timeout = new AckTimeout({ clock } as unknown as BrokerNode, timeoutMs);
  timeout.watch({ openChannels: () => [channel] });
  timeout.start();
  return { clock, channel, timeout };
}

it('closes a channel that holds a delivery for longer than the timeout, within a minute of it', () => {
  const { clock, channel } = watched();
  channel.deliver();
  clock.advance(TIMEOUT_MS);
  expect(channel.closings).toEqual([]);
  clock.advance(MINUTE_MS);
  expect(channel.closings.map((error) => [error.code, error.replyText])).toEqual([
    [
      406,
      'PRECONDITION_FAILED - delivery acknowledgement on channel 7 timed out. Timeout value used: 1800000 ms. This timeout value can be configured, see consumers doc guide to learn more',
    ],
  ]);
});

it('leaves a channel alone whose oldest delivery is always young', () => {
  const { clock, channel } = watched();
  for (let minute = 0; minute < 300; minute++) {
    channel.deliver();
    if (minute >= 20) channel.oldestUnacked++;
    clock.advance(MINUTE_MS);
  }
  expect(channel.closings).toEqual([]);
});

it('starts anew when everything was acknowledged', () => {
  const { clock, channel } = watched();
  channel.deliver();
  clock.advance(TIMEOUT_MS - MINUTE_MS);
  channel.oldestUnacked = 0;
  clock.advance(MINUTE_MS);
  channel.deliver();
  clock.advance(TIMEOUT_MS - MINUTE_MS);
  expect(channel.closings).toEqual([]);
});

it('never closes anything when there is no timeout', () => {
  const { clock, channel } = watched(Number.POSITIVE_INFINITY);
  channel.deliver();
  clock.advance(100 * TIMEOUT_MS);
  expect(channel.closings).toEqual([]);
});

it('looks no more once it is stopped', () => {
  const { clock, channel, timeout } = watched();
  channel.deliver();
  timeout.stop();
  clock.advance(2 * TIMEOUT_MS);
  expect(channel.closings).toEqual([]);
});

it('goes by the timeout that a delivery has of its own, shorter or longer', () => {
  const { clock, channel } = watched();
  channel.own.set(1, 3 * TIMEOUT_MS);
  channel.deliver();
  clock.advance(2 * TIMEOUT_MS);
  expect(channel.closings).toEqual([]);
  channel.own.set(2, 5_000);
  channel.deliver();
  clock.advance(2 * MINUTE_MS);
  expect(channel.closings.map((error) => error.message)).toEqual([
    expect.stringContaining('Timeout value used: 5000 ms'),
  ]);
});

it('looks for own timeouts where the broker has none, and keeps few notes of long ones', () => {
  const { clock, channel } = watched(Number.POSITIVE_INFINITY);
  channel.own.set(1, 1_000);
  channel.own.set(2, 24 * 60 * MINUTE_MS);
  channel.deliver();
  channel.deliver();
  clock.advance(MINUTE_MS + 2_000);
  expect(channel.closings.length).toBe(1);
  channel.closings.length = 0;
  channel.oldestUnacked = 2;
  for (let hour = 0; hour < 23; hour++) clock.advance(60 * MINUTE_MS);
  expect(channel.closings).toEqual([]);
  clock.advance(3 * 60 * MINUTE_MS);
  expect(channel.closings.length).toBe(1);
});
