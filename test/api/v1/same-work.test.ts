/** Who has an account is told neither by answers nor by the work they cost: counted, not timed (reference 2.3). */
import { createHook } from 'node:async_hooks';
import { StatementSync } from 'node:sqlite';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { openTestApi, PASSWORD, type TestApi } from './v1-fixture.ts';

let hashes = 0;
let statements = 0;
const hook = createHook({
  init: (_, type) => {
    if (type === 'ARGON2REQUEST') hashes++;
  },
});
/** Node's own: what every statement of the accounts database goes through. */
const node = { all: StatementSync.prototype.all, run: StatementSync.prototype.run };

beforeAll(() => {
  hook.enable();
  for (const name of ['all', 'run'] as const) {
    const of = node[name] as (...given: unknown[]) => unknown;
    const counted = function (this: StatementSync, ...given: unknown[]): unknown {
      statements++;
      return of.apply(this, given);
    };
    Object.assign(StatementSync.prototype, { [name]: counted });
  }
});
afterAll(() => {
  hook.disable();
  Object.assign(StatementSync.prototype, node);
});

interface Work {
  readonly status: number;
  readonly body: unknown;
  readonly hashes: number;
  readonly statements: number;
  readonly mails: number;
}

async function workOf(api: TestApi, path: string, body: object): Promise<Work> {
  api.client.address = `10.0.0.${Math.floor(Math.random() * 250) + 1}`;
  const mailsBefore = (await api.plane.outbox.list()).length;
  [hashes, statements] = [0, 0];
  const answer = await api.caller().post(path, body);
  const done = { status: answer.status, body: answer.body, hashes, statements };
  return { ...done, mails: (await api.plane.outbox.list()).length - mailsBefore };
}

describe('a known address and an unknown one cost the same', () => {
  it.each([
    ['a login', '/session', { password: 'wrong horse 27 staple' }, 1],
    ['a reset', '/password-reset/mail', {}, 0],
    ['a sign-up', '/sign-up', { name: 'Ada', password: PASSWORD, ageConfirmed: true }, 1],
    ['another link', '/email-verification/mail', { password: 'wrong horse 27 staple' }, 1],
  ])('at %s', async (_, path, body, hashed) => {
    const api = await openTestApi();
    await api.user('first@example.com');
    await api.user('known@example.com');
    const known = await workOf(api, path, { ...body, email: 'known@example.com' });
    const unknown = await workOf(api, path, { ...body, email: 'stranger@example.com' });
    expect([unknown.status, unknown.body, unknown.hashes, unknown.mails]).toEqual([
      known.status,
      known.body,
      known.hashes,
      known.mails,
    ]);
    expect(known.hashes).toBe(hashed);
    expect(known.statements).toBeGreaterThan(0);
    expect(Math.abs(unknown.statements - known.statements)).toBeLessThanOrEqual(0.03 * known.statements);
  });
});
