// What policies a seed sets: which queues they are for, and what they say.
// Owns what can be said without making an order that nobody knows matter. Sets none itself; when one is set, the script says (script.ts).

import type { SeededRandom } from '../support/faulty-engine.ts';
import type { PolicyKeys, PolicyRule } from './policy-model.ts';
import { STEP_MS } from './real-side.ts';
import type { World } from './world.ts';

/** Draws policies. */
export class PolicyScript {
  private readonly beside: SeededRandom;
  private readonly world: World;
  private readonly queues: readonly string[];
  private readonly limits: boolean;
  private readonly graves: ReadonlyMap<string, string>;

  /**
   * @param queues names that queues may have
   * @param limits queues have limits
   * @param graves where dead messages of each queue go
   */
  constructor(
    beside: SeededRandom,
    world: World,
    queues: readonly string[],
    limits: boolean,
    graves: ReadonlyMap<string, string>,
  ) {
    this.beside = beside;
    this.world = world;
    this.queues = queues;
    this.limits = limits;
    this.graves = graves;
  }

  /** A policy for one queue or for many; null when it would say nothing. */
  draw(): PolicyRule | null {
    const { beside, queues } = this;
    // Of several queues that lose messages in one step, nobody knows which does so first.
    const isWide = !this.limits && beside.chance(0.3);
    const name = queues[beside.below(queues.length)]!;
    const operator = beside.chance(0.3);
    const keys = this.keys(name, operator, isWide);
    if (Object.keys(keys).length === 0) return null;
    return {
      name: isWide ? 'wide' : name,
      operator,
      priority: isWide ? beside.below(2) : 2,
      queues: isWide ? queues.filter(() => beside.chance(0.6)).concat(name) : [name],
      keys,
    };
  }

  /** Only what a crash can come into: no limit, no time to live. It stands in front of others. */
  mild(name: string): PolicyRule {
    const keys: Record<string, number | string> = {};
    const { beside } = this;
    const spec = this.world.model.queues.get(name)?.declared;
    if (!this.limits || spec?.priorityMax === 0) {
      keys['dead-letter-exchange'] = '';
      keys['dead-letter-routing-key'] = this.graves.get(name)!;
    }
    if (!this.limits && beside.chance(0.5)) {
      keys['retry-limit'] = 1 + beside.below(3);
      keys['retry-delay'] = STEP_MS * (1 + beside.below(10)) - STEP_MS / 2;
      keys['retry-multiplier'] = 1 + beside.below(2);
    }
    if (spec?.quorum === true) keys['delivery-limit'] = beside.below(5) - 1;
    if (spec?.quorum === true && !this.limits && beside.chance(0.5)) this.delayReturns(keys);
    if (Object.keys(keys).length === 0) keys['overflow'] = 'drop-head';
    return { name: 'mild', operator: false, priority: 3, queues: [name], keys };
  }

  private keys(name: string, operator: boolean, isWide: boolean): PolicyKeys {
    const { beside, world, limits } = this;
    const keys: Record<string, number | string> = {};
    const spec = world.model.queues.get(name)?.declared;
    if (beside.chance(0.5)) {
      const least = isWide || world.real.pages ? 1 : 0;
      keys['message-ttl'] = 100 * (least + beside.below(12));
    }
    if (beside.chance(0.15)) keys['expires'] = 100 * (1 + beside.below(30));
    if (limits && beside.chance(0.4)) keys['max-length'] = beside.below(6);
    if (limits && beside.chance(0.3)) keys['max-length-bytes'] = beside.below(3_000);
    if (limits && beside.chance(0.3))
      keys['overflow'] = ['drop-head', 'reject-publish', 'reject-publish-dlx'][beside.below(3)]!;
    if (!isWide && spec?.quorum === true && beside.chance(0.4)) keys['delivery-limit'] = beside.below(5) - 1;
    if (operator) return keys;
    if (!isWide && !limits && spec?.quorum === true && beside.chance(0.3)) this.delayReturns(keys);
    const hasLevels = spec !== undefined && spec.priorityMax > 0;
    if (!isWide && beside.chance(0.4) && !(limits && hasLevels)) {
      const grave = this.graves.get(name)!;
      keys['dead-letter-exchange'] = '';
      if (grave !== name || beside.chance(0.5)) keys['dead-letter-routing-key'] = grave;
    }
    if (!limits && beside.chance(0.3)) {
      keys['retry-limit'] = 1 + beside.below(3);
      keys['retry-delay'] = STEP_MS * (1 + beside.below(10)) - STEP_MS / 2;
      keys['retry-multiplier'] = 1 + beside.below(2);
    }
    return keys;
  }

  private delayReturns(keys: Record<string, number | string>): void {
    keys['delayed-retry-type'] = 'all';
    keys['delayed-retry-min'] = STEP_MS * (1 + this.beside.below(10)) - STEP_MS / 2;
  }
}
