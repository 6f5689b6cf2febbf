/**
 * Every route × every caller × own and foreign ids, generated from the routes as they are declared: who may gets 2xx, who may not gets
 * what the declaration says. A route without an example here fails, so none can be forgotten.
 */
import { randomBytes } from 'node:crypto';
import { expect, it, onTestFinished } from 'vitest';
import { temporaryDir } from '../../accounts/accounts-fixture.ts';
import { startEngine } from '../../ingest/store/engine-fixture.ts';
import { API_SCOPES } from '../../../src/accounts/api-key.ts';
import { mayAs, ROLES, type Role } from '../../../src/accounts/role.ts';
import type { Declared } from '../../../src/api/v1/endpoint.ts';
import { SESSION_COOKIE } from '../../../src/api/v1/principal.ts';
import { type Caller, openTestApi, PASSWORD, type TestApi } from './v1-fixture.ts';

/** An organization of its own for each cell, so that no cell sees what another did. */
interface World {
  readonly api: TestApi;
  readonly orgId: string;
  /** A member with the lowest role. */
  readonly otherId: string;
  /** Who calls; '' for a script or nobody. */
  readonly callerId: string;
}

interface Example {
  readonly params?: Readonly<Record<string, string>>;
  readonly body?: unknown;
}

type MakeExample = (world: World) => Promise<Example> | Example;

let serial = 0;

const EXAMPLES: Readonly<Record<string, MakeExample>> = {
  'get /session': () => ({}),
  'delete /session': () => ({}),
  'post /session/confirmation': () => ({ body: { password: PASSWORD } }),
  'get /me': () => ({}),
  'patch /me': () => ({ body: { name: 'Grace' } }),
  'delete /me': () => ({}),
  'post /me/password': () => ({ body: { password: 'another horse 28 staple' } }),
  'get /me/sessions': () => ({}),
  'delete /me/sessions': () => ({}),
  'delete /me/sessions/{session}': async ({ api, callerId }) => {
    const { session } = await api.plane.sessions.begin(callerId || (await makeUser(api)));
    return { params: { session: session.digest.slice(0, 16) } };
  },
  'post /me/second-factor/offer': () => ({}),
  'post /me/second-factor': async ({ api, callerId }) => {
    const user = await api.plane.accounts.users.find(callerId);
    if (user === undefined) return { body: { offer: 'x', code: '000000' } };
    const { offer, uri } = api.plane.secondFactors.offer(user);
    const { totpCode } = await import('../../../src/accounts/totp.ts');
    return { body: { offer, code: totpCode(seedOf(uri), Math.floor(api.clock.nowMs / 30_000)) } };
  },
  'delete /me/second-factor': () => ({}),
  'get /organizations': () => ({}),
  'post /organizations': () => ({ body: { name: `Acme ${++serial}` } }),
  'get /organizations/{org}': () => ({}),
  'patch /organizations/{org}': () => ({ body: { name: 'Renamed' } }),
  'get /organizations/{org}/audit': () => ({}),
  'post /me/export': () => ({}),
  'post /me/email': () => ({ body: { email: `other${++serial}@example.com` } }),
  'get /me/notices': () => ({}),
  'post /me/notices/{notice}/read': async ({ api }) => {
    const times = { effectiveAtMs: api.clock.nowMs + 1, publishedAtMs: api.clock.nowMs };
    const { id } = await api.plane.accounts.notices.publish({ title: 'News', body: 'Something.', ...times });
    return { params: { notice: id } };
  },
  'get /plans': () => ({}),
  'get /organizations/{org}/plan': () => ({}),
  'patch /organizations/{org}/plan': () => ({ body: { retentionDays: { logs: 7 } } }),
  'get /organizations/{org}/retention': () => ({}),
  'get /organizations/{org}/members': () => ({}),
  'put /organizations/{org}/members/{user}': ({ otherId }) => ({ params: { user: otherId }, body: { role: 'viewer' } }),
  'delete /organizations/{org}/members/{user}': ({ otherId, callerId }) => ({ params: { user: callerId || otherId } }),
  'get /organizations/{org}/invitations': () => ({}),
  'post /organizations/{org}/invitations': () => ({ body: { email: `guest${++serial}@example.com`, role: 'viewer' } }),
  'delete /organizations/{org}/invitations/{invitation}': async ({ api, orgId }) => {
    const rest = { role: 'viewer', invitedBy: 'usr_x', createdAtMs: api.clock.nowMs } as const;
    const email = `guest${++serial}@example.com`;
    const { id } = await api.plane.accounts.invitations.create({
      orgId,
      email,
      digest: api.plane.newSecret().digest,
      ...rest,
    });
    return { params: { invitation: id } };
  },
  'post /invitations/acceptance': async ({ api, orgId, callerId }) => {
    const { secret, digest } = api.plane.newSecret();
    const email = (await api.plane.accounts.users.find(callerId))?.email ?? `guest${++serial}@example.com`;
    const rest = { role: 'viewer', invitedBy: 'usr_x', createdAtMs: api.clock.nowMs } as const;
    const memberships = await api.plane.accounts.users.membershipsOf(callerId);
    const target = memberships.length === 0 ? orgId : (await makeOrganization(api)).id;
    await api.plane.accounts.invitations.create({ orgId: target, email, digest, ...rest });
    return { body: { link: secret } };
  },
  'get /organizations/{org}/teams': () => ({}),
  'post /organizations/{org}/teams': () => ({ body: { name: `Team ${++serial}` } }),
  'get /organizations/{org}/teams/{team}': makeTeam,
  'patch /organizations/{org}/teams/{team}': async (world) => ({
    ...(await makeTeam(world)),
    body: { name: `T ${++serial}` },
  }),
  'delete /organizations/{org}/teams/{team}': makeTeam,
  'put /organizations/{org}/teams/{team}/members/{user}': async (world) => {
    const { params } = await makeTeam(world);
    return { params: { ...params, user: world.otherId }, body: { role: 'member' } };
  },
  'delete /organizations/{org}/teams/{team}/members/{user}': async (world) => {
    const { params } = await makeTeam(world);
    return { params: { ...params, user: world.callerId || world.otherId } };
  },
  'get /organizations/{org}/tokens': () => ({}),
  'get /organizations/{org}/tokens/{token}': makeToken,
  'post /organizations/{org}/tokens': () => ({ body: { name: `token ${++serial}` } }),
  'post /organizations/{org}/tokens/{token}/rotation': async (world) => ({ ...(await makeToken(world)), body: {} }),
  'delete /organizations/{org}/tokens/{token}': makeToken,
  'get /organizations/{org}/api-keys': () => ({}),
  'post /organizations/{org}/api-keys': () => ({ body: { name: 'ci', scopes: ['tokens:read'] } }),
  'delete /organizations/{org}/api-keys/{key}': async ({ api, orgId }) => {
    const { stored } = api.plane.newToken('api');
    const rest = { orgId, name: 'x', createdBy: 'usr_x', createdAtMs: api.clock.nowMs, expiresAtMs: undefined };
    await api.plane.accounts.apiKeys.create({ ...stored, ...rest, scopes: ['tokens:read'] });
    return { params: { key: stored.id } };
  },
};

/** With the caller as its lead, where the caller is a member. */
async function makeTeam({ api, orgId, callerId }: World): Promise<Example> {
  const { teams, users } = api.plane.accounts;
  const team = await teams.create(orgId, `Team ${++serial}`, api.clock.nowMs);
  if ((await users.membership(callerId, orgId)) !== undefined) await teams.setMember(orgId, team.id, callerId, 'lead');
  else {
    for (const { userId } of await users.membersOf(orgId)) await teams.setMember(orgId, team.id, userId, 'member');
  }
  return { params: { team: team.id } };
}

async function makeToken({ api, orgId }: World): Promise<Example> {
  const { stored } = api.plane.newToken('ing');
  const rest = { orgId, name: `token ${++serial}`, createdAtMs: api.clock.nowMs, expiresAtMs: undefined };
  await api.plane.accounts.tokens.create({ ...stored, ...rest, scopes: ['logs'] });
  return { params: { token: stored.id } };
}

function makeOrganization(api: TestApi) {
  const input = { name: `Org ${++serial}`, plan: api.plane.plans.defaultPlan, createdAtMs: api.clock.nowMs };
  return api.plane.accounts.organizations.create(input, { ownPlacementsMax: 2, sharedPlacements: 1 });
}

let password: string | undefined;

async function makeUser(api: TestApi): Promise<string> {
  const { users } = api.plane.accounts;
  if (password === undefined) {
    await api.user('matrix@example.com');
    password = (await users.credentialsOf('matrix@example.com'))?.password ?? '';
  }
  const times = { ageConfirmedAtMs: api.clock.nowMs, createdAtMs: api.clock.nowMs };
  const email = `user${++serial}@example.com`;
  const { id } = await users.create({ email, name: 'Ada', password, ...times });
  await users.setEmailVerified(id, api.clock.nowMs);
  return id;
}

function seedOf(uri: string): Buffer {
  const bits = Array.from(new URL(uri).searchParams.get('secret') ?? '', (digit) =>
    'ABCDEFGHIJKLMNOPQRSTUVWXYZ234567'.indexOf(digit).toString(2).padStart(5, '0'),
  ).join('');
  return Buffer.from((bits.match(/.{8}/g) ?? []).map((byte) => Number.parseInt(byte, 2)));
}

// ---------------------------------------------------------------- callers

type Kind = 'nobody' | Role | 'stranger' | 'key' | 'key without scope' | 'foreign key';
const KINDS: readonly Kind[] = ['nobody', ...ROLES, 'stranger', 'key', 'key without scope', 'foreign key'];

async function makeCaller(api: TestApi, kind: Kind, orgId: string, route: Declared): Promise<Caller> {
  const caller = api.caller();
  if (kind === 'nobody') return caller;
  if (kind === 'key' || kind === 'key without scope' || kind === 'foreign key') {
    const scope = route.access.kind === 'organization' ? route.access.scope : undefined;
    const scopes = kind === 'key without scope' ? API_SCOPES.filter((one) => one !== scope) : API_SCOPES;
    return api.key(kind === 'foreign key' ? (await makeOrganization(api)).id : orgId, scopes);
  }
  caller.userId = await makeUser(api);
  caller.cookie = `${SESSION_COOKIE}=${(await api.plane.sessions.begin(caller.userId)).cookie}`;
  if (kind !== 'stranger') await api.plane.accounts.users.setMembership(caller.userId, orgId, kind, api.clock.nowMs);
  return caller;
}

/** What the declaration says of this caller: a status, or 2 for any success. */
function expected({ access }: Declared, kind: Kind): number {
  if (kind === 'nobody') return 401;
  const isKey = kind === 'key' || kind === 'key without scope' || kind === 'foreign key';
  if (access.kind !== 'organization') return isKey ? 403 : 2;
  if (kind === 'stranger' || kind === 'foreign key') return 404;
  if (isKey) return kind === 'key' && access.scope !== undefined ? 2 : 403;
  return mayAs(kind, access.role) ? 2 : 403;
}

function pathOf(route: Declared, orgId: string, params: Readonly<Record<string, string>> = {}): string {
  return route.path.replaceAll(/\{(\w+)\}/g, (_, name: string) => (name === 'org' ? orgId : (params[name] ?? 'none')));
}

/** The world of one cell and what the route is called with. */
async function cell(api: TestApi, route: Declared, kind: Kind, owner: 'own' | 'foreign') {
  api.client.address = `10.${randomBytes(3).join('.')}`;
  const organization = await makeOrganization(api);
  const [otherId, ownerId] = [await makeUser(api), await makeUser(api)];
  await api.plane.accounts.users.setMembership(ownerId, organization.id, 'owner', api.clock.nowMs);
  await api.plane.accounts.users.setMembership(otherId, organization.id, 'viewer', api.clock.nowMs);
  const caller = await makeCaller(api, kind, organization.id, route);
  const make = EXAMPLES[`${route.method} ${route.path}`];
  if (make === undefined) throw new Error(`no example of ${route.method} ${route.path}`);
  let thingsOf = organization.id;
  if (owner === 'foreign') {
    thingsOf = (await makeOrganization(api)).id;
    await api.plane.accounts.users.setMembership(otherId, thingsOf, 'viewer', api.clock.nowMs);
    await api.plane.accounts.users.removeMembership(otherId, organization.id);
  }
  const callerId = owner === 'foreign' ? '' : caller.userId;
  const { params, body } = await make({ api, orgId: thingsOf, otherId, callerId });
  return { caller, path: pathOf(route, organization.id, params), body };
}

it('every route answers every caller as it is declared', async () => {
  const dir = temporaryDir();
  const engine = await startEngine(dir);
  onTestFinished(() => engine.close());
  await engine.createTable('rows');
  const api = await openTestApi({}, { tables: ['rows'], clickhouse: async () => engine.clickhouse() });
  const guarded = api.app.declared.filter(({ access }) => access.kind !== 'public');
  expect(Object.keys(EXAMPLES).sort()).toEqual(guarded.map(({ method, path }) => `${method} ${path}`).sort());
  const wrong: string[] = [];
  const lines: string[] = [`| route | ${KINDS.join(' | ')} |`, `| --- |${KINDS.map(() => ' --- |').join('')}`];
  for (const route of guarded) {
    const shown: number[] = [];
    for (const kind of KINDS) {
      const { caller, path, body } = await cell(api, route, kind, 'own');
      const { status } = await caller.call(route.method.toUpperCase(), path, body === undefined ? {} : { body });
      const wanted = expected(route, kind);
      shown.push(status);
      if (wanted === 2 ? status < 200 || status > 299 : status !== wanted)
        wrong.push(`${route.method} ${route.path} as ${kind}: ${status}, not ${wanted}`);
    }
    lines.push(`| ${route.method} ${route.path} | ${shown.join(' | ')} |`);
  }
  if (process.env['MATRIX'] === '1') console.log(lines.join('\n'));
  expect(wrong).toEqual([]);
  expect(lines.length).toBeGreaterThan(35);
}, 120_000);

it("every route with a thing's id answers 404 to the owner of an organization that the thing is not of", async () => {
  const api = await openTestApi();
  const withThing = api.app.declared.filter(({ path }) => /\{org\}.*\{\w+\}/.test(path));
  expect(withThing.length).toBeGreaterThan(10);
  const wrong: string[] = [];
  for (const route of withThing) {
    const { caller, path, body } = await cell(api, route, 'owner', 'foreign');
    const { status } = await caller.call(route.method.toUpperCase(), path, body === undefined ? {} : { body });
    if (status !== 404) wrong.push(`${route.method} ${route.path}: ${status}`);
  }
  expect(wrong).toEqual([]);
}, 60_000);

it('every route that changes something refuses a session cookie without our origin', async () => {
  const api = await openTestApi();
  const unsafe = api.app.declared.filter(({ access, method }) => access.kind !== 'public' && method !== 'get');
  expect(unsafe.length).toBeGreaterThan(20);
  for (const route of unsafe) {
    for (const headers of [{}, { origin: 'https://evil.example' }] as Record<string, string>[]) {
      const { caller, path, body } = await cell(api, route, 'owner', 'own');
      const { status } = await caller.call(route.method.toUpperCase(), path, {
        ...(body === undefined ? {} : { body }),
        bare: true,
        headers,
      });
      expect(status, `${route.method} ${route.path} ${headers['origin'] ?? ''}`).toBe(403);
    }
  }
}, 60_000);

it('every route that says so wants the password to have been given within ten minutes', async () => {
  const api = await openTestApi();
  const confirmed = api.app.declared.filter((route) => route.confirmed === true);
  expect(confirmed.map(({ method, path }) => `${method} ${path}`)).toEqual(
    expect.arrayContaining(['delete /me', 'post /me/password', 'post /organizations/{org}/tokens']),
  );
  for (const route of confirmed) {
    const { caller, path, body } = await cell(api, route, 'owner', 'own');
    api.clock.nowMs += 600_000;
    const answer = await caller.call(route.method.toUpperCase(), path, body === undefined ? {} : { body });
    expect(answer, `${route.method} ${route.path}`).toMatchObject({
      status: 403,
      body: { code: 'confirmation-needed' },
    });
  }
}, 60_000);

it('every body of a wrong form is refused as a problem, and nothing answers 5xx', async () => {
  const api = await openTestApi();
  const bodies = [
    '',
    '{',
    'null',
    '[]',
    '{"name":1}',
    '{"x":{}}',
    `{"name":"${'a'.repeat(70_000)}"}`,
    '{"__proto__":{"a":1}}',
  ];
  for (const route of api.app.declared.filter(({ method }) => method !== 'get' && method !== 'delete')) {
    for (const body of bodies) {
      const { caller, path } =
        route.access.kind === 'public'
          ? { caller: api.caller(), path: route.path }
          : await cell(api, route, 'owner', 'own');
      api.client.address = `10.${randomBytes(3).join('.')}`;
      const answer = await caller.call(route.method.toUpperCase(), path, { body });
      const where = `${route.method} ${route.path} ${body.slice(0, 20)}`;
      if (answer.status < 300) continue;
      expect([400, 413], where).toContain(answer.status);
      expect(answer.headers.get('content-type'), where).toBe('application/problem+json');
    }
  }
}, 120_000);
