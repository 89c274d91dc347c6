// Streams: section 10.
import type { Rule } from '../rules.ts';

export const streamsRules: readonly Rule[] = [];
