import { randomBytes } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { makeToken } from '../../../src/base/token-format.ts';
import { readBearerToken } from '../../../src/ingest/authenticate/bearer-token.ts';

const { token, id } = makeToken('ing', randomBytes);

describe('bearer token', () => {
  it.each([
    ['as the standard writes it', `Bearer ${token}`],
    ['scheme in lower case', `bearer ${token}`],
    ['scheme in upper case', `BEARER ${token}`],
    ['blanks around', `  Bearer   ${token}\t `],
    ['a tab between', `Bearer\t${token}`],
    ['the blank percent-encoded, as baggage does', `Bearer%20${token}`],
    ['the blank percent-encoded, scheme in lower case', `bearer%20 ${token}`],
  ])('reads %s', (_what, header) => {
    expect(readBearerToken(header)).toEqual({ kind: 'ing', id, token });
  });

  it.each([
    ['nothing', ''],
    ['the token alone', token],
    ['another scheme', `Basic ${token}`],
    ['no blank', `Bearer${token}`],
    ['two tokens', `Bearer ${token} ${token}`],
    ['a list', `Bearer ${token}, Bearer ${token}`],
    ['a typo', `Bearer ${token.slice(0, 30)}${token[30] === 'a' ? 'b' : 'a'}${token.slice(31)}`],
    ['blanks without end', `Bearer ${' '.repeat(100_000)}${token}`],
  ])('refuses %s', (_what, header) => {
    expect(readBearerToken(header)).toBeUndefined();
  });
});
