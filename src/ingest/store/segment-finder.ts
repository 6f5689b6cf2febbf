/**
 * Finds sealed segments, hands them out oldest first, and remembers those that were set aside. Of a segment that was
 * not handed out yet only its number is in memory: a backlog of days is a list of numbers.
 *
 * A segment is `fresh` when nothing of it can have been sent before: it was sealed after this process first listed its
 * directory. Every other one is asked about first (reference R7, R8).
 *
 * Of several spools the one that is furthest behind is next, by the time of receipt: workers keep step through a backlog,
 * and a request stands near the one that it is a copy of.
 */
import { basename } from 'node:path';
import { BackworkError, messageOf } from '../../base/errors.ts';
import type { FooterBatch, FooterRequest } from '../messages.ts';
import type { Journal } from './journal.ts';
import type { SegmentName } from './journal-notes.ts';
import { setAsideDelayMs } from './retry-delay.ts';
import type { StoreDeps } from './store-deps.ts';

/** So many set-aside segments are tried again within the usual time; more take proportionally longer. */
const ASIDE_AT_USUAL_PACE_MAX = 500;

export interface FoundSegment {
  readonly dir: string;
  readonly name: SegmentName;
  readonly batches: readonly FooterBatch[];
  readonly requests: readonly FooterRequest[];
  readonly requestCount: number;
  /** Wall clock, of its first request. */
  readonly receivedAtMs: number;
  readonly fresh: boolean;
}

interface Spool {
  readonly dir: string;
  /** Ascending. */
  queue: number[];
  readonly loaded: Set<number>;
  readonly aside: Map<number, { readonly retryAtMs: number }>;
  /** Why a segment was set aside, until it is removed: the same reason is logged once. */
  readonly reasons: Map<number, string>;
  /** Segments up to here were there when this directory was first listed. */
  readonly firstListedMax: number;
  /** From spool.json, once it was read. */
  spoolId: string | undefined;
  /** Highest sequence ever seen here. */
  sequenceMax: number;
  /** Wall clock: what was received before then is loaded. */
  reachedMs: number;
}

export type SegmentFinderDeps = Pick<StoreDeps, 'spoolDirs' | 'files' | 'readers' | 'log' | 'events' | 'nowMs'> & {
  readonly journal: Journal;
  readonly monotonicMs: () => number;
  readonly random: () => number;
};

export class SegmentFinder {
  private readonly deps: SegmentFinderDeps;
  private readonly spools = new Map<string, Spool>();
  /** Which of the spools that are equally far is asked next: each has its turn. */
  private turn = 0;
  /** Directories that the last scan saw. */
  private listed: readonly string[] = [];
  /** Names that the journal had at the start: they may have been sent by an earlier run. */
  private readonly foundBefore: ReadonlySet<string>;

  constructor(deps: SegmentFinderDeps) {
    this.deps = deps;
    const { state } = deps.journal;
    this.foundBefore = new Set([...state.spools()].flatMap((spool) => state.foundIn(spool)).map(keyOf));
  }

  /** Segments that wait to be handed out. */
  get queuedCount(): number {
    let count = 0;
    for (const spool of this.spools.values()) count += spool.queue.length;
    return count;
  }

  /**
   * Wall clock: all that was received before then, by whatever worker, is loaded, but for a few seconds; −∞ while
   * nobody can know. With a backlog, or a worker that is down and has left a segment open, that is the past.
   */
  get reachedMs(): number {
    const reached = this.listed.map((dir) => this.spools.get(dir)?.reachedMs ?? Number.NEGATIVE_INFINITY);
    return reached.length === 0 ? Number.NEGATIVE_INFINITY : Math.min(...reached);
  }

  get asideCount(): number {
    let count = 0;
    for (const spool of this.spools.values()) count += spool.aside.size;
    return count;
  }

  /** The same as finding it by a scan, at once. False: this directory was not scanned yet. */
  sealed(dir: string, sequence: number): boolean {
    const spool = this.spools.get(dir);
    if (spool === undefined) return false;
    if (sequence > spool.sequenceMax) {
      spool.sequenceMax = sequence;
      spool.queue.push(sequence);
    }
    return true;
  }

  /**
   * Lists every spool: adds what is new, reports what is missing. A directory that cannot be listed is logged and left
   * for the next scan. Throws the failure of a sync.
   */
  async scan(): Promise<void> {
    const dirs = await this.deps.spoolDirs();
    for (const dir of dirs) {
      try {
        await this.scanSpool(dir);
      } catch (error) {
        // A sync that failed proves nothing about the next one (R9).
        if (error instanceof BackworkError && error.code === 'spool-failed') throw error;
        this.deps.log.error({ dir, reason: messageOf(error) }, 'cannot list a spool directory');
      }
    }
    this.listed = dirs;
    const there = new Set(dirs.map((dir) => basename(dir)));
    for (const spool of this.deps.journal.state.spools()) {
      if (!there.has(spool)) await this.reportGaps(this.deps.journal.state.foundIn(spool));
    }
  }

  /** The next segment, loaded; undefined when none is due. One whose footer cannot be read is set aside, and the next one is taken. */
  async next(): Promise<FoundSegment | undefined> {
    for (;;) {
      const taken = this.takeQueued() ?? this.takeAside();
      if (taken === undefined) return undefined;
      const { spool, sequence, again } = taken;
      spool.loaded.add(sequence);
      try {
        return await this.load(spool, sequence, again);
      } catch (error) {
        this.setAside(spool.dir, sequence, messageOf(error));
      }
    }
  }

  /** Monotonic time at which a set-aside segment is due; undefined when there is none. */
  asideDueAtMs(): number | undefined {
    let dueAtMs: number | undefined;
    for (const { aside } of this.spools.values()) {
      for (const { retryAtMs } of aside.values()) dueAtMs = Math.min(dueAtMs ?? retryAtMs, retryAtMs);
    }
    return dueAtMs;
  }

  /** It stays on the disk and is loaded again in a few minutes, or after `delayMs`, as if found at a start. */
  setAside(dir: string, sequence: number, reason: string, delayMs?: number): void {
    const spool = this.spoolOf(dir);
    spool.loaded.delete(sequence);
    const pace = Math.max(1, spool.aside.size / ASIDE_AT_USUAL_PACE_MAX);
    const waitMs = delayMs ?? setAsideDelayMs(this.deps.random()) * pace;
    spool.aside.set(sequence, { retryAtMs: this.deps.monotonicMs() + waitMs });
    if (spool.reasons.get(sequence) === reason) return;
    spool.reasons.set(sequence, reason);
    this.deps.log.error({ dir, sequence, reason }, 'set a segment aside; it stays in the spool and is tried again');
  }

  /** Its files are gone. */
  removed(dir: string, sequence: number): void {
    const spool = this.spoolOf(dir);
    spool.loaded.delete(sequence);
    if (spool.reasons.delete(sequence)) this.deps.log.info({ dir, sequence }, 'a segment that was set aside is stored');
  }

  private spoolOf(dir: string): Spool {
    const spool = this.spools.get(dir);
    if (spool === undefined) throw new BackworkError('internal', `${dir} was never scanned`);
    return spool;
  }

  private async scanSpool(dir: string): Promise<void> {
    const { files, readers, journal } = this.deps;
    // Taken before the listing: what is sealed while it runs is not missing from it.
    const expected = journal.state.foundIn(basename(dir));
    const queued = this.spools.get(dir)?.queue ?? [];
    const listedAtMs = this.deps.nowMs();
    // Before the sealed ones: what is sealed in between is seen twice, not never.
    const unsealed = await readers.listUnsealed?.(files, dir);
    const sequences = await readers.listSealed(files, dir);
    if ((sequences.at(-1) ?? -1) > (this.spools.get(dir)?.sequenceMax ?? -1)) await this.syncNames(dir);
    const listed = new Set(sequences);
    const spool = this.spools.get(dir) ?? this.newSpool(dir, sequences);
    const waiting = new Set(spool.queue);
    for (const sequence of sequences) {
      if (waiting.has(sequence) || spool.loaded.has(sequence) || spool.aside.has(sequence)) continue;
      spool.queue.push(sequence);
      spool.sequenceMax = Math.max(spool.sequenceMax, sequence);
    }
    const lost = new Set(queued.filter((sequence) => !listed.has(sequence)));
    const noted = new Set(expected.map(({ sequence }) => sequence));
    for (const sequence of lost) {
      this.deps.log.warn({ dir, sequence }, 'a segment is missing and was not stored');
      // Those that are noted are reported below.
      if (!noted.has(sequence)) this.deps.events?.gap({ spool: basename(dir), sequence });
    }
    spool.queue = spool.queue.filter((sequence) => !lost.has(sequence)).sort((one, other) => one - other);
    if (unsealed?.length === 0 && spool.queue.length === 0) spool.reachedMs = listedAtMs;
    await this.reportGaps(
      expected.filter(({ sequence }) => !listed.has(sequence) && !spool.loaded.has(sequence)),
      spool,
    );
  }

  /**
   * A footer whose worker did not say that it is sealed may have its name in memory alone. Were it sent now and the name
   * lost by a power cut, the segment would get other BatchIds and be stored twice (R5).
   */
  private async syncNames(dir: string): Promise<void> {
    try {
      await this.deps.files.syncDirectory(dir);
    } catch (error) {
      throw new BackworkError('spool-failed', `sync of ${dir} failed: ${messageOf(error)}`, { cause: error });
    }
  }

  private newSpool(dir: string, sequences: readonly number[]): Spool {
    const spool: Spool = {
      dir,
      queue: [],
      loaded: new Set(),
      aside: new Map(),
      reasons: new Map(),
      firstListedMax: sequences.at(-1) ?? -1,
      spoolId: undefined,
      sequenceMax: -1,
      reachedMs: Number.NEGATIVE_INFINITY,
    };
    this.spools.set(dir, spool);
    return spool;
  }

  private async reportGaps(missing: readonly SegmentName[], spool?: Spool): Promise<void> {
    // A note that was written since the list was made says that it went the proper way.
    const gaps = missing.filter((name) =>
      this.deps.journal.state.foundIn(name.spool).some((one) => keyOf(one) === keyOf(name)),
    );
    for (const name of gaps) {
      this.deps.log.warn({ ...name }, 'a segment is missing without a note that it was stored');
      this.deps.events?.gap({ spool: name.spool, sequence: name.sequence });
      spool?.aside.delete(name.sequence);
      spool?.reasons.delete(name.sequence);
    }
    await this.deps.journal.note(gaps.map((name) => ({ kind: 'gap', ...name })));
  }

  private takeQueued(): Taken | undefined {
    const spools = [...this.spools.values()];
    let oldest: Spool | undefined;
    for (let tried = 0; tried < spools.length; tried++) {
      const spool = spools[(this.turn + tried) % spools.length]!;
      if (spool.queue.length > 0 && (oldest === undefined || spool.reachedMs < oldest.reachedMs)) oldest = spool;
    }
    const sequence = oldest?.queue.shift();
    if (oldest === undefined || sequence === undefined) return undefined;
    this.turn = spools.indexOf(oldest) + 1;
    return { spool: oldest, sequence, again: false };
  }

  private takeAside(): Taken | undefined {
    const nowMs = this.deps.monotonicMs();
    for (const spool of this.spools.values()) {
      for (const [sequence, { retryAtMs }] of spool.aside) {
        if (retryAtMs > nowMs) continue;
        spool.aside.delete(sequence);
        return { spool, sequence, again: true };
      }
    }
    return undefined;
  }

  private async load(spool: Spool, sequence: number, again: boolean): Promise<FoundSegment> {
    const { files, readers, journal } = this.deps;
    const footer = await readers.readFooter(files, spool.dir, sequence);
    await this.refuseForeign(spool, footer.spoolId);
    const name = { spool: basename(spool.dir), spoolId: footer.spoolId, sequence };
    const fresh = !again && sequence > spool.firstListedMax && !this.foundBefore.has(keyOf(name));
    await journal.note([{ kind: 'found', ...name }]);
    const { batches, requests } = footer;
    const requestCount = requests.length;
    const newest = requests.at(-1);
    if (!again && newest !== undefined) spool.reachedMs = newest.receivedAtMs;
    const receivedAtMs = requests[0]?.receivedAtMs ?? 0;
    return { dir: spool.dir, name, batches, requests, requestCount, receivedAtMs, fresh };
  }

  /** A segment that was copied here from another spool may be stored already, under numbers that mean nothing here. */
  private async refuseForeign(spool: Spool, spoolId: string): Promise<void> {
    if (spool.spoolId === spoolId) return;
    const identity = await this.deps.readers.readIdentity(this.deps.files, spool.dir);
    if (typeof identity === 'string') return;
    spool.spoolId = identity.spoolId;
    if (identity.spoolId === spoolId) return;
    throw new BackworkError(
      'corrupt',
      `the segment belongs to spool ${spoolId}, this directory is spool ${identity.spoolId}`,
    );
  }
}

interface Taken {
  readonly spool: Spool;
  readonly sequence: number;
  /** It was handed out before. */
  readonly again: boolean;
}

function keyOf(name: SegmentName): string {
  return `${name.spoolId}/${name.sequence}`;
}
