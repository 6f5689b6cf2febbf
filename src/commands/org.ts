/** `org create|list|limits|plan`: organizations, in the accounts database directly, with or without a running service. */
import type { Organization } from '../accounts/organization.ts';
import type { LimitName, OrganizationLimits } from '../accounts/organization-limits.ts';
import type { AccountsDatabase } from '../accounts/store/accounts-database.ts';
import { BackworkError } from '../base/errors.ts';
import { ORGANIZATION_WEIGHT } from '../base/limits.ts';
import type { Settings } from '../settings/settings.ts';
import { RETENTION_DAYS } from '../tables/retention.ts';
import { type CommandContext, readArguments, UsageError } from './command.ts';
import { plan, planUsage } from './org-plan.ts';

export const usage = `org create --name N [--slug S] [--retention-days ${RETENTION_DAYS.join('|')}]
       org list
       org limits ID|SLUG [--bytes-per-second N] [--items-per-second N] [--requests-at-once N] [--spool-mib N] [--weight N]
                  N: 0 is no limit (a weight is 1 to 100), default is what plan and settings say
       ${planUsage}`;

/**
 * `create` prints the id and nothing else on stdout; `list` and `limits` print tab-separated columns under a header line.
 * `limits` changes what is named, and prints what is then in force and where it comes from.
 */
export async function run(args: readonly string[], context: CommandContext): Promise<number> {
  const [action, ...rest] = args;
  if (action === 'create') return create(rest, context);
  if (action === 'list') return list(rest, context);
  if (action === 'limits') return limits(rest, context);
  if (action === 'plan') return plan(rest, context);
  const choice = 'create, list, limits or plan?';
  throw new UsageError(action === undefined ? choice : `org ${action}: ${choice}`, usage);
}

async function create(args: readonly string[], context: CommandContext): Promise<number> {
  const { text } = readArguments(args, { name: 'text', slug: 'text', 'retention-days': 'text' }, usage);
  const name = text['name'];
  if (name === undefined) throw new UsageError('--name is missing', usage);
  const days = retentionDays(text['retention-days']);
  const slug = text['slug'];
  const { openAccounts } = await import('../accounts/store/accounts-database.ts');
  const { placementRules } = await import('../accounts/organization.ts');
  const { loadPlanCatalogue } = await import('../accounts/plan-catalogue.ts');
  const { defaultPlan } = loadPlanCatalogue(context.settings);
  const accounts = await openAccounts({ dataDir: context.settings.dataDir });
  try {
    const organization = await accounts.organizations.create(
      {
        name,
        ...(slug === undefined ? {} : { slug }),
        plan: defaultPlan,
        ...(days === undefined ? {} : { chosenDays: { logs: days, metrics: days, traces: days } }),
        createdAtMs: Date.now(),
      },
      placementRules(context.settings),
    );
    context.stdout(`${organization.id}\n`);
    const { slug: made, plan: given, placement, retentionDays: kept } = organization;
    const { logs, metrics, traces } = kept;
    const text =
      logs === metrics && logs === traces ? `${logs} days` : `logs ${logs}, metrics ${metrics}, traces ${traces} days`;
    context.stderr(`organization ${made}, plan ${given}, kept ${text}, placement ${placement}\n`);
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

/** In the order in which they are shown; 0 of the settings is no limit as well. */
const LIMIT_OPTIONS: readonly {
  readonly option: string;
  readonly name: LimitName;
  readonly setting?: keyof Settings;
}[] = [
  { option: 'bytes-per-second', name: 'bytesPerSecond', setting: 'orgBytesPerSecond' },
  { option: 'items-per-second', name: 'itemsPerSecond', setting: 'orgItemsPerSecond' },
  { option: 'requests-at-once', name: 'requestsAtOnce', setting: 'orgRequestsAtOnce' },
  { option: 'spool-mib', name: 'spoolMib', setting: 'orgSpoolMib' },
  { option: 'weight', name: 'weight' },
];

async function limits(args: readonly string[], context: CommandContext): Promise<number> {
  const kinds = Object.fromEntries(LIMIT_OPTIONS.map(({ option }) => [option, 'text' as const]));
  const { words, text } = readArguments(args, kinds, usage, 1);
  const changes: { -readonly [Name in LimitName]?: number | undefined } = {};
  for (const { option, name } of LIMIT_OPTIONS) {
    const value = text[option];
    if (value !== undefined) changes[name] = limitOf(option, value);
  }
  const { openAccounts } = await import('../accounts/store/accounts-database.ts');
  const accounts = await openAccounts({ dataDir: context.settings.dataDir });
  try {
    const [idOrSlug = ''] = words;
    const found = await accounts.organizations.find(idOrSlug);
    if (found === undefined) {
      throw new BackworkError('not-found', `there is no organization ${JSON.stringify(idOrSlug)}; see org list`);
    }
    const changed = Object.keys(changes).length > 0;
    const organization = changed ? await setLimits(accounts, found, changes, context.settings) : found;
    context.stdout('LIMIT\tIN_FORCE\tFROM\n');
    for (const { option, name, setting } of LIMIT_OPTIONS) {
      const own = organization.limits[name];
      const inForce = own ?? (setting === undefined ? ORGANIZATION_WEIGHT : Number(context.settings[setting]));
      const from =
        own === undefined ? 'default' : organization.overrides.limits[name] === undefined ? 'plan' : 'organization';
      context.stdout(`${[option, inForce === 0 ? 'none' : inForce, from].join('\t')}\n`);
    }
    return 0;
  } finally {
    await accounts.close();
  }
}

async function setLimits(
  accounts: AccountsDatabase,
  { id, overrides }: Organization,
  changes: Partial<OrganizationLimits>,
  settings: Settings,
): Promise<Organization> {
  const { namedLimits } = await import('../accounts/plan.ts');
  const { loadPlanCatalogue } = await import('../accounts/plan-catalogue.ts');
  const { placementRules } = await import('../accounts/organization.ts');
  const limits = namedLimits({ ...overrides.limits, ...changes });
  const decision = { overrides: { ...overrides, limits } };
  return accounts.organizations.decide(id, decision, loadPlanCatalogue(settings), placementRules(settings));
}

/** undefined: the default of the settings. Bounds are the accounts' business. */
function limitOf(option: string, text: string): number | undefined {
  if (text === 'default') return undefined;
  if (/^\d{1,15}$/.test(text)) return Number(text);
  throw new BackworkError('invalid-input', `--${option} ${JSON.stringify(text)} must be a whole number or default`);
}

function retentionDays(text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  const days = /^\d{1,4}$/.test(text) ? Number(text) : Number.NaN;
  if (RETENTION_DAYS.includes(days)) return days;
  const rule = `must be one of ${RETENTION_DAYS.join(', ')}`;
  throw new BackworkError('invalid-input', `--retention-days ${JSON.stringify(text)} ${rule}`);
}
