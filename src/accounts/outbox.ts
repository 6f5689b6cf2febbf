/**
 * Mail on its way out: what is said is sealed and queued in the database; who sends it asks for what is due. Without an SMTP
 * server it stays there for a day and an operator reads it (`backwork mail`), so that every flow can be finished by hand (P7).
 *
 * A mail is plain text to one address. Nothing that a person typed is in a header: the recipient is checked by checkEmail, and
 * the subjects are ours.
 */
import { randomUUID } from 'node:crypto';
import type { KeyRing } from './key-ring.ts';
import type { SecretBox, SecretPlace } from './secret-box.ts';
import type { MailStore, QueuedMail } from './store/mail-store.ts';

export const MAIL_KINDS = [
  'verify-email',
  'reset-password',
  'account-exists',
  'invitation',
  'password-changed',
  'change-email',
  'email-changed',
] as const;
export type MailKind = (typeof MAIL_KINDS)[number];

export interface Mail {
  readonly to: string;
  readonly subject: string;
  readonly text: string;
}

export interface OutgoingMail extends Mail {
  readonly id: string;
  readonly kind: MailKind;
  readonly attempts: number;
  readonly createdAtMs: number;
}

export interface Outbox {
  /** `userId`: whose account it is about; '' for an invitation. */
  queue(kind: MailKind, userId: string, mail: Mail, nowMs: number): Promise<void>;
  due(nowMs: number, count: number): Promise<OutgoingMail[]>;
  list(): Promise<OutgoingMail[]>;
  sent(id: string): Promise<void>;
  failed(mail: OutgoingMail, nowMs: number): Promise<void>;
  /** Drops what nobody could send in a day. */
  sweep(nowMs: number): Promise<number>;
}

const KEPT_MS = 24 * 3_600_000;
const RETRY_MS_MIN = 30_000;
const RETRY_MS_MAX = 3_600_000;

export function createOutbox(mails: MailStore, box: SecretBox, keys: KeyRing): Outbox {
  const open = (queued: QueuedMail): OutgoingMail => {
    const bytes = box.open(queued.sealed, placeOf(queued.id), (id) => keys.find(id));
    const { id, attempts, createdAtMs } = queued;
    return { ...(JSON.parse(bytes.toString()) as Mail), id, kind: queued.kind as MailKind, attempts, createdAtMs };
  };
  return {
    async queue(kind, userId, mail, nowMs) {
      const id = randomUUID();
      const sealed = box.seal(Buffer.from(JSON.stringify(mail)), placeOf(id), keys.current);
      await mails.add({ id, userId, kind, sealed, createdAtMs: nowMs });
    },
    due: async (nowMs, count) => (await mails.due(nowMs, count)).map(open),
    list: async () => (await mails.list()).map(open),
    sent: (id) => mails.remove(id),
    failed: ({ id, attempts }, nowMs) =>
      mails.postpone(id, nowMs + Math.min(RETRY_MS_MAX, RETRY_MS_MIN * 2 ** attempts)),
    sweep: (nowMs) => mails.sweep(nowMs - KEPT_MS),
  };
}

function placeOf(id: string): SecretPlace {
  return { table: 'mails', column: 'sealed', row: id, orgId: '' };
}
