// Queue types: quorum queues, delivery limits, retries.
import type { Rule } from '../rules.ts';

export const typesRules: readonly Rule[] = [];
