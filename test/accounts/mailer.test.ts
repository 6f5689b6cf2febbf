import { createServer, type Socket } from 'node:net';
import type { AddressInfo } from 'node:net';
import { describe, expect, it, onTestFinished } from 'vitest';
import { createMailer } from '../../src/accounts/mailer.ts';
import { invitationMail } from '../../src/accounts/mail-texts.ts';
import { createLog } from '../../src/base/log.ts';
import { openTestApi } from '../api/v1/v1-fixture.ts';

interface Received {
  readonly from: string;
  readonly to: string[];
  readonly data: string;
}

/** As much of an SMTP server as a client needs. `refuse` answers RCPT with this. */
async function smtpServer(refuse?: () => string | undefined) {
  const received: Received[] = [];
  const server = createServer((socket) => {
    serve(socket, received, refuse ?? (() => undefined));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  onTestFinished(() => void server.close());
  const { port } = server.address() as AddressInfo;
  return { url: `smtp://127.0.0.1:${port}`, received };
}

function serve(socket: Socket, received: Received[], refuse: () => string | undefined): void {
  let [text, from, data] = ['', '', undefined as string | undefined];
  let to: string[] = [];
  const say = (line: string) => socket.write(`${line}\r\n`);
  say('220 test');
  socket.on('error', () => undefined);
  socket.on('data', (chunk) => {
    text += chunk.toString();
    for (let end = text.indexOf('\r\n'); end >= 0; end = text.indexOf('\r\n')) {
      const line = text.slice(0, end);
      text = text.slice(end + 2);
      if (data !== undefined) {
        if (line !== '.') data += `${line}\n`;
        else {
          received.push({ from, to, data });
          [data, to] = [undefined, []];
          say('250 taken');
        }
      } else if (/^(EHLO|HELO)/.test(line)) say('250 test');
      else if (line.startsWith('MAIL')) {
        from = line;
        say('250 ok');
      } else if (line.startsWith('RCPT')) {
        to.push(line);
        say(refuse() ?? '250 ok');
      } else if (line === 'DATA') {
        data = '';
        say('354 go on');
      } else if (line === 'QUIT') socket.end('221 bye\r\n');
      else say('250 ok');
    }
  });
}

async function withMailer(refuse?: () => string | undefined) {
  const api = await openTestApi();
  const smtp = await smtpServer(refuse);
  const mailer = createMailer({
    outbox: api.plane.outbox,
    smtpUrl: smtp.url,
    from: 'backwork@example.com',
    log: createLog('main', 'fatal'),
    nowMs: () => api.clock.nowMs,
  });
  onTestFinished(() => mailer.close());
  return { api, smtp, mailer };
}

describe('mail', () => {
  it('goes to the server once, to one recipient, and is forgotten', async () => {
    const { api, smtp, mailer } = await withMailer();
    await api.user('known@example.com');
    await api.caller().post('/password-reset/mail', { email: 'known@example.com' });
    expect(await Promise.all([mailer.sendDue(), mailer.sendDue()])).toEqual([1, 1]);
    expect(await mailer.sendDue()).toBe(0);
    expect(smtp.received).toHaveLength(1);
    expect(smtp.received[0]).toMatchObject({ to: ['RCPT TO:<known@example.com>'] });
    expect(smtp.received[0]?.data).toContain('Subject: Set a new password');
    expect(smtp.received[0]?.data).toContain('Auto-Submitted: auto-generated');
    expect(await api.plane.accounts.mails.list()).toEqual([]);
  });

  it('that is refused waits longer each time and is sent when the server takes it', async () => {
    let refusals = 3;
    const { api, smtp, mailer } = await withMailer(() => (refusals-- > 0 ? '451 later' : undefined));
    await api.caller().post('/password-reset/mail', { email: 'x@example.com' });
    const waits: number[] = [];
    for (let i = 0; i < 1_000 && smtp.received.length === 0; i++) {
      const before = (await api.plane.accounts.mails.list())[0]?.attempts;
      await mailer.sendDue();
      const after = (await api.plane.accounts.mails.list())[0];
      if (after !== undefined && after.attempts !== before) waits.push(after.nextAtMs - api.clock.nowMs);
      api.clock.nowMs += 5_000;
    }
    expect(waits).toEqual([30_000, 60_000, 120_000]);
    expect(smtp.received).toHaveLength(1);
  });

  it('keeps its recipient and its headers whatever an organization is called (2.7)', async () => {
    const { api, smtp, mailer } = await withMailer();
    const names = [
      'a\r\nBcc: evil@example.com',
      '"><script>',
      'x@evil.example, y',
      '\u0000',
      'Ünïcödé 漢字',
      ...Array.from({ length: 30 }, (_, i) =>
        String.fromCharCode(...Array.from({ length: 20 }, (_, k) => (i * 37 + k * 101) % 256)),
      ),
    ];
    for (const name of names) {
      const mail = invitationMail({ publicUrl: 'https://backwork.example' }, 'bob@example.com', name, 'S'.repeat(43));
      await api.plane.outbox.queue('invitation', '', mail, api.clock.nowMs);
    }
    while ((await mailer.sendDue()) > 0);
    expect(smtp.received).toHaveLength(names.length);
    for (const { to, data } of smtp.received) {
      expect(to).toEqual(['RCPT TO:<bob@example.com>']);
      const head = data.slice(0, data.indexOf('\n\n'));
      const fields = head.split('\n').map((line) => line.split(':')[0]?.toLowerCase());
      expect(fields.filter((field) => field === 'bcc' || field === 'cc')).toEqual([]);
      expect(head).toContain('Subject: You are invited');
    }
  });
});
