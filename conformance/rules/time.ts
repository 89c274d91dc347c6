// Message TTL, queue expiry: section 9.
import type { Rule } from '../rules.ts';

export const timeRules: readonly Rule[] = [];
