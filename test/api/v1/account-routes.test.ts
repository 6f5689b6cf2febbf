import { describe, expect, it } from 'vitest';
import { totpCode } from '../../../src/accounts/totp.ts';
import { mailedLink, openTestApi, ORIGIN, PASSWORD } from './v1-fixture.ts';

const ADA = { email: 'ada@example.com', name: 'Ada', password: PASSWORD, ageConfirmed: true };

function seedOf(uri: string): Buffer {
  const text = new URL(uri).searchParams.get('secret') ?? '';
  let bits = '';
  for (const digit of text) bits += 'ABCDEFGHIJKLMNOPQRSTUVWXYZ234567'.indexOf(digit).toString(2).padStart(5, '0');
  return Buffer.from((bits.match(/.{8}/g) ?? []).map((byte) => Number.parseInt(byte, 2)));
}

describe('sign-up', () => {
  it('makes the first account of an installation the owner of default, ready to log in', async () => {
    const api = await openTestApi({ signUp: 'invitation' });
    const ada = api.caller();
    expect(await ada.post('/sign-up', ADA)).toMatchObject({ status: 202, body: { outcome: 'ready' } });
    expect((await ada.post('/session', { email: ADA.email, password: PASSWORD })).status).toBe(200);
    const { body } = await ada.get('/organizations');
    expect(body.items).toMatchObject([{ id: api.orgId, slug: 'default', role: 'owner' }]);
    expect((await api.caller().post('/sign-up', { ...ADA, email: 'bob@example.com' })).status).toBe(403);
  });

  it('of the first account by two at once makes one owner', async () => {
    const api = await openTestApi();
    const outcomes = await Promise.all(
      ['ada@example.com', 'bob@example.com'].map((email) => api.caller().post('/sign-up', { ...ADA, email })),
    );
    expect(outcomes.map(({ body }) => body.outcome).sort()).toEqual(['check-mail', 'ready']);
    expect(await api.plane.accounts.users.membersOf(api.orgId)).toHaveLength(1);
  });

  it('wants the address confirmed by the link that was mailed, once', async () => {
    const api = await openTestApi();
    await api.user('first@example.com');
    const ada = api.caller();
    expect((await ada.post('/sign-up', ADA)).body).toEqual({ outcome: 'check-mail' });
    const login = { email: ADA.email, password: PASSWORD };
    expect(await ada.post('/session', login)).toMatchObject({ status: 403, body: { code: 'email-not-verified' } });
    const link = await mailedLink(api.plane, 'verify-email');
    expect((await ada.post('/email-verification', { link })).status).toBe(200);
    expect((await ada.post('/email-verification', { link })).status).toBe(404);
    expect((await ada.post('/session', login)).status).toBe(200);
  });

  it('P11: without the confirmation of age is refused and leaves no row', async () => {
    const api = await openTestApi();
    const { ageConfirmed: _, ...without } = ADA;
    for (const body of [{ ...ADA, ageConfirmed: false }, without])
      expect((await api.caller().post('/sign-up', body)).status).toBe(400);
    expect(await api.plane.accounts.users.isEmpty()).toBe(true);
    expect(await api.plane.outbox.list()).toEqual([]);
  });

  it('refuses passwords that are common, short, or made of who one is', async () => {
    const api = await openTestApi();
    for (const password of ['password1234567', 'short', 'ada@example.com1']) {
      const answer = await api.caller().post('/sign-up', { ...ADA, password });
      expect(answer.status, password).toBe(400);
      expect(JSON.stringify(answer.body)).not.toContain(password);
    }
  });

  it('of a known address answers as of an unknown one, and mails each', async () => {
    const api = await openTestApi();
    await api.user('known@example.com');
    const answers = [];
    for (const email of ['known@example.com', 'new@example.com']) {
      const answer = await api.caller().post('/sign-up', { ...ADA, email });
      answers.push({ status: answer.status, body: answer.body });
    }
    expect(answers[0]).toEqual(answers[1]);
    const mails = await api.plane.outbox.list();
    expect(mails.map(({ kind, to }) => `${kind} ${to}`).sort()).toEqual([
      'account-exists known@example.com',
      'verify-email new@example.com',
    ]);
  });

  it('with an invitation makes a member whose address is verified, for that address alone', async () => {
    const api = await openTestApi({ signUp: 'invitation' });
    const owner = await api.member(api.orgId, 'owner', 'owner@example.com');
    const invited = await owner.post(`/organizations/default/invitations`, {
      email: 'bob@example.com',
      role: 'member',
    });
    const { link } = invited.body;
    expect(await mailedLink(api.plane, 'invitation')).toBe(link);
    const other = await api.caller().post('/sign-up', { ...ADA, email: 'eve@example.com', invitation: link });
    expect(other.status).toBe(403);
    const bob = api.caller();
    const made = await bob.post('/sign-up', { ...ADA, email: 'Bob@example.com', invitation: link });
    expect(made).toMatchObject({ status: 202, body: { outcome: 'ready' } });
    expect((await bob.post('/session', { email: 'bob@example.com', password: PASSWORD })).status).toBe(200);
    expect((await bob.get('/organizations')).body.items).toMatchObject([{ slug: 'default', role: 'member' }]);
  });
});

describe('a session', () => {
  it('is a signed __Host- cookie that no script reads, and ends with logout', async () => {
    const api = await openTestApi();
    const ada = await api.user('ada@example.com');
    const again = await ada.post('/session', { email: 'ada@example.com', password: PASSWORD });
    const cookie = again.headers.get('set-cookie') ?? '';
    expect(cookie).toMatch(
      /^__Host-bw_session=[\w-]+\.[\w-]+\.[\w-]+; Max-Age=604800; Path=\/; HttpOnly; Secure; SameSite=Lax$/,
    );
    const kept = ada.cookie;
    expect((await ada.call('DELETE', '/session')).status).toBe(204);
    expect(ada.cookie).toBeUndefined();
    ada.cookie = kept;
    expect((await ada.get('/session')).status).toBe(401);
  });

  it('of a browser is one: a new login ends the one before', async () => {
    const api = await openTestApi();
    const ada = await api.user('ada@example.com');
    await ada.post('/session', { email: 'ada@example.com', password: PASSWORD });
    expect((await ada.get('/me/sessions')).body.items).toHaveLength(1);
  });

  it('ends after 12 idle hours and after 7 days, used or not', async () => {
    const api = await openTestApi();
    const ada = await api.user('ada@example.com');
    for (let hour = 0; hour < 7 * 24 - 1; hour += 11) {
      expect((await ada.get('/session')).status, `${hour}`).toBe(200);
      api.clock.nowMs += 11 * 3_600_000;
    }
    expect((await ada.get('/session')).status).toBe(401);
    const bob = await api.user('bob@example.com');
    api.clock.nowMs += 12 * 3_600_000;
    expect((await bob.get('/session')).status).toBe(401);
  });

  it('is not what another key signed, nor another algorithm, nor another part of it', async () => {
    const api = await openTestApi();
    const ada = await api.user('ada@example.com');
    const [name, value = ''] = (ada.cookie ?? '').split('=');
    const [head = '', claims = '', signature = ''] = value.split('.');
    const none = Buffer.from(JSON.stringify({ alg: 'none', typ: 'bw-session' })).toString('base64url');
    const changed = Buffer.from(Buffer.from(claims, 'base64url').toString().replace('sid', 'sud')).toString(
      'base64url',
    );
    const strangers = [
      `${none}.${claims}.`,
      `${head}.${changed}.${signature}`,
      `${head}.${claims}.${'A'.repeat(43)}`,
      'x',
      '',
    ];
    for (const stranger of strangers) {
      ada.cookie = `${name}=${stranger}`;
      expect((await ada.get('/session')).status, stranger).toBe(401);
    }
  });

  it('over plain HTTP from elsewhere is refused with a sentence (P5)', async () => {
    const api = await openTestApi();
    await api.user('ada@example.com');
    api.client.secure = false;
    const answer = await api.caller().post('/session', { email: 'ada@example.com', password: PASSWORD });
    expect(answer).toMatchObject({ status: 403, body: { code: 'forbidden' } });
    expect(answer.body.detail).toContain('https');
    expect(answer.headers.get('set-cookie')).toBeNull();
  });

  it('is used by our own pages alone: another origin, none, or another site changes nothing', async () => {
    const api = await openTestApi();
    const ada = await api.user('ada@example.com');
    const name = { body: { name: 'Eve' } };
    const attempts = [
      { ...name, bare: true },
      { ...name, headers: { origin: 'https://evil.example' } },
      { ...name, headers: { 'sec-fetch-site': 'cross-site' } },
      { ...name, headers: { origin: 'null' } },
    ] as const;
    for (const attempt of attempts) expect((await ada.call('PATCH', '/me', attempt)).status).toBe(403);
    const form = { body: 'name=Eve', headers: { 'content-type': 'application/x-www-form-urlencoded' } };
    expect((await ada.call('PATCH', '/me', form)).status).toBe(415);
    expect((await ada.get('/me')).body.name).toBe('Ada');
    expect((await ada.call('PATCH', '/me', { ...name, headers: { 'sec-fetch-site': 'same-origin' } })).status).toBe(
      200,
    );
    const login = { email: 'ada@example.com', password: PASSWORD };
    const foreign = await api.caller().post('/session', login, { headers: { origin: 'https://evil.example' } });
    expect(foreign.status).toBe(403);
  });

  it('is confirmed for ten minutes by login or the password, and gets a new cookie then', async () => {
    const api = await openTestApi();
    const ada = await api.user('ada@example.com');
    const offer = () => ada.post('/me/second-factor/offer');
    expect((await offer()).status).toBe(200);
    api.clock.nowMs += 600_000;
    expect(await offer()).toMatchObject({ status: 403, body: { code: 'confirmation-needed' } });
    const before = ada.cookie;
    expect((await ada.post('/session/confirmation', { password: 'something else 1' })).status).toBe(401);
    expect((await ada.confirm()).status).toBe(200);
    expect(ada.cookie).not.toBe(before);
    expect((await offer()).status).toBe(200);
    ada.cookie = before;
    expect((await ada.get('/session')).status).toBe(401);
  });

  it('is listed, and ended one by one or all but this', async () => {
    const api = await openTestApi();
    const ada = await api.user('ada@example.com');
    const others = [api.caller(), api.caller(), api.caller()];
    for (const other of others) await other.post('/session', { email: 'ada@example.com', password: PASSWORD });
    const { items } = (await ada.get('/me/sessions')).body;
    expect(items).toHaveLength(4);
    expect(items.filter((one: { current: boolean }) => one.current)).toHaveLength(1);
    const victim = items.find((one: { current: boolean }) => !one.current);
    expect((await ada.call('DELETE', `/me/sessions/${victim.id}`)).status).toBe(204);
    expect((await ada.get('/me/sessions')).body.items).toHaveLength(3);
    expect((await ada.call('DELETE', '/me/sessions')).status).toBe(204);
    for (const other of others) expect((await other.get('/session')).status).toBe(401);
    expect((await ada.get('/session')).status).toBe(200);
  });
});

describe('logins', () => {
  it('that fail are answered alike whether the account exists or not, and wait longer after five', async () => {
    const api = await openTestApi();
    await api.user('ada@example.com');
    const said: unknown[][] = [];
    for (const email of ['ada@example.com', 'nobody@example.com']) {
      const answers = [];
      for (let i = 0; i < 8; i++) {
        const answer = await api.caller().post('/session', { email, password: 'something else 1' });
        answers.push({ status: answer.status, body: answer.body, wait: answer.headers.get('retry-after') });
      }
      said.push(answers);
    }
    expect(said[0]).toEqual(said[1]);
    expect(said[0]?.map((answer) => (answer as { status: number }).status)).toEqual([
      401, 401, 401, 401, 401, 429, 429, 429,
    ]);
    const right = { email: 'ada@example.com', password: PASSWORD };
    expect((await api.caller().post('/session', right)).status).toBe(429);
    api.clock.nowMs += 1_000;
    expect((await api.caller().post('/session', right)).status).toBe(200);
  });

  it('of one address are so many a minute, of another its own', async () => {
    const api = await openTestApi();
    const tries = async () =>
      (await api.caller().post('/session', { email: 'x@example.com', password: 'a' })).body.detail;
    let limited = 0;
    for (let i = 0; i < 40; i++) if (/in 60 s/.test(await tries())) limited++;
    expect(limited).toBe(10);
    api.client.address = '127.0.0.2';
    expect(await tries()).not.toMatch(/in 60 s/);
  });
});

describe('a password', () => {
  it('is reset by a link that opens once; every session ends, the second factor stays, and its owner is told', async () => {
    const api = await openTestApi();
    const ada = await api.user('ada@example.com');
    const { body: offered } = await ada.post('/me/second-factor/offer');
    const seed = seedOf(offered.uri);
    const code = () => totpCode(seed, Math.floor(api.clock.nowMs / 30_000));
    expect((await ada.post('/me/second-factor', { offer: offered.offer, code: code() })).status).toBe(200);
    await api.caller().post('/password-reset/mail', { email: 'ADA@example.com' });
    const link = await mailedLink(api.plane, 'reset-password');
    const password = 'another horse 28 staple';
    expect((await api.caller().post('/password-reset', { link, password: 'short' })).status).toBe(400);
    expect((await api.caller().post('/password-reset', { link, password })).status).toBe(200);
    expect((await api.caller().post('/password-reset', { link, password })).status).toBe(404);
    expect((await ada.get('/session')).status).toBe(401);
    const login = { email: 'ada@example.com', password };
    expect(await ada.post('/session', login)).toMatchObject({ status: 401, body: { code: 'second-factor-needed' } });
    api.clock.nowMs += 30_000;
    expect((await ada.post('/session', { ...login, code: code() })).status).toBe(200);
    expect((await api.plane.outbox.list()).map(({ kind }) => kind)).toContain('password-changed');
  });

  it('asked for anew is answered and mailed alike for an address that nobody has', async () => {
    const api = await openTestApi();
    await api.user('known@example.com');
    const answers = [];
    for (const email of ['known@example.com', 'nobody@example.com'])
      answers.push((await api.caller().post('/password-reset/mail', { email })).body);
    expect(answers[0]).toEqual(answers[1]);
    const mails = await api.plane.outbox.list();
    expect(mails.map(({ to }) => to).sort()).toEqual(['known@example.com', 'nobody@example.com']);
  });

  it('is never in a mail, and a mail stands sealed in the database', async () => {
    const api = await openTestApi();
    await api.user('known@example.com');
    await api.caller().post('/password-reset/mail', { email: 'known@example.com' });
    const [row] = await api.plane.accounts.mails.list();
    const link = await mailedLink(api.plane, 'reset-password');
    expect(link).toHaveLength(43);
    expect(row?.sealed).not.toContain(link);
    expect(row?.sealed).toMatch(/^v1\./);
  });
});

describe('the second factor', () => {
  it('opens with each code and each recovery code once', async () => {
    const api = await openTestApi();
    const ada = await api.user('ada@example.com');
    const { body: offered } = await ada.post('/me/second-factor/offer');
    const seed = seedOf(offered.uri);
    const code = () => totpCode(seed, Math.floor(api.clock.nowMs / 30_000));
    const wrong = await ada.post('/me/second-factor', { offer: offered.offer, code: '000000' });
    expect(wrong.status).toBe(400);
    const set = await ada.post('/me/second-factor', { offer: offered.offer, code: code() });
    expect(set.body.recoveryCodes).toHaveLength(10);
    const login = (given: string) =>
      api.caller().post('/session', { email: 'ada@example.com', password: PASSWORD, code: given });
    expect((await login(code())).status).toBe(401);
    api.clock.nowMs += 30_000;
    expect((await login(code())).status).toBe(200);
    expect((await login(code())).status).toBe(401);
    const [recovery] = set.body.recoveryCodes;
    expect((await login(recovery.toLowerCase().replaceAll('-', ' '))).status).toBe(200);
    expect((await login(recovery)).status).toBe(401);
    expect((await ada.get('/me')).body.secondFactor).toBe(true);
    expect((await ada.call('DELETE', '/me/second-factor')).status).toBe(204);
    expect((await api.caller().post('/session', { email: 'ada@example.com', password: PASSWORD })).status).toBe(200);
  });
});

it('links are made of the configured address, whatever host a request names', async () => {
  const api = await openTestApi();
  await api.user('known@example.com');
  const headers = { host: 'evil.example', 'x-forwarded-host': 'evil.example' };
  await api.caller().post('/password-reset/mail', { email: 'known@example.com' }, { headers });
  const [mail] = await api.plane.outbox.list();
  expect(mail?.text).toContain(`${ORIGIN}/reset-password#`);
  expect(mail?.text).not.toContain('evil');
});
