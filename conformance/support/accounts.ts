// Users and vhosts that a test file needs, made on whichever broker is the target and removed afterwards.
// Our own broker gets them as settings; a local RabbitMQ gets them through rabbitmqctl; elsewhere the tests are skipped.
// Must not touch users it did not make.
import { execFile } from 'node:child_process';
import { afterAll, beforeAll, TestRunner } from 'vitest';
import { type BrokerSettings, type Target, useTarget } from './target.ts';

/** What a user may do in one vhost. */
export interface AccountPermissions {
  readonly vhost: string;
  readonly configure: string;
  readonly write: string;
  readonly read: string;
}

/** Which keys of one topic exchange a user may publish and bind. */
export interface AccountTopicPermissions {
  readonly vhost: string;
  readonly exchange: string;
  readonly write: string;
  readonly read: string;
}

/** A user of a test file. */
export interface Account {
  readonly name: string;
  readonly password: string;
  readonly tags?: readonly string[];
  readonly permissions?: readonly AccountPermissions[];
  readonly topicPermissions?: readonly AccountTopicPermissions[];
}

const NODE_NAME = process.env['CONFORMANCE_RABBITMQ_NODE'] ?? 'rabbit@localhost';

/** A text as Erlang source in figures, which no shell on the way can change. */
export const binary = (text: string): string => `<<${[...Buffer.from(text)].join(',')}>>`;

/** Runs Erlang in the RabbitMQ node. Fulfilled with what the last expression gave, as text; rejects with what rabbitmqctl said. */
export function evaluate(expressions: readonly string[]): Promise<string> {
  return new Promise((resolve, reject) => {
    execFile(
      'rabbitmqctl',
      ['-n', NODE_NAME, 'eval', `${expressions.join(', ')}.`],
      (error, stdout, stderr) => {
        if (error === null) resolve(stdout);
        else reject(new Error(stderr || stdout || error.message));
      },
    );
  });
}

function adding(accounts: readonly Account[], vhosts: readonly string[]): string[] {
  const by = binary('conformance');
  const steps = vhosts.map((vhost) => `rabbit_vhost:add(${binary(vhost)}, ${by})`);
  for (const { name, password, tags = [], permissions = [], topicPermissions = [] } of accounts) {
    const user = binary(name);
    steps.push(`rabbit_auth_backend_internal:add_user(${user}, ${binary(password)}, ${by})`);
    steps.push(`rabbit_auth_backend_internal:set_tags(${user}, [${tags.join(', ')}], ${by})`);
    for (const { vhost, configure, write, read } of permissions) {
      const patterns = [configure, write, read].map(binary).join(', ');
      steps.push(
        `rabbit_auth_backend_internal:set_permissions(${user}, ${binary(vhost)}, ${patterns}, ${by})`,
      );
    }
    for (const { vhost, exchange, write, read } of topicPermissions) {
      const parts = [vhost, exchange, write, read].map(binary).join(', ');
      steps.push(`rabbit_auth_backend_internal:set_topic_permissions(${user}, ${parts}, ${by})`);
    }
  }
  return steps;
}

/** The users of a test file. */
export class Accounts {
  /** Why the users are not there; null when they are. */
  missing: string | null = null;

  /** Skips the running test when the users could not be made. Call first in each test. */
  need(): void {
    if (this.missing !== null) TestRunner.getCurrentTest()?.context.skip(this.missing);
  }
}

/** Like `useTarget`, with users and vhosts beside the default ones. Call once, at the top of the file. */
export function useAccounts(
  accounts: readonly Account[],
  vhosts: readonly string[] = [],
  settings: BrokerSettings = {},
): { target: Target; accounts: Accounts } {
  const target = useTarget({ ...settings, users: accounts, vhosts });
  const made = new Accounts();
  let remove: string[] = [];
  beforeAll(async () => {
    if (target.broker !== null) return;
    const { hostname } = new URL(target.url);
    if (!target.isRabbitMQ || !['127.0.0.1', 'localhost', '[::1]'].includes(hostname)) {
      made.missing =
        'the users of this file can be made only on our own broker or a RabbitMQ on this machine';
      return;
    }
    try {
      await evaluate(adding(accounts, vhosts));
      remove = [
        ...accounts.map(
          ({ name }) => `rabbit_auth_backend_internal:delete_user(${binary(name)}, ${binary('conformance')})`,
        ),
        ...vhosts.map((vhost) => `rabbit_vhost:delete(${binary(vhost)}, ${binary('conformance')})`),
      ];
    } catch (error) {
      made.missing = `rabbitmqctl -n ${NODE_NAME} does not answer: ${error instanceof Error ? error.message : String(error)}`;
    }
  });
  afterAll(async () => {
    if (remove.length > 0) await evaluate(remove);
  });
  return { target, accounts: made };
}
