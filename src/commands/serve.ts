/**
 * `serve`: the service, until a signal ends it.
 *
 * Order: what can be refused is refused first and touches nothing (platform, settings, directory, lock, ports); then keys
 * and the first token; then the API, so that /readyz answers from the beginning; then the children. What is printed on
 * stdout is for the operator: endpoints, the first token, and as the last line that it is ready. The log is on stderr.
 *
 * SIGTERM and SIGINT stop in order, exit code 0; a second one kills. Of one Ctrl-C under `npm start` two signals arrive
 * (from the terminal and from npm), hence SAME_SIGNAL_MS.
 */
import { type ApiDeps, type ApiServer, createApi, serveApi } from '../api/app.ts';
import type { AccountsDatabase } from '../accounts/store/accounts-database.ts';
import { BackworkError } from '../base/errors.ts';
import { takeLock } from '../base/lock-file.ts';
import { createLog, type Log } from '../base/log.ts';
import type { ClickHouse } from '../engine/clickhouse.ts';
import { encodeNames } from '../ingest/metrics/organization-names.ts';
import { isLoopback, otlpTlsPaths, spoolReserveBytes } from '../settings/load-settings.ts';
import { SETTINGS, type Settings } from '../settings/settings.ts';
import { cannotListen, canSharePorts, portBusy, requireFree } from './addresses.ts';
import { announcement, tokenText } from './announce.ts';
import { lazyV1 } from './api-v1.ts';
import { CHILD_FILES, THREAD_FILES } from './children.ts';
import { type CommandContext, readArguments } from './command.ts';
import {
  createDataDirectory,
  createSpoolDirectories,
  engineLogin,
  LOCK_WAIT_MS,
  lockPath,
  removeServiceState,
  storeTarget,
  writeServiceState,
} from './data-directory.ts';
import { type Housekeeping, startHousekeeping } from './housekeeping.ts';
import { prepareCompileCache, releaseStartupMemory } from './idle-memory.ts';
import { requirePlatform } from './platform.ts';
import { createService, type Service } from './service.ts';
import { ServiceMetrics } from './service-metrics.ts';

/** A supervisor that is stopped with SIGKILL after 15 s (Docker: 10 s, systemd: 90 s) has seen the end by then. */
const STOP_WITHIN_MS = 11_000;
const API_STOP_MS = 500;
const SAME_SIGNAL_MS = 1_000;
/** Children of a supervisor that was killed end within 1 s of losing it, and their ports with them. */
const PORT_WAIT_MS = 3_000;

/** Resolves to 0 after an orderly stop. Throws a BackworkError when the service cannot start or cannot go on. */
export async function run(args: readonly string[], context: CommandContext): Promise<number> {
  readArguments(args, {}, 'serve');
  const { settings } = context;
  requirePlatform(settings.clickhouseUrl === '');
  await requireTlsFiles(settings);
  const log = createLog('main', settings.logLevel);
  const dataDir = createDataDirectory(settings.dataDir);
  const lock = await takeDataDirectory(dataDir);
  const token: FirstToken = { text: undefined };
  try {
    // Of a predecessor that was killed.
    removeServiceState(dataDir);
    createSpoolDirectories(dataDir, settings.workers);
    await Promise.all([
      requireFreePorts(settings),
      prepareCompileCache(dataDir, [...Object.values(CHILD_FILES), ...THREAD_FILES]),
    ]);
    warnOfPlainText(settings, log);
    const prepared = await prepareAccounts(dataDir, settings, log);
    token.text = prepared.token;
    await serveUntilStopped({ context, log, dataDir, token, organizationNames: prepared.organizationNames });
    return 0;
  } finally {
    if (token.text !== undefined) context.stdout(`\n${tokenText(token.text)}\n\n`);
    lock.release();
  }
}

/** Emptied when it has been shown; what is left is shown on the way out, because it cannot be made known again. */
interface FirstToken {
  text: string | undefined;
}

interface Serving {
  readonly context: CommandContext;
  readonly log: Log;
  readonly dataDir: string;
  readonly token: FirstToken;
  readonly organizationNames: string;
}

async function serveUntilStopped(serving: Serving): Promise<void> {
  const { context, log, dataDir, token } = serving;
  const { settings } = context;
  const ending = Promise.withResolvers<void>();
  // It is awaited below, but may come before that.
  ending.promise.catch(() => undefined);
  const service = await makeService({ ...serving, onFatal: ending.reject });
  onBrokenInvariant(log);
  const unlisten = onSignals(log, ending.resolve, () => service.kill());
  let api: ApiServer | undefined;
  const reserveBytes = (diskBytes: number) => spoolReserveBytes(settings, diskBytes);
  const retention = () => housekeeping?.retention();
  const metrics = new ServiceMetrics({ dataDir, reserveBytes, source: service.source, retention, log });
  const connect = () => connectToStore(settings, dataDir, service.enginePort());
  const v1 = lazyV1({ settings, dataDir, log, connect, port: () => api?.port ?? settings.apiPort });
  let housekeeping: Housekeeping | undefined;
  try {
    const shown = { readiness: () => service.readiness(), metrics: () => metrics.text(), v1: () => v1.get() };
    api = await startApi(settings, log, shown);
    // What waited when the service was stopped is sent without waiting for somebody to call the API.
    if (settings.smtpUrl !== '') await v1.get();
    const started = await Promise.race([service.start(), ending.promise]);
    if (started === undefined) return;
    const { engine, ...otlp } = started.ports;
    const ports = { ...otlp, api: api.port };
    writeServiceState(dataDir, { pid: process.pid, ports: engine === undefined ? ports : { ...ports, engine } });
    const text = token.text;
    token.text = undefined;
    context.stdout(announcement({ settings, dataDir, ports: { ...ports, engine }, token: text, nowMs: Date.now() }));
    // performance.now() counts from the start of the process.
    const seconds = (performance.now() / 1_000).toFixed(1);
    const store = started.storeReady
      ? ''
      : ', but the telemetry store is not reached yet: what arrives waits in the spool';
    context.stdout(`backwork is ready after ${seconds} s (Ctrl-C stops it)${store}\n`);
    housekeeping = startHousekeeping({ dataDir, log, connect });
    releaseStartupMemory();
    await ending.promise;
  } finally {
    const looked = housekeeping?.stop();
    await service.stop(STOP_WITHIN_MS);
    await looked;
    await api?.close(API_STOP_MS);
    await v1.close();
    metrics.stop();
    removeServiceState(dataDir);
    unlisten();
  }
}

/** Loaded when it is asked for the first time. */
async function connectToStore(settings: Settings, dataDir: string, enginePort: number): Promise<ClickHouse> {
  const { connectClickHouse } = await import('../engine/clickhouse.ts');
  const login = settings.clickhouseUrl === '' ? engineLogin(dataDir) : undefined;
  return connectClickHouse(storeTarget(settings, login, enginePort));
}

async function makeService(deps: Serving & { readonly onFatal: (error: unknown) => void }): Promise<Service> {
  const { settings, env } = deps.context;
  const embedded = settings.clickhouseUrl === '';
  const login = embedded ? engineLogin(deps.dataDir) : undefined;
  const shared = settings.workers === 1 || (await canSharePorts(settings.otlpHost));
  if (!shared) deps.log.warn({ workers: 1 }, 'ports cannot be shared on this system, so there is one ingest process');
  return createService({
    settings,
    env,
    dataDir: deps.dataDir,
    files: CHILD_FILES,
    organizationNames: deps.organizationNames,
    log: deps.log,
    random: Math.random,
    workers: shared ? settings.workers : 1,
    onFatal: deps.onFatal,
    migrate: async (enginePort) => {
      // Loaded for these moments only: an idle supervisor needs neither.
      const { connectClickHouse } = await import('../engine/clickhouse.ts');
      const { migrate } = await import('../engine/migrate.ts');
      const clickhouse = connectClickHouse(storeTarget(settings, login, enginePort));
      try {
        await migrate(clickhouse, { embedded });
      } finally {
        await clickhouse.close();
      }
    },
  });
}

interface Prepared {
  readonly token: string | undefined;
  /** As organization-names.ts writes them. */
  readonly organizationNames: string;
}

/** The keys, the accounts database and, on the first start, organization `default` and its token. */
async function prepareAccounts(dataDir: string, settings: Settings, log: Log): Promise<Prepared> {
  const { openAccounts } = await import('../accounts/store/accounts-database.ts');
  const { loadPepper } = await import('../accounts/key-file.ts');
  const { bootstrap, requireAccounts } = await import('../accounts/bootstrap.ts');
  requireAccounts(dataDir);
  const accounts = await openAccounts({ dataDir });
  try {
    const { token } = await bootstrap(accounts, settings, loadPepper(dataDir, { create: true }));
    await applyPlans(accounts, settings, log);
    const names = new Map<string, string>();
    for (const slug of settings.metricsOrganizations.split(',').filter((one) => one !== '')) {
      const organization = await accounts.organizations.find(slug);
      if (organization !== undefined) names.set(organization.id, organization.slug);
      else
        log.warn({ setting: SETTINGS.metricsOrganizations.env }, `there is no organization ${slug} to name in metrics`);
    }
    return { token, organizationNames: encodeNames(names) };
  } finally {
    await accounts.close();
  }
}

/** The catalogue may be another than at the last start. */
async function applyPlans(accounts: AccountsDatabase, settings: Settings, log: Log): Promise<void> {
  const { loadPlanCatalogue } = await import('../accounts/plan-catalogue.ts');
  const { placementRules } = await import('../accounts/organization.ts');
  const { effectsOf } = await import('../accounts/plan.ts');
  const { changed, unknown } = await accounts.organizations.applyPlans(
    loadPlanCatalogue(settings),
    placementRules(settings),
  );
  for (const { before, after } of changed) {
    const effects = effectsOf(before, after).map(({ text }) => text);
    log.warn({ orgId: after.id, plan: after.plan, effects }, 'its plan has changed since the last start');
  }
  for (const { id: orgId, plan } of unknown)
    log.warn({ orgId, plan }, 'its plan is not in the catalogue: what it gave goes on');
}

async function takeDataDirectory(dataDir: string) {
  try {
    return await takeLock(lockPath(dataDir), LOCK_WAIT_MS);
  } catch (cause) {
    if (!(cause instanceof BackworkError) || cause.code !== 'locked') throw cause;
    const line = `another backwork runs on ${dataDir} (waited ${LOCK_WAIT_MS / 1_000} s for it to end); stop it, or set BACKWORK_DATA_DIR to another directory`;
    throw new BackworkError('locked', line, { cause });
  }
}

/** Throws `bad-setting` naming the file that cannot be served; the ingest processes read them again. */
async function requireTlsFiles(settings: Settings): Promise<void> {
  const paths = otlpTlsPaths(settings);
  if (paths === undefined) return;
  const { readTlsFiles } = await import('../ingest/accept/tls-files.ts');
  readTlsFiles(paths);
}

/** The API's port is missing here: it is taken, not tried. */
async function requireFreePorts(settings: Settings): Promise<void> {
  const { otlpHost: host } = settings;
  await requireFree({ host, port: settings.otlpGrpcPort, setting: SETTINGS.otlpGrpcPort.env }, PORT_WAIT_MS);
  await requireFree({ host, port: settings.otlpHttpPort, setting: SETTINGS.otlpHttpPort.env }, PORT_WAIT_MS);
  if (settings.clickhouseUrl !== '') return;
  await requireFree({ host: '127.0.0.1', port: settings.enginePort, setting: SETTINGS.enginePort.env }, PORT_WAIT_MS);
}

/** BACKWORK_REQUIRE_TLS=1 refuses the same when the settings are loaded. */
function warnOfPlainText(settings: Settings, log: Log): void {
  for (const name of ['otlpHost', 'apiHost'] as const) {
    const tls = name === 'otlpHost' && otlpTlsPaths(settings) !== undefined;
    if (tls || isLoopback(settings[name])) continue;
    const setting = SETTINGS[name].env;
    log.warn(
      { setting },
      name === 'otlpHost'
        ? `plain text on an address that is not loopback: tokens can be read on the way; set ${SETTINGS.otlpTlsCertFile.env} and ${SETTINGS.otlpTlsKeyFile.env}`
        : 'plain text on an address that is not loopback: what the API says can be read on the way; use a TLS proxy',
    );
  }
}

async function startApi(settings: Settings, log: Log, shown: Omit<ApiDeps, 'log'>): Promise<ApiServer> {
  const named = { host: settings.apiHost, port: settings.apiPort, setting: SETTINGS.apiPort.env };
  const api = createApi({ log, ...shown });
  try {
    return await serveApi(api, named.host, named.port);
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code ?? 'unknown error';
    throw code === 'EADDRINUSE' ? portBusy(named) : cannotListen(named, code);
  }
}

/** What nobody caught: one line, then the end. The children end within 1 s of losing this process. */
function onBrokenInvariant(log: Log): void {
  process.once('uncaughtException', (error) => {
    log.error({ error }, 'unexpected error; the service ends');
    process.exit(1);
  });
}

/** Returns what removes the listeners again. */
function onSignals(log: Log, first: () => void, second: () => void): () => void {
  let firstMs: number | undefined;
  const receive = (signal: NodeJS.Signals) => {
    if (firstMs === undefined) {
      firstMs = performance.now();
      log.info({ signal }, 'stopping; a second signal kills');
      first();
    } else if (performance.now() - firstMs > SAME_SIGNAL_MS) {
      log.warn({ signal }, 'killed by a second signal');
      second();
      process.exit(1);
    }
  };
  process.on('SIGTERM', receive);
  process.on('SIGINT', receive);
  return () => {
    process.off('SIGTERM', receive);
    process.off('SIGINT', receive);
  };
}
