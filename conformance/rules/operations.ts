// Ordering keys, and what operators do with queues: pause, peek, move, redrive.
import type { Rule } from '../rules.ts';

export const operationsRules: readonly Rule[] = [];
