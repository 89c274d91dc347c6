// A broker with a TLS port beside its plain one, as clients and as the person who sets it up see it.

import { once } from 'node:events';
import { readFileSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import * as amqplib from 'amqplib';
import { describe, expect, it } from 'vitest';
import { Broker, type BrokerOptions, ListenError, SettingsError } from '../../src/index.ts';
import { startBroker, temporaryFolder } from './support.ts';

const path = (name: string): string => fileURLToPath(new URL(`../fixtures/tls/${name}.pem`, import.meta.url));

const TLS: BrokerOptions = {
  tlsPort: 0,
  tlsCertificate: path('broker'),
  tlsKey: path('broker-key'),
  tlsAuthorities: path('ca'),
};

/** What a start that is refused says. */
async function refusal(options: BrokerOptions): Promise<Error> {
  return startBroker(options).then(
    () => {
      throw new Error('it started');
    },
    (error: Error) => error,
  );
}

describe('a broker with a TLS port', () => {
  it('takes messages there of any size and hands them out on the plain one, and the other way round', async () => {
    const broker = await startBroker(TLS);
    expect(broker.tlsPort).toBeGreaterThan(0);
    expect(broker.tlsUrl).toBe(`amqps://guest:guest@127.0.0.1:${broker.tlsPort}`);
    const secure = await amqplib.connect(broker.tlsUrl!, { ca: [readFileSync(path('ca'))] });
    const plain = await amqplib.connect(broker.url);
    const bodies = [0, 1, 100, 70_000, 3_000_000].map((size, i) => Buffer.alloc(size, i));
    for (const [from, to] of [
      [secure, plain],
      [plain, secure],
    ] as const) {
      const sender = await from.createConfirmChannel();
      const { queue } = await sender.assertQueue('', { exclusive: false, autoDelete: true });
      const receiver = await to.createChannel();
      const got: Buffer[] = [];
      const all = new Promise<void>((resolve) => {
        void receiver.consume(
          queue,
          (message) => {
            got.push(message!.content);
            if (got.length === bodies.length) resolve();
          },
          { noAck: true },
        );
      });
      for (const body of bodies) sender.sendToQueue(queue, body);
      await sender.waitForConfirms();
      await all;
      expect(got.map((body, i) => body.equals(bodies[i]!))).toEqual(bodies.map(() => true));
    }
    await secure.close();
    await plain.close();
  });

  it('closes both ports when it stops, and tells its clients', async () => {
    const broker = await startBroker(TLS);
    const secure = await amqplib.connect(broker.tlsUrl!, { ca: [readFileSync(path('ca'))] });
    const told = once(secure, 'close');
    await broker.stop();
    expect(((await told) as [Error])[0].message).toContain('320');
    await expect(amqplib.connect(broker.tlsUrl!)).rejects.toThrow(/ECONNREFUSED/);
  });

  it('lets a client with a certificate in only, when told so', async () => {
    const broker = await startBroker({ ...TLS, tlsClientCertificates: 'required' });
    const ca = [readFileSync(path('ca'))];
    await expect(amqplib.connect(broker.tlsUrl!, { ca })).rejects.toThrow();
    const own = { cert: readFileSync(path('client')), key: readFileSync(path('client-key')) };
    const connection = await amqplib.connect(broker.tlsUrl!, { ca, ...own });
    await connection.close();
  });

  it('has none unless asked', async () => {
    const broker = await startBroker();
    expect([broker.tlsPort, broker.tlsUrl]).toEqual([null, null]);
  });
});

describe('TLS settings that cannot work', () => {
  it('are refused in words, before a port is open or a folder is touched', async () => {
    const broken = join(temporaryFolder(), 'broken.pem');
    writeFileSync(broken, 'not PEM');
    for (const [options, text] of [
      [{ tlsPort: 0 }, 'tlsPort needs tlsCertificate, a file with a certificate'],
      [{ ...TLS, tlsKey: null }, 'tlsPort needs tlsKey, the file with the key of tlsCertificate'],
      [{ ...TLS, tlsKey: '/no/such/key.pem' }, 'tlsKey: cannot read /no/such/key.pem: there is no such file'],
      [
        { ...TLS, tlsKey: path('stranger-key') },
        'tlsCertificate, tlsKey and tlsAuthorities cannot be used together: key values mismatch',
      ],
    ] as const) {
      const error = await refusal(options);
      expect(error).toBeInstanceOf(SettingsError);
      expect(error.message).toBe(text);
    }
    const error = await refusal({ ...TLS, tlsCertificate: broken });
    expect(error.message).toMatch(/^tlsCertificate, tlsKey and tlsAuthorities cannot be used together: /);
  });

  it('of a port in use name the flag, and leave the plain port free again', async () => {
    const taken = createServer().listen(0, '127.0.0.1');
    await once(taken, 'listening');
    const { port } = taken.address() as { port: number };
    const plain = await startBroker();
    const free = plain.port;
    await plain.stop();
    const error = await refusal({ ...TLS, port: free, tlsPort: port });
    expect(error).toBeInstanceOf(ListenError);
    expect(error.message).toContain('--tls-port');
    const again = await Broker.start({ port: free, store: 'memory' });
    await again.stop();
    taken.close();
  });
});
