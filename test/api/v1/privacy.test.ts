/** The privacy promises (P2, P5, P8, P10, P12) as far as accounts keep them, over the API and in the very bytes of the database. */
import { readFileSync } from 'node:fs';
import { DatabaseSync } from 'node:sqlite';
import { describe, expect, it } from 'vitest';
import { accountsPath } from '../../../src/accounts/store/sqlite.ts';
import { SESSION_COOKIE } from '../../../src/api/v1/principal.ts';
import { THEME_COOKIE } from '../../../src/api/v1/privacy-routes.ts';
import { HOUR_MS, NOON_MS } from '../../accounts/accounts-fixture.ts';
import { type Caller, mailedLink, openTestApi, PASSWORD, type TestApi } from './v1-fixture.ts';

/** `table.column` of every cell that holds the text. */
function cellsWith(dataDir: string, text: string): string[] {
  const database = new DatabaseSync(accountsPath(dataDir), { readOnly: true });
  try {
    return columnsOf(database).filter((name) => {
      const [table, column] = name.split('.');
      const sql = `SELECT count(*) AS n FROM "${table}" WHERE instr(CAST("${column}" AS TEXT), ?) > 0`;
      return database.prepare(sql).get(text)?.['n'] !== 0;
    });
  } finally {
    database.close();
  }
}

function columnsOf(database: DatabaseSync): string[] {
  const tables = database.prepare("SELECT name FROM sqlite_master WHERE type = 'table'").all() as { name: string }[];
  return tables
    .flatMap(({ name }) =>
      (database.prepare('SELECT name FROM pragma_table_info(?)').all(name) as { name: string }[]).map(
        (column) => `${name}.${column.name}`,
      ),
    )
    .sort();
}

/** Everything that is kept of a person, planted: teams, invitations of and to them, keys, links, mails, a notice that was read. */
async function plant(api: TestApi, email: string): Promise<Caller> {
  const { accounts } = api.plane;
  const person = await api.member(api.orgId, 'owner', email);
  await person.call('PATCH', '/me', { body: { name: `Name of ${email}` } });
  const team = await person.post('/organizations/default/teams', { name: `Team of ${email}` });
  await accounts.teams.setMember(api.orgId, team.body.id, person.userId, 'lead');
  const headers = { 'idempotency-key': `invite-by-${person.userId}` };
  const invited = await person.post(
    '/organizations/default/invitations',
    { email: `friend.of.${email}`, role: 'viewer' },
    { headers },
  );
  expect(invited.status).toBe(201);
  await person.post('/organizations/default/api-keys', { name: `Key of ${email}`, scopes: ['tokens:read'] });
  await api.caller().post('/password-reset/mail', { email });
  await person.post('/me/email', { email: `new.${email}` });
  return person;
}

describe('P10: the export', () => {
  it('holds everything that is stored of a person, no secret, and nothing of anybody else', async () => {
    const api = await openTestApi();
    const ada = await plant(api, 'ada@example.com');
    await plant(api, 'bob@example.com');
    const other = await api.plane.accounts.organizations.create(
      { name: 'Other place', plan: api.plane.plans.defaultPlan, createdAtMs: NOON_MS },
      { ownPlacementsMax: 2, sharedPlacements: 1 },
    );
    await api.plane.accounts.invitations.create({
      ...{ orgId: other.id, email: 'Ada@example.com', role: 'member', invitedBy: 'usr_x' },
      ...{ digest: api.plane.newSecret().digest, createdAtMs: NOON_MS },
    });
    const answer = await ada.post('/me/export', undefined);
    expect(answer.status).toBe(200);
    expect(answer.headers.get('content-disposition')).toMatch(/^attachment; /);
    expect(answer.body).toMatchObject({
      user: { id: ada.userId, email: 'ada@example.com', name: 'Name of ada@example.com', secondFactor: false },
      memberships: [{ orgId: api.orgId, organization: 'default', role: 'owner' }],
      teams: [{ team: 'Team of ada@example.com', role: 'lead' }],
      sessions: [{}],
      links: [
        { purpose: 'change-email', newEmail: 'new.ada@example.com' },
        { purpose: 'reset-password', newEmail: '' },
      ],
      invitations: [{ orgId: other.id, role: 'member' }],
      invitationsSent: [{ orgId: api.orgId }],
      apiKeysMade: [{ name: 'Key of ada@example.com' }],
    });
    expect(answer.body.mails.map((mail: { kind: string }) => mail.kind).sort()).toEqual([
      'change-email',
      'reset-password',
    ]);
    const actions = answer.body.audit.map((entry: { action: string }) => entry.action);
    expect(actions).toEqual(
      expect.arrayContaining(['session.begin', 'member.invite', 'api-key.create', 'team.create']),
    );
    const text = JSON.stringify(answer.body);
    for (const foreign of ['bob@', 'friend.of', '$argon2', 'v1.']) expect(text).not.toContain(foreign);
    expect(text).not.toMatch(/[0-9a-f]{40}/);
    for (const word of ['purposes', 'recipients', 'retention']) expect(answer.body.about[word]).toMatch(/^[A-Z].+\.$/);
  });
});

describe('correction', () => {
  it('of the address takes the link that was mailed to the new one, tells the old one, and ends all sessions', async () => {
    const api = await openTestApi();
    const ada = await api.user('old@example.com');
    expect((await ada.post('/me/email', { email: 'new@example.com' })).body).toEqual({ outcome: 'check-mail' });
    const link = await mailedLink(api.plane, 'change-email');
    expect((await ada.get('/me')).body.email).toBe('old@example.com');
    expect((await api.caller().post('/email-change', { link })).status).toBe(200);
    expect((await ada.get('/me')).status).toBe(401);
    expect((await api.caller().post('/session', { email: 'new@example.com', password: PASSWORD })).status).toBe(200);
    expect((await api.caller().post('/session', { email: 'old@example.com', password: PASSWORD })).status).toBe(401);
    expect((await api.caller().post('/email-change', { link })).status).toBe(404);
    const told = (await api.plane.outbox.list()).find(({ kind }) => kind === 'email-changed');
    expect(told?.to).toBe('old@example.com');
    expect(cellsWith(api.dataDir, 'old@example.com')).toEqual([]);
    expect(cellsWith(api.dataDir, 'new@example.com')).toEqual(['users.email', 'users.email_key']);
  });

  it('to an address that has an account answers the same, mails that there is one, and changes nothing', async () => {
    const api = await openTestApi();
    const ada = await api.user('ada@example.com');
    await api.user('bob@example.com');
    const asked = await ada.post('/me/email', { email: 'BOB@example.com' });
    expect([asked.status, asked.body]).toEqual([202, { outcome: 'check-mail' }]);
    const [mail] = await api.plane.outbox.list();
    expect(mail).toMatchObject({ kind: 'change-email', to: 'BOB@example.com', subject: 'You have an account already' });
    expect(mail?.text).not.toContain('#');
    expect((await ada.get('/me')).body.email).toBe('ada@example.com');
  });

  it('that somebody else was faster with is refused, and a link is over after half an hour', async () => {
    const api = await openTestApi();
    const ada = await api.user('ada@example.com');
    await ada.post('/me/email', { email: 'wanted@example.com' });
    const link = await mailedLink(api.plane, 'change-email');
    await api.user('wanted@example.com');
    expect(await api.caller().post('/email-change', { link })).toMatchObject({
      status: 409,
      body: { code: 'conflict' },
    });
    await ada.post('/me/email', { email: 'late@example.com' });
    const late = await mailedLink(api.plane, 'change-email');
    api.clock.nowMs += HOUR_MS / 2;
    expect((await api.caller().post('/email-change', { link: late })).status).toBe(404);
  });
});

describe('P8: a deleted account', () => {
  it('leaves neither address nor name in any cell, nor in any byte of the database', async () => {
    const api = await openTestApi();
    await plant(api, 'owner@example.com');
    const ada = await plant(api, 'ada@example.com');
    await api.plane.accounts.invitations.create({
      ...{ orgId: api.orgId, email: 'x.ada@example.com', role: 'viewer', invitedBy: ada.userId },
      ...{ digest: api.plane.newSecret().digest, createdAtMs: NOON_MS },
    });
    expect(cellsWith(api.dataDir, 'ada@example.com')).toEqual(
      expect.arrayContaining(['users.email', 'users.email_key', 'users.name', 'links.email', 'links.email_key']),
    );
    await ada.call('DELETE', '/organizations/default/invitations/none');
    const deleted = await ada.call('DELETE', '/me');
    expect(deleted.status).toBe(204);
    expect(cellsWith(api.dataDir, 'Name of ada')).toEqual([]);
    // What Ada named as an organization's belongs to the organization; whom she invited is there until the invitation is over.
    const left = cellsWith(api.dataDir, 'ada@example.com').filter(
      (cell) => !/^(teams|api_keys)\.name$|^invitations\./.test(cell),
    );
    expect(left).toEqual([]);
    expect(cellsWith(api.dataDir, ada.userId).filter((cell) => !cell.startsWith('audit.'))).toEqual([
      'api_keys.created_by',
      'invitations.invited_by',
    ]);
    await api.plane.close();
    // secure_delete and the checkpoint of the last close: not in free pages either.
    const bytes = readFileSync(accountsPath(api.dataDir));
    expect(bytes.includes('Name of owner@example.com')).toBe(true);
    expect(bytes.includes('Name of ada@example.com')).toBe(false);
  });
});

/** Every column that may hold something of a person. Whoever adds a column decides here, and in the privacy policy. */
const PERSONAL = [
  'invitations.email',
  'invitations.email_key',
  'links.email',
  'links.email_key',
  'mails.sealed',
  'users.age_confirmed_at',
  'users.email',
  'users.email_key',
  'users.name',
  'users.password',
  'users.totp_seed',
];
/** Ids, digests, times, numbers, and names that people gave to things. */
const NOT_PERSONAL =
  /(^|\.)(id|[a-z]+_id|digest|hash|number|version|revision|role|scopes|kind|purpose|status|action|result|target|actor|slug|placement|plan|weight|expires|attempts|day)$|_at$|\.(limit|retention|volume)_|^sqlite_/;
const DECIDED = [
  // Named by members for their organization, shown to its members.
  ...['api_keys.name', 'organizations.name', 'teams.name', 'tokens.name'],
  // Whom the id names is gone with the account.
  ...['api_keys.created_by', 'invitations.invited_by', 'tokens.rotated_from', 'audit.at'],
  ...[
    'organizations.plan_overrides',
    'organizations.chosen_days',
    'organizations.refused_until',
    'users.totp_last_step',
  ],
  ...['notices.title', 'notices.body'],
  // Sealed, for a day; and a hash.
  ...['idempotency.body', 'idempotency.request'],
];

describe('P2: what is stored of people', () => {
  it('is in the columns of this list and no other, and a password is an argon2id string', async () => {
    const api = await openTestApi();
    await plant(api, 'ada@example.com');
    const database = new DatabaseSync(accountsPath(api.dataDir), { readOnly: true });
    const columns = columnsOf(database);
    const passwords = database.prepare('SELECT password FROM users').all() as { password: string }[];
    database.close();
    expect(passwords.length).toBeGreaterThan(0);
    for (const { password } of passwords) expect(password).toMatch(/^\$argon2id\$v=19\$m=\d+,t=\d+,p=\d+\$/);
    expect(columns.filter((name) => PERSONAL.includes(name))).toEqual(PERSONAL);
    const undecided = columns.filter(
      (name) => !PERSONAL.includes(name) && !DECIDED.includes(name) && !NOT_PERSONAL.test(name),
    );
    expect(undecided).toEqual([]);
  });
});

describe('P12: a notice', () => {
  it('reaches every user until that user has read it, and not after', async () => {
    const api = await openTestApi();
    const [ada, bob] = [await api.user('ada@example.com'), await api.user('bob@example.com')];
    const notice = await api.plane.accounts.notices.publish({
      ...{ title: 'Terms', body: 'They change.\n', publishedAtMs: api.clock.nowMs },
      effectiveAtMs: api.clock.nowMs + 30 * 24 * HOUR_MS,
    });
    const unread = async (one: Caller) => (await one.get('/me/notices')).body.items.map(({ id }: { id: string }) => id);
    expect((await ada.get('/me/notices')).body.items).toMatchObject([
      { id: notice.id, title: 'Terms', body: 'They change.\n', effectiveAt: '2026-12-23T12:00:00.000Z' },
    ]);
    expect((await ada.post(`/me/notices/${notice.id}/read`, undefined)).status).toBe(204);
    expect((await ada.post(`/me/notices/${notice.id}/read`, undefined)).status).toBe(204);
    expect([await unread(ada), await unread(bob)]).toEqual([[], [notice.id]]);
    const carol = await api.user('carol@example.com');
    expect(await unread(carol)).toEqual([notice.id]);
    api.clock.nowMs += 31 * 24 * HOUR_MS;
    // Who comes after it took effect has never known anything else.
    expect(await unread(await api.user('dave@example.com'))).toEqual([]);
    expect((await carol.post('/me/notices/ntc_aaaaaaaaaaaaaaaa/read', undefined)).status).not.toBe(204);
  });
});

describe('P5: cookies', () => {
  it('are two: the session, signed and out of the reach of scripts, and the theme with one of two values', async () => {
    const api = await openTestApi();
    await api.user('ada@example.com');
    const login = await api.caller().post('/session', { email: 'ada@example.com', password: PASSWORD });
    const light = await api.caller().call('PUT', '/theme', { body: { theme: 'light' } });
    expect(light.status).toBe(204);
    const set = [...login.headers.getSetCookie(), ...light.headers.getSetCookie()];
    expect(set.map((cookie) => cookie.split('=')[0])).toEqual([SESSION_COOKIE, THEME_COOKIE]);
    expect(set[0]).toMatch(/; HttpOnly; Secure; SameSite=Lax$/);
    expect(set[1]).toBe(`${THEME_COOKIE}=light; Max-Age=31536000; Path=/; Secure; SameSite=Lax`);
    expect((await api.caller().call('PUT', '/theme', { body: { theme: 'blue; x=1' } })).status).toBe(400);
  });
});
