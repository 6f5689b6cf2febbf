/**
 * From the environment to `Settings`, by the table in settings.ts. Every problem is found before any is reported: one
 * error, one line each. A variable set to nothing counts as not set, and `auto` may be written where it is the default.
 *
 * `spoolReserveMib` alone keeps its `auto` as 0 (which cannot be set), because the disk is known only where the spool
 * is: use `spoolReserveBytes`.
 */
import { isIP } from 'node:net';
import { availableParallelism, totalmem } from 'node:os';
import { BackworkError } from '../base/errors.ts';
import { MIB, ORGANIZATION_WEIGHT } from '../base/limits.ts';
import { leastIngestMemoryMib, usualInFlightMib, usualIngestMemoryMib } from '../base/memory-plan.ts';
import { type NumberSetting, SETTINGS, type Setting, type Settings, type TextSetting } from './settings.ts';

/** What `auto` values are computed from. */
export interface Machine {
  readonly cores: number;
  /** The smaller of RAM and the cgroup's limit. */
  readonly memoryMib: number;
}

/**
 * Throws one BackworkError `bad-setting` whose message has a line for each problem: variable, value unless secret, what
 * it must be. Unknown BACKWORK_* variables are problems too: a typo must not silently mean the default.
 */
export function loadSettings(env: NodeJS.ProcessEnv, machine: Machine = thisMachine()): Settings {
  const problems: string[] = [];
  const wrong = new Set<string>();
  const values: Record<string, string | number | boolean> = {};
  for (const [name, setting] of entries()) {
    const text = env[setting.env] ?? '';
    const problem = text === '' ? undefined : problemOf(setting, text);
    if (problem === undefined) values[name] = text === '' ? setting.default : parsed(setting, text);
    else {
      problems.push(line(setting, text, problem));
      wrong.add(name);
      values[name] = setting.default;
    }
  }
  fillAuto(values, machine);
  const settings = values as unknown as Settings;
  problems.push(...relationProblems(settings, wrong), ...unknownProblems(env));
  if (problems.length > 0) {
    const count = problems.length === 1 ? '1 setting is wrong' : `${problems.length} settings are wrong`;
    throw new BackworkError('bad-setting', `${count}:\n${problems.map((problem) => `  ${problem}`).join('\n')}`);
  }
  return settings;
}

/** Free disk below which ingest refuses, in bytes: the setting, or max(2 segments a worker, min(5 % of the disk, 2 GiB)). */
export function spoolReserveBytes(
  settings: Pick<Settings, 'spoolReserveMib' | 'segmentMib' | 'workers'>,
  diskBytes: number,
): number {
  if (settings.spoolReserveMib > 0) return settings.spoolReserveMib * MIB;
  const segmentsBytes = 2 * settings.workers * settings.segmentMib * MIB;
  return Math.max(segmentsBytes, Math.min(Math.floor(diskBytes / 20), 2_048 * MIB));
}

/** The files of the OTLP ports' TLS; undefined when they are plain text. */
export function otlpTlsPaths(
  settings: Pick<Settings, 'otlpTlsCertFile' | 'otlpTlsKeyFile' | 'otlpTlsClientCaFile'>,
): { readonly certFile: string; readonly keyFile: string; readonly clientCaFile: string | undefined } | undefined {
  const { otlpTlsCertFile: certFile, otlpTlsKeyFile: keyFile, otlpTlsClientCaFile: clientCa } = settings;
  if (certFile === '') return undefined;
  return { certFile, keyFile, clientCaFile: clientCa === '' ? undefined : clientCa };
}

/** BACKWORK_CORS_ORIGINS one by one. */
export function corsOrigins(settings: Pick<Settings, 'corsOrigins'>): string[] {
  return settings.corsOrigins
    .split(',')
    .map((origin) => origin.trim())
    .filter((origin) => origin !== '');
}

/** BACKWORK_TRUSTED_PROXIES one by one. */
export function trustedProxies(settings: Pick<Settings, 'trustedProxies'>): string[] {
  return settings.trustedProxies
    .split(',')
    .map((proxy) => proxy.trim())
    .filter((proxy) => proxy !== '');
}

/** Origin of the API's own pages: BACKWORK_PUBLIC_URL, or this machine on the port of the API. */
export function apiOrigin(settings: Pick<Settings, 'publicUrl'>, apiPort: number): string {
  return settings.publicUrl === '' ? `http://127.0.0.1:${apiPort}` : new URL(settings.publicUrl).origin;
}

/** The table as text for `--help`. */
export function settingsHelp(): string {
  const rows = entries().map(([, setting]) => `  ${setting.env} (${defaultText(setting)})\n      ${setting.meaning}\n`);
  return rows.join('');
}

/** What an organization without limits of its own may use; 0 is no limit. */
export function organizationDefaults(settings: Settings) {
  return {
    bytesPerSecond: settings.orgBytesPerSecond,
    itemsPerSecond: settings.orgItemsPerSecond,
    requestsAtOnce: settings.orgRequestsAtOnce,
    spoolBytes: settings.orgSpoolMib * MIB,
    weight: ORGANIZATION_WEIGHT,
  };
}

/** The table for the README. */
export function settingsMarkdown(): string {
  const rows = entries().map(([, setting]) => {
    const meaning = `${setting.meaning}${setting.secret === true ? ' Secret: never printed or logged.' : ''}`;
    return `| \`${setting.env}\` | ${defaultText(setting)} | ${meaning.replaceAll('|', '\\|')} |\n`;
  });
  return `| variable | default | meaning |\n| --- | --- | --- |\n${rows.join('')}`;
}

function entries(): [string, Setting][] {
  return Object.entries<Setting>(SETTINGS);
}

function defaultText(setting: Setting): string {
  if (setting.type === 'flag') return setting.default ? '1' : '0';
  if (setting.default === '') return 'empty';
  const unit =
    setting.type === 'number' && setting.unit !== undefined && setting.default !== 'auto' ? setting.unit : '';
  return `${setting.default} ${unit}`.trimEnd();
}

// ---------------------------------------------------------------- one value

function problemOf(setting: Setting, text: string): string | undefined {
  if (setting.type === 'flag') return /^(0|1|true|false)$/.test(text) ? undefined : 'must be 0 or 1';
  return setting.type === 'number' ? numberProblem(setting, text) : textProblem(setting, text);
}

function numberProblem(setting: NumberSetting, text: string): string | undefined {
  if (setting.default === 'auto' && text === 'auto') return undefined;
  const value = /^\d{1,15}$/.test(text) ? Number(text) : Number.NaN;
  if (setting.oneOf !== undefined) {
    return setting.oneOf.includes(value) ? undefined : `must be one of ${setting.oneOf.join(', ')}${unitOf(setting)}`;
  }
  if (value >= setting.min && value <= setting.max) return undefined;
  const auto = setting.default === 'auto' ? ', or auto' : '';
  return `must be a whole number from ${setting.min} to ${setting.max}${unitOf(setting)}${auto}`;
}

function textProblem(setting: TextSetting, text: string): string | undefined {
  if (setting.pattern !== undefined && !setting.pattern.test(text)) return `must be: ${setting.meaning}`;
  if (text.includes('\0')) return 'must not hold a NUL character';
  return undefined;
}

function parsed(setting: Setting, text: string): string | number | boolean {
  if (setting.type === 'flag') return text === '1' || text === 'true';
  if (setting.type === 'number') return text === 'auto' ? 'auto' : Number(text);
  return text;
}

function unitOf(setting: NumberSetting): string {
  return setting.unit === undefined ? '' : ` ${setting.unit}`;
}

function line(setting: Setting, value: unknown, problem: string): string {
  const shown = setting.secret === true ? ' (its value is secret)' : `=${value}`;
  return `${setting.env}${shown}: ${problem}`;
}

// ---------------------------------------------------------------- auto

/** Memory by Node's constrainedMemory, which reads the limit of cgroup v2 or v1; without a limit it is huge or 0. */
function thisMachine(): Machine {
  const limitBytes = process.constrainedMemory();
  const memoryBytes = limitBytes > 0 ? Math.min(totalmem(), limitBytes) : totalmem();
  return { cores: availableParallelism(), memoryMib: Math.floor(memoryBytes / MIB) };
}

function fillAuto(values: Record<string, string | number | boolean>, machine: Machine): void {
  const server = values['clickhouseUrl'] !== '';
  const computed: Record<string, number> = {
    workers: Math.min(4, Math.max(1, machine.cores - 1)),
    engineMemoryMib: Math.max(SETTINGS.engineMemoryMib.min, Math.floor(machine.memoryMib / 2)),
    ownPlacementsMax: server ? 100 : 8,
    spoolReserveMib: 0,
  };
  for (const [name, value] of Object.entries(computed)) {
    if (values[name] === 'auto') values[name] = value;
  }
  fillIngestMemory(values as Record<string, number | 'auto'>, machine);
}

/** The ceiling makes room for what the operator has set of its parts, the parts follow from the ceiling. */
function fillIngestMemory(values: Record<string, number | 'auto'>, machine: Machine): void {
  const [workers, bodyMib, inFlight] = ['workers', 'bodyMib', 'inFlightMib'].map((name) => values[name]);
  const body = Number(bodyMib);
  if (values['ingestMemoryMib'] === 'auto') {
    const usual = usualIngestMemoryMib({ memoryMib: machine.memoryMib, workers: Number(workers), bodyMib: body });
    const needed = inFlight === 'auto' ? 0 : leastIngestMemoryMib(body, Number(inFlight));
    values['ingestMemoryMib'] = Math.max(usual, needed);
  }
  if (inFlight === 'auto') values['inFlightMib'] = usualInFlightMib(Number(values['ingestMemoryMib']), body);
}

/** What the parts need at least; the ceiling itself may be what is wrong, so it is named. */
function memoryProblems(settings: Settings, wrong: ReadonlySet<string>): string[] {
  if (['ingestMemoryMib', 'bodyMib', 'inFlightMib'].some((name) => wrong.has(name))) return [];
  const least = leastIngestMemoryMib(settings.bodyMib, settings.inFlightMib);
  if (settings.ingestMemoryMib >= least) return [];
  const parts = `${SETTINGS.bodyMib.env} (${settings.bodyMib} MiB) and ${settings.inFlightMib} MiB of bodies in flight`;
  return [line(SETTINGS.ingestMemoryMib, settings.ingestMemoryMib, `must be at least ${least} MiB with ${parts}`)];
}

// ---------------------------------------------------------------- relations

/** `wrong`: settings whose own value is refused already; their stand-in defaults take no part in relations. */
function relationProblems(settings: Settings, wrong: ReadonlySet<string>): string[] {
  const problems: string[] = [];
  for (const name of ['otlpHost', 'apiHost'] as const) {
    const host = settings[name];
    if (!isHost(host)) {
      problems.push(
        line(SETTINGS[name], host, 'must be an IP address or a host name, without scheme, port or brackets'),
      );
    } else if (
      settings.requireTls &&
      !isLoopback(host) &&
      !(name === 'otlpHost' && otlpTlsPaths(settings) !== undefined)
    ) {
      const why = 'is not loopback and would be plain text, which BACKWORK_REQUIRE_TLS=1 refuses';
      const mend =
        name === 'otlpHost'
          ? `set ${SETTINGS.otlpTlsCertFile.env} and ${SETTINGS.otlpTlsKeyFile.env}, or use 127.0.0.1`
          : 'the API has no TLS yet, use 127.0.0.1';
      problems.push(line(SETTINGS[name], host, `${why}: ${mend} behind a proxy that ends TLS`));
    }
  }
  if (settings.accountsUrl !== '') {
    const why = 'must be empty: PostgreSQL for accounts does not exist yet, only SQLite in the data directory';
    problems.push(line(SETTINGS.accountsUrl, settings.accountsUrl, why));
  }
  if (settings.clickhouseUrl !== '' && !URL.canParse(settings.clickhouseUrl)) {
    problems.push(line(SETTINGS.clickhouseUrl, settings.clickhouseUrl, `must be: ${SETTINGS.clickhouseUrl.meaning}`));
  }
  if (settings.bodyMib > settings.inFlightMib && !wrong.has('bodyMib') && !wrong.has('inFlightMib')) {
    const why = `must be at most ${SETTINGS.inFlightMib.env} (${settings.inFlightMib} MiB), or no such body fits in memory`;
    problems.push(line(SETTINGS.bodyMib, settings.bodyMib, why));
  }
  problems.push(...memoryProblems(settings, wrong), ...proxyProblems(settings), ...mailProblems(settings, wrong));
  return [...problems, ...tlsProblems(settings), ...corsProblems(settings), ...portProblems(settings, wrong)];
}

function mailProblems(settings: Settings, wrong: ReadonlySet<string>): string[] {
  if (settings.smtpUrl === '' || wrong.has('mailFrom')) return [];
  const problems: string[] = [];
  if (!URL.canParse(settings.smtpUrl) || new URL(settings.smtpUrl).hostname === '')
    problems.push(line(SETTINGS.smtpUrl, settings.smtpUrl, `must be: ${SETTINGS.smtpUrl.meaning}`));
  if (settings.mailFrom === '')
    problems.push(line(SETTINGS.mailFrom, '', `must be an address, because ${SETTINGS.smtpUrl.env} is set`));
  return problems;
}

function proxyProblems(settings: Settings): string[] {
  return trustedProxies(settings)
    .filter((proxy) => !isNetwork(proxy))
    .map((proxy) => line(SETTINGS.trustedProxies, proxy, 'is no address, and no network like 10.0.0.0/8'));
}

function isNetwork(text: string): boolean {
  const [address = '', bits, ...rest] = text.split('/');
  const bitsMax = isIP(address) === 4 ? 32 : 128;
  const isPrefix = bits === undefined || (/^\d{1,3}$/.test(bits) && Number(bits) <= bitsMax);
  return isIP(address) !== 0 && rest.length === 0 && isPrefix;
}

/** The files themselves are read when the service starts: here is no disk. */
function tlsProblems(settings: Settings): string[] {
  const { otlpTlsCertFile: cert, otlpTlsKeyFile: key, otlpTlsClientCaFile: clientCa } = settings;
  const problems: string[] = [];
  const needs = (setting: Setting, value: string, other: Setting): void => {
    problems.push(line(setting, value, `needs ${other.env} as well`));
  };
  if (cert !== '' && key === '') needs(SETTINGS.otlpTlsCertFile, cert, SETTINGS.otlpTlsKeyFile);
  if (key !== '' && cert === '') needs(SETTINGS.otlpTlsKeyFile, key, SETTINGS.otlpTlsCertFile);
  if (clientCa !== '' && cert === '') needs(SETTINGS.otlpTlsClientCaFile, clientCa, SETTINGS.otlpTlsCertFile);
  return problems;
}

/** As browsers write an origin: scheme, host, port; no path, no capitals. `*.` stands for one label or more. */
const ORIGIN = /^[a-z][a-z0-9+.-]*:\/\/(\[[0-9a-f:.]+\]|(\*\.)?[a-z0-9_]([a-z0-9._-]*[a-z0-9_])?)(:\d{1,5})?$/;
/** Browsers leave these out, so an origin that names one would never be met. */
const DEFAULT_PORT = /^(http:.*:80|https:.*:443)$/;

function corsProblems(settings: Settings): string[] {
  const wrong = corsOrigins(settings).filter(
    (origin) => origin !== '*' && (!ORIGIN.test(origin) || DEFAULT_PORT.test(origin)),
  );
  return wrong.map((origin) => {
    const form = 'like https://app.example.com, in lower case, without path, slash at the end or default port';
    return line(SETTINGS.corsOrigins, origin, `must be an origin as browsers send it, ${form}`);
  });
}

function portProblems(settings: Settings, wrong: ReadonlySet<string>): string[] {
  const problems: string[] = [];
  const taken = new Map<number, string>();
  for (const name of ['otlpGrpcPort', 'otlpHttpPort', 'apiPort', 'enginePort'] as const) {
    // With a ClickHouse server nothing listens on the engine's port.
    if (name === 'enginePort' && settings.clickhouseUrl !== '') continue;
    if (wrong.has(name)) continue;
    const port = settings[name];
    const other = taken.get(port);
    if (port !== 0 && other !== undefined) {
      problems.push(line(SETTINGS[name], port, `must differ from ${other}, which has the same port`));
    }
    taken.set(port, SETTINGS[name].env);
  }
  return problems;
}

function isHost(host: string): boolean {
  return isIP(host) !== 0 || /^[A-Za-z0-9]([A-Za-z0-9._-]{0,251}[A-Za-z0-9])?$/.test(host);
}

/** Whether what listens on `host` can be reached from this machine only. */
export function isLoopback(host: string): boolean {
  return host === 'localhost' || host === '::1' || (isIP(host) === 4 && host.startsWith('127.'));
}

// ---------------------------------------------------------------- unknown variables

/** What main sets for its children, and what the tests use: none of an operator's business. */
const INTERNAL = /^BACKWORK_(WORKER_INDEX|ORGANIZATION_NAMES|ENGINE_DIR|ENGINE_FILE|STORE_.*|TEST_.*)$/;

function unknownProblems(env: NodeJS.ProcessEnv): string[] {
  const known = entries().map(([, setting]) => setting.env);
  return Object.keys(env)
    .filter((name) => name.startsWith('BACKWORK_') && !known.includes(name) && !INTERNAL.test(name))
    .sort()
    .map((name) => `${name}: unknown setting; the nearest known name is ${nearest(name, known)}`);
}

function nearest(name: string, known: readonly string[]): string {
  const measured = known.map((candidate) => ({ candidate, distance: editDistance(name, candidate) }));
  return measured.reduce((best, next) => (next.distance < best.distance ? next : best)).candidate;
}

/** Levenshtein: insertions, deletions and replacements from one to the other; one row of the matrix at a time. */
function editDistance(from: string, to: string): number {
  let row = Array.from({ length: to.length + 1 }, (_, index) => index);
  for (let i = 1; i <= from.length; i++) {
    const next = [i];
    for (let j = 1; j <= to.length; j++) {
      const replaced = (row[j - 1] ?? 0) + (from[i - 1] === to[j - 1] ? 0 : 1);
      next.push(Math.min(replaced, (row[j] ?? 0) + 1, (next[j - 1] ?? 0) + 1));
    }
    row = next;
  }
  return row[to.length] ?? 0;
}
