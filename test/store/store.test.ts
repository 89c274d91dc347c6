// Every store passes the same suite.

import { cpSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { memoryStore, openLevelStore } from '../../src/store/log-store.ts';
import type { LevelOptions, LogOptions } from '../../src/store/options.ts';
import type { Store } from '../../src/store/store.ts';
import { faultyStore } from '../support/faulty-engine.ts';
import { type StoreCase, storeSuite } from './suite.ts';

const onLevel =
  (level: Partial<LevelOptions>) =>
  async (options: Partial<LogOptions> = {}): Promise<StoreCase> => {
    const folder = mkdtempSync(join(tmpdir(), 'leveret-store-'));
    const location = join(folder, 'store');
    const opened: Store[] = [openLevelStore({ ...options, ...level, location })];
    return {
      store: opened[0]!,
      keys: null,
      lose: null,
      // A copy of the folder while the database is open is what a killed process leaves.
      crash: async () => {
        const copy = join(folder, 'copy');
        cpSync(location, copy, { recursive: true });
        opened.push(openLevelStore({ ...options, ...level, location: copy }));
        return opened[1]!;
      },
      dispose: async () => {
        for (const store of opened) await store.close();
        rmSync(folder, { recursive: true, force: true });
      },
    };
  };

storeSuite('LevelDB', onLevel({}));
// Nearly every segment and pack is a value in a file of its own.
storeSuite('LevelDB with large values', onLevel({ largeValueBytes: 60 }));

storeSuite('memory', async (options = {}) => {
  const store = memoryStore(options);
  return { store, keys: null, lose: null, crash: null, dispose: () => store.close() };
});

storeSuite('faulty', async (options = {}) => {
  const store = faultyStore({ seed: 7, slowness: 3, ...options });
  return {
    store,
    keys: () => store.engine.keys().filter((key) => !key.startsWith('01')),
    lose: (key) => store.engine.tamper(key, () => null),
    crash: async () => {
      store.crash();
      return store;
    },
    dispose: () => store.close(),
  };
});
