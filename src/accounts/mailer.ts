/**
 * Sends what waits in the outbox to the operator's SMTP server, by nodemailer. One recipient a message, plain text, no file and
 * no URL is ever read into one. What cannot be sent is tried again later, for a day (outbox.ts); a refusal for good (5xx) too,
 * because most of them are a server that is set up wrongly.
 *
 * Without a server nothing of this is loaded and no connection is opened (privacy promise P7).
 */
import { createTransport } from 'nodemailer';
import type { Log } from '../base/log.ts';
import type { Outbox, OutgoingMail } from './outbox.ts';

export interface MailerOptions {
  readonly outbox: Outbox;
  /** `smtp://user:password@host:587`, or `smtps://` for TLS from the first byte. */
  readonly smtpUrl: string;
  /** Address of the sender. */
  readonly from: string;
  readonly log: Log;
  readonly nowMs: () => number;
}

export interface Mailer {
  /** Sends what is due; returns how many were taken by the server. Never throws. */
  sendDue(): Promise<number>;
  close(): void;
}

const AT_ONCE = 20;
const CONNECT_MS = 10_000;
const SOCKET_MS = 30_000;

export function createMailer({ outbox, smtpUrl, from, log, nowMs }: MailerOptions): Mailer {
  const transport = createTransport(
    {
      url: smtpUrl,
      connectionTimeout: CONNECT_MS,
      greetingTimeout: CONNECT_MS,
      socketTimeout: SOCKET_MS,
      disableFileAccess: true,
      disableUrlAccess: true,
    },
    { from: { name: 'backwork', address: from }, headers: { 'Auto-Submitted': 'auto-generated' } },
  );
  let running: Promise<number> | undefined;
  return {
    // One round at a time: a slow server gets no mail twice.
    sendDue: () =>
      (running ??= round().finally(() => {
        running = undefined;
      })),
    close: () => transport.close(),
  };

  async function round(): Promise<number> {
    let sent = 0;
    try {
      for (const mail of await outbox.due(nowMs(), AT_ONCE)) if (await send(mail)) sent++;
    } catch (error) {
      log.warn({ error }, 'waiting mail could not be read');
    }
    return sent;
  }

  async function send(mail: OutgoingMail): Promise<boolean> {
    const { to, subject, text, kind, attempts } = mail;
    try {
      // As objects: an address that is a text would be parsed, and might become two.
      await transport.sendMail({ to: { name: '', address: to }, envelope: { from, to: [to] }, subject, text });
    } catch (error) {
      const { code, responseCode } = error as { code?: string; responseCode?: number };
      // The server's words may repeat the address.
      log.warn(
        { kind, attempts: attempts + 1, code, responseCode },
        'a mail could not be sent; it is tried again later',
      );
      await outbox.failed(mail, nowMs());
      return false;
    }
    await outbox.sent(mail.id);
    return true;
  }
}
