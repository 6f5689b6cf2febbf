/**
 * `mail list|show`: what waits to be mailed, for an operator without an SMTP server: with the links of it every flow can be finished by
 * hand. What is shown opens accounts, so it is shown to who may read the data directory's keys, and nobody else.
 */
import type { OutgoingMail } from '../accounts/outbox.ts';
import { BackworkError } from '../base/errors.ts';
import { type CommandContext, readArguments, UsageError } from './command.ts';

export const usage = `mail list
       mail show ID`;

/** `list` prints tab-separated columns under a header line, `show` the text. Throws `not-found`. */
export async function run(args: readonly string[], context: CommandContext): Promise<number> {
  const [action, ...rest] = args;
  if (action === 'list') {
    readArguments(rest, {}, usage);
    context.stdout('ID\tKIND\tTO\tSINCE\tATTEMPTS\n');
    for (const { id, kind, to, createdAtMs, attempts } of await queued(context))
      context.stdout(`${[id, kind, to, new Date(createdAtMs).toISOString(), attempts].join('\t')}\n`);
    return 0;
  }
  if (action === 'show') {
    const [id, ...more] = rest;
    if (id === undefined || more.length > 0) throw new UsageError('mail show: which one?', usage);
    const mail = (await queued(context)).find((one) => one.id === id);
    if (mail === undefined) throw new BackworkError('not-found', `no mail ${id} waits`);
    context.stdout(`To: ${mail.to}\nSubject: ${mail.subject}\n\n${mail.text}`);
    return 0;
  }
  throw new UsageError(action === undefined ? 'list or show?' : `mail ${action}: list or show?`, usage);
}

async function queued(context: CommandContext): Promise<OutgoingMail[]> {
  const { randomBytes } = await import('node:crypto');
  const { loadKeyRing } = await import('../accounts/key-ring.ts');
  const { createOutbox } = await import('../accounts/outbox.ts');
  const { loadSecretBox } = await import('../accounts/secret-box.ts');
  const { openAccounts } = await import('../accounts/store/accounts-database.ts');
  const { dataDir } = context.settings;
  const accounts = await openAccounts({ dataDir, readOnly: true });
  try {
    const rows = await accounts.mails.list();
    // Before the first mail there may be no key either.
    if (rows.length === 0) return [];
    return await createOutbox(accounts.mails, await loadSecretBox(randomBytes), loadKeyRing(dataDir, 'secrets')).list();
  } finally {
    await accounts.close();
  }
}
