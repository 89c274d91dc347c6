// Delayed messages and deduplication.
import type { Rule } from '../rules.ts';

export const delaysRules: readonly Rule[] = [];
