/** The export of personal data: its shape, and with it what the data is for (GDPR Art. 15 and 20; privacy promises P2, P6, P7, P8). */
import { z } from '@hono/zod-openapi';
import type { PersonalData } from '../../accounts/store/personal-store.ts';
import type { User } from '../../accounts/user.ts';
import { iso, Role } from './shapes.ts';

const Time = z.iso.datetime();
const Id = z.string();

export const PersonalExport = z
  .object({
    about: z.object({ exportedAt: Time, purposes: z.string(), recipients: z.string(), retention: z.string() }),
    user: z.object({
      id: Id,
      email: z.string(),
      name: z.string(),
      emailVerifiedAt: Time.nullable(),
      ageConfirmedAt: Time,
      secondFactor: z.boolean(),
      createdAt: Time,
    }),
    memberships: z.array(z.object({ orgId: Id, organization: z.string(), role: Role, since: Time })),
    teams: z.array(z.object({ orgId: Id, teamId: Id, team: z.string(), role: z.string() })),
    sessions: z.array(z.object({ createdAt: Time, seenAt: Time, confirmedAt: Time })),
    links: z.array(z.object({ purpose: z.string(), newEmail: z.string(), expiresAt: Time })),
    mails: z.array(z.object({ kind: z.string(), createdAt: Time })),
    invitations: z.array(z.object({ orgId: Id, role: z.string(), expiresAt: Time })),
    invitationsSent: z.array(z.object({ id: Id, orgId: Id, createdAt: Time })),
    apiKeysMade: z.array(z.object({ id: Id, orgId: Id, name: z.string(), createdAt: Time })),
    noticesRead: z.array(z.object({ noticeId: Id, readAt: Time })),
    audit: z.array(
      z.object({
        orgId: Id,
        number: z.int(),
        at: Time,
        actor: z.string(),
        action: z.string(),
        target: z.string(),
        result: z.string(),
      }),
    ),
  })
  .openapi('PersonalExport');

const PURPOSES =
  'To let you log in, to show the members of your organizations who you are, to keep accounts secure, and to mail you what you asked for.';
const RECIPIENTS =
  'Members of your organizations see your name, address and role. Mail goes through the SMTP server of whoever operates this service. Nobody else gets it.';
const RETENTION =
  'As long as you have the account; deleting it removes all of this at once. The audit log keeps your id, which then names nobody. Sessions end after 7 days, links after 30 minutes, invitations after 7 days, mails that cannot be sent after a day.';

export function showExport(user: User, data: PersonalData, nowMs: number): z.infer<typeof PersonalExport> {
  const { id, email, name, emailVerifiedAtMs, ageConfirmedAtMs, hasSecondFactor, createdAtMs } = user;
  return {
    about: { exportedAt: iso(nowMs), purposes: PURPOSES, recipients: RECIPIENTS, retention: RETENTION },
    user: {
      ...{ id, email, name, secondFactor: hasSecondFactor },
      emailVerifiedAt: emailVerifiedAtMs === undefined ? null : iso(emailVerifiedAtMs),
      ageConfirmedAt: iso(ageConfirmedAtMs),
      createdAt: iso(createdAtMs),
    },
    memberships: data.memberships.map(({ sinceMs, ...rest }) => ({ ...rest, since: iso(sinceMs) })),
    teams: [...data.teams],
    sessions: data.sessions.map((one) => ({
      createdAt: iso(one.createdAtMs),
      seenAt: iso(one.seenAtMs),
      confirmedAt: iso(one.confirmedAtMs),
    })),
    links: data.links.map(({ expiresAtMs, ...rest }) => ({ ...rest, expiresAt: iso(expiresAtMs) })),
    mails: data.mails.map(({ kind, createdAtMs: atMs }) => ({ kind, createdAt: iso(atMs) })),
    invitations: data.invitations.map(({ expiresAtMs, ...rest }) => ({ ...rest, expiresAt: iso(expiresAtMs) })),
    invitationsSent: data.invitationsSent.map(({ createdAtMs: atMs, ...rest }) => ({ ...rest, createdAt: iso(atMs) })),
    apiKeysMade: data.apiKeysMade.map(({ createdAtMs: atMs, ...rest }) => ({ ...rest, createdAt: iso(atMs) })),
    noticesRead: data.noticesRead.map(({ noticeId, readAtMs }) => ({ noticeId, readAt: iso(readAtMs) })),
    audit: data.audit.map(({ atMs, ...rest }) => ({ ...rest, at: iso(atMs) })),
  };
}
