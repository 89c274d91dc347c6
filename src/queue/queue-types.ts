// From x-queue-type to the queue that keeps its rules. The only place that knows every type.

import type { QueueNo } from '../store/store.ts';
import { ClassicQueue } from './classic-queue.ts';
import type { QueueDeclaration } from './declaration.ts';
import type { DeclaredQueue } from './queue.ts';
import type { QueueContext, QueueHost } from './queue-context.ts';
import type { PolicyKeys } from './queue-options.ts';
import { StreamQueue } from './stream-queue.ts';

/**
 * A queue of the type that its arguments name.
 * @param lines numbers of further content it has in the store, by line (see `QueueHost.numberFor`)
 */
export function createQueue(
  declaration: QueueDeclaration,
  number: QueueNo,
  lines: ReadonlyMap<number, QueueNo>,
  policy: PolicyKeys,
  context: QueueContext,
  host: QueueHost,
): DeclaredQueue {
  if (declaration.arguments.get('x-queue-type')?.value === 'stream')
    return new StreamQueue(declaration, number, lines, policy, context, host);
  return new ClassicQueue(declaration, number, lines, policy, context, host);
}
