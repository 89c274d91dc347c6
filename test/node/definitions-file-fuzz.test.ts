// Definitions files with anything in them: an import takes them or refuses them with a word, and what it took survives a restart.

import { readFileSync } from 'node:fs';
import { expect, it } from 'vitest';
import { type Broker, BrokerError, memoryStore } from '../../src/index.ts';
import { startBroker } from '../broker/support.ts';
import { SeededRandom } from '../support/faulty-engine.ts';

const SEED = Number(process.env['DEFINITIONS_SEED'] ?? Date.now() % 1_000_000);
const ROUNDS = Number(process.env['DEFINITIONS_ROUNDS'] ?? 250);
const ROUNDS_PER_START = 50;

const FILE = readFileSync(new URL('../fixtures/definitions-of-rabbitmq-3.10.json', import.meta.url), 'utf8');

/** Values that have no place where they are put. */
const JUNK: readonly ((random: SeededRandom) => unknown)[] = [
  () => null,
  () => true,
  () => -1,
  () => 0.5,
  () => 1e308,
  () => 2 ** 63,
  () => '',
  () => 'x',
  () => '(',
  () => '\ud800',
  () => '\0',
  () => 'amq.x',
  () => 'é'.repeat(200),
  () => [],
  () => [null],
  () => ({}),
  () => ({ __proto__: null, constructor: 1, toString: 2 }),
  () => JSON.parse('{"__proto__":{"name":"x"}}'),
  (random) => nested(random.below(300)),
  () => undefined,
];

function nested(depth: number): unknown {
  let value: unknown = 1;
  for (let i = 0; i < depth; i++) value = i % 2 === 0 ? [value] : { a: value };
  return value;
}

/** Puts junk in a random place of the value. */
function spoil(value: unknown, random: SeededRandom): unknown {
  const isLeaf = typeof value !== 'object' || value === null || Object.keys(value).length === 0;
  if (isLeaf || random.below(6) === 0) return JUNK[random.below(JUNK.length)]!(random);
  const copy = (Array.isArray(value) ? [...value] : { ...value }) as Record<string, unknown>;
  const keys = Object.keys(copy);
  const key = keys[random.below(keys.length)]!;
  if (random.below(10) === 0 && !Array.isArray(value)) delete copy[key];
  else copy[key] = spoil(copy[key], random);
  return copy;
}

/** The text with some of its characters changed. */
function scramble(text: string, random: SeededRandom): string {
  const at = random.below(text.length);
  const with_ = ['', '"', '{', ']', ',', '1.0', '-', '\\', 'e9'][random.below(9)]!;
  return text.slice(0, at) + with_ + text.slice(at + random.below(3));
}

async function attempt(broker: Broker, definitions: unknown, vhost: string | null): Promise<void> {
  try {
    await broker.importDefinitions(definitions, vhost);
  } catch (error) {
    if (!(error instanceof BrokerError)) throw error;
    expect(error.message).not.toBe('');
  }
}

it(`any file is taken or refused with a word (seed ${SEED})`, async () => {
  const random = new SeededRandom(SEED);
  let store = memoryStore();
  let broker = await startBroker({ store });
  for (let round = 0; round < ROUNDS; round++) {
    const whole: unknown = JSON.parse(FILE);
    let file = whole;
    for (let i = 0; i <= random.below(3); i++) file = spoil(file, random);
    const given =
      random.below(4) === 0 ? scramble(FILE, random) : random.below(2) === 0 ? JSON.stringify(file) : file;
    const vhost = random.below(3) === 0 ? '/' : null;
    try {
      await attempt(broker, given, vhost);
      const written = broker.exportDefinitions();
      // What was taken can be written, and taken again.
      await broker.importDefinitions(JSON.stringify(written));
      if (round % ROUNDS_PER_START === ROUNDS_PER_START - 1) {
        await broker.stop();
        broker = await startBroker({ store });
        const after = broker.exportDefinitions();
        expect(after.users).toEqual(written.users);
        expect(after.vhosts).toEqual(written.vhosts);
        expect(after.queues).toEqual(written.queues?.filter((row) => row['durable'] === true));
        await broker.stop();
        store = memoryStore();
        broker = await startBroker({ store });
      }
    } catch (error) {
      throw new Error(`seed ${SEED}, round ${round}: ${(error as Error).stack}`, { cause: error });
    }
  }
}, 60_000);
