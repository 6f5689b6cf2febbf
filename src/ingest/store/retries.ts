/**
 * Which requests of a segment are left out, because they are copies of requests that are stored (reference R4). Decided
 * once for each segment, when it is loaded the first time, and noted, synced, before anything of the segment is sent: so
 * a restart decides nothing anew of which a row may be stored, whatever order segments come in then.
 *
 * The first copy that is decided on is stored, whichever was received first; every later one is left out in its favour.
 * Requests without rows, and records that could not be read (no organization, fingerprint of zeros), are no one's copies.
 */
import { crc32 } from 'node:zlib';
import type { FooterBatch, FooterRequest } from '../messages.ts';
import type { JournalState, Note, SegmentName } from './journal-notes.ts';
import { KeyNotes } from './key-notes.ts';
import { NO_UNSENT, ownerOf } from './request-keys.ts';

export interface SegmentDecision {
  readonly leftOut: readonly number[];
  /** To be written before anything of the segment is sent. */
  readonly notes: readonly Note[];
}

/**
 * Decides, and takes the segment's keys among those that are known. `always`: a copy is left out even when the earlier
 * one's answer was sent. What an earlier decision, cut short, left out stays left out.
 */
export function decideOnRetries(
  state: JournalState,
  name: SegmentName,
  requests: readonly FooterRequest[],
  always: boolean,
): SegmentDecision {
  const { keys } = state;
  const before = state.leftOut(name);
  const segmentHash = crc32(`${name.spoolId}/${name.sequence}`);
  const keyNotes = new KeyNotes(name);
  const leftOut: number[] = [];
  for (const [index, request] of requests.entries()) {
    const { orgId, signal, receivedAtMs: atMs, answerSent, fingerprint: print } = request;
    if (request.itemsAccepted === 0 || orgId === '' || isZero(print)) continue;
    const scope = keys.scope(orgId, signal);
    const owner = ownerOf(segmentHash, index);
    const entry = keys.find(scope, print);
    const isKnown = entry >= 0 && keys.owner(entry) !== owner;
    const isLeftOut = before.has(index) || (isKnown && keys.isCopy(entry, atMs, answerSent, always));
    const times = { atMs, unsentAgoMs: answerSent ? NO_UNSENT : 0 };
    keyNotes.add(orgId, signal, { print, owner, ...times }, isLeftOut);
    if (!isLeftOut) keys.put(scope, print, times, owner);
    else {
      leftOut.push(index);
      if (entry >= 0) keys.renew(entry, times);
    }
  }
  const notes: Note[] = [...keyNotes.end(leftOut.length)];
  if (leftOut.length > before.size) notes.unshift({ kind: 'left-out', ...name, requests: leftOut });
  return { leftOut, notes };
}

/** Whether nothing of this batch is left. */
export function isLeftOut(batch: FooterBatch, leftOut: ReadonlySet<number>): boolean {
  if (leftOut.size === 0) return false;
  for (let index = batch.firstRequest; index <= batch.lastRequest; index++) if (!leftOut.has(index)) return false;
  return true;
}

/** Whether rows of this batch may be those of a request that is left out. */
export function losesRows(batch: FooterBatch, leftOut: ReadonlySet<number>): boolean {
  for (const index of leftOut) if (index >= batch.firstRequest && index <= batch.lastRequest) return true;
  return false;
}

function isZero(bytes: Uint8Array): boolean {
  return bytes.every((byte) => byte === 0);
}
