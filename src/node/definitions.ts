// Topology and users as stored records. The only writer of definitions.
// Owns their keys and their JSON form: one small record each, under kind and name; argument tables keep their wire types as base64.

import type { Json } from '../base/terms.ts';
import type { Parameter } from '../policy/parameters.ts';
import { decodeTable, encodeTable, type FieldTable } from '../protocol/field-table.ts';
import type { QueueDeclaration } from '../queue/declaration.ts';
import type { Shard, Ticket } from '../store/store.ts';
import { type BindingRecord, Exchange, type ExchangeDeclaration } from './exchange.ts';
import type { VHostMetadata } from './vhost-metadata.ts';

/** Every stored record, by the kind that opens its key. */
export type StoredDefinition =
  | {
      kind: 'vhost';
      name: string;
      description: string;
      tags: readonly string[];
      /** Absent for classic. */
      defaultQueueType?: string;
      /** Absent for a vhost that may be deleted. */
      protectedFromDeletion?: boolean;
    }
  | {
      kind: 'exchange';
      vhost: string;
      name: string;
      type: string;
      autoDelete: boolean;
      internal: boolean;
      arguments: string;
      /** Numbers of its content in the store, by line; absent when there is none. */
      lines?: Record<string, number>;
    }
  | {
      kind: 'queue';
      vhost: string;
      name: string;
      number: number;
      autoDelete: boolean;
      arguments: string;
      /** Numbers of further content in the store, by line; absent when there is none. */
      lines?: Record<string, number>;
      /** Somebody has stopped its deliveries; absent when not. */
      paused?: true;
    }
  | {
      kind: 'binding';
      vhost: string;
      source: string;
      destinationKind: 'queue' | 'exchange';
      destination: string;
      routingKey: string;
      arguments: string;
      /** Place among the bindings of its source; absent in stores that were written before there was one. */
      order?: number;
    }
  | { kind: 'users'; definition: unknown }
  | { kind: 'parameter'; vhost: string; component: string; name: string; value: Json }
  | { kind: 'global-parameter'; name: string; value: Json };

/** Writes definitions into the open batch of the store. */
export class Definitions {
  private readonly shard: Shard;
  private readonly written: () => void;
  /** While recovery repeats what is stored already. */
  muted = false;
  /** Batch of the last definition written. */
  lastTicket: Ticket = 0;

  /** @param written called after each write: whoever it is sees to it that a commit follows */
  constructor(shard: Shard, written: () => void) {
    this.shard = shard;
    this.written = written;
  }

  saveVHost(name: string, metadata: VHostMetadata): void {
    const { description, tags, defaultQueueType, protectedFromDeletion } = metadata;
    this.write(['vhost', name], {
      kind: 'vhost',
      name,
      description,
      tags,
      ...(defaultQueueType === null ? {} : { defaultQueueType }),
      ...(protectedFromDeletion ? { protectedFromDeletion } : {}),
    });
  }

  deleteVHost(name: string): void {
    this.write(['vhost', name], null);
  }

  saveExchange(vhost: string, e: ExchangeDeclaration, lines: ReadonlyMap<number, number>): void {
    const { name, type, autoDelete, internal } = e;
    this.write(['exchange', vhost, name], {
      kind: 'exchange',
      vhost,
      name,
      type,
      autoDelete,
      internal,
      arguments: tableText(e.arguments),
      ...(lines.size === 0 ? {} : { lines: Object.fromEntries(lines) }),
    });
  }

  deleteExchange(vhost: string, name: string): void {
    this.write(['exchange', vhost, name], null);
  }

  saveQueue(
    vhost: string,
    q: QueueDeclaration,
    number: number,
    lines: ReadonlyMap<number, number>,
    paused: boolean,
  ): void {
    const { name, autoDelete } = q;
    this.write(['queue', vhost, name], {
      kind: 'queue',
      vhost,
      name,
      number,
      autoDelete,
      arguments: tableText(q.arguments),
      ...(lines.size === 0 ? {} : { lines: Object.fromEntries(lines) }),
      ...(paused ? { paused: true as const } : {}),
    });
  }

  deleteQueue(vhost: string, name: string): void {
    this.write(['queue', vhost, name], null);
  }

  saveBinding(vhost: string, b: BindingRecord): void {
    this.write(bindingKey(vhost, b), {
      kind: 'binding',
      vhost,
      source: b.source.name,
      destinationKind: b.destination instanceof Exchange ? 'exchange' : 'queue',
      destination: b.destination.name,
      routingKey: b.routingKey,
      arguments: tableText(b.arguments),
      order: b.order,
    });
  }

  deleteBinding(vhost: string, b: BindingRecord): void {
    this.write(bindingKey(vhost, b), null);
  }

  /** All users and permissions in one record: they are few, and change rarely. */
  saveUsers(definition: unknown): void {
    this.write(['users'], { kind: 'users', definition });
  }

  /** Policies and limits of vhosts among them. */
  saveParameter({ vhost, component, name, value }: Parameter): void {
    this.write(['parameter', vhost, component, name], { kind: 'parameter', vhost, component, name, value });
  }

  deleteParameter(vhost: string, component: string, name: string): void {
    this.write(['parameter', vhost, component, name], null);
  }

  saveGlobalParameter(name: string, value: Json): void {
    this.write(['global-parameter', name], { kind: 'global-parameter', name, value });
  }

  deleteGlobalParameter(name: string): void {
    this.write(['global-parameter', name], null);
  }

  private write(key: readonly string[], record: StoredDefinition | null): void {
    if (this.muted) return;
    this.lastTicket = this.shard.define(
      JSON.stringify(key),
      record === null ? null : Buffer.from(JSON.stringify(record)),
    );
    this.written();
  }
}

/** @throws SyntaxError when the record is not JSON */
export function readDefinition(value: Buffer): StoredDefinition {
  return JSON.parse(value.toString()) as StoredDefinition;
}

/** Argument tables keep their wire types: a redeclare compares them, and a queue imported as `long` stays `long`. */
export function tableFromText(text: string): FieldTable {
  const bytes = Buffer.from(text, 'base64');
  return decodeTable(bytes, 0, bytes.length);
}

function tableText(table: FieldTable): string {
  return encodeTable(table).toString('base64');
}

function bindingKey(vhost: string, b: BindingRecord): string[] {
  return ['binding', vhost, b.source.name, b.id];
}
