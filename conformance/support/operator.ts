// What an operator does to a broker beside AMQP: policies, parameters and limits, in a vhost of the test file's own.
// Our own broker is asked through its object, a RabbitMQ on this machine through rabbitmqctl; elsewhere the tests are skipped.
// Must not leave anything behind: limits end with their test, all else goes with the vhost. So a test's policies must match nothing but what is
// the test's own.
import { execFile } from 'node:child_process';
import { onTestFinished } from 'vitest';
import type { Json } from '../../src/index.ts';
import { type Account, useAccounts } from './accounts.ts';
import { Scene, uniqueName } from './scene.ts';
import type { BrokerSettings, Target } from './target.ts';

const NODE_NAME = process.env['CONFORMANCE_RABBITMQ_NODE'] ?? 'rabbit@localhost';

/** A policy, or an operator policy. */
export interface PolicyGiven {
  readonly name?: string;
  readonly pattern: string;
  readonly definition: Json;
  readonly applyTo?: string;
  readonly priority?: number;
  readonly operator?: boolean;
}

/** Runs rabbitmqctl. Rejects with what it said, without what stands around every error. */
function control(...args: readonly string[]): Promise<string> {
  return new Promise((resolve, reject) => {
    execFile('rabbitmqctl', ['-n', NODE_NAME, '-q', ...args], (error, stdout, stderr) => {
      if (error === null) resolve(stdout);
      else reject(new Error(refusalIn(stderr || stdout || error.message)));
    });
  });
}

function refusalIn(text: string): string {
  return text
    .replace(/^Error:\s*/, '')
    .replace(/^Validation failed\s*/, '')
    .trim();
}

/** The operator of one vhost. */
export class Operator {
  readonly vhost: string;
  /** A user who may do everything in the vhost, and nothing elsewhere. */
  readonly user: string;
  private readonly target: Target;
  private readonly account: Account;
  private readonly need: () => void;

  constructor(target: Target, vhost: string, account: Account, need: () => void) {
    this.target = target;
    this.vhost = vhost;
    this.account = account;
    this.user = account.name;
    this.need = need;
  }

  /** The broker's address with the user and the vhost. */
  get url(): string {
    this.need();
    const url = new URL(this.target.url);
    url.username = encodeURIComponent(this.account.name);
    url.password = encodeURIComponent(this.account.password);
    url.pathname = `/${encodeURIComponent(this.vhost)}`;
    return url.href;
  }

  /** Opens a scene in the vhost for the running test. */
  scene(): Promise<Scene> {
    return Scene.open(Object.assign(Object.create(this.target) as Target, { url: this.url }));
  }

  /** Sets a policy. @returns its name */
  async setPolicy(policy: PolicyGiven): Promise<string> {
    this.need();
    const { name = uniqueName('policy'), pattern, definition, applyTo, priority, operator = false } = policy;
    const { broker } = this.target;
    if (broker !== null) {
      const optional = {
        ...(applyTo === undefined ? {} : { 'apply-to': applyTo }),
        ...(priority === undefined ? {} : { priority }),
      };
      const given = { vhost: this.vhost, name, pattern, definition, ...optional };
      // What is wrong with it is for the broker to say.
      await broker.setPolicy(
        given as unknown as Parameters<typeof broker.setPolicy>[0],
        operator ? 'operator_policy' : 'policy',
      );
    } else {
      await control(
        operator ? 'set_operator_policy' : 'set_policy',
        ...['-p', this.vhost],
        ...(applyTo === undefined ? [] : ['--apply-to', applyTo]),
        ...(priority === undefined ? [] : ['--priority', String(priority)]),
        ...[name, pattern, JSON.stringify(definition)],
      );
    }
    return name;
  }

  async deletePolicy(name: string, operator = false): Promise<void> {
    const { broker } = this.target;
    if (broker !== null) await broker.deletePolicy(this.vhost, name, operator ? 'operator_policy' : 'policy');
    else await control(operator ? 'clear_operator_policy' : 'clear_policy', '-p', this.vhost, name);
  }

  async setParameter(component: string, name: string, value: Json): Promise<void> {
    this.need();
    const { broker } = this.target;
    if (broker !== null) await broker.setParameter(this.vhost, component, name, value);
    else await control('set_parameter', '-p', this.vhost, component, name, JSON.stringify(value));
  }

  async clearParameter(component: string, name: string): Promise<void> {
    this.need();
    const { broker } = this.target;
    if (broker !== null) await broker.clearParameter(this.vhost, component, name);
    else await control('clear_parameter', '-p', this.vhost, component, name);
  }

  async setGlobalParameter(name: string, value: Json): Promise<void> {
    this.need();
    const { broker } = this.target;
    if (broker !== null) await broker.setGlobalParameter(name, value);
    else await control('set_global_parameter', name, JSON.stringify(value));
  }

  async clearGlobalParameter(name: string): Promise<void> {
    this.need();
    const { broker } = this.target;
    if (broker !== null) await broker.clearGlobalParameter(name);
    else await control('clear_global_parameter', name);
  }

  /** Parameters of the vhost as `component name value`. */
  async parameters(): Promise<string[]> {
    this.need();
    const { broker } = this.target;
    if (broker !== null)
      return broker
        .parameters(this.vhost)
        .map(({ component, name, value }) => `${component} ${name} ${JSON.stringify(value)}`);
    const lines = (await control('list_parameters', '-p', this.vhost, '--no-table-headers')).trim();
    return lines === '' ? [] : lines.split('\n').map((line) => line.replaceAll('\t', ' '));
  }

  /** Sets the limits of the vhost until the test ends. */
  async setVhostLimits(limits: Readonly<Record<string, Json>>): Promise<void> {
    this.need();
    const { broker } = this.target;
    if (broker !== null) await broker.setVhostLimits(this.vhost, limits as Readonly<Record<string, number>>);
    else await control('set_vhost_limits', '-p', this.vhost, JSON.stringify(limits));
    // They may have been lifted already.
    onTestFinished(() => this.liftVhostLimits().catch(() => {}));
  }

  async liftVhostLimits(): Promise<void> {
    const { broker } = this.target;
    if (broker !== null) await broker.setVhostLimits(this.vhost, {});
    else await control('clear_vhost_limits', '-p', this.vhost);
  }

  /** Sets limits of the user until the test ends. */
  async setUserLimits(limits: Readonly<Record<string, Json>>, user: string = this.user): Promise<void> {
    this.need();
    const { broker } = this.target;
    if (broker !== null) await broker.setUserLimits(user, limits as Readonly<Record<string, number>>);
    else await control('set_user_limits', user, JSON.stringify(limits));
    onTestFinished(async () => {
      const none = { 'max-connections': -1, 'max-channels': -1 };
      if (broker !== null) await broker.setUserLimits(this.user, none);
      else await control('set_user_limits', this.user, JSON.stringify(none));
    });
  }

  /** Runs what must be refused. @returns the words of the refusal, on one line */
  async refusal(act: () => Promise<unknown>): Promise<string> {
    this.need();
    try {
      await act();
    } catch (error) {
      const text = refusalIn((error as Error).message);
      // RabbitMQ breaks long terms over lines.
      return text.replace(/,\n\s+/g, ',');
    }
    return 'accepted';
  }
}

/** Like `useTarget`, with a vhost and a user that an operator looks after. Call once, at the top of the file. */
export function useOperator(settings: BrokerSettings = {}): Operator {
  const vhost = uniqueName('vhost');
  const permissions = [{ vhost, configure: '.*', write: '.*', read: '.*' }];
  const account: Account = { name: uniqueName('user'), password: 'secret', permissions };
  const { target, accounts } = useAccounts([account], [vhost], settings);
  return new Operator(target, vhost, account, () => accounts.need());
}
