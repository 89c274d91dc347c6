// What only the store on LevelDB can show: the folder on a real disk.

import { randomBytes } from 'node:crypto';
import { mkdtempSync, readdirSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { openLevelStore } from '../../src/store/log-store.ts';
import { openShard, range, until } from './harness.ts';

let location: string;

beforeEach(() => {
  location = mkdtempSync(join(tmpdir(), 'leveret-level-'));
});

afterEach(() => rmSync(location, { recursive: true, force: true }));

function folderBytes(): number {
  let bytes = 0;
  // A table may be deleted between the listing and the look.
  for (const name of readdirSync(location))
    bytes += statSync(join(location, name), { throwIfNoEntry: false })?.size ?? 0;
  return bytes;
}

describe('the folder of a store', () => {
  it('becomes small again when a backlog was drained', async () => {
    const limits = {
      writeBufferBytes: 256 * 1024,
      tableFileBytes: 256 * 1024,
      reclaimBytes: 2_000_000,
      // What stands in files of its own goes without further ado.
      largeValueBytes: Number.POSITIVE_INFINITY,
    };
    const open = await openShard(openLevelStore({ location, ...limits }));
    // Bytes that do not compress.
    const body = randomBytes(8_000_000);
    for (const position of range(1, 8000)) {
      open.shard.enqueue(1, position, Buffer.alloc(0), body, position * 900, position * 900 + 900, null);
      if (position % 500 === 0) await open.settle();
    }
    expect(folderBytes()).toBeGreaterThan(6_000_000);
    for (const position of range(1, 8000)) {
      open.shard.remove(1, position);
      if (position % 500 === 0) await open.settle();
    }
    await until(() => folderBytes() < 3_000_000);
    await open.store.close();
  });
});
