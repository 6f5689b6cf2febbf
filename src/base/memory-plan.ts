/**
 * What one ingest process may hold, from the one ceiling that the operator sets (BACKWORK_INGEST_MEMORY_MIB). Every part is
 * counted where it grows, and what has no room is refused with a retryable answer, or waits, before it is made.
 *
 *   ceiling ─┬─ PROGRAM_MIB   program, JavaScript heap, threads, sockets, what waits for the garbage collector
 *            ├─ in flight     bodies as they came and inflated, and of JSON its protobuf        byte-budget.ts
 *            ├─ large work    of bodies over 1 MiB: rows that are made now, the block they become, the body
 *            │                compressed for its record; one of the largest at a time            large-work.ts
 *            └─ segments      half: rows of the open segment and of those that wait for their footer (spool/writer.ts)
 *                             half: the block that is encoded, builders kept for the next segment (builder-pool.ts)
 *
 * Bounded by a number of entries, inside PROGRAM_MIB: the token table, streams and connections (base/limits.ts), footers of
 * SEGMENT_RECORDS_MAX requests, dictionaries (counted as rows), the thread that reads JSON (24 MiB of heap; its bodies are
 * in flight).
 */
import assert from 'node:assert';
import { BATCH_BYTES_MAX, MIB, SEGMENT_ROW_BYTES_MAX, SLICE_ROW_BYTES, UNSLICED_ROW_BYTES_MAX } from './limits.ts';

/**
 * Seen under the heaviest loads of test/faults, without what is counted: 90 to 130 MiB, and up to 55 MiB of buffers that
 * V8 has not freed yet since it counts them to its limit (commands/children.ts).
 */
export const PROGRAM_MIB = 192;
/** Below, segments would be sealed so small that each batch is a few thousand rows. */
const SEGMENTS_MIB_MIN = 48;
/** A body whole twice (as it came and inflated, or JSON and its protobuf) beside the fifth that one organization leaves to others. */
const BODIES_IN_FLIGHT_MIN = 2.5;
const IN_FLIGHT_MIB_USUAL = 256;
/** With less, rows of large requests are cut into smaller batches. */
const ROOMY_MIB = 1_024;
const CUT_BYTES_SMALL = BATCH_BYTES_MAX / 2;
/** Segments that hold rows at once: the open one, the one that is sealed, one that waits. */
const SEGMENTS_AT_ONCE = 3;

export interface MemorySettings {
  readonly ingestMemoryMib: number;
  readonly bodyMib: number;
  readonly inFlightMib: number;
}

export interface MemoryPlan {
  readonly inFlightBytesMax: number;
  /** Of all large requests that are worked on at once. */
  readonly largeWorkBytesMax: number;
  /** Rows of a large request become a batch at this size. */
  readonly largeCutBytes: number;
  /** Rows of one large request that stay in memory until its segment is sealed; the rest waits on the disk. */
  readonly largeKeptBytesMax: number;
  /** Column data of all segments that have no footer yet; with more, requests are refused. */
  readonly rowBytesMax: number;
  /** A segment is sealed at this much column data. */
  readonly segmentRowBytesMax: number;
  /** Memory of builders that are kept for the next segment. */
  readonly poolBytesMax: number;
}

/** Usual ceiling of a process on such a machine: a quarter of the memory for all ingest processes together. */
export function usualIngestMemoryMib(machine: { memoryMib: number; workers: number; bodyMib: number }): number {
  const share = Math.floor(machine.memoryMib / 4 / machine.workers);
  return Math.max(leastIngestMemoryMib(machine.bodyMib, 0), Math.min(ROOMY_MIB, Math.max(512, share)));
}

/** In MiB: the smallest ceiling under which the largest body is taken; `inFlightMib` 0: as the plan chooses. */
export function leastIngestMemoryMib(bodyMib: number, inFlightMib: number): number {
  const inFlight = inFlightMib > 0 ? inFlightMib : Math.ceil(BODIES_IN_FLIGHT_MIN * bodyMib);
  const small = PROGRAM_MIB + largeWorkMib(CUT_BYTES_SMALL, bodyMib) + inFlight + SEGMENTS_MIB_MIN;
  return small < ROOMY_MIB ? small : PROGRAM_MIB + largeWorkMib(BATCH_BYTES_MAX, bodyMib) + inFlight + SEGMENTS_MIB_MIN;
}

/** Bodies in flight where the operator has not set them. */
export function usualInFlightMib(ingestMemoryMib: number, bodyMib: number): number {
  const left = ingestMemoryMib - PROGRAM_MIB - largeWorkMib(cutBytes(ingestMemoryMib), bodyMib);
  const least = Math.ceil(BODIES_IN_FLIGHT_MIN * bodyMib);
  const share = Math.min(Math.floor((left * 2) / 3), left - SEGMENTS_MIB_MIN);
  return Math.max(least, Math.min(IN_FLIGHT_MIB_USUAL, share));
}

/** Settings that were checked (settings/load-settings.ts) always have a plan. */
export function planMemory({ ingestMemoryMib, bodyMib, inFlightMib }: MemorySettings): MemoryPlan {
  const largeCutBytes = cutBytes(ingestMemoryMib);
  const large = largeWorkMib(largeCutBytes, bodyMib);
  const segments = (ingestMemoryMib - PROGRAM_MIB - large - inFlightMib) * MIB;
  const rowBytesMax = Math.floor(segments / 2);
  const segmentRowBytesMax = Math.min(SEGMENT_ROW_BYTES_MAX, Math.floor(rowBytesMax / SEGMENTS_AT_ONCE));
  assert(rowBytesMax > UNSLICED_ROW_BYTES_MAX, 'one more request has room when nothing is held');
  return {
    inFlightBytesMax: inFlightMib * MIB,
    largeWorkBytesMax: large * MIB,
    largeCutBytes,
    largeKeptBytesMax: segmentRowBytesMax,
    rowBytesMax,
    segmentRowBytesMax,
    poolBytesMax: Math.min(SEGMENT_ROW_BYTES_MAX, Math.floor(rowBytesMax / 2)),
  };
}

/** What a large request needs while it is converted and compressed: rows, the block of as many, and the stored body. */
export function largeRequestBytes(bodyBytes: number, largeCutBytes: number): number {
  return 2 * (largeCutBytes + SLICE_ROW_BYTES) + bodyBytes;
}

function largeWorkMib(largeCutBytes: number, bodyMib: number): number {
  return Math.ceil(largeRequestBytes(bodyMib * MIB, largeCutBytes) / MIB);
}

function cutBytes(ingestMemoryMib: number): number {
  return ingestMemoryMib >= ROOMY_MIB ? BATCH_BYTES_MAX : CUT_BYTES_SMALL;
}
