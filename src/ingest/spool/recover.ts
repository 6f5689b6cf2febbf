/**
 * What a spool directory means after a crash: pure, facts in, plan out. recover-spool.ts gathers the facts and carries
 * the plan out.
 *
 *   footer under its final name, one copy good   sealed: keep
 *   footer, both copies damaged                  its BatchIds are lost: quarantine whole, never sent by itself (R3)
 *   segment without footer                       not sealed, nothing of it was sent (R5): convert again, seal
 *   segment without a byte of a record           was never acknowledged: remove
 *   segment whose header is unreadable           quarantine whole
 *   segment or footer of another spool           quarantine whole
 *   segment without footer, older than the run   an old copy somebody put back, stored long ago: quarantine whole
 *   footer without segment                       keep: the store finishes it from the batch file, or reports the gap
 *   footer.tmp, batches without footer           remove: done anew
 *   anything of a newer format                   refuse, change nothing
 */
import type { SegmentHeaderState } from './format.ts';
import { SEGMENT_HEADER_BYTES } from './format.ts';
import { SEQUENCE_BLOCK, type SpoolIdentity } from './identity.ts';

/** What stands on the disk for one sequence number. */
export interface SegmentFacts {
  readonly sequence: number;
  readonly segment: { readonly bytes: number; readonly header: SegmentHeaderState } | undefined;
  readonly footer: FooterFacts | undefined;
}

export type FooterFacts =
  | { readonly kind: 'whole'; readonly spoolId: string }
  | { readonly kind: 'damaged' }
  | { readonly kind: 'newer' };

export type SegmentAction = 'keep' | 'seal' | 'remove' | 'quarantine';

export interface SegmentPlan {
  readonly sequence: number;
  readonly action: SegmentAction;
  /** For the log, where the action is not the ordinary one. */
  readonly reason: string;
}

export interface RecoveryPlan {
  /** Something here is of a newer format: nothing may be changed. */
  readonly newer: boolean;
  /** The spool's id; undefined when nothing tells it, and a new one is to be made. */
  readonly spoolId: string | undefined;
  /** First number that was certainly never used, one skipped. */
  readonly nextSequence: number;
  /** Ascending. */
  readonly segments: readonly SegmentPlan[];
}

/** `facts` ascending by sequence number. An identity that is lost is taken from most of the segments. */
export function planRecovery(
  facts: readonly SegmentFacts[],
  identity: SpoolIdentity | 'missing' | 'damaged',
): RecoveryPlan {
  const known = typeof identity === 'string' ? undefined : identity;
  const spoolId = known?.spoolId ?? idOfMost(facts);
  const newer = facts.some((fact) => fact.segment?.header.kind === 'newer' || fact.footer?.kind === 'newer');
  const firstSequence = known?.firstSequence ?? 0;
  const lastSeen = facts.at(-1)?.sequence ?? 0;
  // Without its identity a spool may have used numbers of a block of which it left no file.
  const reserved = known?.reservedSequence ?? (facts.length > 0 ? lastSeen + SEQUENCE_BLOCK : 0);
  return {
    newer,
    spoolId,
    nextSequence: Math.max(reserved, lastSeen + 1) + 1,
    segments: facts.map((fact) => ({ sequence: fact.sequence, ...planSegment(fact, spoolId, firstSequence) })),
  };
}

function planSegment(
  fact: SegmentFacts,
  spoolId: string | undefined,
  firstSequence: number,
): { action: SegmentAction; reason: string } {
  const { segment, footer, sequence } = fact;
  const header = segment?.header.kind === 'valid' ? segment.header.header : undefined;
  if (footer?.kind === 'damaged') return quarantine('both copies of its footer are damaged');
  if (footer?.kind === 'whole' && footer.spoolId !== spoolId)
    return quarantine(`its footer is of spool ${footer.spoolId}`);
  if (header !== undefined && header.spoolId !== spoolId) return quarantine(`it is of spool ${header.spoolId}`);
  if (header !== undefined && header.sequence !== sequence) return quarantine(`it is segment ${header.sequence}`);
  if (footer !== undefined)
    return { action: 'keep', reason: segment === undefined ? 'footer without its segment' : '' };
  if (segment === undefined) return { action: 'remove', reason: 'no segment' };
  if (segment.bytes <= SEGMENT_HEADER_BYTES) return { action: 'remove', reason: 'no record' };
  if (header === undefined) return quarantine('both copies of its header are damaged');
  if (sequence < firstSequence) return quarantine(`unsealed, though the spool was recovered at ${firstSequence}`);
  return { action: 'seal', reason: '' };
}

function quarantine(reason: string): { action: SegmentAction; reason: string } {
  return { action: 'quarantine', reason };
}

function idOfMost(facts: readonly SegmentFacts[]): string | undefined {
  const counts = new Map<string, number>();
  for (const { segment, footer } of facts) {
    const id = segment?.header.kind === 'valid' ? segment.header.header.spoolId : undefined;
    const spoolId = id ?? (footer?.kind === 'whole' ? footer.spoolId : undefined);
    if (spoolId !== undefined) counts.set(spoolId, (counts.get(spoolId) ?? 0) + 1);
  }
  let most: string | undefined;
  for (const [spoolId, count] of counts) if (most === undefined || count > (counts.get(most) ?? 0)) most = spoolId;
  return most;
}
