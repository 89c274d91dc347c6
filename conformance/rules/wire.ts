// Rules of the wire: errors, connection, framing, channels, methods. Owns ids that begin with 0, 1, 2, 3 and 14.
import type { Rule } from '../rules.ts';

export const wireRules: readonly Rule[] = [
  { id: '1.1.header', text: 'The header AMQP 0 0 9 1 is answered with connection.start.' },
];
