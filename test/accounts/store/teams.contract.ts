/** What every accounts database must do with teams, invitations, links, API keys and idempotency keys. */
import { randomBytes } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { API_KEY_USED_EVERY_MS, API_KEYS_PER_ORGANIZATION_MAX } from '../../../src/accounts/api-key.ts';
import { INVITATION_MS } from '../../../src/accounts/invitation.ts';
import type { AccountsDatabase } from '../../../src/accounts/store/accounts-database.ts';
import type { NewApiKey } from '../../../src/accounts/store/api-key-store.ts';
import { IDEMPOTENCY_MS } from '../../../src/accounts/store/idempotency-store.ts';
import { LINK_MS } from '../../../src/accounts/store/link-store.ts';
import type { User } from '../../../src/accounts/user.ts';
import { makeOrganization, NOON_MS } from '../accounts-fixture.ts';
import type { AccountsUnderTest } from './accounts.contract.ts';

const PASSWORD = '$argon2id$v=19$m=64,t=1,p=1$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA';

function digest(): string {
  return randomBytes(32).toString('hex');
}

function makeUser(accounts: AccountsDatabase, email: string): Promise<User> {
  const times = { ageConfirmedAtMs: NOON_MS, createdAtMs: NOON_MS };
  return accounts.users.create({ email, name: 'Ada', password: PASSWORD, ...times });
}

async function withMember(accounts: AccountsDatabase) {
  const organization = await makeOrganization(accounts, 'Acme');
  const ada = await makeUser(accounts, 'ada@example.com');
  await accounts.users.setMembership(ada.id, organization.id, 'owner', NOON_MS);
  return { orgId: organization.id, ada };
}

function keyOf(orgId: string, given: Partial<NewApiKey> = {}): NewApiKey {
  const id = randomBytes(6).toString('hex');
  const rest = { createdBy: 'usr_x', createdAtMs: NOON_MS, expiresAtMs: undefined };
  return { id, digest: digest(), pepperId: '00000000', orgId, name: 'ci', scopes: ['tokens:write'], ...rest, ...given };
}

export function teamsContract(name: string, open: () => Promise<AccountsUnderTest>): void {
  describe(`accounts in ${name}: teams`, () => {
    it('have a name of their own in their organization, and members of it alone', async () => {
      const { accounts } = await open();
      const { orgId, ada } = await withMember(accounts);
      const stranger = await makeUser(accounts, 'bob@example.com');
      const team = await accounts.teams.create(orgId, 'Platform', NOON_MS);
      await expect(accounts.teams.create(orgId, 'Platform', NOON_MS)).rejects.toMatchObject({ code: 'conflict' });
      await accounts.teams.setMember(orgId, team.id, ada.id, 'member');
      await accounts.teams.setMember(orgId, team.id, ada.id, 'lead');
      expect(await accounts.teams.members(orgId, team.id)).toEqual([{ teamId: team.id, userId: ada.id, role: 'lead' }]);
      const foreign = accounts.teams.setMember(orgId, team.id, stranger.id, 'member');
      await expect(foreign).rejects.toMatchObject({ code: 'not-found' });
      expect(await accounts.teams.rename(orgId, team.id, 'Core')).toMatchObject({ id: team.id, name: 'Core' });
      expect((await accounts.teams.list(orgId)).map((one) => one.name)).toEqual(['Core']);
    });

    it('are not there for another organization', async () => {
      const { accounts } = await open();
      const { orgId, ada } = await withMember(accounts);
      const other = await makeOrganization(accounts, 'Other');
      const { id } = await accounts.teams.create(orgId, 'Platform', NOON_MS);
      expect(await accounts.teams.find(other.id, id)).toBeUndefined();
      const { teams } = accounts;
      for (const attempt of [
        () => teams.rename(other.id, id, 'x'),
        () => teams.remove(other.id, id),
        () => teams.setMember(other.id, id, ada.id, 'lead'),
        () => teams.removeMember(other.id, id, ada.id),
      ])
        await expect(attempt()).rejects.toMatchObject({ code: 'not-found' });
      expect(await teams.find(orgId, id)).toMatchObject({ name: 'Platform' });
    });

    it('lose who leaves the organization', async () => {
      const { accounts } = await open();
      const { orgId } = await withMember(accounts);
      const bob = await makeUser(accounts, 'bob@example.com');
      await accounts.users.setMembership(bob.id, orgId, 'member', NOON_MS);
      const team = await accounts.teams.create(orgId, 'Platform', NOON_MS);
      await accounts.teams.setMember(orgId, team.id, bob.id, 'member');
      await accounts.users.removeMembership(bob.id, orgId);
      expect(await accounts.teams.members(orgId, team.id)).toEqual([]);
    });
  });

  describe(`accounts in ${name}: invitations`, () => {
    it('make the one they are for a member, once, with the role they give', async () => {
      const { accounts } = await open();
      const { orgId, ada } = await withMember(accounts);
      const [bob, eve] = [await makeUser(accounts, 'Bob@Example.com'), await makeUser(accounts, 'eve@example.com')];
      const link = digest();
      const input = {
        orgId,
        email: 'bob@example.com',
        role: 'viewer',
        invitedBy: ada.id,
        createdAtMs: NOON_MS,
      } as const;
      await accounts.invitations.create({ ...input, digest: link });
      const { invitations } = accounts;
      await expect(invitations.accept(link, eve.id, NOON_MS)).rejects.toMatchObject({ code: 'not-found' });
      expect(await invitations.accept(link, bob.id, NOON_MS)).toMatchObject({ userId: bob.id, orgId, role: 'viewer' });
      await expect(invitations.accept(link, bob.id, NOON_MS)).rejects.toMatchObject({ code: 'not-found' });
      expect(await invitations.list(orgId, NOON_MS)).toEqual([]);
      await expect(invitations.create({ ...input, digest: digest() })).rejects.toMatchObject({ code: 'conflict' });
    });

    it('end after a week, when they are withdrawn, and when the address is invited again', async () => {
      const { accounts } = await open();
      const { orgId, ada } = await withMember(accounts);
      const bob = await makeUser(accounts, 'bob@example.com');
      const { invitations } = accounts;
      const input = { orgId, email: bob.email, role: 'member', invitedBy: ada.id, createdAtMs: NOON_MS } as const;
      const [first, second] = [digest(), digest()];
      await invitations.create({ ...input, digest: first });
      const made = await invitations.create({ ...input, digest: second });
      expect(await invitations.byDigest(first, NOON_MS)).toBeUndefined();
      const late = NOON_MS + INVITATION_MS;
      await expect(invitations.accept(second, bob.id, late)).rejects.toMatchObject({ code: 'not-found' });
      expect(await invitations.list(orgId, late - 1)).toEqual([made]);
      await invitations.withdraw(orgId, made.id);
      expect(await invitations.byDigest(second, NOON_MS)).toBeUndefined();
      await invitations.create({ ...input, digest: first });
      expect(await invitations.sweep(late)).toBe(1);
    });
  });

  describe(`accounts in ${name}: links`, () => {
    it('open once, for their purpose, within their time, and the newest of a kind alone', async () => {
      const { accounts } = await open();
      const { id } = await makeUser(accounts, 'ada@example.com');
      const make = async (atMs: number) => {
        const link = digest();
        await accounts.links.create(link, 'reset-password', id, 'ada@example.com', atMs);
        return link;
      };
      const replaced = await make(NOON_MS);
      const link = await make(NOON_MS);
      expect(await accounts.links.use(replaced, 'reset-password', NOON_MS)).toBeUndefined();
      expect(await accounts.links.use(link, 'verify-email', NOON_MS)).toBeUndefined();
      const both = [1, 2].map(() => accounts.links.use(link, 'reset-password', NOON_MS + LINK_MS - 1));
      expect((await Promise.all(both)).filter((one) => one !== undefined)).toEqual([id]);
      expect(await accounts.links.use(await make(NOON_MS), 'reset-password', NOON_MS + LINK_MS)).toBeUndefined();
      const elsewhere = digest();
      await accounts.links.create(elsewhere, 'verify-email', id, 'earlier@example.com', NOON_MS);
      expect(await accounts.links.use(elsewhere, 'verify-email', NOON_MS)).toBeUndefined();
    });
  });

  describe(`accounts in ${name}: API keys`, () => {
    it('are found while they are live, and note a use every few minutes', async () => {
      const { accounts } = await open();
      const { orgId } = await withMember(accounts);
      const input = keyOf(orgId, { expiresAtMs: NOON_MS + 10 * API_KEY_USED_EVERY_MS });
      const made = await accounts.apiKeys.create(input);
      expect(made).toMatchObject({ name: 'ci', scopes: ['tokens:write'], usedAtMs: undefined });
      const used = await accounts.apiKeys.use(input.id, NOON_MS);
      expect(used?.digest.toString('hex')).toBe(input.digest);
      await accounts.apiKeys.use(input.id, NOON_MS + API_KEY_USED_EVERY_MS - 1);
      expect((await accounts.apiKeys.list(orgId))[0]?.usedAtMs).toBe(NOON_MS);
      await accounts.apiKeys.use(input.id, NOON_MS + API_KEY_USED_EVERY_MS);
      expect((await accounts.apiKeys.list(orgId))[0]?.usedAtMs).toBe(NOON_MS + API_KEY_USED_EVERY_MS);
      expect(await accounts.apiKeys.use(input.id, NOON_MS + 10 * API_KEY_USED_EVERY_MS)).toBeUndefined();
      expect(await accounts.apiKeys.revoke(orgId, input.id, NOON_MS)).toMatchObject({ revokedAtMs: NOON_MS });
      expect(await accounts.apiKeys.use(input.id, NOON_MS)).toBeUndefined();
      const foreign = accounts.apiKeys.revoke('org_aaaaaaaaaaaaaaaa', input.id, NOON_MS);
      await expect(foreign).rejects.toMatchObject({ code: 'not-found' });
    });

    it('are at most so many that are live', async () => {
      const { accounts } = await open();
      const { orgId } = await withMember(accounts);
      const ids: string[] = [];
      for (let i = 0; i < API_KEYS_PER_ORGANIZATION_MAX; i++)
        ids.push((await accounts.apiKeys.create(keyOf(orgId))).id);
      await expect(accounts.apiKeys.create(keyOf(orgId))).rejects.toMatchObject({ code: 'conflict' });
      await accounts.apiKeys.revoke(orgId, ids[0]!, NOON_MS);
      await accounts.apiKeys.create(keyOf(orgId));
    });
  });

  describe(`accounts in ${name}: idempotency keys`, () => {
    it('let one through, give the answer to those after it, and refuse another request', async () => {
      const { accounts } = await open();
      const { idempotency } = accounts;
      const key = digest();
      const begun = await Promise.all([1, 2].map(() => idempotency.begin(key, 'a', NOON_MS)));
      expect(begun.map(({ kind }) => kind).sort()).toEqual(['first', 'running']);
      expect(await idempotency.begin(key, 'b', NOON_MS)).toEqual({ kind: 'other-request' });
      const answer = { status: 201, body: '{"id":1}' };
      await idempotency.finish(key, answer);
      expect(await idempotency.begin(key, 'a', NOON_MS)).toEqual({ kind: 'again', answer });
      expect(await idempotency.begin(key, 'b', NOON_MS + IDEMPOTENCY_MS)).toEqual({ kind: 'first' });
    });

    it('count as new after a request that was never answered, or that failed', async () => {
      const { accounts } = await open();
      const { idempotency } = accounts;
      const key = digest();
      await idempotency.begin(key, 'a', NOON_MS);
      expect(await idempotency.begin(key, 'a', NOON_MS + 60_000)).toEqual({ kind: 'first' });
      await idempotency.forget(key);
      expect(await idempotency.begin(key, 'b', NOON_MS + 60_000)).toEqual({ kind: 'first' });
      expect(await idempotency.sweep(NOON_MS + 60_000 + IDEMPOTENCY_MS)).toBe(1);
    });
  });
}
