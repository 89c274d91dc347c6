// Declaring, binding and deleting in one virtual host: the order of checks and RabbitMQ's texts.

import { describe, expect, it } from 'vitest';
import { assertNotDefault } from '../../src/node/vhost.ts';
import { TestConsumer } from '../queue/kit.ts';
import { NodeKit, refusal, TestCaller } from './kit.ts';

const IN_QUEUE = "for queue 'q' in vhost '/'";
const LOCKED =
  "resource-locked: cannot obtain exclusive access to locked queue 'q' in vhost '/'. It could be originally declared on another connection or the exclusive property value does not match that of the original declaration.";

describe('declaring an exchange', () => {
  it('finds the predeclared ones in every vhost', async () => {
    const { vhost } = await NodeKit.open();
    expect([...vhost.exchanges.keys()]).toEqual([
      '',
      'amq.direct',
      'amq.fanout',
      'amq.topic',
      'amq.headers',
      'amq.match',
      'amq.rabbitmq.trace',
    ]);
    expect(vhost.exchange('amq.rabbitmq.trace').declaration.internal).toBe(true);
  });

  it('again with the same properties finds it, and other arguments than alternate-exchange do not count', async () => {
    const kit = await NodeKit.open();
    const exchange = kit.exchange('e', 'topic', { 'x-any': 1 });
    expect(kit.exchange('e', 'topic', { 'x-any': 2 })).toBe(exchange);
    expect(kit.exchange('amq.topic', 'topic')).toBe(kit.vhost.exchange('amq.topic'));
  });

  it('is refused in the order and the words of RabbitMQ', async () => {
    const kit = await NodeKit.open();
    const caller = new TestCaller();
    caller.refused.add('configure exchange secret');
    kit.exchange('e', 'topic', { 'alternate-exchange': 'other' });
    const declare = (name: string, type: string, args = {}, flags = {}): string =>
      refusal(() => kit.exchange(name, type, args, flags, caller));
    expect(declare('', 'nonsense')).toBe("precondition-failed: unknown exchange type 'nonsense'");
    expect(declare('', 'direct')).toBe('access-refused: operation not permitted on the default exchange');
    expect(declare('secret', 'direct')).toBe('access-refused: configure exchange secret');
    expect(declare('amq.mine', 'direct')).toBe(
      "access-refused: exchange name 'amq.mine' contains reserved prefix 'amq.*'",
    );
    expect(declare('f', 'direct', { 'alternate-exchange': 5 })).toBe(
      "precondition-failed: invalid type 'signedint' for arg 'alternate-exchange' in exchange 'f' in vhost '/'",
    );
    const differs = (flag: string, received: string, current: string): string =>
      `precondition-failed: inequivalent arg '${flag}' for exchange 'e' in vhost '/': received '${received}' but current is '${current}'`;
    expect(declare('e', 'direct', {}, { durable: false })).toBe(differs('type', 'direct', 'topic'));
    expect(declare('e', 'topic', {}, { durable: false, autoDelete: true })).toBe(
      differs('durable', 'false', 'true'),
    );
    expect(declare('e', 'topic', {}, { autoDelete: true, internal: true })).toBe(
      differs('auto_delete', 'true', 'false'),
    );
    expect(declare('e', 'topic', {}, { internal: true })).toBe(differs('internal', 'true', 'false'));
    expect(declare('e', 'topic', { 'alternate-exchange': 'x' })).toBe(
      differs('alternate-exchange', 'x', 'other'),
    );
    expect(declare('e', 'topic')).toBe(
      "precondition-failed: inequivalent arg 'alternate-exchange' for exchange 'e' in vhost '/': received none but current is the value 'other' of type 'longstr'",
    );
  });

  it('with an alternate exchange asks for more permissions, when it is new', async () => {
    const kit = await NodeKit.open();
    const caller = new TestCaller();
    kit.exchange('e', 'fanout', { 'alternate-exchange': 'ae' }, {}, caller);
    expect(caller.asked).toEqual(['configure exchange e', 'read exchange e', 'write exchange ae']);
    kit.exchange('e', 'fanout', { 'alternate-exchange': 'ae' }, {}, caller);
    expect(caller.asked.slice(3)).toEqual(['configure exchange e']);
  });
});

describe('deleting an exchange', () => {
  it('is refused for the default one, system ones, and with if-unused while it has bindings', async () => {
    const kit = await NodeKit.open();
    const caller = new TestCaller();
    const { vhost } = kit;
    kit.exchange('e', 'fanout');
    kit.bind('e', kit.queue('q'), '');
    const remove = (name: string): string => refusal(() => vhost.deleteExchange(name, true, caller));
    expect(remove('')).toBe('access-refused: operation not permitted on the default exchange');
    expect(remove('amq.direct')).toBe(
      "access-refused: deletion of system exchange 'amq.direct' in vhost '/' not allowed",
    );
    expect(remove('missing')).toBe('ok');
    expect(remove('e')).toBe("precondition-failed: exchange 'e' in vhost '/' in use");
    vhost.deleteExchange('e', false, caller);
    expect([...vhost.bindingsTo(kit.queue('q'))]).toEqual([]);
    expect(refusal(() => vhost.exchange('e'))).toBe("not-found: no exchange 'e' in vhost '/'");
  });

  it('takes its bindings along in both roles, and auto-delete sources with their last one', async () => {
    const kit = await NodeKit.open();
    const { vhost } = kit;
    kit.exchange('a', 'fanout', {}, { autoDelete: true });
    const b = kit.exchange('b', 'fanout');
    const queue = kit.queue('q');
    kit.bind('a', b, '');
    kit.bind('b', queue, '');
    vhost.deleteExchange('b', false, new TestCaller());
    expect(vhost.exchanges.has('a')).toBe(false);
    expect([...vhost.bindingsTo(queue)]).toEqual([]);
  });

  it('cascades through a chain of any length', async () => {
    const kit = await NodeKit.open();
    const length = 20_000;
    let last = kit.exchange('e0', 'fanout', {}, { autoDelete: true, durable: false });
    for (let i = 1; i < length; i++) {
      const next = kit.exchange(`e${i}`, 'fanout', {}, { autoDelete: true, durable: false });
      kit.bind(last.name, next, '');
      last = next;
    }
    const queue = kit.queue('q');
    kit.bind(last.name, queue, '');
    expect(kit.routed('e0', 'k')).toEqual(['q']);
    kit.vhost.deleteQueue('q', false, false, new TestCaller());
    expect(kit.vhost.exchanges.size).toBe(7);
  });

  it('leaves an auto-delete exchange alone to which nothing was ever bound', async () => {
    const kit = await NodeKit.open();
    kit.exchange('a', 'fanout', {}, { autoDelete: true });
    kit.unbind('a', kit.queue('q'), '');
    expect(kit.vhost.exchanges.has('a')).toBe(true);
    kit.bind('a', kit.queue('q'), '');
    kit.unbind('a', kit.queue('q'), '');
    expect(kit.vhost.exchanges.has('a')).toBe(false);
  });
});

describe('declaring a queue', () => {
  it('without a name gives it one', async () => {
    const kit = await NodeKit.open();
    const queue = kit.queue('');
    expect(queue.name).toMatch(/^amq\.gen-[\w-]{22}$/);
    expect(kit.vhost.queues.get(queue.name)).toBe(queue);
    const declare = (type: string): string => refusal(() => kit.queue('', { 'x-queue-type': type }));
    expect(declare('quorum')).toBe(
      'precondition-failed: Cannot declare a server-named queue for type rabbit_quorum_queue',
    );
  });

  it('again finds it, and unknown arguments do not count', async () => {
    const kit = await NodeKit.open();
    const queue = kit.queue('q', { 'x-max-length': 5, 'x-mine': 1 });
    expect(kit.queue('q', { 'x-max-length': { tag: 'l', value: 5 }, 'x-queue-type': 'classic' })).toBe(queue);
  });

  it('with differences is refused with the first of them', async () => {
    const kit = await NodeKit.open();
    kit.queue('q', { 'x-message-ttl': 60_000 });
    const declare = (args = {}, flags = {}): string => refusal(() => kit.queue('q', args, flags));
    const inequivalent = (what: string): string => `precondition-failed: inequivalent arg ${what}`;
    expect(declare({}, { durable: false, autoDelete: true })).toBe(
      inequivalent(`'durable' ${IN_QUEUE}: received 'false' but current is 'true'`),
    );
    expect(declare({}, { autoDelete: true })).toBe(
      inequivalent(`'auto_delete' ${IN_QUEUE}: received 'true' but current is 'false'`),
    );
    expect(declare()).toBe(
      inequivalent(
        `'x-message-ttl' ${IN_QUEUE}: received none but current is the value '60000' of type 'signedint'`,
      ),
    );
    expect(declare({ 'x-message-ttl': 1_000 })).toBe(
      inequivalent(`'x-message-ttl' ${IN_QUEUE}: received '1000' but current is '60000'`),
    );
    expect(declare({ 'x-message-ttl': 60_000, 'x-overflow': 'drop-head' })).toBe(
      inequivalent(
        `'x-overflow' ${IN_QUEUE}: received the value 'drop-head' of type 'longstr' but current is none`,
      ),
    );
    expect(declare({ 'x-message-ttl': 60_000, 'x-queue-type': 'quorum' })).toBe(
      inequivalent(`'x-queue-type' ${IN_QUEUE}: received 'quorum' but current is 'classic'`),
    );
  });

  it('of a reserved name is refused, whether it exists or not', async () => {
    const kit = await NodeKit.open();
    const { name } = kit.queue('');
    for (const each of ['amq.mine', name])
      expect(refusal(() => kit.queue(each))).toBe(
        `access-refused: queue name '${each}' contains reserved prefix 'amq.*'`,
      );
  });

  it('asks for the permissions of its dead-letter exchange before it looks at other arguments', async () => {
    const kit = await NodeKit.open();
    const caller = new TestCaller();
    caller.refused.add('write exchange dlx');
    const declare = (args: Record<string, unknown>): string =>
      refusal(() => kit.queue('q', args, {}, caller));
    expect(declare({ 'x-message-ttl': 'soon', 'x-dead-letter-exchange': 5 })).toBe(
      "precondition-failed: invalid type 'signedint' for arg 'x-dead-letter-exchange' in queue 'q' in vhost '/'",
    );
    expect(declare({ 'x-message-ttl': 'soon', 'x-dead-letter-exchange': 'dlx' })).toBe(
      'access-refused: write exchange dlx',
    );
    expect(caller.asked.slice(-3)).toEqual(['configure queue q', 'read queue q', 'write exchange dlx']);
  });

  it('beyond the limit of all vhosts together is refused; those that exist are found', async () => {
    const kit = await NodeKit.open({ queueMax: 2 });
    const other = kit.node.createVHost('other');
    other.declareQueue(
      { name: 'x', durable: false, exclusive: false, autoDelete: false, arguments: new Map() },
      new TestCaller(),
    );
    kit.queue('q');
    expect(refusal(() => kit.queue('r'))).toBe(
      "precondition-failed: cannot declare queue 'r': queue limit in cluster (2) is reached",
    );
    expect(refusal(() => kit.queue('q'))).toBe('ok');
    other.deleteQueue('x', false, false, new TestCaller());
    expect(refusal(() => kit.queue('r'))).toBe('ok');
  });
});

describe('an exclusive queue', () => {
  it('is never durable, and locked for every other connection', async () => {
    const kit = await NodeKit.open();
    const owner = new TestCaller();
    const other = new TestCaller();
    const queue = kit.queue('q', {}, { exclusive: true }, owner);
    expect(queue.durable).toBe(false);
    expect(kit.queue('q', {}, { exclusive: true }, owner)).toBe(queue);
    expect(refusal(() => kit.queue('q', {}, { exclusive: true }, other))).toBe(LOCKED);
    expect(refusal(() => kit.queue('q', {}, {}, owner))).toBe(LOCKED);
    expect(refusal(() => kit.vhost.queue('q', other))).toBe(LOCKED);
    expect(refusal(() => kit.vhost.deleteQueue('q', false, false, other))).toBe(LOCKED);
    expect(kit.publish('', 'q', 'anybody may publish to it')).toBe(0);
    expect(queue.messageCount).toBe(1);
  });

  it('cannot be declared over one that is not exclusive', async () => {
    const kit = await NodeKit.open();
    const caller = new TestCaller();
    kit.queue('q', {}, { durable: false }, caller);
    expect(refusal(() => kit.queue('q', {}, { exclusive: true }, caller))).toBe(LOCKED);
  });

  it('goes with its connection, and only with that', async () => {
    const kit = await NodeKit.open();
    const [one, two] = [new TestCaller(), new TestCaller()];
    kit.queue('a', {}, { exclusive: true }, one);
    kit.queue('b', {}, { exclusive: true }, one);
    kit.queue('c', {}, { exclusive: true }, two);
    kit.queue('d');
    kit.vhost.deleteQueue('b', false, false, one);
    kit.vhost.removeQueuesOf(one.owner!);
    kit.vhost.removeQueuesOf(one.owner!);
    expect([...kit.vhost.queues.keys()].sort()).toEqual(['c', 'd']);
  });
});

describe('deleting a queue', () => {
  it('says how many messages went with it, and is fine when there is none', async () => {
    const kit = await NodeKit.open();
    const caller = new TestCaller();
    kit.queue('q');
    kit.publish('', 'q', 'a');
    kit.publish('', 'q', 'b');
    expect(kit.vhost.deleteQueue('q', false, false, caller)).toBe(2);
    expect(kit.vhost.deleteQueue('q', false, false, caller)).toBe(0);
    expect(caller.asked).toEqual(['configure queue q', 'configure queue q']);
  });

  it('minds if-empty and if-unused', async () => {
    const kit = await NodeKit.open();
    const queue = kit.queue('q');
    kit.publish('', 'q', 'a');
    const remove = (unused: boolean, empty: boolean): string =>
      refusal(() => kit.vhost.deleteQueue('q', unused, empty, new TestCaller()));
    expect(remove(false, true)).toBe("precondition-failed: queue 'q' in vhost '/' not empty");
    queue.consume(new TestConsumer('c'));
    expect(remove(true, false)).toBe("precondition-failed: queue 'q' in vhost '/' in use");
  });

  it('removes its bindings, and cached routes do not find it any more', async () => {
    const kit = await NodeKit.open();
    const queue = kit.queue('q');
    kit.bind('amq.topic', queue, '#');
    kit.bind('amq.direct', queue, 'k');
    expect(kit.routed('amq.topic', 'a')).toEqual(['q']);
    expect(kit.routed('', 'q')).toEqual(['q']);
    kit.vhost.deleteQueue('q', false, false, new TestCaller());
    expect(kit.routed('amq.topic', 'a')).toEqual([]);
    expect(kit.routed('amq.direct', 'k')).toEqual([]);
    expect(kit.routed('', 'q')).toEqual([]);
    expect(kit.vhost.exchange('amq.direct').outgoing.size).toBe(0);
  });

  it('happens by itself to an auto-delete queue when its last consumer leaves, never before one came', async () => {
    const kit = await NodeKit.open();
    const queue = kit.queue('q', {}, { autoDelete: true });
    kit.publish('', 'q', 'a');
    kit.run();
    const [one, two] = [new TestConsumer('1'), new TestConsumer('2')];
    queue.consume(one);
    queue.consume(two);
    queue.cancel(one);
    expect(kit.vhost.queues.has('q')).toBe(true);
    queue.cancel(two);
    expect(kit.vhost.queues.has('q')).toBe(false);
  });
});

describe('binding', () => {
  it('twice the same is one binding; another key or other arguments are another', async () => {
    const kit = await NodeKit.open();
    const queue = kit.queue('q');
    kit.bind('amq.headers', queue, 'k', { a: 1, b: 'x' });
    kit.bind('amq.headers', queue, 'k', { b: 'x', a: 1 });
    expect(kit.vhost.exchange('amq.headers').outgoing.size).toBe(1);
    kit.bind('amq.headers', queue, 'k', { a: 2 });
    kit.bind('amq.headers', queue, 'l', { a: 1, b: 'x' });
    expect(kit.vhost.exchange('amq.headers').outgoing.size).toBe(3);
    kit.unbind('amq.headers', queue, 'k', { a: 1 });
    expect(kit.vhost.exchange('amq.headers').outgoing.size).toBe(3);
    kit.unbind('amq.headers', queue, 'k', { b: 'x', a: 1 });
    expect([...kit.vhost.bindingsTo(queue)].length).toBe(2);
  });

  it('keeps names and keys apart whatever octets they have', async () => {
    const kit = await NodeKit.open();
    kit.bind('amq.direct', kit.queue('a\0b'), 'c');
    kit.bind('amq.direct', kit.queue('a'), 'b\0c');
    expect(kit.routed('amq.direct', 'c')).toEqual(['a\0b']);
    expect(kit.routed('amq.direct', 'b\0c')).toEqual(['a']);
  });

  it('keeps a queue and an exchange of the same name apart', async () => {
    const kit = await NodeKit.open();
    kit.bind('amq.fanout', kit.queue('same'), '');
    kit.bind('amq.fanout', kit.exchange('same', 'fanout'), '');
    expect(kit.vhost.exchange('amq.fanout').outgoing.size).toBe(2);
  });

  it('that the exchange type does not allow is refused, and leaves nothing', async () => {
    const kit = await NodeKit.open();
    const queue = kit.queue('q');
    expect(refusal(() => kit.bind('amq.headers', queue, '', { 'x-match': 'some' }))).toMatch(
      /^precondition-failed: Invalid x-match field value/,
    );
    expect(kit.vhost.exchange('amq.headers').outgoing.size).toBe(0);
  });

  it('ten thousand queues to one exchange stays quick, and so does taking them away', async () => {
    const kit = await NodeKit.open();
    const began = performance.now();
    const queues = Array.from({ length: 10_000 }, (_, i) => kit.queue(`q${i}`, {}, { durable: false }));
    for (const [i, queue] of queues.entries()) kit.bind('amq.topic', queue, `key.${i}.*`);
    expect(kit.routed('amq.topic', 'key.77.x')).toEqual(['q77']);
    for (const queue of queues) kit.vhost.removeQueue(queue);
    expect(kit.vhost.exchange('amq.topic').outgoing.size).toBe(0);
    expect(kit.routed('amq.topic', 'key.77.x')).toEqual([]);
    // A quadratic way would take minutes.
    expect(performance.now() - began).toBeLessThan(5_000);
  });
});

it('the default exchange is named by the empty string', () => {
  expect(refusal(() => assertNotDefault(''))).toBe(
    'access-refused: operation not permitted on the default exchange',
  );
  expect(refusal(() => assertNotDefault('e'))).toBe('ok');
});
