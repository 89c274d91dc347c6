import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  DEFAULT_SASL,
  offeredMechanisms,
  SASL_MECHANISMS,
  type SaslStep,
  startSasl,
} from '../../src/auth/sasl.ts';
import { encodeTable } from '../../src/protocol/field-table.ts';
import { tableOf } from '../../src/protocol/field-values.ts';

const ALL = { mechanisms: SASL_MECHANISMS, anonymousUser: 'guest' };

function respond(mechanism: string, ...responses: (string | Buffer)[]): SaslStep | null {
  const session = startSasl(mechanism, ALL);
  if (session === null) return null;
  let step: SaslStep | null = null;
  for (const response of responses) step = session.respond(Buffer.from(response));
  return step;
}

const amqplain = (fields: Record<string, unknown>): Buffer => encodeTable(tableOf(fields)).subarray(4);

describe('SASL', () => {
  it('offers PLAIN and AMQPLAIN unless told otherwise', () => {
    expect(offeredMechanisms(DEFAULT_SASL)).toBe('PLAIN AMQPLAIN');
    expect(offeredMechanisms(ALL)).toBe('PLAIN AMQPLAIN ANONYMOUS RABBIT-CR-DEMO');
    expect(offeredMechanisms({ ...ALL, anonymousUser: null })).toBe('PLAIN AMQPLAIN RABBIT-CR-DEMO');
    for (const mechanism of ['ANONYMOUS', 'RABBIT-CR-DEMO', 'EXTERNAL', 'plain', '']) {
      expect(startSasl(mechanism, DEFAULT_SASL)).toBeNull();
    }
    expect(startSasl('ANONYMOUS', { ...ALL, anonymousUser: null })).toBeNull();
    expect(respond('EXTERNAL', '')).toBeNull();
  });

  it('takes PLAIN apart', () => {
    const credentials = (user: string, password: string) => ({ kind: 'credentials', user, password });
    expect(respond('PLAIN', '\0guest\0guest')).toEqual(credentials('guest', 'guest'));
    expect(respond('PLAIN', '\0müller\0päss:wörd')).toEqual(credentials('müller', 'päss:wörd'));
    expect(respond('PLAIN', '\0u\0')).toEqual(credentials('u', ''));
    expect(respond('PLAIN', '\0\0')).toEqual(credentials('', ''));
  });

  it('refuses PLAIN in any other form, and never repeats what it was sent', () => {
    for (const response of [
      '',
      '\0',
      '\0secret',
      'secret\0secret',
      'a\0secret\0secret',
      '\0secret\0se\0cret',
      'secret',
    ]) {
      const step = respond('PLAIN', response);
      expect(step?.kind).toBe('malformed');
      expect(JSON.stringify(step)).not.toContain('secret');
    }
  });

  it('takes AMQPLAIN apart', () => {
    const wanted = { kind: 'credentials', user: 'guest', password: 'pw' };
    expect(respond('AMQPLAIN', amqplain({ LOGIN: 'guest', PASSWORD: 'pw' }))).toEqual(wanted);
    expect(respond('AMQPLAIN', amqplain({ PASSWORD: Buffer.from('pw'), other: 1, LOGIN: 'guest' }))).toEqual(
      wanted,
    );
  });

  it('refuses AMQPLAIN in any other form', () => {
    const whole = amqplain({ LOGIN: 'guest', PASSWORD: 'secret' });
    const bad = [
      amqplain({ LOGIN: 'guest' }),
      amqplain({ PASSWORD: 'secret' }),
      amqplain({ LOGIN: 'guest', PASSWORD: 1 }),
      amqplain({ login: 'guest', password: 'secret' }),
      whole.subarray(0, whole.length - 1),
      Buffer.concat([whole, Buffer.from([1])]),
      encodeTable(tableOf({ LOGIN: 'guest', PASSWORD: 'secret' })),
      Buffer.alloc(0),
    ];
    for (const response of bad) {
      const step = respond('AMQPLAIN', response);
      expect(step?.kind).toBe('malformed');
      expect(JSON.stringify(step)).not.toContain('secret');
    }
  });

  it('logs an anonymous client in as the configured user, whatever it sends', () => {
    expect(respond('ANONYMOUS', 'whoever')).toEqual({ kind: 'user', user: 'guest' });
    expect(respond('ANONYMOUS', '')).toEqual({ kind: 'user', user: 'guest' });
  });

  it('asks for the password in the demonstration of a challenge', () => {
    expect(respond('RABBIT-CR-DEMO', 'guest')).toEqual({
      kind: 'challenge',
      challenge: Buffer.from('Please tell me your password'),
    });
    expect(respond('RABBIT-CR-DEMO', 'guest', 'My password is secret')).toEqual({
      kind: 'credentials',
      user: 'guest',
      password: 'secret',
    });
    expect(respond('RABBIT-CR-DEMO', 'guest', 'secret')?.kind).toBe('malformed');
  });

  it('survives any bytes', () => {
    fc.assert(
      fc.property(
        fc.constantFrom(...SASL_MECHANISMS),
        fc.array(fc.uint8Array({ maxLength: 64 }), { maxLength: 3 }),
        (mechanism, responses) => {
          const session = startSasl(mechanism, ALL);
          for (const response of responses)
            expect(session?.respond(Buffer.from(response)).kind).toBeTypeOf('string');
        },
      ),
      { numRuns: 2_000 },
    );
  });
});
