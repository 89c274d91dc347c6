// Names that the server makes up. Owns their form; knows nothing of what they name.

import { randomBytes } from 'node:crypto';

/** `prefix` and 22 characters of base64url: 128 random bits, as RabbitMQ writes them (`amq.gen-JzTY20BRgKO-HjmUJj0wLg`). */
export function serverName(prefix: string): string {
  return prefix + randomBytes(16).toString('base64url');
}
