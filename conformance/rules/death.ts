// Dead-lettering: section 8.
import type { Rule } from '../rules.ts';

export const deathRules: readonly Rule[] = [];
