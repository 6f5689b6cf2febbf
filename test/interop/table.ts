/** The results as a Markdown table, for the README. */
import type { Client, Transport } from './client.ts';
import type { OnceResult } from './once.ts';
import type { OutageResult } from './outage.ts';

export interface TransportResult {
  readonly transport: Transport;
  readonly once: OnceResult;
  readonly outage: OutageResult | undefined;
}

export interface ClientResult {
  readonly client: Client;
  /** Why it did not run; the other fields are empty then. */
  readonly notRun: string | undefined;
  readonly versions: Readonly<Record<string, string>>;
  readonly transports: readonly TransportResult[];
}

const HEAD = [
  '| client | protocol | compression | rows | away | created | lost | doubled |',
  '| --- | --- | --- | --- | --- | --- | --- | --- |',
];

/** One line a way of sending, then the versions and the exceptions; `created` is spans + log records + points. */
export function markdownTable(results: readonly ClientResult[], withOutages: boolean): string {
  const lines = [...HEAD];
  for (const { client, notRun, transports } of results) {
    if (notRun !== undefined) lines.push(`| ${client.name} | not run: ${oneLine(notRun)} | | | | | | |`);
    for (const one of transports) lines.push(`| ${cells(client, one, withOutages).join(' | ')} |`);
  }
  lines.push('', 'Versions:', '');
  for (const { client, versions, notRun } of results) {
    if (notRun !== undefined) continue;
    const list = Object.entries(versions).map(([name, version]) => `${name} ${version}`);
    lines.push(`- ${client.name}: ${list.join(', ')}`);
  }
  const exceptions = results.flatMap(({ client }) => client.exceptions.map((one) => ({ client, one })));
  if (exceptions.length > 0)
    lines.push('', 'What a library cannot send as the known set says, and what is stored instead:', '');
  for (const { client, one } of exceptions) {
    const protocols = one.protocols === undefined ? '' : ` (${one.protocols.join(', ')})`;
    lines.push(`- ${client.name}${protocols}, ${one.rows.join(', ')}: \`${one.column}\` — ${one.reason}`);
  }
  lines.push(...losses(results));
  return `${lines.join('\n')}\n`;
}

/** Which libraries give up by themselves, and why. */
function losses(results: readonly ClientResult[]): string[] {
  const rules = results.flatMap(({ client }) =>
    Object.entries(client.givesUp ?? {}).map(([protocol, rule]) => `- ${client.name} (${protocol}): ${rule}`),
  );
  return rules.length === 0 ? [] : ['', 'Libraries that give up an export by a rule of their own:', '', ...rules];
}

function cells(client: Client, result: TransportResult, withOutages: boolean): string[] {
  const { transport, once, outage } = result;
  const protocol = transport.variant === undefined ? transport.protocol : `${transport.protocol}, ${transport.variant}`;
  const rows = once.findings.length === 0 ? `${once.rows} equal` : `**${once.findings.length} differences**`;
  return [client.name, protocol, transport.compression, rows, ...outageCells(client, transport, outage, withOutages)];
}

function outageCells(
  client: Client,
  transport: Transport,
  outage: OutageResult | undefined,
  withOutages: boolean,
): string[] {
  if (outage === undefined) {
    const retries = client.retriesByDefault[transport.protocol] === true;
    const note = client.outageNotes?.[transport.protocol] ?? 'no retry by default';
    return [retries || !withOutages ? '' : note, '', '', ''];
  }
  const tallies = [outage.spans, outage.logs, outage.points];
  const sum = (name: 'lost' | 'doubled') => tallies.reduce((total, one) => total + one[name], 0);
  return [
    `${outage.awaySeconds} s`,
    tallies.map((one) => one.created).join(' + '),
    outage.givenUp === 0 ? String(sum('lost')) : `${sum('lost')} (given up by the library: ${outage.givenUp})`,
    String(sum('doubled')),
  ];
}

function oneLine(text: string): string {
  return text.replaceAll(/\s+/g, ' ').replaceAll('|', '/').slice(0, 200);
}
