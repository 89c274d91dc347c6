import { describe, expect, it } from 'vitest';
import {
  checkPasswordHash,
  type HashingAlgorithm,
  hashPassword,
  hashPasswordFast,
  type PasswordOwner,
  PasswordVerifier,
  SCRYPT,
  SHA256,
} from '../../src/auth/password.ts';
import { BrokerError } from '../../src/base/errors.ts';

async function owner(password: string, algorithm?: HashingAlgorithm, name = 'u'): Promise<PasswordOwner> {
  return { name, ...(await hashPassword(password, algorithm)) };
}

describe('passwords', () => {
  it('accepts a hash that RabbitMQ made', async () => {
    // The worked example of RabbitMQ's manual: salt 90 8D C6 0A, password test12.
    const user: PasswordOwner = {
      name: 'u',
      passwordHash: Buffer.from('kI3GCqW5JLMJa4iX1lo7X4D6XbYqlLgxIs30+P6tENUV2POR', 'base64'),
      hashingAlgorithm: SHA256,
    };
    const verifier = new PasswordVerifier();
    expect(await verifier.verifyPassword(user, 'test12')).toBe(true);
    expect(await verifier.verifyPassword(user, 'test13')).toBe(false);
  });

  it('lets the right password in and nothing else, whatever the format', async () => {
    const verifier = new PasswordVerifier();
    const formats: [HashingAlgorithm, number][] = [
      ['rabbit_password_hashing_sha256', 36],
      ['rabbit_password_hashing_sha512', 68],
      ['rabbit_password_hashing_md5', 20],
      [SCRYPT, 51],
    ];
    for (const [algorithm, byteLength] of formats) {
      const user = await owner('päss wörd', algorithm);
      expect(user.passwordHash?.length).toBe(byteLength);
      expect(await verifier.verifyPassword(user, 'päss wörd')).toBe(true);
      for (const wrong of ['päss wörd ', 'pass word', 'PÄSS WÖRD', '']) {
        expect(await verifier.verifyPassword(user, wrong)).toBe(false);
      }
    }
  });

  it('gives two users with the same password different hashes', async () => {
    const one = await hashPassword('same');
    const two = await hashPassword('same');
    expect(one.hashingAlgorithm).toBe(SCRYPT);
    expect(one.passwordHash.equals(two.passwordHash)).toBe(false);
    expect(hashPasswordFast('same').passwordHash.equals(hashPasswordFast('same').passwordHash)).toBe(false);
  });

  it('never lets in a user without a password, an unknown user, or an empty password', async () => {
    const verifier = new PasswordVerifier();
    const passwordless: PasswordOwner = { name: 'u', passwordHash: null, hashingAlgorithm: SHA256 };
    expect(await verifier.verifyPassword(passwordless, '')).toBe(false);
    expect(await verifier.verifyPassword(passwordless, 'x')).toBe(false);
    expect(await verifier.verifyPassword(null, 'x')).toBe(false);
    const empty: PasswordOwner = { name: 'u', ...hashPasswordFast('') };
    expect(await verifier.verifyPassword(empty, '')).toBe(false);
  });

  it('does the same work for an unknown user as for a wrong password', async () => {
    const verifier = new PasswordVerifier();
    const cases: [PasswordOwner | null, string][] = [
      [await owner('right'), 'wrong'],
      [await owner('right', SHA256), 'wrong'],
      [null, 'wrong'],
      [{ name: 'u', passwordHash: null, hashingAlgorithm: SHA256 }, 'wrong'],
    ];
    for (const [user, password] of cases) {
      const before = verifier.derivations;
      expect(await verifier.verifyPassword(user, password)).toBe(false);
      expect(verifier.derivations - before).toBe(1);
    }
  });

  it('serves five hundred connections with one slow check', async () => {
    const verifier = new PasswordVerifier();
    const user = await owner('secret');
    const together = await Promise.all(
      Array.from({ length: 250 }, () => verifier.verifyPassword(user, 'secret')),
    );
    expect(together.every((right) => right)).toBe(true);
    for (let i = 0; i < 250; i++) expect(await verifier.verifyPassword(user, 'secret')).toBe(true);
    expect(verifier.derivations).toBe(1);
  });

  it('knows at once only what needs no slow check: fast hashes, and passwords that were right before', async () => {
    const verifier = new PasswordVerifier();
    const user = await owner('secret');
    expect(verifier.isKnownRight(user, 'secret')).toBe(false);
    await verifier.verifyPassword(user, 'secret');
    expect(verifier.isKnownRight(user, 'secret')).toBe(true);
    expect(verifier.isKnownRight(user, 'wrong')).toBe(false);
    expect(verifier.isKnownRight({ ...user, name: 'other' }, 'secret')).toBe(false);
    const fast = await owner('secret', 'rabbit_password_hashing_sha256');
    expect(verifier.isKnownRight(fast, 'secret')).toBe(true);
    expect(verifier.isKnownRight(fast, 'wrong')).toBe(false);
    expect(verifier.isKnownRight(fast, '')).toBe(false);
    expect(verifier.isKnownRight(null, 'secret')).toBe(false);
    expect(verifier.derivations).toBe(1);
  });

  it('forgets the old password the moment it is changed', async () => {
    const verifier = new PasswordVerifier();
    const before = await owner('old');
    expect(await verifier.verifyPassword(before, 'old')).toBe(true);
    const after = await owner('new');
    expect(await verifier.verifyPassword(after, 'old')).toBe(false);
    expect(await verifier.verifyPassword(after, 'new')).toBe(true);
  });

  it('does not take one user for another with the same hash', async () => {
    const verifier = new PasswordVerifier();
    const one = await owner('secret', SCRYPT, 'one');
    const two: PasswordOwner = { ...one, name: 'two' };
    await verifier.verifyPassword(one, 'secret');
    await verifier.verifyPassword(two, 'secret');
    expect(verifier.derivations).toBe(2);
  });

  it('turns logins away when too many checks wait, and serves known ones meanwhile', async () => {
    const verifier = new PasswordVerifier(3);
    const user = await owner('secret');
    expect(await verifier.verifyPassword(user, 'secret')).toBe(true);
    const guess = (i: number) => verifier.verifyPassword({ ...user, name: `u${i}` }, 'guess');
    // Two are checked, three wait, the rest is turned away.
    const guesses = Array.from({ length: 8 }, (_, i) => guess(i));
    expect(await verifier.verifyPassword(user, 'secret')).toBe(true);
    const results = await Promise.allSettled(guesses);
    expect(results.map((r) => r.status)).toEqual([
      ...Array.from({ length: 5 }, () => 'fulfilled'),
      ...Array.from({ length: 3 }, () => 'rejected'),
    ]);
    for (const r of results) if (r.status === 'rejected') expect(r.reason).toBeInstanceOf(BrokerError);
    // And there is room again.
    expect(await guess(9)).toBe(false);
  });

  it('refuses hashes that are damaged or too costly to check', () => {
    const layouts: [HashingAlgorithm, Buffer][] = [
      [SHA256, Buffer.alloc(35)],
      ['rabbit_password_hashing_md5', Buffer.alloc(36)],
      [SCRYPT, Buffer.alloc(51)],
      [SCRYPT, Buffer.concat([Buffer.from([40, 8, 1]), Buffer.alloc(48)])],
      [SCRYPT, Buffer.concat([Buffer.from([14, 255, 255]), Buffer.alloc(48)])],
    ];
    for (const [hashingAlgorithm, passwordHash] of layouts) {
      expect(() => checkPasswordHash({ hashingAlgorithm, passwordHash })).toThrow(BrokerError);
    }
  });
});
