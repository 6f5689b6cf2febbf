/**
 * What the notes `split` and `quarantined` mean: which batches of a segment became parts, and which of its batches are
 * missing for good because their record is in quarantine. Pure; journal-notes.ts has the bytes.
 *
 * They outlive the segment's removal: a segment that a power cut brings back must have the same parts as before, or what
 * is stored under their BatchIds would be stored once more under the BatchId of the batch they came from.
 */
import { createHash } from 'node:crypto';
import type { FooterBatch } from '../messages.ts';
import type { Note, SegmentName, SplitPart } from './journal-notes.ts';

type SplitNote = Extract<Note, { readonly kind: 'split' }>;
type QuarantinedNote = Extract<Note, { readonly kind: 'quarantined' }>;

interface Decisions {
  readonly name: SegmentName;
  readonly splits: Map<string, SplitNote>;
  readonly quarantined: Map<string, QuarantinedNote>;
}

export class SplitNotes {
  private readonly segments = new Map<string, Decisions>();

  apply(note: SplitNote | QuarantinedNote): void {
    const key = keyOf(note);
    let decisions = this.segments.get(key);
    if (decisions === undefined) {
      const { spool, spoolId, sequence } = note;
      decisions = { name: { spool, spoolId, sequence }, splits: new Map(), quarantined: new Map() };
      this.segments.set(key, decisions);
    }
    if (note.kind === 'split') decisions.splits.set(note.batchId, note);
    else decisions.quarantined.set(note.batchId, note);
  }

  /** Batches of the segment that went to quarantine. */
  quarantined(name: SegmentName): readonly QuarantinedNote[] {
    return [...(this.segments.get(keyOf(name))?.quarantined.values() ?? [])];
  }

  isQuarantined(name: Omit<SegmentName, 'spool'>, batchId: string): boolean {
    return this.segments.get(keyOf(name))?.quarantined.has(batchId) === true;
  }

  /** The batches of a footer as they are now: those that were split replaced by their parts, those in quarantine left out. */
  open(name: SegmentName, batches: readonly FooterBatch[]): readonly FooterBatch[] {
    const decisions = this.segments.get(keyOf(name));
    if (decisions === undefined) return batches;
    return batches.flatMap((batch) => openOf(batch, decisions));
  }

  /** Notes of the segments that `isKept` names by `<spoolId>/<sequence>`; the others are over. */
  notes(isKept: (key: string) => boolean): Note[] {
    return [...this.segments]
      .filter(([key]) => isKept(key))
      .flatMap(([, { splits, quarantined }]) => [...splits.values(), ...quarantined.values()]);
  }
}

/** A part of a batch as a batch: never in the batch file, so always converted from its records. */
export function batchOfPart(batch: FooterBatch, part: SplitPart): FooterBatch {
  const { batchId, firstRequest, lastRequest, rowCount } = part;
  return { ...batch, batchId, firstRequest, lastRequest, rowCount, rowFrom: 0, offset: 0, length: 0, crc: 0 };
}

/**
 * The BatchId of a part: the seconds of the batch it comes from and 32 bits of a hash of that batch and the part's range.
 * So a part that is cut again, because the journal was lost, is asked about under the BatchId it was stored with.
 */
export function partBatchId(batchId: string, firstRequest: number, lastRequest: number): string {
  const hash = createHash('sha256').update(`${batchId} ${firstRequest} ${lastRequest}`).digest('hex');
  return batchId.slice(0, 8) + hash.slice(0, 8);
}

function openOf(batch: FooterBatch, decisions: Decisions): readonly FooterBatch[] {
  if (decisions.quarantined.has(batch.batchId)) return [];
  const split = decisions.splits.get(batch.batchId);
  return split === undefined ? [batch] : split.parts.flatMap((part) => openOf(batchOfPart(batch, part), decisions));
}

function keyOf(name: Omit<SegmentName, 'spool'>): string {
  return `${name.spoolId}/${name.sequence}`;
}
