// Definitions files: section 12.
import type { Rule } from '../rules.ts';

export const definitionsRules: readonly Rule[] = [];
