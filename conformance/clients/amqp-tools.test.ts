// Debian's amqp-tools, built on the C client: what shell scripts use.
import { execFile, spawnSync } from 'node:child_process';
import { describe, expect, onTestFinished, test } from 'vitest';
import { Peer } from '../support/peer.ts';
import { uniqueName } from '../support/scene.ts';
import { useTarget } from '../support/target.ts';

const target = useTarget();

const TOOLS = ['amqp-publish', 'amqp-get', 'amqp-consume', 'amqp-declare-queue', 'amqp-delete-queue'];
const missing = TOOLS.filter((tool) => spawnSync(tool, ['--help']).error !== undefined);

interface Outcome {
  readonly code: number;
  readonly out: string;
  readonly err: string;
}

/** Runs a tool against the target; fulfilled when it ends, however it ends. */
function run(tool: string, args: readonly string[], input = ''): Promise<Outcome> {
  const url = new URL(target.url);
  const login = [
    `--server=${url.hostname}`,
    `--port=${url.port}`,
    `--username=${decodeURIComponent(url.username) || 'guest'}`,
    `--password=${decodeURIComponent(url.password) || 'guest'}`,
  ];
  return new Promise((resolve) => {
    const child = execFile(tool, [...login, ...args], { timeout: 10_000 }, (error, out, err) => {
      resolve({ code: error === null ? 0 : typeof error.code === 'number' ? error.code : -1, out, err });
    });
    // A tool that wants no input may have ended before it is written.
    child.stdin?.on('error', () => {});
    child.stdin?.end(input);
  });
}

/** Declares a durable queue with the tool; deleted at the end. */
async function declared(): Promise<string> {
  const queue = uniqueName('tools');
  expect(await run('amqp-declare-queue', ['-d', '-q', queue])).toMatchObject({ code: 0, out: `${queue}\n` });
  onTestFinished(async () => {
    const peer = await Peer.connect(target);
    await (await peer.channel()).call('queue.delete', { queue });
    await peer.close();
  });
  return queue;
}

if (missing.length > 0) {
  test.skip(`amqp-tools: ${missing.join(', ')} not installed (Debian: apt-get install amqp-tools)`, () =>
    undefined);
}

describe.skipIf(missing.length > 0)('amqp-tools', () => {
  test('declare, publish, get, delete', async () => {
    const queue = await declared();
    expect(
      await run('amqp-publish', ['-r', queue, '-p', '-C', 'text/plain', '-b', 'Hello from a shell']),
    ).toMatchObject({ code: 0 });
    expect(await run('amqp-get', ['-q', queue])).toEqual({ code: 0, out: 'Hello from a shell', err: '' });
    // An empty queue is told by the exit code.
    expect((await run('amqp-get', ['-q', queue])).code).toBe(2);
    await run('amqp-publish', ['-r', queue, '-b', 'left over']);
    expect(await run('amqp-delete-queue', ['-q', queue])).toMatchObject({ code: 0, out: '1\n' });
  });

  test('publish reads a body from its input, and consume hands it to a command', async () => {
    const queue = await declared();
    const body = 'line\n'.repeat(50_000);
    expect((await run('amqp-publish', ['-r', queue], body)).code).toBe(0);
    const { code, out } = await run('amqp-consume', ['-q', queue, '-c', '1', 'cat']);
    expect(code).toBe(0);
    expect(out === body).toBe(true);
    expect((await run('amqp-get', ['-q', queue])).code).toBe(2);
  });

  test('consume without a queue binds its own to an exchange and key', async () => {
    const exchange = 'amq.topic';
    const key = uniqueName('key');
    const consuming = run('amqp-consume', ['-e', exchange, '-r', `${key}.#`, '-c', '2', 'cat']);
    const peer = await Peer.connect(target);
    onTestFinished(() => peer.close());
    const channel = await peer.channel();
    // The first message that is not returned has found the tool's queue.
    for (let routed = false; !routed; ) {
      const before = channel.seen('basic.return').length;
      channel.publish(exchange, `${key}.a`, 'one,', {}, { mandatory: true });
      await channel.fence();
      routed = channel.seen('basic.return').length === before;
    }
    channel.publish(exchange, `${key}.b`, 'two');
    expect(await consuming).toMatchObject({ code: 0, out: 'one,two' });
  });

  test("a missing queue is an error with the broker's text", async () => {
    const queue = uniqueName('missing');
    const { code, err } = await run('amqp-get', ['-q', queue]);
    expect(code).toBe(1);
    expect(err).toContain(`NOT_FOUND - no queue '${queue}'`);
  });
});
