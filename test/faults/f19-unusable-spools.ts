/**
 * F19: a spool that cannot be used. Its directory is on a read-only mount (root ignores file modes), or another process
 * holds it: the start is refused with one clear line, at once or after the wait for the lock, and what stands there stays.
 */
import { execFile } from 'node:child_process';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { takeLock } from '../../src/base/lock-file.ts';
import { LOCK_NAME } from '../../src/ingest/spool/format.ts';
import { type CommandResult, runCommand, startService, temporaryDirectory } from '../support/service.ts';
import type { Fault, FaultOptions, FaultReport } from './fault.ts';
import { makeSpool } from './support/made-spool.ts';
import { cannotMount, mountReadOnly, unmount } from './support/small-disk.ts';
import { judgeStored, TWO_WORKERS } from './support/spool-service.ts';

const REFUSED_MS_MAX = 1_000;
const LOCK_WAIT_MS = 5_000;
const INGEST = join(import.meta.dirname, '../../src/ingest-process.ts');
const ANY_PORT = {
  BACKWORK_OTLP_GRPC_PORT: '0',
  BACKWORK_OTLP_HTTP_PORT: '0',
  BACKWORK_API_PORT: '0',
  BACKWORK_ENGINE_PORT: '0',
} as const;

interface Timed extends CommandResult {
  readonly ms: number;
}

export const f19: Fault = {
  id: 'F19',
  title: 'the spool is read-only, or in use by another process',
  async run(options: FaultOptions): Promise<FaultReport> {
    const dataDir = temporaryDirectory();
    const notRun = cannotMount(dataDir);
    if (notRun !== undefined) return { figures: {}, violations: [], notRun };
    const readOnly = await readOnlySpools(options);
    const locked = await spoolInUse(dataDir);
    return {
      figures: { ...readOnly.figures, ...locked.figures },
      violations: [...readOnly.violations, ...locked.violations],
    };
  },
};

/** The directory of all spools, then that of one worker alone. */
async function readOnlySpools({ size }: FaultOptions): Promise<FaultReport> {
  const violations: string[] = [];
  let refusedMsMax = 0;
  for (const worker of ['', '1']) {
    const dataDir = temporaryDirectory();
    const env = { ...process.env, ...TWO_WORKERS, ...ANY_PORT, BACKWORK_DATA_DIR: dataDir };
    const dir = join(dataDir, 'spool', worker);
    mkdirSync(dir, { recursive: true });
    mountReadOnly(dir);
    try {
      const { code, stderr, ms } = await timed(() => runCommand(env, ['serve']));
      refusedMsMax = Math.max(refusedMsMax, Math.round(ms));
      // The last line is the program's own, for people; the lines before are its log.
      const line = stderr.trimEnd().split('\n').at(-1) ?? '';
      if (code === 0) violations.push(`started on the read-only ${dir}`);
      if (!line.includes(dir) || !/read-only|EROFS/.test(line)) violations.push(`refused ${dir} with: ${line}`);
    } finally {
      unmount(dir);
    }
  }
  if (size === 'full' && refusedMsMax > REFUSED_MS_MAX) violations.push(`refused only after ${refusedMsMax} ms`);
  return { figures: { readOnlyRefusedMsMax: refusedMsMax }, violations };
}

/** A spool whose lock is held waits for it, then refuses; a spool to adopt waits until it is free. */
async function spoolInUse(dataDir: string): Promise<FaultReport> {
  const violations: string[] = [];
  const held = join(dataDir, 'spool', '0');
  const orphan = join(dataDir, 'spool', '7');
  const ids = ['orphan-0', 'orphan-1'];
  makeSpool(
    orphan,
    ids.map((id) => ({ ids: [id] })),
  );
  const orphanLock = await takeLock(join(orphan, LOCK_NAME), 0);
  const service = await startService({ dataDir, env: TWO_WORKERS });
  try {
    const env = { ...process.env, ...TWO_WORKERS, ...ANY_PORT, BACKWORK_DATA_DIR: dataDir, BACKWORK_WORKER_INDEX: '0' };
    const second = await timed(() => runScript(env, INGEST));
    if (second.code === 0) violations.push('a second process took a spool that is in use');
    if (second.ms < LOCK_WAIT_MS) violations.push(`refused after ${second.ms} ms: the first one may have been dying`);
    if (!second.stderr.includes(join(held, LOCK_NAME))) violations.push(`refused with: ${second.stderr.slice(0, 300)}`);
    if ((await service.query("SELECT 1 FROM otel_logs WHERE Body LIKE 'orphan%'")).length > 0)
      violations.push('the store adopted a spool that somebody holds');
    orphanLock.release();
    const expected = new Set(ids);
    const judged = await judgeStored(service, { acknowledged: expected, issued: expected });
    violations.push(...judged.violations);
    return { figures: { secondRefusedMs: Math.round(second.ms), ...judged.figures }, violations };
  } finally {
    orphanLock.release();
    await service.stopAndRemove();
  }
}

async function timed(run: () => Promise<CommandResult>): Promise<Timed> {
  const startedMs = performance.now();
  return { ...(await run()), ms: performance.now() - startedMs };
}

function runScript(env: NodeJS.ProcessEnv, file: string): Promise<CommandResult> {
  return new Promise((resolve) => {
    execFile(process.execPath, [file], { env }, (error, stdout, stderr) => {
      resolve({ code: error === null ? 0 : Number(error.code ?? 1), stdout, stderr });
    });
  });
}
