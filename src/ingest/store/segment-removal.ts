/**
 * Removes segments whose batches are all done. The order is the promise (reference R8): the directories of the tables
 * are synced, then `removed` is in the journal, then the files go, the footer last. After a crash between any two steps
 * the segment is either still there, and asked about again, or gone with a note. One round takes all segments that
 * wait, so a sync is shared.
 */
import { NO_FAULT_POINTS } from '../../base/fault-points.ts';
import type { Journal } from './journal.ts';
import type { Segment } from './lanes.ts';
import type { StoreDeps } from './store-deps.ts';

export type SegmentRemovalDeps = Pick<StoreDeps, 'files' | 'readers' | 'syncTables' | 'nowMs' | 'faults'> & {
  readonly journal: Journal;
};

/**
 * Throws what the sync, the journal or the file system throws; what is not removed then is simply removed again.
 * `onRemoved` is called for each segment whose files are gone.
 */
export async function removeSegments(
  deps: SegmentRemovalDeps,
  segments: readonly Segment[],
  onRemoved: (segment: Segment) => void,
): Promise<void> {
  const tables = new Set(segments.flatMap((segment) => [...segment.tables]));
  const faults = deps.faults ?? NO_FAULT_POINTS;
  const sync = async (): Promise<void> => {
    if (tables.size > 0) await deps.syncTables([...tables].sort());
  };
  if (!faults.planted('remove-before-sync')) await sync();
  faults.reached('tables-synced');
  const atMs = deps.nowMs();
  await deps.journal.write(segments.map(({ name }) => ({ kind: 'removed', ...name, atMs })));
  for (const segment of segments) {
    faults.reached('removal-due');
    await deps.readers.removeSegment(deps.files, segment.dir, segment.name.sequence);
    faults.reached('segment-removed');
    onRemoved(segment);
  }
  if (faults.planted('remove-before-sync')) await sync();
}
