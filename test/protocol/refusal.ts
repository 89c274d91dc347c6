// What the tests of this room ask again and again.

import { DecodeError } from '../../src/protocol/errors.ts';

/** The DecodeError that `act` throws. Fails when it throws nothing or anything else. */
export function refusal(act: () => unknown): DecodeError {
  try {
    act();
  } catch (error) {
    if (error instanceof DecodeError) return error;
    throw error;
  }
  throw new Error('was not refused');
}

/** Runs `act`; a DecodeError with one of these codes is fine, any other error is not. */
export function mayRefuse(codes: readonly number[], act: () => unknown): void {
  try {
    act();
  } catch (error) {
    if (!(error instanceof DecodeError) || !codes.includes(error.code)) throw error;
  }
}
