// Password hashes: RabbitMQ's salted ones, so that its definitions can be imported and exported, and scrypt for users made here.
// Owns the formats and the time a check takes. Knows nothing of where users are kept.
//
// Invariants: hashes are compared in constant time; a check that fails takes as long for an unknown user as for a known one; a
// password is never kept, only an HMAC of it under a key that lives as long as this process; scrypt runs off the main thread, at
// most SCRYPT_RUNNING_MAX at a time, so that the disk's threads are not starved.

import { createHash, createHmac, randomBytes, scrypt, timingSafeEqual } from 'node:crypto';
import { BrokerError } from '../base/errors.ts';

/** The formats, by the names that stand in definitions. The first three are RabbitMQ's. */
export type HashingAlgorithm =
  | 'rabbit_password_hashing_sha256'
  | 'rabbit_password_hashing_sha512'
  | 'rabbit_password_hashing_md5'
  | 'leveret_password_hashing_scrypt';

/** What new users get: slow to guess. RabbitMQ cannot import it. */
export const SCRYPT = 'leveret_password_hashing_scrypt';
/** What RabbitMQ makes, and what an import without a name for it means. */
export const SHA256 = 'rabbit_password_hashing_sha256';

/** A password as it is kept. */
export interface PasswordHash {
  readonly passwordHash: Buffer;
  readonly hashingAlgorithm: HashingAlgorithm;
}

/** What a check needs of a user. Null as hash: this user cannot log in by password. */
export interface PasswordOwner {
  readonly name: string;
  readonly passwordHash: Buffer | null;
  readonly hashingAlgorithm: HashingAlgorithm;
}

/** Hash functions of RabbitMQ's formats: 4 bytes of salt, then HASH(salt ++ UTF-8 password). */
const SALTED: Readonly<Record<string, { readonly digest: string; readonly byteLength: number }>> = {
  rabbit_password_hashing_sha256: { digest: 'sha256', byteLength: 32 },
  rabbit_password_hashing_sha512: { digest: 'sha512', byteLength: 64 },
  rabbit_password_hashing_md5: { digest: 'md5', byteLength: 16 },
};
const RABBIT_SALT_BYTES = 4;

/** Layout of a scrypt hash: log2 of the cost, block size, parallelism (a byte each), salt, derived key. */
const SCRYPT_HEADER_BYTES = 3;
const SCRYPT_SALT_BYTES = 16;
const SCRYPT_KEY_BYTES = 32;
/** 2^14, 8, 1: 16 MiB and some 30 ms of one core. */
const SCRYPT_COST_LOG2 = 14;
const SCRYPT_BLOCK_SIZE = 8;
const SCRYPT_PARALLELISM = 1;
/** What an imported hash may ask for at most: 128 MiB. */
const SCRYPT_BYTES_MAX = 128 * 1024 * 1024;

/** Checks by scrypt that run at a time; libuv has four threads, and the store needs some. */
const SCRYPT_RUNNING_MAX = 2;
/** Checks that may wait unless told otherwise, some five seconds long; more are refused: whoever waits longer has gone. */
const SCRYPT_WAITING_MAX = 256;
/** Passwords remembered as right, in two halves of this many. */
const VERIFIED_MAX = 4_096;

/** True for the name of a known format. */
export function isHashingAlgorithm(name: string): name is HashingAlgorithm {
  return name === SCRYPT || Object.hasOwn(SALTED, name);
}

/** Hashes a password for a new user. RabbitMQ's formats are made at once, scrypt on another thread. */
export async function hashPassword(
  password: string,
  hashingAlgorithm: HashingAlgorithm = SCRYPT,
): Promise<PasswordHash> {
  if (hashingAlgorithm !== SCRYPT) return hashPasswordFast(password, hashingAlgorithm);
  const salt = randomBytes(SCRYPT_SALT_BYTES);
  const header = Buffer.from([SCRYPT_COST_LOG2, SCRYPT_BLOCK_SIZE, SCRYPT_PARALLELISM]);
  const key = await deriveKey(password, salt, SCRYPT_COST_LOG2, SCRYPT_BLOCK_SIZE, SCRYPT_PARALLELISM);
  return { passwordHash: Buffer.concat([header, salt, key]), hashingAlgorithm };
}

/** As `hashPassword`, at once and quickly: for RabbitMQ's formats, and for well-known passwords that need no protection. */
export function hashPasswordFast(
  password: string,
  hashingAlgorithm: Exclude<
    HashingAlgorithm,
    'leveret_password_hashing_scrypt'
  > = 'rabbit_password_hashing_sha256',
): PasswordHash {
  const salt = randomBytes(RABBIT_SALT_BYTES);
  return {
    passwordHash: Buffer.concat([salt, saltedDigest(password, salt, hashingAlgorithm)]),
    hashingAlgorithm,
  };
}

/**
 * Refuses a hash that no password could match because its layout is wrong, or that would cost too much to check.
 * @throws BrokerError precondition-failed
 */
export function checkPasswordHash(hash: PasswordHash): void {
  const bytes = hash.passwordHash;
  const salted = SALTED[hash.hashingAlgorithm];
  if (salted !== undefined) {
    if (bytes.length === RABBIT_SALT_BYTES + salted.byteLength) return;
  } else if (bytes.length === SCRYPT_HEADER_BYTES + SCRYPT_SALT_BYTES + SCRYPT_KEY_BYTES) {
    const [costLog2 = 0, blockSize = 0, parallelism = 0] = bytes;
    const cheapEnough = 128 * 2 ** costLog2 * blockSize * parallelism <= SCRYPT_BYTES_MAX;
    if (costLog2 >= 1 && blockSize >= 1 && parallelism >= 1 && cheapEnough) return;
  }
  throw new BrokerError('precondition-failed', `password hash is not one of ${hash.hashingAlgorithm}`);
}

/** Checks passwords. One per broker: it keeps what it has verified. */
export class PasswordVerifier {
  readonly #waitingMax: number;
  /** Key of the HMAC under which right passwords are remembered. */
  readonly #memoryKey = randomBytes(32);
  /** A hash that no password matches; whoever is unknown is measured against it. */
  readonly #decoy: Buffer = Buffer.concat([
    Buffer.from([SCRYPT_COST_LOG2, SCRYPT_BLOCK_SIZE, SCRYPT_PARALLELISM]),
    randomBytes(SCRYPT_SALT_BYTES + SCRYPT_KEY_BYTES),
  ]);
  /** Right passwords, as HMACs: those seen lately, and those before them. */
  #verified = new Set<string>();
  #verifiedBefore = new Set<string>();
  /** Checks by scrypt under way, so that a hundred connections with the same password cost one. */
  readonly #underWay = new Map<string, Promise<boolean>>();
  /** Checks by scrypt that run. */
  #running = 0;
  /** Checks by scrypt that wait for their turn. */
  readonly #waiting: (() => void)[] = [];
  /** Keys derived so far, for tests and metrics. */
  derivations = 0;

  /** @param waitingMax slow checks that may wait for their turn; more are refused */
  constructor(waitingMax: number = SCRYPT_WAITING_MAX) {
    this.#waitingMax = waitingMax;
  }

  /**
   * True when `password` is the user's. Pass null for a user that does not exist: the answer takes the same time.
   * An empty password is never right, as in RabbitMQ.
   * @throws BrokerError resource-error (as a rejection) when too many checks wait already
   */
  verifyPassword(user: PasswordOwner | null, password: string): Promise<boolean> {
    if (this.isKnownRight(user, password)) return RIGHT;
    const hash = user?.passwordHash ?? null;
    if (user === null || hash === null || password === '' || user.hashingAlgorithm !== SCRYPT)
      return this.#fail(user?.name ?? '', password);
    const memory = this.#memoryOf(user.name, hash, password);
    return this.#once(memory, hash, password).then((right) => {
      if (right) this.#remember(memory);
      return right;
    });
  }

  /**
   * True when `password` is the user's and no slow check is needed to know it. False says nothing: ask `verifyPassword`, which takes its
   * time to say no.
   */
  isKnownRight(user: PasswordOwner | null, password: string): boolean {
    const hash = user?.passwordHash ?? null;
    if (user === null || hash === null || password === '') return false;
    if (user.hashingAlgorithm !== SCRYPT) return matchesSalted(hash, user.hashingAlgorithm, password);
    return this.#recall(this.#memoryOf(user.name, hash, password));
  }

  /** Takes the time of a slow check and says no. */
  async #fail(name: string, password: string): Promise<boolean> {
    await this.#once(this.#memoryOf(name, this.#decoy, password), this.#decoy, password);
    return false;
  }

  /** The hash is part of it, so that a changed password is forgotten by itself. */
  #memoryOf(name: string, hash: Buffer, password: string): string {
    const hmac = createHmac('sha256', this.#memoryKey);
    hmac
      .update(`${Buffer.byteLength(name)}:${name}${hash.length}:`)
      .update(hash)
      .update(password);
    return hmac.digest('base64');
  }

  #recall(memory: string): boolean {
    if (this.#verified.has(memory)) return true;
    if (!this.#verifiedBefore.has(memory)) return false;
    this.#remember(memory);
    return true;
  }

  #remember(memory: string): void {
    if (this.#verified.size >= VERIFIED_MAX) {
      this.#verifiedBefore = this.#verified;
      this.#verified = new Set();
    }
    this.#verified.add(memory);
  }

  #once(memory: string, hash: Buffer, password: string): Promise<boolean> {
    const underWay = this.#underWay.get(memory);
    if (underWay !== undefined) return underWay;
    if (this.#waiting.length >= this.#waitingMax) {
      return Promise.reject(new BrokerError('resource-error', 'too many password checks are waiting'));
    }
    const check = this.#matchesScrypt(hash, password).finally(() => this.#underWay.delete(memory));
    this.#underWay.set(memory, check);
    return check;
  }

  async #matchesScrypt(hash: Buffer, password: string): Promise<boolean> {
    if (this.#running >= SCRYPT_RUNNING_MAX) {
      // Whoever finishes hands its place over, so `#running` stays as it is.
      await new Promise<void>((resolve) => this.#waiting.push(resolve));
    } else {
      this.#running += 1;
    }
    try {
      this.derivations += 1;
      const [costLog2 = 0, blockSize = 0, parallelism = 0] = hash;
      const salt = hash.subarray(SCRYPT_HEADER_BYTES, SCRYPT_HEADER_BYTES + SCRYPT_SALT_BYTES);
      const wanted = hash.subarray(SCRYPT_HEADER_BYTES + SCRYPT_SALT_BYTES);
      const key = await deriveKey(password, salt, costLog2, blockSize, parallelism);
      return key.length === wanted.length && timingSafeEqual(key, wanted);
    } finally {
      const next = this.#waiting.shift();
      if (next === undefined) this.#running -= 1;
      else next();
    }
  }
}

const RIGHT = Promise.resolve(true);

function saltedDigest(password: string, salt: Buffer, algorithm: HashingAlgorithm): Buffer {
  return createHash(SALTED[algorithm]!.digest).update(salt).update(password, 'utf8').digest();
}

function matchesSalted(hash: Buffer, algorithm: HashingAlgorithm, password: string): boolean {
  const digest = saltedDigest(password, hash.subarray(0, RABBIT_SALT_BYTES), algorithm);
  const wanted = hash.subarray(RABBIT_SALT_BYTES);
  return digest.length === wanted.length && timingSafeEqual(digest, wanted);
}

function deriveKey(
  password: string,
  salt: Buffer,
  costLog2: number,
  blockSize: number,
  parallelism: number,
): Promise<Buffer> {
  const options = { N: 2 ** costLog2, r: blockSize, p: parallelism, maxmem: 2 * SCRYPT_BYTES_MAX };
  return new Promise((resolve, reject) => {
    scrypt(password, salt, SCRYPT_KEY_BYTES, options, (error, key) => {
      if (error === null) resolve(key);
      else reject(error);
    });
  });
}
