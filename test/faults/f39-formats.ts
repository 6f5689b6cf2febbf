/**
 * F39: what another version of this program left. Files of every format version, kept in golden/, give their rows; a full
 * spool of an older converter is stored by a newer one that has fewer workers, after its processes were replaced one by one
 * under load; and a program that meets a newer format says so in one line and changes nothing.
 */
import { cpSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { crc32 } from 'node:zlib';
import { CONVERTER_VERSION } from '../../src/ingest/convert/convert.ts';
import { SIGNALS } from '../../src/ingest/messages.ts';
import { decodeFooter } from '../../src/ingest/spool/footer.ts';
import { encodeSegmentHeader, FORMAT_VERSION, LOCK_NAME } from '../../src/ingest/spool/format.ts';
import { encodeIdentity, IDENTITY_NAME } from '../../src/ingest/spool/identity.ts';
import { JOURNAL_MAGIC } from '../../src/ingest/store/journal-notes.ts';
import { runCommand, startService, type TestService, temporaryDirectory } from '../support/service.ts';
import type { Fault, FaultOptions, FaultReport } from './fault.ts';
import { MADE_SEQUENCE, makeSpool } from './support/made-spool.ts';
import { Oracle, violationsOf } from './support/oracle.ts';
import { OwnEngine } from './support/own-engine.ts';
import { holds, judgeStored, restarts, TWO_WORKERS, waitingFiles } from './support/spool-service.ts';

const GOLDEN = join(import.meta.dirname, 'golden');
/**
 * Of each version: a data directory with a worker's unsealed segment, a sealed one of its time's converter, one of the
 * converter before, an unsealed one to adopt, and the store's journal. Six items in each segment, of all signals.
 */
const GOLDEN_SPOOLS = [0, 10, 11, 12];
const GOLDEN_ITEMS = 6;
const WORKERS_BEFORE = 3;
const ROUNDS = { ci: 1, full: 5 };
const ROWS_BETWEEN = { ci: 500, full: 5_000 };
const BACKLOG_ROWS = { ci: 2_000, full: 100_000 };
const PATIENCE_MS = 120_000;

export const f39: Fault = {
  id: 'F39',
  title: 'files of other versions, replaced processes, fewer workers',
  async run(options: FaultOptions): Promise<FaultReport> {
    const golden = await goldenFiles();
    options.say(`golden files: ${JSON.stringify(golden.figures)}`);
    const upgrade = await upgradeUnderLoad(options);
    const newer = await newerFormats();
    return {
      figures: { ...prefixed('golden', golden.figures), ...upgrade.figures, ...newer.figures },
      violations: [...golden.violations, ...upgrade.violations, ...newer.violations],
    };
  },
};

async function goldenFiles(): Promise<FaultReport> {
  const versions = readdirSync(GOLDEN);
  const violations: string[] = [];
  if (versions.length !== FORMAT_VERSION) violations.push(`golden files of ${versions} for ${FORMAT_VERSION} versions`);
  let rows = 0;
  for (const version of versions) {
    const dataDir = temporaryDirectory();
    cpSync(join(GOLDEN, version), dataDir, { recursive: true });
    const acknowledged = new Set(
      GOLDEN_SPOOLS.flatMap((spool) =>
        Array.from({ length: GOLDEN_ITEMS }, (_, i) => `golden-${version}-${spool}-${i}`),
      ),
    );
    const service = await startService({ dataDir, env: TWO_WORKERS });
    try {
      const judged = await judgeStored(service, { acknowledged, issued: acknowledged });
      violations.push(...judged.violations.map((text) => `${version}: ${text}`));
      violations.push(...restarts(service).map((line) => `${version}: ${line}`));
      rows += judged.figures.stored;
    } finally {
      await service.stopAndRemove();
    }
  }
  return { figures: { versions: versions.length, rows }, violations };
}

async function upgradeUnderLoad({ size, say }: FaultOptions): Promise<FaultReport> {
  const [engine, oracle, dataDir] = [new OwnEngine(), new Oracle(), temporaryDirectory()];
  const violations: string[] = [];
  let service: TestService | undefined;
  try {
    await engine.start();
    const url = `http://${engine.user}:${engine.password}@127.0.0.1:${engine.port()}/default`;
    const env = (workers: number) => ({
      BACKWORK_WORKERS: String(workers),
      BACKWORK_SEGMENT_MS: '300',
      BACKWORK_CLICKHOUSE_URL: url,
    });
    service = await startService({ dataDir, env: env(WORKERS_BEFORE) });
    const { ports, token } = service;
    load(oracle, service, token);
    let replaced = 0;
    for (let round = 0; round < ROUNDS[size]; round++) replaced += await replaceEach(service, oracle, size);
    say(`${replaced} processes replaced, ${oracle.status.acknowledged} rows acknowledged`);
    await engine.kill();
    await oracle.acknowledged(BACKLOG_ROWS[size]);
    await service.stop();
    const backlog = service.waitingSegments();
    const older = asOlderConverter(dataDir);
    say(`${backlog} segments wait, ${older} of them as of an older converter`);
    await engine.start();
    const beganMs = performance.now();
    service = await startService({ dataDir, env: env(1), ports });
    await oracle.acknowledged(ROWS_BETWEEN[size]);
    await oracle.stop();
    if (!(await holds(() => waitingFiles(dataDir).length === 0, PATIENCE_MS)))
      violations.push(`${waitingFiles(dataDir)} wait after ${PATIENCE_MS} ms\n${service.stderr.slice(-2_000)}`);
    const recoveredMs = Math.round(performance.now() - beganMs);
    const verdict = await oracle.judge(engine);
    violations.push(...violationsOf(verdict));
    if (older === 0) violations.push('no segment waited for the upgrade');
    const { acknowledged, lost, doubled } = verdict;
    return { figures: { replaced, backlog, older, recoveredMs, acknowledged, lost, doubled }, violations };
  } finally {
    oracle.remove();
    await service?.stopAndRemove();
    await engine.remove();
  }
}

function load(oracle: Oracle, { ports }: TestService, token: string): void {
  oracle.start({
    grpcPort: ports.grpc,
    httpPort: ports.http,
    token,
    clients: Array.from({ length: 6 }, (_, i) => ({ protocol: i % 2 === 0 ? 'grpc' : 'http', retrying: i < 4 })),
    rowsPerRequest: 100,
    intervalMs: 200,
    signals: SIGNALS,
  });
}

/** Each worker and the store, one after another: the next one only when there is another in the place of the last. */
async function replaceEach(service: TestService, oracle: Oracle, size: FaultOptions['size']): Promise<number> {
  const pids = [...service.children('ingest'), ...service.children('store')];
  const running = () => [...service.children('ingest'), ...service.children('store')];
  for (const pid of pids) {
    process.kill(pid, 'SIGKILL');
    await holds(() => !running().includes(pid) && running().length === pids.length, PATIENCE_MS);
    await oracle.acknowledged(ROWS_BETWEEN[size]);
  }
  return pids.length;
}

/** Says of all sealed segments that the converter before this one made their batches. Returns how many there are. */
function asOlderConverter(dataDir: string): number {
  const footers = waitingFiles(dataDir).filter((name) => name.endsWith('.footer'));
  for (const name of footers) {
    const path = join(dataDir, 'spool', name);
    const file = readFileSync(path);
    for (const at of [0, file.length / 2]) setConverterVersion(file.subarray(at), CONVERTER_VERSION - 1);
    if (decodeFooter(file).converterVersion === CONVERTER_VERSION) throw new Error('the footer says what it said');
    writeFileSync(path, file);
  }
  return footers.length;
}

/** By the drawing in format.ts. */
function setConverterVersion(copy: Buffer, version: number): void {
  const payload = copy.subarray(20, 20 + copy.readUInt32LE(12));
  payload.writeUInt32LE(version, 24);
  copy.writeUInt32LE(crc32(payload, crc32(copy.subarray(0, 16))), 16);
}

/** What a later version would leave, in each kind of file. */
const NEWER: Readonly<Record<string, (dataDir: string) => void>> = {
  segment: (dataDir) => {
    const segment = spoolOf(dataDir);
    const header = { spoolId: 'ab'.repeat(16), sequence: MADE_SEQUENCE, mark: segment.mark };
    const newer = encodeSegmentHeader(header, FORMAT_VERSION + 1);
    writeFileSync(segment.path, Buffer.concat([newer, segment.bytes.subarray(newer.length)]));
  },
  identity: (dataDir) => {
    const identity = { spoolId: 'ab'.repeat(16), firstSequence: 1, reservedSequence: 4_097 };
    writeFileSync(join(dirname(spoolOf(dataDir).path), IDENTITY_NAME), encodeIdentity(identity, FORMAT_VERSION + 1));
  },
  journal: (dataDir) => {
    spoolOf(dataDir);
    const newer = Buffer.concat([JOURNAL_MAGIC, Buffer.from('what a later version notes')]);
    newer.write('2', JOURNAL_MAGIC.length - 1);
    writeFileSync(join(dataDir, 'store.journal'), newer);
  },
};

function spoolOf(dataDir: string) {
  return makeSpool(join(dataDir, 'spool', '0'), [{ ids: ['of a later version'] }], { spoolId: 'ab'.repeat(16) });
}

async function newerFormats(): Promise<FaultReport> {
  const violations: string[] = [];
  for (const [kind, make] of Object.entries(NEWER)) {
    const dataDir = temporaryDirectory();
    mkdirSync(join(dataDir, 'spool'), { recursive: true });
    make(dataDir);
    const before = bytesOf(dataDir);
    const ports = Object.fromEntries(
      ['OTLP_GRPC', 'OTLP_HTTP', 'API', 'ENGINE'].map((name) => [`BACKWORK_${name}_PORT`, '0']),
    );
    const env = { ...process.env, ...TWO_WORKERS, ...ports, BACKWORK_DATA_DIR: dataDir };
    const { code, stderr } = await runCommand(env, ['serve']);
    const lines = stderr
      .trimEnd()
      .split('\n')
      .filter((line) => line.startsWith('backwork: '));
    if (code === 0) violations.push(`a newer ${kind}: the service started`);
    if (lines.length !== 1 || !/newer|version 2|format 2/.test(lines[0]!))
      violations.push(`a newer ${kind} was refused with: ${lines.join(' | ') || stderr.slice(-500)}`);
    for (const [name, bytes] of before)
      if (!bytesOf(dataDir).get(name)?.equals(bytes)) violations.push(`a newer ${kind}: ${name} was changed`);
  }
  return { figures: { newerRefused: Object.keys(NEWER).length }, violations };
}

/** Of the files that were there, but for the lock. */
function bytesOf(dataDir: string): Map<string, Buffer> {
  const names = readdirSync(dataDir, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && entry.name !== LOCK_NAME)
    .map((entry) => join(entry.parentPath, entry.name));
  return new Map(names.map((name) => [name, readFileSync(name)]));
}

function prefixed(prefix: string, figures: FaultReport['figures']): Record<string, number | string> {
  return Object.fromEntries(Object.entries(figures).map(([name, value]) => [`${prefix}_${name}`, value]));
}
