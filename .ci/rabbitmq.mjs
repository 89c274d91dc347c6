// A RabbitMQ for one run of tests, with a name, ports and folders of its own, so that it meets no other. Owns its start and its end.

import { execFile, spawn } from 'node:child_process';
import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createConnection, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';

/** Where Debian's package puts it. */
export const RABBITMQ = '/usr/sbin/rabbitmq-server';

const START_MS = 60_000;
let started = 0;

/** Does `work({ url, node })` with a RabbitMQ that nobody has used before, and ends it. Fulfilled with what `work` is. */
export async function withRabbitMQ(work) {
  const folder = mkdtempSync(join(tmpdir(), 'leveret-rabbitmq-'));
  const port = await freePort();
  const distribution = await freePort();
  started += 1;
  const node = `leveret${process.pid}x${started}@localhost`;
  for (const part of ['mnesia', 'log']) mkdirSync(join(folder, part));
  writeFileSync(join(folder, 'rabbitmq.conf'), `listeners.tcp.default = 127.0.0.1:${port}\n`);
  writeFileSync(join(folder, 'enabled_plugins'), '[].');
  for (const part of ['', 'mnesia', 'log', 'rabbitmq.conf', 'enabled_plugins'])
    chmodSync(join(folder, part), 0o777);
  const server = spawn(RABBITMQ, [], {
    detached: true,
    stdio: 'ignore',
    env: {
      ...process.env,
      RABBITMQ_NODENAME: node,
      RABBITMQ_NODE_PORT: String(port),
      RABBITMQ_DIST_PORT: String(distribution),
      RABBITMQ_MNESIA_BASE: join(folder, 'mnesia'),
      RABBITMQ_LOG_BASE: join(folder, 'log'),
      RABBITMQ_PID_FILE: join(folder, 'pid'),
      RABBITMQ_CONFIG_FILE: join(folder, 'rabbitmq'),
      RABBITMQ_ENABLED_PLUGINS_FILE: join(folder, 'enabled_plugins'),
    },
  });
  try {
    await listening(port);
    return await work({ url: `amqp://guest:guest@127.0.0.1:${port}`, node });
  } finally {
    await promisify(execFile)('rabbitmqctl', ['-q', '-n', node, 'stop']).catch(() => {});
    try {
      process.kill(-server.pid, 'SIGKILL');
    } catch {
      // It is gone already.
    }
    rmSync(folder, { recursive: true, force: true });
  }
}

function freePort() {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.on('error', reject);
    server.listen(0, '127.0.0.1', () => {
      const { port } = server.address();
      server.close(() => resolve(port));
    });
  });
}

/** Fulfilled when somebody listens on the port. */
async function listening(port) {
  const deadline = Date.now() + START_MS;
  while (Date.now() < deadline) {
    const open = await new Promise((resolve) => {
      const socket = createConnection({ port, host: '127.0.0.1' }, () => {
        socket.destroy();
        resolve(true);
      });
      socket.on('error', () => resolve(false));
    });
    if (open) return;
    await new Promise((resolve) => setTimeout(resolve, 200));
  }
  throw new Error(`nobody listens on port ${port} after ${START_MS} ms`);
}
