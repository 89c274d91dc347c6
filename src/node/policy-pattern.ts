// The patterns of policies: those of permissions, but for the empty one. Here, because policies and users never meet below.

import { compilePattern } from '../auth/pattern.ts';
import type { Matcher } from '../policy/policies.ts';

const everything: Matcher = { test: () => true };

/** A pattern ready to use. The empty one is found in every name. @throws BrokerError when this engine cannot take it */
export function compilePolicyPattern(pattern: string): Matcher {
  return pattern === '' ? everything : compilePattern(pattern);
}
