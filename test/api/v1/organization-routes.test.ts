import { describe, expect, it } from 'vitest';
import { brokenAt } from '../../../src/accounts/audit.ts';
import { openTestApi, PASSWORD } from './v1-fixture.ts';

describe('organizations', () => {
  it('are made by whoever is logged in, who owns them, and seen by their members alone', async () => {
    const api = await openTestApi();
    const ada = await api.user('ada@example.com');
    const bob = await api.user('bob@example.com');
    const made = await ada.post('/organizations', { name: 'Café Niño' });
    expect(made).toMatchObject({ status: 201, body: { slug: 'cafe-nino', role: 'owner', placement: 'own' } });
    for (const org of [made.body.id, 'cafe-nino']) {
      expect((await ada.get(`/organizations/${org}`)).status).toBe(200);
      expect(await bob.get(`/organizations/${org}`)).toMatchObject({ status: 404, body: { code: 'not-found' } });
    }
    expect((await bob.get('/organizations/org_aaaaaaaaaaaaaaaa')).body).toEqual(
      (await bob.get('/organizations/cafe-nino')).body,
    );
  });

  it('change for who has seen the newest version', async () => {
    const api = await openTestApi();
    const ada = await api.member(api.orgId, 'admin', 'ada@example.com');
    const seen = (await ada.get('/organizations/default')).headers.get('etag') ?? '';
    const rename = (name: string) =>
      ada.call('PATCH', '/organizations/default', { body: { name }, headers: { 'if-match': seen } });
    expect(await rename('One')).toMatchObject({ status: 200, body: { name: 'One', slug: 'default' } });
    expect(await rename('Two')).toMatchObject({ status: 412, body: { code: 'precondition-failed' } });
    expect((await ada.get('/organizations/default')).body.name).toBe('One');
  });
});

describe('a creation with an Idempotency-Key', () => {
  it('sent again is answered and not done again, without what is shown once', async () => {
    const api = await openTestApi();
    const ada = await api.member(api.orgId, 'admin', 'ada@example.com');
    const create = (name: string) =>
      ada.post('/organizations/default/tokens', { name }, { headers: { 'idempotency-key': 'key-00000001' } });
    const first = await create('ci');
    expect(first.body.token).toMatch(/^bw_ing_/);
    const again = await create('ci');
    expect(again).toMatchObject({ status: 201, body: { id: first.body.id, token: null } });
    expect(again.headers.get('idempotency-replayed')).toBe('true');
    expect(await create('other')).toMatchObject({ status: 409, body: { code: 'conflict' } });
    const { items } = (await ada.get('/organizations/default/tokens')).body;
    expect(items.filter((token: { name: string }) => token.name === 'ci')).toHaveLength(1);
  });

  it('that was refused may be tried again with it', async () => {
    const api = await openTestApi();
    const ada = await api.member(api.orgId, 'admin', 'ada@example.com');
    const headers = { 'idempotency-key': 'key-00000002' };
    expect((await ada.post('/organizations/default/teams', { name: ' ' }, { headers })).status).toBe(400);
    expect((await ada.post('/organizations/default/teams', { name: 'Core' }, { headers })).status).toBe(201);
  });
});

describe('invitations', () => {
  it('are 100 a day for an organization: they are mail to people who did not ask for it', async () => {
    const api = await openTestApi();
    const ada = await api.member(api.orgId, 'admin', 'ada@example.com');
    const entry = {
      orgId: api.orgId,
      actor: ada.userId,
      action: 'member.invite',
      target: 'inv_x',
      result: 'done',
    } as const;
    for (let sent = 0; sent < 99; sent++) await api.plane.accounts.audit.append({ ...entry, atMs: api.clock.nowMs });
    const invite = (email: string) => ada.post('/organizations/default/invitations', { email, role: 'viewer' });
    expect((await invite('hundredth@example.com')).status).toBe(201);
    const refused = await invite('next@example.com');
    expect(refused).toMatchObject({ status: 429, body: { code: 'rate-limited' } });
    expect(refused.headers.get('retry-after')).toBe('3600');
    api.clock.nowMs += 24 * 3_600_000;
    await ada.post('/session', { email: 'ada@example.com', password: PASSWORD });
    expect((await invite('next@example.com')).status).toBe(201);
  });
});

describe('members', () => {
  it('get no more than who gives it has, and the only owner stays', async () => {
    const api = await openTestApi();
    const owner = await api.member(api.orgId, 'owner', 'owner@example.com');
    const admin = await api.member(api.orgId, 'admin', 'admin@example.com');
    const viewer = await api.member(api.orgId, 'viewer', 'viewer@example.com');
    const put = (caller: typeof owner, userId: string, role: string) =>
      caller.call('PUT', `/organizations/default/members/${userId}`, { body: { role } });
    expect((await put(admin, viewer.userId, 'owner')).status).toBe(403);
    expect((await put(admin, owner.userId, 'viewer')).status).toBe(403);
    expect((await put(admin, viewer.userId, 'admin')).status).toBe(200);
    expect((await put(owner, owner.userId, 'admin')).status).toBe(409);
    expect((await owner.call('DELETE', `/organizations/default/members/${owner.userId}`)).status).toBe(409);
    expect((await put(owner, admin.userId, 'owner')).status).toBe(200);
    expect((await put(owner, owner.userId, 'member')).status).toBe(200);
    expect((await put(owner, admin.userId, 'viewer')).status).toBe(403);
  });

  it('leave by themselves, and see nothing from then on', async () => {
    const api = await openTestApi();
    await api.member(api.orgId, 'owner', 'owner@example.com');
    const viewer = await api.member(api.orgId, 'viewer', 'viewer@example.com');
    expect((await viewer.call('DELETE', `/organizations/default/members/${viewer.userId}`)).status).toBe(204);
    expect((await viewer.get('/organizations/default')).status).toBe(404);
  });

  it('are invited by link, which an account of another address cannot use', async () => {
    const api = await openTestApi();
    const owner = await api.member(api.orgId, 'owner', 'owner@example.com');
    const bob = await api.user('bob@example.com');
    const eve = await api.user('eve@example.com');
    const invited = await owner.post('/organizations/default/invitations', {
      email: 'bob@example.com',
      role: 'member',
    });
    const { link, id } = invited.body;
    expect((await eve.post('/invitations/acceptance', { link })).status).toBe(404);
    expect((await owner.get('/organizations/default/invitations')).body.items).toMatchObject([{ id, role: 'member' }]);
    expect((await bob.post('/invitations/acceptance', { link })).body).toMatchObject({ role: 'member' });
    expect((await owner.get('/organizations/default/members')).body.items).toHaveLength(2);
  });

  it('cannot delete their account while they are the only owner, and are gone at once when they do', async () => {
    const api = await openTestApi();
    const owner = await api.member(api.orgId, 'owner', 'owner@example.com');
    const bob = await api.member(api.orgId, 'member', 'bob@example.com');
    expect((await owner.call('DELETE', '/me')).status).toBe(409);
    expect((await bob.call('DELETE', '/me')).status).toBe(204);
    expect((await bob.get('/me')).status).toBe(401);
    const login = await api.caller().post('/session', { email: 'bob@example.com', password: PASSWORD });
    expect(login.status).toBe(401);
  });
});

describe('teams', () => {
  it('are changed by their leads, and left by their members', async () => {
    const api = await openTestApi();
    const admin = await api.member(api.orgId, 'admin', 'admin@example.com');
    const [lead, other] = [
      await api.member(api.orgId, 'member', 'lead@example.com'),
      await api.member(api.orgId, 'member', 'other@example.com'),
    ];
    const { id } = (await admin.post('/organizations/default/teams', { name: 'Core' })).body;
    const at = `/organizations/default/teams/${id}`;
    const put = (caller: typeof lead, userId: string, role: string) =>
      caller.call('PUT', `${at}/members/${userId}`, { body: { role } });
    expect((await put(lead, lead.userId, 'lead')).status).toBe(403);
    expect((await put(admin, lead.userId, 'lead')).status).toBe(200);
    expect((await put(lead, other.userId, 'member')).status).toBe(200);
    expect((await put(other, other.userId, 'lead')).status).toBe(403);
    expect((await other.call('PATCH', at, { body: { name: 'X' } })).status).toBe(403);
    expect((await lead.call('PATCH', at, { body: { name: 'Kernel' } })).body).toMatchObject({ name: 'Kernel' });
    expect((await other.call('DELETE', `${at}/members/${lead.userId}`)).status).toBe(403);
    expect((await other.call('DELETE', `${at}/members/${other.userId}`)).status).toBe(204);
    expect((await admin.get(at)).body.members).toEqual([{ userId: lead.userId, role: 'lead' }]);
  });
});

describe('ingest tokens', () => {
  it('are shown once, rotated with an overlap, and revoked', async () => {
    const api = await openTestApi();
    const admin = await api.member(api.orgId, 'admin', 'admin@example.com');
    const at = '/organizations/default/tokens';
    const made = await admin.post(at, { name: 'edge', scopes: ['traces', 'logs'] });
    expect(made.body).toMatchObject({ name: 'edge', scopes: ['logs', 'traces'], live: true, expiresAt: null });
    const one = await admin.get(`${at}/${made.body.id}`);
    expect(one.body).not.toHaveProperty('token');
    const rotated = await admin.post(`${at}/${made.body.id}/rotation`, { overlapHours: 1 });
    expect(rotated).toMatchObject({ status: 201, body: { rotatedFrom: made.body.id, scopes: ['logs', 'traces'] } });
    expect(Date.parse(rotated.body.oldEndsAt)).toBe(api.clock.nowMs + 3_600_000);
    expect((await admin.post(`${at}/${made.body.id}/rotation`, {})).status).toBe(409);
    expect((await admin.call('DELETE', `${at}/${rotated.body.id}`)).body.live).toBe(false);
    expect((await admin.get(`${at}/${rotated.body.id}`)).body.revokedAt).not.toBeNull();
  });

  it('are rotated by a script whose key may, without confirming and without an origin', async () => {
    const api = await openTestApi();
    const admin = await api.member(api.orgId, 'admin', 'admin@example.com');
    const { id } = (await admin.post('/organizations/default/tokens', { name: 'edge' })).body;
    const ci = await api.key(api.orgId, ['tokens:write']);
    const rotation = await ci.post(`/organizations/default/tokens/${id}/rotation`, {}, { bare: true });
    expect(rotation.body.token).toMatch(/^bw_ing_/);
    expect(rotation.note).toMatchObject({
      route: '/api/v1/organizations/{org}/tokens/{token}/rotation'.replaceAll(/\{(\w+)\}/g, ':$1'),
      orgId: api.orgId,
    });
    const reader = await api.key(api.orgId, ['tokens:read']);
    expect((await reader.get('/organizations/default/tokens')).body.items).toHaveLength(3);
    expect((await reader.post(`/organizations/default/tokens/${id}/rotation`, {})).status).toBe(403);
    const other = await admin.post('/organizations', { name: 'Other' });
    expect((await reader.get(`/organizations/${other.body.id}/tokens`)).status).toBe(404);
  });
});

describe('API keys', () => {
  it('open as far as their scopes say, until they are revoked or over', async () => {
    const api = await openTestApi();
    const admin = await api.member(api.orgId, 'admin', 'admin@example.com');
    const expiresAt = new Date(api.clock.nowMs + 3_600_000).toISOString();
    const input = { name: 'ci', scopes: ['organization:read'], expiresAt };
    const made = await admin.post('/organizations/default/api-keys', input);
    const script = api.caller();
    script.bearer = made.body.key;
    expect((await script.get('/organizations/default')).body).not.toHaveProperty('role');
    expect((await script.get('/me')).status).toBe(403);
    expect((await script.post('/organizations/default/api-keys', input)).status).toBe(403);
    const used = (await admin.get('/organizations/default/api-keys')).body.items[0];
    expect(used).toMatchObject({ id: made.body.id, usedAt: new Date(api.clock.nowMs).toISOString() });
    expect(used).not.toHaveProperty('key');
    api.clock.nowMs += 3_600_000;
    expect((await script.get('/organizations/default')).status).toBe(401);
    const second = await admin.post('/session/confirmation', { password: PASSWORD });
    expect(second.status).toBe(200);
    const next = await admin.post('/organizations/default/api-keys', { ...input, expiresAt: undefined });
    script.bearer = next.body.key;
    expect((await script.get('/organizations/default')).status).toBe(200);
    await admin.call('DELETE', `/organizations/default/api-keys/${next.body.id}`);
    expect((await script.get('/organizations/default')).status).toBe(401);
  });

  it('are not ingest tokens, nor mistyped, nor of another installation', async () => {
    const api = await openTestApi();
    const other = await openTestApi();
    const foreign = (await other.key(other.orgId, ['organization:read'])).bearer ?? '';
    const own = (await api.key(api.orgId, ['organization:read'])).bearer ?? '';
    const ingest = api.plane.newToken('ing').token;
    const changed = own.replace(/.(?=.{6}$)/, (digit) => (digit === '0' ? '1' : '0'));
    for (const bearer of [foreign, ingest, changed, 'x', '']) {
      const script = api.caller();
      script.bearer = bearer;
      const answer = await script.get('/organizations/default');
      expect(answer.status).toBe(401);
      if (bearer.length > 1) expect(JSON.stringify(answer.body)).not.toContain(bearer);
    }
  });
});

describe('the audit log', () => {
  it('has who did what, in a chain that its readers can check', async () => {
    const api = await openTestApi();
    const owner = await api.member(api.orgId, 'owner', 'owner@example.com');
    const { id } = (await owner.post('/organizations/default/tokens', { name: 'edge' })).body;
    await owner.call('DELETE', `/organizations/default/tokens/${id}`);
    const first = (await owner.get('/organizations/default/audit?limit=1')).body;
    expect(first.items).toMatchObject([{ number: 1, actor: owner.userId, action: 'token.create', target: id }]);
    const rest = (await owner.get(`/organizations/default/audit?after=${first.next}`)).body;
    expect(rest).toMatchObject({ items: [{ number: 2, action: 'token.revoke', result: 'done' }], next: null });
    expect(brokenAt(await api.plane.accounts.audit.read(api.orgId, 0, 10))).toBeUndefined();
    const admin = await api.member(api.orgId, 'admin', 'admin@example.com');
    expect((await admin.get('/organizations/default/audit')).status).toBe(403);
  });
});

it('pages go on where the one before ended', async () => {
  const api = await openTestApi();
  const admin = await api.member(api.orgId, 'admin', 'admin@example.com');
  for (let i = 0; i < 5; i++) await admin.post('/organizations/default/teams', { name: `Team ${i}` });
  const names: string[] = [];
  for (let after = ''; ; ) {
    const { items, next } = (await admin.get(`/organizations/default/teams?limit=2${after}`)).body;
    names.push(...items.map(({ name }: { name: string }) => name));
    if (next === null) break;
    after = `&after=${next}`;
  }
  expect(names).toEqual([0, 1, 2, 3, 4].map((i) => `Team ${i}`));
  expect((await admin.get('/organizations/default/teams?after=team_x')).status).toBe(400);
});
