/** `org plan`: an organization's plan, and what the operator decided for it beside the plan. */
import type { Organization } from '../accounts/organization.ts';
import type { PlanOverrides } from '../accounts/plan.ts';
import { SCOPES, type Scope } from '../accounts/token.ts';
import { BackworkError } from '../base/errors.ts';
import { type CommandContext, readArguments } from './command.ts';

export const planUsage = `org plan ID|SLUG [--plan NAME] [--logs-days D] [--metrics-days D] [--traces-days D] [--bytes-per-day N] [--placement auto|own|shared]
                  default takes one back to the plan`;

/** Changes what is named and prints what is then in force, tab-separated under a header line, and what the change does on stderr. */
export async function plan(args: readonly string[], context: CommandContext): Promise<number> {
  const kinds = { plan: 'text', 'bytes-per-day': 'text', placement: 'text' } as const;
  const days = Object.fromEntries(SCOPES.map((scope) => [`${scope}-days`, 'text' as const]));
  const { words, text } = readArguments(args, { ...kinds, ...days }, planUsage, 1);
  const { openAccounts } = await import('../accounts/store/accounts-database.ts');
  const { loadPlanCatalogue } = await import('../accounts/plan-catalogue.ts');
  const { placementRules } = await import('../accounts/organization.ts');
  const { effectsOf } = await import('../accounts/plan.ts');
  const accounts = await openAccounts({ dataDir: context.settings.dataDir });
  try {
    const [idOrSlug = ''] = words;
    const before = await accounts.organizations.find(idOrSlug);
    if (before === undefined)
      throw new BackworkError('not-found', `there is no organization ${JSON.stringify(idOrSlug)}; see org list`);
    const named = Object.keys(text).length > 0;
    const decision = { plan: text['plan'] ?? before.plan, overrides: overridden(before.overrides, text) };
    const catalogue = loadPlanCatalogue(context.settings);
    const rules = placementRules(context.settings);
    const after = named ? await accounts.organizations.decide(before.id, decision, catalogue, rules) : before;
    if (named) {
      const entry = { actor: 'operator', action: 'organization.plan', target: after.id, result: 'done' } as const;
      await accounts.audit.append({ ...entry, orgId: after.id, atMs: Date.now() });
    }
    context.stdout(table(after));
    for (const { text: effect } of effectsOf(before, after)) context.stderr(`${effect}\n`);
    return 0;
  } finally {
    await accounts.close();
  }
}

function overridden(before: PlanOverrides, text: Readonly<Record<string, string | undefined>>): PlanOverrides {
  const retentionDays: { -readonly [Name in Scope]?: number } = { ...before.retentionDays };
  for (const scope of SCOPES) {
    const given = text[`${scope}-days`];
    if (given === 'default') delete retentionDays[scope];
    else if (given !== undefined) retentionDays[scope] = wholeNumber(`${scope}-days`, given);
  }
  const volume = text['bytes-per-day'];
  const placement = text['placement'];
  if (placement !== undefined && !/^(auto|own|shared|default)$/.test(placement))
    throw new BackworkError('invalid-input', '--placement must be auto, own, shared or default');
  const { bytesPerDay, placement: placementBefore, ...rest } = before;
  return {
    ...{ ...rest, retentionDays },
    bytesPerDay: volume === undefined ? bytesPerDay : numberOrDefault('bytes-per-day', volume),
    placement: placement === undefined ? placementBefore : placementOf(placement),
  };
}

function placementOf(text: string): PlanOverrides['placement'] {
  return text === 'default' ? undefined : (text as PlanOverrides['placement']);
}

function numberOrDefault(option: string, text: string): number | undefined {
  return text === 'default' ? undefined : wholeNumber(option, text);
}

function wholeNumber(option: string, text: string): number {
  if (/^\d{1,15}$/.test(text)) return Number(text);
  throw new BackworkError('invalid-input', `--${option} ${JSON.stringify(text)} must be a whole number or default`);
}

function table({ plan: name, retentionDays, bytesPerDay, placement, id }: Organization): string {
  const rows = [
    ['plan', name],
    ...SCOPES.map((scope) => [`${scope}-days`, retentionDays[scope]]),
    ['bytes-per-day', bytesPerDay === undefined || bytesPerDay === 0 ? 'none' : bytesPerDay],
    ['placement', placement === id ? 'own' : placement],
  ];
  return `NAME\tIN_FORCE\n${rows.map((row) => `${row.join('\t')}\n`).join('')}`;
}
