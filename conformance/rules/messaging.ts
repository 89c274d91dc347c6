// Rules of exchanges, queues, messages, confirms, transactions and permissions, put together from their own files.
import type { Rule } from '../rules.ts';
import { basicRules } from './basic.ts';
import { exchangeRules } from './exchange.ts';
import { queueRules } from './queue.ts';

export const messagingRules: readonly Rule[] = [...exchangeRules, ...queueRules, ...basicRules];
