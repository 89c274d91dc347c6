// Rules for input nobody meant to send. Owns the ids that begin with `fuzz`.
import type { Rule } from '../rules.ts';

export const fuzzRules: readonly Rule[] = [
  { id: 'fuzz.valid', text: 'Any sequence of well-formed requests is answered with well-formed frames.' },
  { id: 'fuzz.damaged', text: 'Damaged frames end at most their own connection.' },
  { id: 'fuzz.nonsense', text: 'Well-formed frames with nonsense inside end at most their own connection.' },
  {
    id: 'fuzz.shuffled',
    text: 'Frames that are missing, repeated or misplaced end at most their own connection.',
  },
  { id: 'fuzz.noise', text: 'Noise ends at most its own connection.' },
];
