// A store written before format 2 is opened, read and taken over. format-1.json is what a broker of that time left.

import { readFileSync } from 'node:fs';
import { expect, it } from 'vitest';
import { FORMAT_KEY } from '../../src/store/keys.ts';
import { LogStore } from '../../src/store/log-store.ts';
import { MemoryEngine } from '../../src/store/memory-engine.ts';
import { decodeFormat, FORMAT_VERSION } from '../../src/store/values.ts';
import { openShard } from './harness.ts';

interface Fixture {
  readonly content: readonly { readonly key: string; readonly value: string }[];
}

async function engineOfFormat1(): Promise<MemoryEngine> {
  const text = readFileSync(new URL('format-1.json', import.meta.url), 'utf8');
  const { content } = JSON.parse(text) as Fixture;
  const engine = new MemoryEngine();
  const batch = engine.batch();
  for (const { key, value } of content) batch.put(Buffer.from(key, 'hex'), Buffer.from(value, 'base64'));
  await new Promise((resolve) => batch.write(true, resolve));
  return engine;
}

async function formatOf(engine: MemoryEngine): Promise<number | null> {
  const value = await new Promise<Buffer | null>((resolve) => {
    engine.get(FORMAT_KEY, (_error, found) => resolve(found));
  });
  return decodeFormat(value!);
}

it('a store of format 1 is read, and is of the newest format from its next commit on', async () => {
  const engine = await engineOfFormat1();
  const store = new LogStore(engine);
  const open = await openShard(store);
  const entries = open.recovered.of(1).map(({ text, ...rest }) => ({ text: text.slice(0, 4), ...rest }));
  const none = { lane: 0, expiresAt: 0, tries: 0, dueAt: 0 };
  expect(entries).toEqual([
    { position: 1, text: 'm1', ...none, tries: 4 },
    { position: 3, text: 'm3', ...none },
    { position: 5, text: 'late', lane: 3, expiresAt: 1_700_000_000_123, tries: 8, dueAt: 0 },
    { position: 6, text: 'LLLL', ...none },
  ]);
  expect(open.recovered.of(2).map(({ text, lane }) => [text.length, lane])).toEqual([[4200, 1]]);
  expect([...open.recovered.definitions]).toEqual([['queue/a', '{"n":1}']]);
  expect([...open.recovered.facts.get(1)!.deliveredUpTo]).toEqual([[0, 3]]);
  expect(await formatOf(engine)).toBe(1);

  open.shard.returned(1, 3, 1, 5000);
  await open.settle();
  expect(await formatOf(engine)).toBe(FORMAT_VERSION);
  await store.close();
  const again = await openShard(store);
  expect(again.recovered.of(1).map(({ position, tries, dueAt }) => [position, tries, dueAt])).toEqual([
    [1, 4, 0],
    [3, 1, 5000],
    [5, 8, 0],
    [6, 0, 0],
  ]);
  await store.close();
});

it('a store of format 1 in which nothing changes stays one', async () => {
  const engine = await engineOfFormat1();
  const store = new LogStore(engine);
  await openShard(store);
  await store.close();
  expect(await formatOf(engine)).toBe(1);
});
