/**
 * F18: files that are gone, and files that do not belong here. A batch file or a segment that is deleted, both copies of a
 * footer damaged, a segment of another spool, and old copies of segments that are stored: the service starts, says what is
 * missing, and adds no row twice.
 */
import { copyFileSync, cpSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { readFooter } from '../../src/ingest/spool/reader.ts';
import { realSpoolFiles } from '../../src/ingest/spool/spool-files.ts';
import { openJournal } from '../../src/ingest/store/journal.ts';
import { startService, type TestService, temporaryDirectory } from '../support/service.ts';
import type { Fault, FaultOptions, FaultReport } from './fault.ts';
import { made, MADE_SEQUENCE, type MadeSegment, makeSpool, sealSpool, SILENT } from './support/made-spool.ts';
import { judgeStored, linesWith, restarts, TWO_WORKERS } from './support/spool-service.ts';

const START_MS_MAX = 5_000;
/** Spool directories: 0 is a worker's, the others are adopted. */
const WORKER = 0;
const STORED_SEALED = 20;
const STORED_UNSEALED = 21;
const SEGMENT_GONE = 22;
const BATCHES_GONE = 23;
const FOOTER_DAMAGED = 24;
const ONLY_FOOTER = 25;
const ALL_GONE = 26;
const FOREIGN = 27;

export const f18: Fault = {
  id: 'F18',
  title: 'files of segments are gone, foreign, or old copies',
  async run(options: FaultOptions): Promise<FaultReport> {
    const dataDir = temporaryDirectory();
    const spools = new Spools(join(dataDir, 'spool'));
    await spools.prepare();
    const violations: string[] = [];
    const first = await startTimed(dataDir);
    try {
      violations.push(...(await judgeDamage(first.service, spools)));
    } finally {
      await first.service.stop();
    }
    spools.putBack();
    const second = await startTimed(dataDir);
    try {
      const judged = await judgeCopies(second.service, spools);
      const startMs = Math.round(Math.max(first.startMs, second.startMs));
      if (options.size === 'full' && startMs > START_MS_MAX) judged.violations.push(`a start took ${startMs} ms`);
      return { figures: { startMs, ...judged.figures }, violations: [...violations, ...judged.violations] };
    } finally {
      await second.service.stopAndRemove();
      spools.remove();
    }
  },
};

async function startTimed(dataDir: string): Promise<{ service: TestService; startMs: number }> {
  const startedMs = performance.now();
  const service = await startService({ dataDir, env: TWO_WORKERS });
  return { service, startMs: performance.now() - startedMs };
}

async function judgeDamage(service: TestService, spools: Spools): Promise<string[]> {
  const { acknowledged } = spools;
  // Of the segment of which only the footer is left nothing can be stored; whether the footer stays is not judged here.
  const mayStay = [`${ONLY_FOOTER}/`];
  const { violations } = await judgeStored(service, { acknowledged, issued: acknowledged }, { mayStay });
  const said = (text: string, dir: number) => linesWith(service, text).some((line) => line.includes(`/${dir}"`));
  if (!said('a segment was moved to quarantine', FOOTER_DAMAGED)) violations.push('a damaged footer was not reported');
  if (!said('a segment is missing', ONLY_FOOTER)) violations.push('a segment with only its footer was not reported');
  if (linesWith(service, 'a segment is missing without a note').length === 0)
    violations.push('a segment that is gone was not reported as a gap');
  for (const dir of [WORKER, FOREIGN])
    if (!said('a segment was moved to quarantine', dir)) violations.push(`a foreign segment in spool ${dir} was taken`);
  if (restarts(service).length > 0) violations.push(`processes ended: ${restarts(service)[0]}`);
  return violations;
}

async function judgeCopies(
  service: TestService,
  spools: Spools,
): Promise<{ figures: Record<string, number>; violations: string[] }> {
  const { acknowledged } = spools;
  const mayStay = [`${ONLY_FOOTER}/`];
  const { figures, violations } = await judgeStored(service, { acknowledged, issued: acknowledged }, { mayStay });
  if (restarts(service).length > 0) violations.push(`processes ended: ${restarts(service)[0]}`);
  return { figures: { ...figures, oldCopies: spools.copies.length }, violations };
}

class Spools {
  readonly acknowledged = new Set<string>();
  /** Files of segments as they were before they were stored, and where they stood. */
  readonly copies: { from: string; to: string }[] = [];
  private readonly root: string;
  private readonly kept = temporaryDirectory();

  constructor(root: string) {
    this.root = root;
  }

  async prepare(): Promise<void> {
    await this.sealed(STORED_SEALED);
    await this.unsealed(STORED_UNSEALED);
    await this.unsealed(WORKER);
    for (const number of [STORED_SEALED, STORED_UNSEALED, WORKER]) this.keepCopies(number);
    rmSync((await this.sealed(SEGMENT_GONE)).path);
    rmSync(made(await this.sealed(BATCHES_GONE), 'batches'));
    damageBothCopies(made(await this.sealed(FOOTER_DAMAGED, false), 'footer'));
    const footerOnly = await this.sealed(ONLY_FOOTER, false);
    rmSync(footerOnly.path);
    rmSync(made(footerOnly, 'batches'));
    const gone = await this.sealed(ALL_GONE, false);
    await noteFound(join(this.root, '..', 'store.journal'), gone.path);
    for (const kind of ['batches', 'footer'] as const) rmSync(made(gone, kind));
    rmSync(gone.path);
    await this.copyForeign();
  }

  /** What was stored meanwhile is there again, under the names it had. */
  putBack(): void {
    for (const { from, to } of this.copies) copyFileSync(from, to);
  }

  remove(): void {
    rmSync(this.kept, { recursive: true });
  }

  private dir(number: number): string {
    return join(this.root, String(number));
  }

  private async unsealed(number: number, stored = true): Promise<MadeSegment> {
    const ids = [0, 1, 2].map((index) => `spool${number}-${index}`);
    if (stored) for (const id of ids) this.acknowledged.add(id);
    return makeSpool(
      this.dir(number),
      ids.map((id) => ({ ids: [id] })),
    );
  }

  private async sealed(number: number, stored = true): Promise<MadeSegment> {
    const segment = await this.unsealed(number, stored);
    await sealSpool(this.dir(number));
    return segment;
  }

  private keepCopies(number: number): void {
    const kept = join(this.kept, String(number));
    mkdirSync(kept);
    for (const name of readdirSync(this.dir(number)).filter((file) => /^\d{16}\./.test(file))) {
      copyFileSync(join(this.dir(number), name), join(kept, name));
      this.copies.push({ from: join(kept, name), to: join(this.dir(number), name) });
    }
  }

  /** Segments of another spool: one without a footer beside a worker's own, a sealed one beside one to be adopted. */
  private async copyForeign(): Promise<void> {
    const elsewhere = join(this.kept, 'elsewhere');
    const unsealed = makeSpool(elsewhere, [{ ids: ['foreign-0'] }], { sequence: MADE_SEQUENCE + 1 });
    copyFileSync(unsealed.path, join(this.dir(WORKER), basename(unsealed.path)));
    await sealSpool(elsewhere);
    await this.sealed(FOREIGN);
    cpSync(elsewhere, this.dir(FOREIGN), { recursive: true, filter: (path) => !path.endsWith('spool.json') });
  }
}

function damageBothCopies(path: string): void {
  const bytes = readFileSync(path);
  for (const at of [30, bytes.length / 2 + 30]) bytes[at] = bytes[at]! ^ 0xff;
  writeFileSync(path, bytes);
}

/** As the store left its journal when it had seen the segment and was stopped before it stored it. */
async function noteFound(path: string, segment: string): Promise<void> {
  const dir = join(segment, '..');
  const { spoolId, sequence } = await readFooter(realSpoolFiles, dir, MADE_SEQUENCE);
  const journal = await openJournal({ path, files: realSpoolFiles, nowMs: Date.now, log: SILENT, onFatal: () => {} });
  await journal.write([{ kind: 'found', spool: basename(dir), spoolId, sequence }]);
  await journal.close();
}
