/** What `doctor` looks at without any of our databases: platform, files, disk, lock, ports, spools. Changes nothing. */
import { accessSync, constants, existsSync, readdirSync, type Stats, statfsSync, statSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { messageOf } from '../base/errors.ts';
import { isLocked } from '../base/lock-file.ts';
import { MIB } from '../base/limits.ts';
import { daysLeft, EXPIRY_WARNING_DAYS, readTlsFiles } from '../ingest/accept/tls-files.ts';
import { otlpTlsPaths, spoolReserveBytes } from '../settings/load-settings.ts';
import { SETTINGS, type Settings } from '../settings/settings.ts';
import { localUrl, type NamedPort, portProblem } from './addresses.ts';
import { engineLoginPath, lockPath, readServiceState, type ServiceState } from './data-directory.ts';
import { platformProblem, thisPlatform } from './platform.ts';

/** One line of the doctor's report. */
export interface Finding {
  readonly level: 'ok' | 'warn' | 'problem';
  /** What was looked at, in a word or two. */
  readonly subject: string;
  readonly found: string;
  /** What to do about it. */
  readonly mend?: string;
}

/** Whether the service runs on the data directory, and what it listens on once it is ready. */
export interface RunningService {
  readonly running: boolean;
  readonly state: ServiceState | undefined;
}

/** What only its owner may read: tokens' digests, the key they are made with, the engine's password. */
const SECRET_FILES = [
  'accounts.sqlite',
  'accounts.sqlite-wal',
  'accounts.sqlite-shm',
  'keys',
  join('keys', 'pepper.key'),
];
/** Sealed segments live for seconds; this old, the store does not keep up or does not run. */
const SEGMENT_OLD_MS = 60_000;

export function checkPlatform(embedded: boolean): Finding {
  const platform = thisPlatform();
  const found = `Node ${platform.node} on ${platform.system} ${platform.arch}`;
  const problem = platformProblem(platform, embedded);
  if (problem === undefined) return { level: 'ok', subject: 'platform', found };
  return { level: 'problem', subject: 'platform', found, mend: problem };
}

/** The directory and the modes of what is secret in it. */
export function checkDataDirectory(dataDir: string): Finding[] {
  const subject = 'data directory';
  const stat = statOf(dataDir);
  if (stat === undefined) {
    const parent = nearestExisting(dataDir);
    if (mayWrite(parent)) {
      return [{ level: 'ok', subject, found: `${dataDir} does not exist yet; the first start makes it` }];
    }
    const mend = `make ${dataDir} and give it to this user, or set ${SETTINGS.dataDir.env}`;
    return [{ level: 'problem', subject, found: `${dataDir} does not exist and ${parent} cannot be written`, mend }];
  }
  if (!stat.isDirectory()) {
    const mend = `set ${SETTINGS.dataDir.env} to a directory`;
    return [{ level: 'problem', subject, found: `${dataDir} is not a directory`, mend }];
  }
  const findings: Finding[] = [];
  if (!mayWrite(dataDir)) {
    const mend = `run as its owner, give it to this user, or set ${SETTINGS.dataDir.env}`;
    findings.push({ level: 'problem', subject, found: `${dataDir} cannot be written by this user`, mend });
  }
  if (openToOthers(stat)) {
    const found = `${dataDir} has mode ${modeText(stat)}: other users may look into it`;
    findings.push({ level: 'warn', subject, found, mend: `chmod 700 ${dataDir}` });
  }
  findings.push(
    ...SECRET_FILES.map((name) => join(dataDir, name))
      .concat(engineLoginPath(dataDir))
      .flatMap(checkSecret),
  );
  return findings.length > 0 ? findings : [{ level: 'ok', subject, found: dataDir }];
}

export function checkDisk(settings: Settings, dataDir: string): Finding {
  const disk = statfsSync(nearestExisting(dataDir));
  const freeBytes = disk.bavail * disk.bsize;
  const reserveBytes = spoolReserveBytes(settings, disk.blocks * disk.bsize);
  const found = `${mib(freeBytes)} free, of which ingest leaves ${mib(reserveBytes)} alone`;
  const mend = `free some space, or set ${SETTINGS.spoolReserveMib.env} lower`;
  if (freeBytes < reserveBytes) return { level: 'problem', subject: 'disk', found: `${found}: it refuses now`, mend };
  if (freeBytes < 2 * reserveBytes) return { level: 'warn', subject: 'disk', found, mend };
  return { level: 'ok', subject: 'disk', found };
}

/** Of the OTLP ports; none when they are plain text. */
export function checkCertificate(settings: Settings, nowMs: number): Finding[] {
  const subject = 'certificate';
  const paths = otlpTlsPaths(settings);
  if (paths === undefined) return [];
  try {
    const material = readTlsFiles(paths);
    const days = daysLeft(material, nowMs);
    const found = `${paths.certFile}, until ${new Date(material.expiresMs).toISOString().slice(0, 10)} (${days} days)`;
    const mend = 'renew it; a running service takes the new files over by itself';
    if (days < 0) return [{ level: 'problem', subject, found: `${found}: it has expired`, mend }];
    return [days < EXPIRY_WARNING_DAYS ? { level: 'warn', subject, found, mend } : { level: 'ok', subject, found }];
  } catch (error) {
    const mend = 'the service does not start with it; while it runs, it goes on with what it has read before';
    return [{ level: 'problem', subject, found: messageOf(error), mend }];
  }
}

export function findService(dataDir: string): RunningService {
  const running = isLocked(lockPath(dataDir));
  return { running, state: running ? readServiceState(dataDir) : undefined };
}

export function checkService({ running, state }: RunningService): Finding {
  const subject = 'service';
  if (!running) {
    return { level: 'ok', subject, found: 'not running (npm start), so engine and schema are not looked at' };
  }
  if (state === undefined) {
    return { level: 'warn', subject, found: 'starting or stopping, or a command uses the data directory; ask again' };
  }
  return { level: 'ok', subject, found: `runs with process id ${state.pid}` };
}

/** One line a port: free, used by the service, used by somebody else, or not to be had. */
export async function checkPorts(settings: Settings, service: RunningService): Promise<Finding[]> {
  const { otlpHost, apiHost, clickhouseUrl } = settings;
  const ports = service.state?.ports;
  const named: NamedPort[] = [
    { host: otlpHost, port: ports?.grpc ?? settings.otlpGrpcPort, setting: SETTINGS.otlpGrpcPort.env },
    { host: otlpHost, port: ports?.http ?? settings.otlpHttpPort, setting: SETTINGS.otlpHttpPort.env },
    { host: apiHost, port: ports?.api ?? settings.apiPort, setting: SETTINGS.apiPort.env },
  ];
  if (clickhouseUrl === '') {
    const port = ports?.engine ?? settings.enginePort;
    named.push({ host: '127.0.0.1', port, setting: SETTINGS.enginePort.env });
  }
  return Promise.all(named.map((port) => checkPort(port, service)));
}

async function checkPort({ host, port, setting }: NamedPort, service: RunningService): Promise<Finding> {
  const subject = `port ${port}`;
  if (port === 0) return { level: 'ok', subject, found: `${setting}: any free port, chosen at start` };
  const code = await portProblem(host, port);
  const where = `${setting}, ${host}`;
  if (code === undefined && service.state === undefined) return { level: 'ok', subject, found: `${where}: free` };
  if (code === undefined) {
    const mend = 'see the log of the service, it says why its process does not listen';
    return { level: 'problem', subject, found: `${where}: the service runs, but nothing listens`, mend };
  }
  if (code !== 'EADDRINUSE') {
    return { level: 'problem', subject, found: `${where}: cannot listen there: ${code}`, mend: `change ${setting}` };
  }
  if (service.running) return { level: 'ok', subject, found: `${where}: used by the service` };
  const mend = `stop that process, or set ${setting} to another port`;
  return { level: 'problem', subject, found: `${where}: in use by another process`, mend };
}

/** Asks the service itself whether it accepts. */
export async function checkReadiness(settings: Settings, state: ServiceState): Promise<Finding> {
  const subject = 'readiness';
  try {
    const url = `${localUrl(settings.apiHost, state.ports.api)}/readyz`;
    const answer = await fetch(url, { signal: AbortSignal.timeout(5_000) });
    const { reasons } = (await answer.json()) as { reasons: string[] };
    const text = reasons.length > 0 ? `: ${reasons.join('; ')}` : '';
    if (answer.status !== 200) {
      return { level: 'problem', subject, found: `the service refuses what is sent${text}`, mend: 'see its log' };
    }
    return { level: reasons.length > 0 ? 'warn' : 'ok', subject, found: `the service accepts${text}` };
  } catch (error) {
    return { level: 'problem', subject, found: `/readyz does not answer: ${messageOf(error)}`, mend: 'see the log' };
  }
}

/** Sealed segments wait for the store; the newest is seconds old while all is well. */
export function checkSpools(dataDir: string, nowMs: number): Finding {
  const subject = 'spools';
  const root = join(dataDir, 'spool');
  const files = existsSync(root) ? readdirSync(root, { recursive: true, encoding: 'utf8' }) : [];
  const stats = files.map((name) => ({ name, stat: statOf(join(root, name)) })).filter(({ stat }) => stat?.isFile());
  const bytes = stats.reduce((sum, { stat }) => sum + (stat?.size ?? 0), 0);
  const footers = stats.filter(({ name }) => name.endsWith('.footer'));
  const oldestMs = footers.reduce((oldest, { stat }) => Math.min(oldest, stat?.mtimeMs ?? oldest), nowMs);
  const ageMs = nowMs - oldestMs;
  const found = `${footers.length} sealed segments wait, ${mib(bytes)} in all`;
  if (ageMs <= SEGMENT_OLD_MS) return { level: 'ok', subject, found };
  const mend = 'the telemetry store is away, refuses them, or is slower than what arrives: see the log of the service';
  return { level: 'warn', subject, found: `${found}, the oldest for ${Math.round(ageMs / 1_000)} s`, mend };
}

function checkSecret(path: string): Finding[] {
  const stat = statOf(path);
  if (stat === undefined || !openToOthers(stat)) return [];
  const found = `${path} has mode ${modeText(stat)}: it is secret and other users may use it`;
  return [{ level: 'problem', subject: 'file modes', found, mend: `chmod ${stat.isDirectory() ? 700 : 600} ${path}` }];
}

function openToOthers(stat: Stats): boolean {
  return (stat.mode & 0o077) !== 0;
}

function modeText(stat: Stats): string {
  return (stat.mode & 0o777).toString(8).padStart(4, '0');
}

function statOf(path: string): Stats | undefined {
  return statSync(path, { throwIfNoEntry: false });
}

function nearestExisting(path: string): string {
  return existsSync(path) || dirname(path) === path ? path : nearestExisting(dirname(path));
}

function mayWrite(path: string): boolean {
  try {
    accessSync(path, constants.W_OK);
    return true;
  } catch {
    return false;
  }
}

function mib(bytes: number): string {
  return `${Math.floor(bytes / MIB)} MiB`;
}
