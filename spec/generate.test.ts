// The table is sound, and the generated files are what it says.

import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import {
  FRAME_ERROR,
  isHardError,
  METHODS,
  NO_ROUTE,
  NOT_FOUND,
  REPLY_SUCCESS,
  replyName,
} from '../src/protocol/constants.ts';
import { PROTOCOL, SENT_BY_BOTH } from './extensions.ts';
import { staleFiles } from './generate.ts';
import { upper } from './text.ts';

const methods = PROTOCOL.classes.flatMap((owner) =>
  owner.methods.map((method) => ({ ...method, name: `${owner.name}.${method.name}` })),
);

describe('generated files', () => {
  it('are what the table says; otherwise run npm run generate', () => {
    expect(staleFiles(fileURLToPath(new URL('..', import.meta.url)))).toEqual([]);
  });

  it('name every reply code and know which ones close the connection', () => {
    for (const { code, name, kind } of PROTOCOL.replyCodes) {
      expect(replyName(code)).toBe(upper(name));
      expect(isHardError(code)).toBe(kind === 'hard');
    }
    expect([replyName(NOT_FOUND), replyName(599), isHardError(599)]).toEqual(['NOT_FOUND', 'UNKNOWN', false]);
    expect([isHardError(FRAME_ERROR), isHardError(NO_ROUTE), isHardError(REPLY_SUCCESS)]).toEqual([
      true,
      false,
      false,
    ]);
  });

  it('list every method with its facts', () => {
    expect(METHODS.map(({ id, ...facts }) => facts)).toEqual(
      methods.map(({ name, sentBy, synchronous, hasContent }) => ({ name, sentBy, synchronous, hasContent })),
    );
  });
});

describe('the table', () => {
  it('has every class and method once, in rising order', () => {
    for (const owner of PROTOCOL.classes) {
      const ids = owner.methods.map((method) => method.id);
      expect(ids).toEqual([...new Set(ids)].sort((a, b) => a - b));
    }
    expect(new Set(methods.map((method) => method.name)).size).toBe(methods.length);
    expect(PROTOCOL.classes.map((owner) => owner.id)).toEqual([10, 20, 30, 40, 50, 60, 85, 90]);
  });

  it('has a reply next to every request, sent by the other side', () => {
    // basic.get is answered by one of two methods, and its first one carries content.
    for (const method of methods.filter((each) => each.synchronous)) {
      const reply = methods.find((each) => each.name === `${method.name}-ok`);
      expect(reply, method.name).toBeDefined();
      if (method.sentBy === 'both') expect(reply?.sentBy).toBe('both');
      else expect(reply?.sentBy).toBe(method.sentBy === 'client' ? 'server' : 'client');
    }
  });

  it('names only methods that exist where it widens who may send them', () => {
    for (const name of SENT_BY_BOTH)
      expect(methods.find((method) => method.name === name)?.sentBy).toBe('both');
  });

  it('has the properties in the order of their bits and each tag once', () => {
    const bits = PROTOCOL.properties.map((property) => property.bit);
    expect(bits).toEqual([15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2]);
    const tags = PROTOCOL.fieldTags.map((each) => each.tag);
    expect(new Set(tags).size).toBe(tags.length);
  });
});
