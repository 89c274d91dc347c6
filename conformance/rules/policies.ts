// Policies, limits and parameters: section 12.
import type { Rule } from '../rules.ts';

export const policiesRules: readonly Rule[] = [];
