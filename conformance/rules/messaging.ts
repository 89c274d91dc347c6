// Rules of exchanges, queues, messages, confirms and transactions. Owns ids of the sections `exchange`, `queue`, `basic`,
// `confirm` and `tx`.
import type { Rule } from '../rules.ts';

export const messagingRules: readonly Rule[] = [];
