// What RabbitMQ adds to AMQP, and what we add to that: one file for each part.
import type { Rule } from '../rules.ts';
import { deathRules } from './death.ts';
import { definitionsRules } from './definitions.ts';
import { delaysRules } from './delays.ts';
import { limitsRules } from './limits.ts';
import { operationsRules } from './operations.ts';
import { policiesRules } from './policies.ts';
import { streamsRules } from './streams.ts';
import { timeRules } from './time.ts';
import { typesRules } from './types.ts';

export const extensionRules: readonly Rule[] = [
  ...timeRules,
  ...limitsRules,
  ...deathRules,
  ...typesRules,
  ...streamsRules,
  ...delaysRules,
  ...policiesRules,
  ...definitionsRules,
  ...operationsRules,
];
