// The broker under test, and the `rule` helper that names every test by the rule it proves.
// Owns starting and stopping our own broker once per test file, recognising a foreign one, and closing the test's clients.
// Must not know how any broker works inside: beyond the address, a test may only use what `target.broker` offers embedders.
// Invariant: a rule with a recorded difference is asserted both ways, ours and RabbitMQ's.
import { afterAll, afterEach, beforeAll, test } from 'vitest';
import type { Broker, BrokerOptions } from '../../src/index.ts';
import { type Difference, findRule } from '../rules.ts';
import {
  connectRaw,
  type Fields,
  type OpenOptions,
  openRaw,
  PROTOCOL_HEADER,
  type RawClient,
} from './raw-client.ts';

/** Settings of our own broker that a test file may choose; a foreign broker keeps its own. */
export type BrokerSettings = BrokerOptions;

const FOREIGN_URL = process.env['AMQP_URL'];

/** Time limit of a test. Elsewhere time is real, and each call of rabbitmqctl takes a second or, on a busy machine, several. */
const TIME_LIMIT_MS = FOREIGN_URL === undefined ? 20_000 : 60_000;

/** Tests that need seconds of real time run only when asked for: `CONFORMANCE_SLOW=1`. */
export const RUN_SLOW = process.env['CONFORMANCE_SLOW'] === '1';

/** The broker under test. One per test file; its fields are valid inside hooks and tests. */
export class Target {
  /** AMQP URL with credentials. */
  url = '';
  /** True for a real RabbitMQ; false for our own broker, in this process or elsewhere. */
  isRabbitMQ = false;
  /** Version of RabbitMQ that is spoken to, or that our broker claims to be. */
  version = '0.0.0';
  /** Our own broker, when this process started it; null for any broker behind `AMQP_URL`. */
  broker: Broker | null = null;
  /** `server-properties` of the broker. */
  serverProperties: Fields = {};
  /** Everything a test opened and did not close. */
  private readonly clients = new Set<RawClient>();
  private names = 0;
  /** Which exchange types a foreign broker has, as far as tests have asked. */
  private readonly exchangeTypes = new Map<string, boolean>();

  /** Starts or finds the broker. Called by `useTarget`. */
  async begin(settings: BrokerSettings): Promise<void> {
    if (FOREIGN_URL === undefined) {
      this.broker = await startOwnBroker(settings);
      this.url = this.broker.url;
    } else {
      this.url = FOREIGN_URL;
    }
    const probe = await connectRaw(this.url);
    probe.send(PROTOCOL_HEADER);
    const { serverProperties } = await probe.expect('connection.start', 0);
    probe.destroy();
    this.serverProperties = serverProperties as Fields;
    this.isRabbitMQ =
      this.serverProperties['product'] === 'RabbitMQ' && !('leveret_version' in this.serverProperties);
    this.version = String(this.serverProperties['version'] ?? '0.0.0');
  }

  /** Stops what `begin` started. */
  async end(): Promise<void> {
    await this.broker?.stop();
    this.broker = null;
  }

  /** Drops every connection that the test left open. */
  dropClients(): void {
    for (const client of this.clients) client.destroy();
    this.clients.clear();
  }

  /** A connection on which nothing has been sent; dropped after the test. */
  async connect(): Promise<RawClient> {
    return this.keep(await connectRaw(this.url));
  }

  /** An open AMQP connection; dropped after the test. */
  async open(options: OpenOptions = {}): Promise<RawClient> {
    return this.keep(await openRaw(this.url, options));
  }

  /** An open AMQP connection with channel 1 open; dropped after the test. */
  async openWithChannel(options: OpenOptions = {}): Promise<RawClient> {
    const client = await this.open(options);
    await client.openChannel(1);
    return client;
  }

  /** Registers a client to be dropped after the test. */
  keep(client: RawClient): RawClient {
    this.clients.add(client);
    return client;
  }

  /** False when a RabbitMQ lacks the plugin that brings this exchange type. */
  async hasExchangeType(type: string): Promise<boolean> {
    if (!this.isRabbitMQ) return true;
    let has = this.exchangeTypes.get(type);
    if (has === undefined) {
      const client = await this.openWithChannel();
      const exchange = this.name('probe');
      client.sendMethod(1, 'exchange.declare', { exchange, type });
      const reply = await client.next();
      // An unknown type ends the connection or the channel; a known one may miss its arguments.
      has = !/unknown exchange type|invalid exchange type/.test(String(reply.fields['replyText']));
      if (reply.name === 'exchange.declare-ok') await client.call(1, 'exchange.delete', { exchange });
      client.destroy();
      this.exchangeTypes.set(type, has);
    }
    return has;
  }

  /** A name no other test uses. */
  name(hint: string): string {
    this.names += 1;
    return `conformance.${process.pid}.${Date.now().toString(36)}.${this.names}.${hint}`;
  }

  /** True when the broker is a RabbitMQ older than `version`. */
  isRabbitMQBelow(version: string): boolean {
    return this.isRabbitMQ && compareVersions(this.version, version) < 0;
  }
}

/** Negative when `a` is the older of two dotted versions. */
export function compareVersions(a: string, b: string): number {
  const left = a.split(/[.+-]/).map((part) => Number.parseInt(part, 10) || 0);
  const right = b.split(/[.+-]/).map((part) => Number.parseInt(part, 10) || 0);
  for (let i = 0; i < Math.max(left.length, right.length); i++) {
    const order = (left[i] ?? 0) - (right[i] ?? 0);
    if (order !== 0) return order;
  }
  return 0;
}

/** Our own broker with test settings; the caller stops it. */
export async function startOwnBroker(settings: BrokerSettings = {}): Promise<Broker> {
  // Imported only here, so that tests of a foreign broker never load ours.
  const { Broker } = await import('../../src/index.ts');
  return Broker.start({ port: 0, store: 'memory', authFailureDelayMs: 20, ...settings });
}

/** The target of this test file, set by `useTarget`. */
let current: Target | null = null;

/** Declares that the tests of this file talk to the broker under test. Call once, at the top of the file. */
export function useTarget(settings: BrokerSettings = {}): Target {
  const target = new Target();
  current = target;
  beforeAll(() => target.begin(settings));
  afterEach(() => target.dropClients());
  afterAll(() => target.end());
  return target;
}

/** The body of a rule's test. */
export type RuleTest = (target: Target) => Promise<void> | void;

/** How a rule's test deviates from "runs everywhere with the same assertions". */
export interface RuleOptions {
  /** Asserts RabbitMQ's own behaviour; required when, and only when, the rule's entry records a difference. */
  readonly onRabbitMQ?: RuleTest;
  /** Why the test can run only against our own broker in this process. */
  readonly ownOnly?: string;
  /** An exchange type that RabbitMQ has by a plugin only; the test is skipped where the plugin is not there. */
  readonly exchangeType?: string;
  /** The test needs seconds of real time against a foreign broker; it runs there only with `CONFORMANCE_SLOW=1`. */
  readonly slowOnForeign?: boolean;
  /** The test needs seconds of real time anywhere; it runs only with `CONFORMANCE_SLOW=1`. */
  readonly slow?: boolean;
  /** Time limit of the test in milliseconds. */
  readonly timeoutMs?: number;
}

/** True when the recorded difference holds for the broker under test. */
function differs(difference: Difference | undefined, target: Target): boolean {
  if (difference === undefined || !target.isRabbitMQ) return false;
  if (difference.below !== undefined && !target.isRabbitMQBelow(difference.below)) return false;
  return difference.from === undefined || !target.isRabbitMQBelow(difference.from);
}

/**
 * Registers the test of rule `id`. Several tests may prove one rule.
 * @throws when the rule is not listed in `rules.ts`, or when difference and `onRabbitMQ` do not go together.
 */
export function rule(id: string, title: string, body: RuleTest, options: RuleOptions = {}): void {
  const entry = findRule(id);
  if (options.onRabbitMQ !== undefined && entry.difference === undefined) {
    throw new Error(`rule ${id} asserts other behaviour of RabbitMQ but records no difference`);
  }
  if (options.onRabbitMQ === undefined && entry.difference !== undefined) {
    throw new Error(`rule ${id} records a difference of RabbitMQ that its test does not assert`);
  }
  test(
    `${id} ${title}`,
    async (context) => {
      const target = current;
      if (target === null) throw new Error('call useTarget() at the top of the file');
      if (options.ownOnly !== undefined && target.broker === null) return context.skip(options.ownOnly);
      const slow = options.slow === true || (options.slowOnForeign === true && target.broker === null);
      if (slow && !RUN_SLOW) return context.skip('needs seconds of real time; set CONFORMANCE_SLOW=1');
      const { exchangeType } = options;
      if (exchangeType !== undefined && !(await target.hasExchangeType(exchangeType)))
        return context.skip(`this RabbitMQ has no exchange type ${exchangeType}`);
      if (options.onRabbitMQ !== undefined && differs(entry.difference, target))
        return options.onRabbitMQ(target);
      await body(target);
    },
    options.timeoutMs ?? TIME_LIMIT_MS,
  );
}
