// Length limits, priorities, single active consumers: section 9.
import type { Rule } from '../rules.ts';

export const limitsRules: readonly Rule[] = [];
