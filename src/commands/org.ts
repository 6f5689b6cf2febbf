/** `org create|list`: organizations, in the accounts database directly, with or without a running service. */
import { BackworkError } from '../base/errors.ts';
import { RETENTION_DAYS } from '../tables/retention.ts';
import { type CommandContext, readArguments, UsageError } from './command.ts';

export const usage = `org create --name N [--slug S] [--retention-days ${RETENTION_DAYS.join('|')}]
       org list`;

/** `create` prints the id and nothing else on stdout; `list` prints tab-separated columns under a header line. */
export async function run(args: readonly string[], context: CommandContext): Promise<number> {
  const [action, ...rest] = args;
  if (action === 'create') return create(rest, context);
  if (action === 'list') return list(rest, context);
  throw new UsageError(action === undefined ? 'create or list?' : `org ${action}: create or list?`, usage);
}

async function create(args: readonly string[], context: CommandContext): Promise<number> {
  const { text } = readArguments(args, { name: 'text', slug: 'text', 'retention-days': 'text' }, usage);
  const name = text['name'];
  if (name === undefined) throw new UsageError('--name is missing', usage);
  const days = retentionDays(text['retention-days'], context.settings.retentionDays);
  const slug = text['slug'];
  const { openAccounts } = await import('../accounts/store/accounts-database.ts');
  const { placementRules } = await import('../accounts/organization.ts');
  const accounts = await openAccounts({ dataDir: context.settings.dataDir });
  try {
    const organization = await accounts.organizations.create(
      {
        name,
        ...(slug === undefined ? {} : { slug }),
        retentionDays: { logs: days, metrics: days, traces: days },
        createdAtMs: Date.now(),
      },
      placementRules(context.settings),
    );
    context.stdout(`${organization.id}\n`);
    context.stderr(`organization ${organization.slug}, kept ${days} days, placement ${organization.placement}\n`);
    return 0;
  } finally {
    await accounts.close();
  }
}

async function list(args: readonly string[], context: CommandContext): Promise<number> {
  readArguments(args, {}, usage);
  const { openAccounts } = await import('../accounts/store/accounts-database.ts');
  const accounts = await openAccounts({ dataDir: context.settings.dataDir });
  try {
    context.stdout('ID\tSLUG\tNAME\tPLACEMENT\tLOGS_DAYS\tMETRICS_DAYS\tTRACES_DAYS\tCREATED\tSTATE\n');
    for (const organization of await accounts.organizations.list()) {
      const { logs, metrics, traces } = organization.retentionDays;
      const created = new Date(organization.createdAtMs).toISOString();
      const state = organization.disabledAtMs === undefined ? 'enabled' : 'disabled';
      const { id, slug, name, placement } = organization;
      context.stdout(`${[id, slug, name, placement, logs, metrics, traces, created, state].join('\t')}\n`);
    }
    return 0;
  } finally {
    await accounts.close();
  }
}

function retentionDays(text: string | undefined, fallback: number): number {
  if (text === undefined) return fallback;
  const days = /^\d{1,4}$/.test(text) ? Number(text) : Number.NaN;
  if (RETENTION_DAYS.includes(days)) return days;
  const rule = `must be one of ${RETENTION_DAYS.join(', ')}`;
  throw new BackworkError('invalid-input', `--retention-days ${JSON.stringify(text)} ${rule}`);
}
