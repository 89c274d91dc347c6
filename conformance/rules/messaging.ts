// Rules of exchanges, queues, messages, confirms, transactions and permissions, put together from their own files.
import type { Rule } from '../rules.ts';
import { accessRules } from './access.ts';
import { basicRules } from './basic.ts';
import { confirmRules } from './confirm-tx.ts';
import { exchangeRules } from './exchange.ts';
import { modelRules } from './model.ts';
import { queueRules } from './queue.ts';

export const messagingRules: readonly Rule[] = [
  ...exchangeRules,
  ...queueRules,
  ...basicRules,
  ...confirmRules,
  ...accessRules,
  ...modelRules,
];
