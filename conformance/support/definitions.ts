// Definitions files of the broker under test: imported, exported, and what they made deleted again.
// Our own broker takes them through the embedding API, a RabbitMQ on this machine through rabbitmqctl; elsewhere the tests are skipped.
// Must touch nothing but vhosts and users whose names the test made.
import { afterEach, TestRunner } from 'vitest';
import { binary, evaluate } from './accounts.ts';
import type { Target } from './target.ts';

type Row = Record<string, unknown>;

/** The definitions of the broker under test. One per test file. */
export class TargetDefinitions {
  private readonly target: Target;
  private readonly vhosts = new Set<string>();
  private readonly users = new Set<string>();
  private readonly globals = new Set<string>();

  constructor(target: Target) {
    this.target = target;
  }

  /** A vhost of the running test, made by an import, in which everybody that matters may do everything. */
  async vhost(hint: string, rest: Row = {}): Promise<string> {
    this.need();
    const name = this.target.name(hint);
    this.vhosts.add(name);
    const user = decodeURIComponent(new URL(this.target.url).username);
    const everything = { configure: '.*', write: '.*', read: '.*' };
    await this.take({ vhosts: [{ name, ...rest }], permissions: [{ user, vhost: name, ...everything }] });
    return name;
  }

  /** A name for a user that an import makes; the user is deleted after the test. */
  user(hint: string): string {
    this.need();
    const name = this.target.name(hint);
    this.users.add(name);
    return name;
  }

  /** A name for a global parameter that an import sets; it is cleared after the test. */
  globalParameter(hint: string): string {
    this.need();
    const name = this.target.name(hint);
    this.globals.add(name);
    return name;
  }

  /** AMQP URL of the vhost. */
  url(vhost: string, user: string | null = null, password = ''): string {
    const url = new URL(this.target.url);
    url.pathname = `/${encodeURIComponent(vhost)}`;
    if (user !== null) {
      url.username = encodeURIComponent(user);
      url.password = encodeURIComponent(password);
    }
    return url.href;
  }

  /** Imports a file that is right. */
  async take(file: unknown, vhost: string | null = null): Promise<void> {
    const refusal = await this.refusal(file, vhost);
    if (refusal !== null) throw new Error(`the definitions are refused: ${refusal}`);
  }

  /** What an import is refused with, for RabbitMQ as its log has it; null when it is not. */
  async refusal(file: unknown, vhost: string | null = null): Promise<string | null> {
    const { broker } = this.target;
    const text = typeof file === 'string' ? file : JSON.stringify(file);
    if (broker !== null) {
      return broker.importDefinitions(text, vhost).then(
        () => null,
        (error: Error) => error.message,
      );
    }
    const into = vhost === null ? '' : `, ${binary(vhost)}`;
    const answer = await evaluate([`catch rabbit_definitions:import_raw(${binary(text)}${into})`]);
    return answer.trim() === 'ok' ? null : answer.replace(/\\"/g, '"').replace(/\s+/g, ' ');
  }

  /** An export of everything. */
  async exportedWhole(): Promise<Row> {
    const { broker } = this.target;
    if (broker !== null) return JSON.parse(JSON.stringify(broker.exportDefinitions())) as Row;
    const answer = await evaluate([
      'base64:encode(rabbit_json:encode(rabbit_definitions:all_definitions()))',
    ]);
    return JSON.parse(Buffer.from(answer.replace(/[^A-Za-z0-9+/=]/g, ''), 'base64').toString()) as Row;
  }

  /** A user as an export has it. */
  async exportedUser(name: string): Promise<Row | undefined> {
    const { users } = await this.exportedWhole();
    return (users as Row[]).find((row) => row['name'] === name);
  }

  /** The lists of an export, each with the rows of one vhost. */
  async exported(vhost: string): Promise<Record<string, Row[]>> {
    const { broker } = this.target;
    let text: string;
    if (broker !== null) text = JSON.stringify(broker.exportDefinitions());
    else {
      const ours = `maps:get(<<"vhost">>, X, maps:get(<<"name">>, X, none)) =:= ${binary(vhost)}`;
      const answer = await evaluate([
        `base64:encode(rabbit_json:encode(maps:map(fun(_, L) when is_list(L) -> [X || X <- L, ${ours}]; (_, Y) -> Y end, rabbit_definitions:all_definitions())))`,
      ]);
      text = Buffer.from(answer.replace(/[^A-Za-z0-9+/=]/g, ''), 'base64').toString();
    }
    const lists: Record<string, Row[]> = {};
    for (const [key, rows] of Object.entries(JSON.parse(text) as Row)) {
      if (Array.isArray(rows))
        lists[key] = rows.filter((row: Row) => (row['vhost'] ?? row['name']) === vhost);
    }
    return lists;
  }

  /** Deletes a vhost that the test made. */
  async deleteVhost(name: string): Promise<void> {
    this.vhosts.delete(name);
    const { broker } = this.target;
    if (broker === null) await evaluate([`rabbit_vhost:delete(${binary(name)}, ${binary('conformance')})`]);
    else await broker.deleteVhost(name);
  }

  /** Deletes a user that the test made. */
  async deleteUser(name: string): Promise<void> {
    this.users.delete(name);
    const { broker } = this.target;
    if (broker !== null) await broker.deleteUser(name);
    else
      await evaluate([`rabbit_auth_backend_internal:delete_user(${binary(name)}, ${binary('conformance')})`]);
  }

  /** Deletes what the test made and did not delete. */
  async clean(): Promise<void> {
    for (const name of this.vhosts) await this.deleteVhost(name).catch(() => {});
    for (const name of this.users) await this.deleteUser(name).catch(() => {});
    const { broker } = this.target;
    for (const name of this.globals) {
      this.globals.delete(name);
      if (broker !== null) await broker.clearGlobalParameter(name);
      else
        await evaluate([
          `rabbit_runtime_parameters:clear_global(list_to_atom(binary_to_list(${binary(name)})), ${binary('conformance')})`,
        ]);
    }
  }

  /** Skips the running test where definitions cannot be reached. */
  private need(): void {
    const { target } = this;
    if (target.broker !== null) return;
    const isLocal = ['127.0.0.1', 'localhost', '[::1]'].includes(new URL(target.url).hostname);
    if (target.isRabbitMQ && isLocal) return;
    TestRunner.getCurrentTest()?.context.skip(
      'definitions can be imported only into our own broker or a RabbitMQ on this machine',
    );
  }
}

/** The definitions of the target; what tests make is deleted after each. Call once, at the top of the file. */
export function useDefinitions(target: Target): TargetDefinitions {
  const definitions = new TargetDefinitions(target);
  afterEach(() => definitions.clean());
  return definitions;
}
