// How long one route takes, by exchange type and number of bindings. Run: node .ci/ready.mjs run bench/micro/route.ts
// Prints nanoseconds per route, the best of five rounds: trust ratios, not absolutes.

import { EMPTY_TABLE, type FieldTable, tableOf } from '../../src/protocol/field-values.ts';
import { NO_PROPERTIES } from '../../src/protocol/properties.ts';
import type { Binding, Destination, Routable, Router } from '../../src/routing/router.ts';
import { createRouter } from '../../src/routing/router-types.ts';
import { QUICK } from './quick.ts';

/** Keys or messages that one round goes through; more than that many different ones a cache does not see either. */
const SAMPLES = 1_000;
const ROUNDS = QUICK ? 1 : 5;

interface Case {
  readonly name: string;
  readonly type: string;
  /** Key and arguments of binding `i` of `n`. */
  binding(i: number, n: number): { key: string; args: FieldTable };
  /** Key and headers of sample `i`; `round` makes them new where nothing shall come from a cache. */
  sample(i: number, n: number, round: number): { key: string; headers: FieldTable | null };
}

const CASES: readonly Case[] = [
  {
    name: 'direct, one queue per key',
    type: 'direct',
    binding: (i) => ({ key: `device.${i}`, args: EMPTY_TABLE }),
    sample: (i, n) => ({ key: `device.${i % n}`, headers: null }),
  },
  {
    name: 'topic, keys seen before',
    type: 'topic',
    binding: topicBinding,
    sample: (i, n) => ({ key: `region${i % 50}.device${i % n}.state.up`, headers: null }),
  },
  {
    name: 'topic, every key new',
    type: 'topic',
    binding: topicBinding,
    sample: (i, n, round) => ({ key: `region${i % 50}.device${i % n}.state${round}-${i}.up`, headers: null }),
  },
  {
    name: 'headers, all of three',
    type: 'headers',
    binding: (i) => ({ key: '', args: tableOf({ format: 'pdf', type: 'report', customer: i }) }),
    sample: (i, n) => ({ key: '', headers: tableOf({ format: 'pdf', type: 'report', customer: i % n }) }),
  },
  {
    name: 'headers, any of two',
    type: 'headers',
    binding: (i) => ({ key: '', args: tableOf({ 'x-match': 'any', customer: i, order: i + 1_000_000 }) }),
    sample: (i, n) => ({ key: '', headers: tableOf({ customer: i % n, order: 5 }) }),
  },
  {
    name: 'consistent hash, by key',
    type: 'x-consistent-hash',
    binding: () => ({ key: '10', args: EMPTY_TABLE }),
    sample: (i) => ({ key: `order.${i}`, headers: null }),
  },
  {
    name: 'modulus hash',
    type: 'x-modulus-hash',
    binding: () => ({ key: '', args: EMPTY_TABLE }),
    sample: (i) => ({ key: `order.${i}`, headers: null }),
  },
  {
    name: 'random',
    type: 'x-random',
    binding: () => ({ key: '', args: EMPTY_TABLE }),
    sample: () => ({ key: '', headers: null }),
  },
];

/** Half exact, the rest with wildcards, as device fleets have them. */
function topicBinding(i: number): { key: string; args: FieldTable } {
  const device = `region${i % 50}.device${i}`;
  const key = i % 2 === 0 ? `${device}.state.up` : i % 4 === 1 ? `${device}.#` : `*.device${i}.*.up`;
  return { key, args: EMPTY_TABLE };
}

function bindingOf(destination: string, routingKey: string, args: FieldTable): Binding {
  return { destination: { name: destination }, toExchange: false, routingKey, arguments: args };
}

function filled(test: Case, bindings: number): Router {
  const router = createRouter(test.type, EMPTY_TABLE);
  if (router === null) throw new Error(`no exchange type ${test.type}`);
  for (let i = 0; i < bindings; i++) {
    const { key, args } = test.binding(i, bindings);
    router.bind(bindingOf(`q${i}`, key, args));
  }
  return router;
}

function nanosecondsPerRoute(test: Case, bindings: number): number {
  const router = filled(test, bindings);
  const out: Destination[] = [];
  let best = Number.POSITIVE_INFINITY;
  for (let round = 0; round < ROUNDS; round++) {
    const samples = Array.from({ length: SAMPLES }, (_, i) => {
      const { key, headers } = test.sample(i, bindings, round);
      const message: Routable = { headers: () => headers, properties: () => NO_PROPERTIES, footprint: 0 };
      return { keys: [key], message };
    });
    const repeats = test.name.includes('new') ? 1 : 20;
    const start = process.hrtime.bigint();
    for (let r = 0; r < repeats; r++) {
      for (let i = 0; i < SAMPLES; i++) {
        out.length = 0;
        router.route(samples[i]!.message, samples[i]!.keys, out);
      }
    }
    const ns = Number(process.hrtime.bigint() - start) / (SAMPLES * repeats);
    if (ns < best) best = ns;
  }
  return best;
}

/** Nanoseconds for one bind and one unbind beside `bindings` others. */
function nanosecondsPerChange(test: Case, bindings: number): number {
  const router = filled(test, bindings);
  const changes = QUICK ? 100 : 5_000;
  const start = process.hrtime.bigint();
  for (let i = 0; i < changes; i++) {
    const { key, args } = test.binding(bindings + i, bindings);
    const binding = bindingOf('visitor', key, args);
    router.bind(binding);
    router.unbind(binding);
  }
  return Number(process.hrtime.bigint() - start) / changes;
}

const SIZES = QUICK ? [1, 100] : [1, 10, 100, 1_000, 10_000, 100_000];

console.log(`${'ns'.padEnd(28)}${SIZES.map((n) => String(n).padStart(9)).join('')}  bindings`);
for (const test of CASES) {
  const routes = SIZES.map((n) => nanosecondsPerRoute(test, n).toFixed(0).padStart(9));
  console.log(`${test.name.padEnd(28)}${routes.join('')}  a route`);
  const changes = SIZES.map((n) => nanosecondsPerChange(test, n).toFixed(0).padStart(9));
  console.log(`${''.padEnd(28)}${changes.join('')}  a bind and unbind`);
}
