// Definitions at the start: what a broker has before its first client comes, and what it says when the file is wrong.

import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import * as amqplib from 'amqplib';
import { describe, expect, it } from 'vitest';
import { Broker, memoryStore, SettingsError } from '../../src/index.ts';
import { faultyStore } from '../support/faulty-engine.ts';
import { Session, startBroker, temporaryFolder } from './support.ts';

/** A definitions file of this content. */
function file(content: unknown, name = 'definitions.json', folder = temporaryFolder()): string {
  const path = join(folder, name);
  writeFileSync(path, typeof content === 'string' ? content : JSON.stringify(content));
  return path;
}

/** Why the broker does not start. */
async function refusal(definitions: string): Promise<string> {
  try {
    await startBroker({ definitions });
    return 'started';
  } catch (error) {
    expect(error).toBeInstanceOf(SettingsError);
    return (error as Error).message;
  }
}

const QUEUE = { name: 'q', vhost: '/', durable: true, auto_delete: false, arguments: {} };
const USERS = {
  users: [{ name: 'anna', password: 'secret', tags: ['administrator'] }],
  vhosts: [{ name: '/' }],
  permissions: [{ user: 'anna', vhost: '/', configure: '.*', write: '.*', read: '.*' }],
};

describe('a broker that is started with definitions', () => {
  it('has its queues when the first client comes', async () => {
    const broker = await startBroker({ definitions: file({ queues: [QUEUE] }) });
    const session = await Session.open(broker);
    expect(await session.count('q')).toBe(0);
  });

  it('has no default user when they bring users', async () => {
    const broker = await startBroker({
      definitions: file({ ...USERS, queues: [QUEUE] }),
      authFailureDelayMs: 0,
    });
    await expect(amqplib.connect(broker.url)).rejects.toThrow();
    const session = await Session.open(broker, `amqp://anna:secret@127.0.0.1:${broker.port}`);
    expect(await session.count('q')).toBe(0);
    expect(broker.exportDefinitions().users).toHaveLength(1);
  });

  it('imports them at each start, beside what is there', async () => {
    const store = memoryStore();
    const definitions = file({ queues: [QUEUE] });
    const first = await startBroker({ store, definitions });
    const session = await Session.open(first);
    await session.publish('q', 'kept');
    await session.queue('own');
    await session.close();
    await first.stop();
    const second = await startBroker({
      store,
      definitions: file({ queues: [QUEUE, { ...QUEUE, name: 'more' }] }),
    });
    const again = await Session.open(second);
    expect(await again.texts('q')).toEqual(['kept']);
    expect(second.exportDefinitions().queues?.map(({ name }) => name)).toEqual(['more', 'own', 'q']);
  });

  it('takes all files of a folder, by name', async () => {
    const folder = temporaryFolder();
    file({ vhosts: [{ name: 'v', metadata: { description: 'one' } }] }, '1.json', folder);
    file(
      { vhosts: [{ name: 'v', metadata: { description: 'two' } }], queues: [{ ...QUEUE, vhost: 'v' }] },
      '2.json',
      folder,
    );
    file('not looked at', 'readme.txt', folder);
    const broker = await startBroker({ definitions: folder });
    expect(broker.exportDefinitions().vhosts).toMatchObject([
      { name: '/' },
      { name: 'v', description: 'two' },
    ]);
  });

  it('gives the vhosts and users that a program asks for what the definitions know', async () => {
    const broker = await startBroker({
      definitions: file({ vhosts: [{ name: 'v' }] }),
      users: [
        { name: 'ben', password: 'b', permissions: [{ vhost: 'v', configure: '', write: '', read: '' }] },
      ],
    });
    expect(broker.exportDefinitions().permissions).toContainEqual({
      user: 'ben',
      vhost: 'v',
      configure: '',
      write: '',
      read: '',
    });
  });

  it('does not start, in one line, when the file is not there, no JSON, or wrong inside', async () => {
    const folder = temporaryFolder();
    const missing = join(folder, 'missing.json');
    expect(await refusal(missing)).toBe(`cannot read the definitions file ${missing}: there is no such file`);
    mkdirSync(join(folder, 'x.json'));
    expect(await refusal(folder)).toMatch(/^cannot read the definitions file .*x\.json: EISDIR/);
    const broken = file('{ "queues": [ }');
    expect(await refusal(broken)).toMatch(`the definitions file ${broken}: not JSON: `);
    const wrong = file({ queues: [{ ...QUEUE, vhost: 'nowhere' }] });
    expect(await refusal(wrong)).toBe(
      `the definitions file ${wrong}: queues[0] 'q': Please create virtual host "nowhere" prior to importing definitions.`,
    );
    const policy = file({ policies: [{ name: 'p', vhost: '/', pattern: '', definition: {} }] });
    expect(await refusal(policy)).not.toContain('\n');
  });

  it('leaves the folder as it was when the file cannot be read', async () => {
    const dataDir = join(temporaryFolder(), 'data');
    const start = Broker.start({ port: 0, dataDir, definitions: '/nowhere.json' });
    await expect(start).rejects.toThrow('there is no such file');
    const broker = await startBroker({ store: 'level', dataDir });
    expect(broker.exportDefinitions().queues).toEqual([]);
  });
});

describe('an import whose store fails', () => {
  it('ends with an error, it does not wait for ever', async () => {
    const store = faultyStore();
    const broker = await startBroker({ store });
    store.engine.failNext(new Error('no space left on device'));
    await expect(broker.importDefinitions({ queues: [QUEUE] })).rejects.toThrow();
    expect(await broker.stopped).toBeInstanceOf(Error);
    await expect(broker.importDefinitions({ queues: [QUEUE] })).rejects.toThrow('the store is lost');
  });
});

describe('a virtual host that is deleted', () => {
  it('tells its clients, and is gone with its messages', async () => {
    const store = memoryStore();
    const broker = await startBroker({ store, vhosts: ['v'] });
    const inside = await Session.open(broker, `${broker.url}/v`);
    const outside = await Session.open(broker);
    const told = new Promise<Error>((resolve) => inside.connection.once('close', resolve));
    await inside.queue('q');
    await inside.publish('q', 'lost', 'lost');
    await inside.channel.consume('q', () => {});
    await outside.queue('q');
    await broker.deleteVhost('v');
    expect((await told).message).toContain(
      '320 (CONNECTION-FORCED) with message "CONNECTION_FORCED - vhost \'v\' is deleted"',
    );
    await inside.closed;
    await expect(amqplib.connect(`${broker.url}/v`)).rejects.toThrow('ConnectionClose');
    expect(await outside.count('q')).toBe(0);
    await broker.createVhost('v', { description: 'again' });
    await expect(amqplib.connect(`${broker.url}/v`)).rejects.toThrow('ConnectionClose');
    await broker.setPermissions('guest', { vhost: 'v', configure: '.*', write: '.*', read: '.*' });
    const again = await Session.open(broker, `${broker.url}/v`);
    await again.queue('q');
    expect(await again.count('q')).toBe(0);
    await again.close();
    await broker.stop();
    const later = await startBroker({ store });
    expect(later.exportDefinitions('v')).toMatchObject({ description: 'again', queues: [{ name: 'q' }] });
  });

  it('takes exclusive queues, transactions and unsettled deliveries along without harm', async () => {
    const broker = await startBroker({ vhosts: ['v'] });
    const session = await Session.open(broker, `${broker.url}/v`);
    const { queue } = await session.channel.assertQueue('', { exclusive: true });
    await session.queue('q', { deadLetterExchange: '', deadLetterRoutingKey: 'dead' });
    await session.queue('dead');
    await session.publish('q', 'a', 'b');
    await session.hold('q', 2);
    session.channel.sendToQueue(queue, Buffer.from('x'));
    await broker.deleteVhost('v');
    await session.closed;
    await broker.createVhost('v');
    expect(broker.exportDefinitions('v').queues).toEqual([]);
  });
});

describe('a user that is deleted', () => {
  it('is told, and cannot come back', async () => {
    const broker = await startBroker({ authFailureDelayMs: 0 });
    await broker.createUser({
      name: 'anna',
      password: 'a',
      permissions: [{ vhost: '/', configure: '.*', write: '.*', read: '.*' }],
    });
    const url = `amqp://anna:a@127.0.0.1:${broker.port}`;
    const session = await Session.open(broker, url);
    const told = new Promise<Error>((resolve) => session.connection.once('close', resolve));
    await broker.deleteUser('anna');
    expect((await told).message).toContain("CONNECTION_FORCED - user 'anna' is deleted");
    await expect(amqplib.connect(url)).rejects.toThrow();
  });
});
