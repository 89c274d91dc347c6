import { describe, expect, it } from 'vitest';
import {
  importUsers,
  permissionsFromDefinition,
  readTags,
  topicPermissionsFromDefinition,
  userFromDefinition,
  userFromImport,
  usersToDefinition,
  userToDefinition,
} from '../../src/auth/definitions.ts';
import { PasswordVerifier, SCRYPT, SHA256 } from '../../src/auth/password.ts';
import { Users } from '../../src/auth/users.ts';
import { BrokerError } from '../../src/base/errors.ts';
import { usersNamed } from './support.ts';

/** As RabbitMQ exports it. */
const EXPORTED = {
  users: [
    {
      name: 'test',
      password_hash: 'kI3GCqW5JLMJa4iX1lo7X4D6XbYqlLgxIs30+P6tENUV2POR',
      hashing_algorithm: 'rabbit_password_hashing_sha256',
      tags: ['administrator'],
      limits: {},
    },
  ],
  permissions: [{ user: 'test', vhost: '/', configure: '.*', write: '.*', read: '^a' }],
  topic_permissions: [{ user: 'test', vhost: '/', exchange: 'amq.topic', write: '^{username}', read: '.*' }],
};

describe('definitions of users', () => {
  it('are imported from RabbitMQ and exported unchanged', async () => {
    const users = new Users();
    await importUsers(users, EXPORTED);
    expect(usersToDefinition(users)).toEqual(EXPORTED);
    expect(JSON.parse(JSON.stringify(usersToDefinition(users)))).toEqual(EXPORTED);
    expect(await new PasswordVerifier().verifyPassword(users.get('test'), 'test12')).toBe(true);
  });

  it('survive a restart: what is written is read back the same', () => {
    const users = usersNamed('u');
    const again = userFromDefinition(JSON.parse(JSON.stringify(userToDefinition(users.get('u')!))));
    expect(again).toEqual(users.get('u'));
  });

  it('may bring a password in clear text, which is then hashed', async () => {
    const verifier = new PasswordVerifier();
    const modern = await userFromImport({ name: 'u', password: 'secret', tags: '' });
    expect(modern.hashingAlgorithm).toBe(SCRYPT);
    expect(await verifier.verifyPassword(modern, 'secret')).toBe(true);
    const portable = await userFromImport({ name: 'u', password: 'secret' }, SHA256);
    expect(portable.hashingAlgorithm).toBe(SHA256);
    expect(JSON.stringify(userToDefinition(portable))).not.toContain('secret');
    await expect(userFromImport({ name: 'u', password: 'a', password_hash: 'YQ==' })).rejects.toThrow(
      'not both',
    );
    await expect(userFromImport({ name: 'u', password: 7 })).rejects.toThrow(BrokerError);
  });

  it('may leave things out, or write them as older versions did', () => {
    const bare = userFromDefinition({ name: 'u' });
    expect(bare).toEqual({ name: 'u', passwordHash: null, hashingAlgorithm: SHA256, tags: [], limits: {} });
    expect(userFromDefinition({ name: 'u', password_hash: '', limits: [], tags: 'a, b,,a' }).tags).toEqual([
      'a',
      'b',
    ]);
    expect(userFromDefinition({ name: 'u', limits: { 'max-connections': 5 } }).limits).toEqual({
      'max-connections': 5,
    });
    expect(readTags('')).toEqual([]);
  });

  it('are refused with a text that says what is wrong', async () => {
    const bad: [unknown, string][] = [
      [null, 'user is not an object'],
      [[], 'user is not an object'],
      [{}, 'user: name is missing or not a string'],
      [{ name: 'u', hashing_algorithm: 'rot13' }, "user 'u': unknown hashing_algorithm 'rot13'"],
      [{ name: 'u', hashing_algorithm: 'constructor' }, 'unknown hashing_algorithm'],
      [{ name: 'u', password_hash: '***' }, "user 'u': password_hash is not base64"],
      [{ name: 'u', password_hash: 5 }, "user 'u': password_hash is not base64"],
      [{ name: 'u', tags: [1] }, 'tags must be'],
      [{ name: 'u', tags: 1 }, 'tags must be'],
      [{ name: 'u', limits: { 'max-channels': 'many' } }, "user 'u': limit max-channels is not an integer"],
    ];
    for (const [plain, text] of bad) expect(() => userFromDefinition(plain)).toThrow(text);
    expect(() => permissionsFromDefinition({ user: 'u', vhost: '/', configure: '' })).toThrow(
      'write is missing',
    );
    expect(() => topicPermissionsFromDefinition({ user: 'u', vhost: '/' })).toThrow('exchange is missing');
    await expect(importUsers(new Users(), { users: {} })).rejects.toThrow('users is not a list');
  });

  it('overwrite what has the same name, leave the rest, and stop at the first error', async () => {
    const users = usersNamed('test', 'other');
    users.setPermissions('other', '/', { configure: 'a', write: 'b', read: 'c' });
    await importUsers(users, EXPORTED);
    expect(users.get('test')?.tags).toEqual(['administrator']);
    expect(users.permissions('other', '/')?.write).toBe('b');
    const broken = { permissions: [{ user: 'nobody', vhost: '/', configure: '', write: '', read: '' }] };
    await expect(importUsers(users, broken)).rejects.toThrow("no user 'nobody'");
    await importUsers(users, {});
    expect(users.size).toBe(2);
  });
});
