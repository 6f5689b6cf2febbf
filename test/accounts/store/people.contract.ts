/** What every accounts database must do with users, memberships, sessions and the audit log. */
import { randomBytes } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { type AuditEntry, brokenAt } from '../../../src/accounts/audit.ts';
import type { AccountsDatabase } from '../../../src/accounts/store/accounts-database.ts';
import { SESSION_AGE_MS, SESSION_IDLE_MS } from '../../../src/accounts/store/session-store.ts';
import type { User } from '../../../src/accounts/user.ts';
import { HOUR_MS, makeOrganization, NOON_MS } from '../accounts-fixture.ts';
import type { AccountsUnderTest } from './accounts.contract.ts';

const PASSWORD = '$argon2id$v=19$m=64,t=1,p=1$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA';
const OTHER = PASSWORD.replace('$m=64', '$m=128');

function makeUser(accounts: AccountsDatabase, email = 'ada@example.com'): Promise<User> {
  return accounts.users.create({
    email,
    name: 'Ada',
    password: PASSWORD,
    ageConfirmedAtMs: NOON_MS,
    createdAtMs: NOON_MS,
  });
}

function digest(): string {
  return randomBytes(32).toString('hex');
}

export function peopleContract(name: string, open: () => Promise<AccountsUnderTest>): void {
  describe(`accounts in ${name}: users`, () => {
    it('are found by id, and their credentials by address in any case', async () => {
      const { accounts } = await open();
      const made = await makeUser(accounts, 'Ada@Example.com');
      expect(made).toMatchObject({ email: 'Ada@Example.com', emailVerifiedAtMs: undefined, hasSecondFactor: false });
      expect(made.id).toMatch(/^usr_[a-z2-7]{16}$/);
      expect(await accounts.users.find(made.id)).toEqual(made);
      expect(await accounts.users.credentialsOf('aDA@example.COM')).toMatchObject({ user: made, password: PASSWORD });
      expect(await accounts.users.credentialsOf('bob@example.com')).toBeUndefined();
    });

    it('have an address of their own, whatever its case', async () => {
      const { accounts } = await open();
      await makeUser(accounts);
      await expect(makeUser(accounts, 'ADA@example.com')).rejects.toMatchObject({ code: 'conflict' });
    });

    it('lose every session with a new password, and none when the same one is hashed anew', async () => {
      const { accounts } = await open();
      const { id } = await makeUser(accounts);
      const session = digest();
      await accounts.sessions.create(session, id, NOON_MS);
      await accounts.users.rehash(id, PASSWORD, OTHER);
      expect(await accounts.sessions.use(session, NOON_MS)).toBeDefined();
      await accounts.users.setPassword(id, PASSWORD);
      expect(await accounts.sessions.use(session, NOON_MS)).toBeUndefined();
      await accounts.users.rehash(id, OTHER, OTHER);
      expect((await accounts.users.credentialsOf('ada@example.com'))?.password).toBe(PASSWORD);
    });

    it('lose every session when they are disabled', async () => {
      const { accounts } = await open();
      const { id } = await makeUser(accounts);
      const session = digest();
      await accounts.sessions.create(session, id, NOON_MS);
      expect(await accounts.users.setDisabled(id, NOON_MS)).toMatchObject({ disabledAtMs: NOON_MS });
      expect(await accounts.sessions.use(session, NOON_MS)).toBeUndefined();
      expect(await accounts.users.setDisabled(id, undefined)).toMatchObject({ disabledAtMs: undefined });
    });

    it('use a one-time code once', async () => {
      const { accounts } = await open();
      const { id } = await makeUser(accounts);
      expect(await Promise.all([accounts.secondFactors.useStep(id, 5), accounts.secondFactors.useStep(id, 5)])).toEqual(
        [true, false],
      );
      expect(await accounts.secondFactors.useStep(id, 4)).toBe(false);
    });

    it('cannot be stored with anything but an argon2id string', async () => {
      const { accounts } = await open();
      const input = {
        email: 'ada@example.com',
        name: 'Ada',
        password: 'plain text',
        ageConfirmedAtMs: 1,
        createdAtMs: 1,
      };
      await expect(accounts.users.create(input)).rejects.toThrow();
      expect(await accounts.users.credentialsOf('ada@example.com')).toBeUndefined();
    });
  });

  describe(`accounts in ${name}: memberships`, () => {
    it('give a role in an organization, change it, and end', async () => {
      const { accounts } = await open();
      const [ada, bob] = [await makeUser(accounts), await makeUser(accounts, 'bob@example.com')];
      const org = await makeOrganization(accounts, 'Acme');
      await accounts.users.setMembership(ada.id, org.id, 'owner', NOON_MS);
      await accounts.users.setMembership(bob.id, org.id, 'viewer', NOON_MS);
      await accounts.users.setMembership(bob.id, org.id, 'admin', NOON_MS + 1);
      const bobs = { userId: bob.id, orgId: org.id, role: 'admin', createdAtMs: NOON_MS };
      expect(await accounts.users.membershipsOf(bob.id)).toEqual([bobs]);
      expect(await accounts.users.membersOf(org.id)).toHaveLength(2);
      await accounts.users.removeMembership(bob.id, org.id);
      expect(await accounts.users.membershipsOf(bob.id)).toEqual([]);
      await expect(accounts.users.removeMembership(bob.id, org.id)).rejects.toMatchObject({ code: 'not-found' });
    });

    it('never leave an organization without an owner', async () => {
      const { accounts } = await open();
      const [ada, bob] = [await makeUser(accounts), await makeUser(accounts, 'bob@example.com')];
      const org = await makeOrganization(accounts, 'Acme');
      await accounts.users.setMembership(ada.id, org.id, 'owner', NOON_MS);
      const conflict = { code: 'conflict' };
      await expect(accounts.users.setMembership(ada.id, org.id, 'admin', NOON_MS)).rejects.toMatchObject(conflict);
      await expect(accounts.users.removeMembership(ada.id, org.id)).rejects.toMatchObject(conflict);
      await expect(accounts.users.remove(ada.id)).rejects.toMatchObject(conflict);
      await accounts.users.setMembership(bob.id, org.id, 'owner', NOON_MS);
      await accounts.users.remove(ada.id);
      expect(await accounts.users.find(ada.id)).toBeUndefined();
      expect((await accounts.users.membersOf(org.id)).map(({ userId }) => userId)).toEqual([bob.id]);
    });

    it('are of users and organizations that exist', async () => {
      const { accounts } = await open();
      const ada = await makeUser(accounts);
      const org = await makeOrganization(accounts, 'Acme');
      const missing = { code: 'not-found' };
      await expect(accounts.users.setMembership('usr_aaaaaaaaaaaaaaaa', org.id, 'member', 1)).rejects.toMatchObject(
        missing,
      );
      await expect(accounts.users.setMembership(ada.id, 'org_aaaaaaaaaaaaaaaa', 'member', 1)).rejects.toMatchObject(
        missing,
      );
    });
  });

  describe(`accounts in ${name}: sessions`, () => {
    it('end 12 hours after they were last seen, and 7 days after the login', async () => {
      const { accounts } = await open();
      const { id } = await makeUser(accounts);
      const [idle, busy] = [digest(), digest()];
      await accounts.sessions.create(idle, id, NOON_MS);
      await accounts.sessions.create(busy, id, NOON_MS);
      expect(await accounts.sessions.use(idle, NOON_MS + SESSION_IDLE_MS)).toBeUndefined();
      // A clock that was set back makes it live no more.
      expect(await accounts.sessions.use(idle, NOON_MS)).toBeUndefined();
      for (let ms = HOUR_MS; ms < SESSION_AGE_MS; ms += HOUR_MS)
        expect(await accounts.sessions.use(busy, NOON_MS + ms)).toMatchObject({ seenAtMs: NOON_MS + ms });
      expect(await accounts.sessions.use(busy, NOON_MS + SESSION_AGE_MS)).toBeUndefined();
    });

    it('get a new id, keep their age, and tell when the password was given', async () => {
      const { accounts } = await open();
      const { id } = await makeUser(accounts);
      const [before, after] = [digest(), digest()];
      await accounts.sessions.create(before, id, NOON_MS);
      expect(await accounts.sessions.renew(before, after, NOON_MS + HOUR_MS, false)).toMatchObject({
        authenticatedAtMs: NOON_MS,
      });
      expect(await accounts.sessions.use(before, NOON_MS + HOUR_MS)).toBeUndefined();
      const again = await accounts.sessions.renew(after, before, NOON_MS + HOUR_MS, true);
      expect(again).toMatchObject({ createdAtMs: NOON_MS, authenticatedAtMs: NOON_MS + HOUR_MS });
    });

    it('are listed while they live, ended one by one or all but one, and swept', async () => {
      const { accounts } = await open();
      const { id } = await makeUser(accounts);
      const digests = [digest(), digest(), digest(), digest()];
      for (const [i, one] of digests.entries()) await accounts.sessions.create(one, id, NOON_MS + i);
      await accounts.sessions.end(digests[3]!);
      expect((await accounts.sessions.list(id, NOON_MS)).map((session) => session.digest)).toEqual(
        digests.slice(0, 3).reverse(),
      );
      await accounts.sessions.endAll(id, digests[1]);
      expect((await accounts.sessions.list(id, NOON_MS)).map((session) => session.digest)).toEqual([digests[1]]);
      expect(await accounts.sessions.sweep(NOON_MS + SESSION_IDLE_MS)).toBe(0);
      expect(await accounts.sessions.sweep(NOON_MS + SESSION_IDLE_MS + 1)).toBe(1);
    });
  });

  describe(`accounts in ${name}: the audit log`, () => {
    it('is one chain an organization, which tells every edit', async () => {
      const { accounts } = await open();
      const append = (orgId: string, i: number) =>
        accounts.audit.append({
          orgId,
          atMs: NOON_MS + i,
          actor: 'operator',
          action: 'token.create',
          target: `t${i}`,
          result: 'done',
        });
      await Promise.all(Array.from({ length: 20 }, (_, i) => append(i % 2 === 0 ? 'org_a' : 'org_b', i)));
      const entries = await accounts.audit.read('org_a', 0, 100);
      expect(entries.map(({ number }) => number)).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9, 10]);
      expect(brokenAt(entries)).toBeUndefined();
      expect(await accounts.audit.read('org_a', 8, 1)).toEqual([entries[8]]);
      const edits: Partial<AuditEntry>[] = [
        { atMs: 1 },
        { actor: 'usr_x' },
        { action: 'token.revoke' },
        { target: 'x' },
        { result: 'refused' },
      ];
      for (const edit of edits) {
        for (let at = 0; at < entries.length; at++)
          expect(brokenAt(entries.map((entry, i) => (i === at ? { ...entry, ...edit } : entry)))).toBe(at + 1);
      }
      for (let at = 0; at < entries.length - 1; at++) expect(brokenAt(entries.filter((_, i) => i !== at))).toBe(at + 1);
    });
  });
}
