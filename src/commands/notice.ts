/** `notice publish|list|withdraw`: what the operator announces to everybody with an account, until each has read it. */
import { text as textOf } from 'node:stream/consumers';
import type { AccountsDatabase } from '../accounts/store/accounts-database.ts';
import { BackworkError } from '../base/errors.ts';
import { type CommandContext, readArguments, UsageError } from './command.ts';

export const usage = `notice publish --title T --effective 2027-01-31   its text from stdin
       notice list
       notice withdraw ID`;

/** `publish` prints the id and nothing else on stdout; `list` tab-separated columns under a header line. Throws as noticeStore does. */
export async function run(args: readonly string[], context: CommandContext): Promise<number> {
  const [action, ...rest] = args;
  if (action === 'publish') return publish(rest, context);
  if (action === 'list') return list(rest, context);
  if (action === 'withdraw') return withdraw(rest, context);
  throw new UsageError(
    action === undefined ? 'publish, list or withdraw?' : `notice ${action}: publish, list or withdraw?`,
    usage,
  );
}

async function publish(args: readonly string[], context: CommandContext): Promise<number> {
  const { text } = readArguments(args, { title: 'text', effective: 'text' }, usage);
  const { title, effective } = text;
  if (title === undefined || effective === undefined) throw new UsageError('--title and --effective are needed', usage);
  const effectiveAtMs = /^\d{4}-\d{2}-\d{2}$/.test(effective) ? Date.parse(`${effective}T00:00:00Z`) : Number.NaN;
  if (Number.isNaN(effectiveAtMs))
    throw new BackworkError('invalid-input', `--effective ${JSON.stringify(effective)} must be a day like 2027-01-31`);
  const body = await textOf(context.input ?? process.stdin);
  return withAccounts(context, async ({ notices }) => {
    const notice = await notices.publish({ title, body, effectiveAtMs, publishedAtMs: Date.now() });
    context.stdout(`${notice.id}\n`);
  });
}

async function list(args: readonly string[], context: CommandContext): Promise<number> {
  readArguments(args, {}, usage);
  return withAccounts(context, async ({ notices }) => {
    context.stdout('ID\tPUBLISHED\tEFFECTIVE\tTITLE\n');
    for (const { id, publishedAtMs, effectiveAtMs, title } of await notices.list()) {
      const [published, effective] = [publishedAtMs, effectiveAtMs].map((ms) => new Date(ms).toISOString());
      context.stdout(`${[id, published, effective?.slice(0, 10), title].join('\t')}\n`);
    }
  });
}

async function withdraw(args: readonly string[], context: CommandContext): Promise<number> {
  const { words } = readArguments(args, {}, usage, 1);
  return withAccounts(context, ({ notices }) => notices.withdraw(words[0] ?? ''));
}

async function withAccounts(
  context: CommandContext,
  work: (accounts: AccountsDatabase) => Promise<void>,
): Promise<number> {
  const { openAccounts } = await import('../accounts/store/accounts-database.ts');
  const accounts = await openAccounts({ dataDir: context.settings.dataDir });
  try {
    await work(accounts);
    return 0;
  } finally {
    await accounts.close();
  }
}
