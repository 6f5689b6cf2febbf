/**
 * What the store decided by itself, as notes: their bytes in the journal file, and what a sequence of them means. Pure.
 *
 *   file   := magic "BWSTORE1" note*
 *   note   := length u32 | crc u32 | kind u8 | payload          little-endian; length counts the payload alone,
 *                                                               crc is CRC-32 over kind and payload
 *   payload: UTF-8 JSON, one object, its fields as in the type of the kind; of `keys` as in key-notes.ts
 *
 * The kinds are numbered for good. A kind that this program does not know (usage posted, a request left out, a split:
 * later ones) is kept as it is when the journal is rewritten, and means nothing here. What must not be
 * ignored by an older program gets a new magic.
 */
import { crc32 } from 'node:zlib';
import { BackworkError } from '../../base/errors.ts';
import { allKeyNotes, applyKeyNote, decodeKeyNote, encodeKeyNote, type KeyNote, KeyNotes } from './key-notes.ts';
import { RequestKeys } from './request-keys.ts';
import { SplitNotes } from './split-notes.ts';

/** Names one segment for good: spool ids are UUIDs, sequence numbers are never used twice. */
export interface SegmentName {
  /** Name of the spool's directory, `0`: where to look for it. */
  readonly spool: string;
  readonly spoolId: string;
  readonly sequence: number;
}

export type Note =
  /** The INSERTs from here on carry query ids of this run; those of earlier runs may still be running. */
  | { readonly kind: 'run'; readonly run: string }
  /** Nothing of this earlier run runs any more. */
  | { readonly kind: 'run-over'; readonly run: string }
  /** This segment was there: if it is missing later without a `removed`, it was lost. Not synced by itself. */
  | ({ readonly kind: 'found' } & SegmentName)
  /** Every batch of it is stored, and its tables' directories are synced; its files may go. */
  | ({ readonly kind: 'removed'; readonly atMs: number } & SegmentName)
  /** It was found missing and reported. */
  | ({ readonly kind: 'gap' } & SegmentName)
  /** Converted again, this batch has so many rows; from here on it is always converted again. */
  | ({ readonly kind: 'row-count'; readonly batchId: string; readonly rowCount: number } & SegmentName)
  /** The expiry of this batch passed before its turn: it is not inserted. */
  | ({ readonly kind: 'expired'; readonly batchId: string; readonly rowCount: number } & SegmentName)
  /** These requests of the segment are copies of requests that are stored: their rows are left out (R4). */
  | ({ readonly kind: 'left-out'; readonly requests: readonly number[] } & SegmentName)
  /** A batch that was refused became these; a part may be split again. */
  | ({ readonly kind: 'split'; readonly batchId: string; readonly parts: readonly SplitPart[] } & SegmentName)
  /** This batch, of one request, went to quarantine: it counts as done. */
  | ({
      readonly kind: 'quarantined';
      readonly batchId: string;
      readonly request: number;
      readonly orgId: string;
      readonly rowCount: number;
    } & SegmentName)
  /** The keys of the segment's requests: its decision about retries (key-notes.ts). No JSON. */
  | KeyNote;

/** A part of a batch that was refused: its rows of these requests. */
export interface SplitPart {
  readonly batchId: string;
  readonly firstRequest: number;
  readonly lastRequest: number;
  readonly rowCount: number;
}

const KINDS = [
  'run',
  'run-over',
  'found',
  'removed',
  'gap',
  'row-count',
  'expired',
  'left-out',
  'split',
  'quarantined',
  'keys',
] as const satisfies readonly Note['kind'][];
const MAGIC = Buffer.from('BWSTORE1', 'latin1');
const MAGIC_START = 'BWSTORE';
const NOTE_HEADER_BYTES = 9;
/** Far above any note; a length beyond it is damage. */
const PAYLOAD_BYTES_MAX = 1024 * 1024;
/** `removed` notes stay this long: a request that is sent again within it must find the first one's segment. */
const REMOVED_KEPT_MS = 600_000;

export const JOURNAL_MAGIC: Buffer = MAGIC;

/** A note as bytes, ready to append. */
export function encodeNote(note: Note): Buffer {
  const { kind, ...fields } = note;
  if (note.kind === 'keys') return frameNote(KINDS.indexOf(kind) + 1, encodeKeyNote(note));
  return frameNote(KINDS.indexOf(kind) + 1, Buffer.from(JSON.stringify(fields)));
}

export interface JournalContent {
  readonly state: JournalState;
  /** Bytes that are whole, from the start of the file; what follows is a torn tail. */
  readonly wholeBytes: number;
  /** Notes in the middle whose CRC is wrong; they were skipped. */
  readonly damagedNotes: number;
}

/** Reads a journal file. Throws BackworkError `newer-format`, or `corrupt` when it is no journal at all. */
export function readJournal(bytes: Buffer): JournalContent {
  const state = new JournalState();
  // A file cut inside its magic was being made when the machine stopped: nothing was ever noted in it.
  if (bytes.length < MAGIC.length && MAGIC.subarray(0, bytes.length).equals(bytes)) {
    return { state, wholeBytes: 0, damagedNotes: 0 };
  }
  checkMagic(bytes);
  let at = MAGIC.length;
  let damagedNotes = 0;
  for (;;) {
    const end = noteEnd(bytes, at);
    if (end === undefined) break;
    if (noteIsWhole(bytes, at, end)) {
      state.applyBytes(bytes[at + 8]!, bytes.subarray(at + NOTE_HEADER_BYTES, end));
    } else {
      // A bad note is only skipped when a whole one follows at once; else it is the torn tail.
      const nextEnd = noteEnd(bytes, end);
      if (nextEnd === undefined || !noteIsWhole(bytes, end, nextEnd)) break;
      damagedNotes++;
    }
    at = end;
  }
  return { state, wholeBytes: at, damagedNotes };
}

interface SegmentNotes {
  readonly name: SegmentName;
  readonly rowCounts: Map<string, number>;
  readonly expired: Map<string, number>;
  readonly leftOut: Set<number>;
  /** How many requests its decision about retries left out; undefined before. */
  decidedCount: number | undefined;
}

const NOTHING_LEFT_OUT: ReadonlySet<number> = new Set();

/** What the notes so far mean. */
export class JournalState {
  /** Keys of requests of the last ten minutes, of removed segments too. */
  readonly keys = new RequestKeys();
  private readonly runsOpen = new Set<string>();
  private readonly segments = new Map<string, SegmentNotes>();
  private readonly removed = new Map<string, { readonly name: SegmentName; readonly atMs: number }>();
  private readonly unknownNotes: Buffer[] = [];
  /** What became of refused batches. */
  readonly refused: SplitNotes = new SplitNotes();

  /** Runs whose INSERTs may still be running, oldest first. */
  runs(): readonly string[] {
    return [...this.runsOpen];
  }

  /** The row count of a batch after it was converted again, if that differed from its footer. */
  rowCount(name: SegmentName, batchId: string): number | undefined {
    return this.segments.get(keyOf(name))?.rowCounts.get(batchId);
  }

  isExpired(name: SegmentName, batchId: string): boolean {
    return this.segments.get(keyOf(name))?.expired.has(batchId) === true;
  }

  /** All of it is stored and synced: what is there of it is to be removed, even when a power cut has brought it back. */
  isRemoved(name: SegmentName): boolean {
    return this.removed.has(keyOf(name));
  }

  /** Requests of this segment whose rows are left out. */
  leftOut(name: SegmentName): ReadonlySet<number> {
    return this.segments.get(keyOf(name))?.leftOut ?? NOTHING_LEFT_OUT;
  }

  /** Whether it was decided which requests of this segment are left out. */
  retriesDecided(name: SegmentName): boolean {
    const notes = this.segments.get(keyOf(name));
    return notes !== undefined && notes.decidedCount === notes.leftOut.size;
  }

  /** Segments of this spool directory that were seen, and neither removed nor reported missing. */
  foundIn(spool: string): readonly SegmentName[] {
    return [...this.segments.values()].filter((notes) => notes.name.spool === spool).map((notes) => notes.name);
  }

  /** Names of the spool directories of which segments were found. */
  spools(): ReadonlySet<string> {
    return new Set([...this.segments.values()].map((notes) => notes.name.spool));
  }

  apply(note: Note): void {
    switch (note.kind) {
      case 'run':
        this.runsOpen.add(note.run);
        break;
      case 'run-over':
        this.runsOpen.delete(note.run);
        break;
      case 'found':
        this.segmentNotes(note);
        break;
      case 'removed':
        this.segments.delete(keyOf(note));
        this.removed.set(keyOf(note), { name: nameOf(note), atMs: note.atMs });
        break;
      case 'gap':
        this.segments.delete(keyOf(note));
        break;
      case 'row-count':
        this.segmentNotes(note).rowCounts.set(note.batchId, note.rowCount);
        break;
      case 'expired':
        this.segmentNotes(note).expired.set(note.batchId, note.rowCount);
        break;
      case 'left-out':
        for (const request of note.requests) this.segmentNotes(note).leftOut.add(request);
        break;
      case 'keys':
        applyKeyNote(note, this.keys);
        if (note.final) this.segmentNotes(note).decidedCount = note.leftOutCount;
        break;
      case 'split':
      case 'quarantined':
        this.refused.apply(note);
        break;
    }
  }

  /** A note as read: payload that is no note of its kind is an error of the program that wrote it. */
  applyBytes(kindNumber: number, payload: Buffer): void {
    const kind = KINDS[kindNumber - 1];
    if (kind === undefined) this.unknownNotes.push(frameNote(kindNumber, payload));
    else if (kind === 'keys') this.apply(decodeKeyNote(payload));
    else this.apply({ kind, ...JSON.parse(payload.toString()) } as Note);
  }

  /**
   * The whole file that means the same, without what is over. `nowMs` undefined: nothing is over, as at a start, when the
   * segments that a power cut has brought back were not looked for yet.
   */
  encode(nowMs: number | undefined): Buffer {
    const parts: Buffer[] = [MAGIC, ...this.unknownNotes];
    for (const run of this.runsOpen) parts.push(encodeNote({ kind: 'run', run }));
    for (const [key, { name, atMs }] of this.removed) {
      // Both bounds: a clock that was set back must not keep notes for ever.
      if (nowMs === undefined || Math.abs(nowMs - atMs) <= REMOVED_KEPT_MS)
        parts.push(encodeNote({ kind: 'removed', ...name, atMs }));
      else this.removed.delete(key);
    }
    for (const { name, rowCounts, expired, leftOut, decidedCount } of this.segments.values()) {
      parts.push(encodeNote({ kind: 'found', ...name }));
      if (leftOut.size > 0) parts.push(encodeNote({ kind: 'left-out', ...name, requests: [...leftOut] }));
      if (decidedCount !== undefined)
        for (const note of new KeyNotes(name).end(decidedCount)) parts.push(encodeNote(note));
      for (const [batchId, rowCount] of rowCounts)
        parts.push(encodeNote({ kind: 'row-count', ...name, batchId, rowCount }));
      for (const [batchId, rowCount] of expired)
        parts.push(encodeNote({ kind: 'expired', ...name, batchId, rowCount }));
    }
    const isKept = (key: string) => this.segments.has(key) || this.removed.has(key);
    for (const note of this.refused.notes(isKept)) parts.push(encodeNote(note));
    for (const note of allKeyNotes(this.keys)) parts.push(encodeNote(note));
    return Buffer.concat(parts);
  }

  private segmentNotes(name: SegmentName): SegmentNotes {
    const key = keyOf(name);
    let notes = this.segments.get(key);
    if (notes === undefined) {
      notes = {
        name: nameOf(name),
        rowCounts: new Map(),
        expired: new Map(),
        leftOut: new Set(),
        decidedCount: undefined,
      };
      this.segments.set(key, notes);
    }
    return notes;
  }
}

function checkMagic(bytes: Buffer): void {
  if (bytes.subarray(0, MAGIC.length).equals(MAGIC)) return;
  requireKnownVersion(bytes);
  throw new BackworkError(
    'corrupt',
    "the store's journal does not start with its magic: it is another file, or its first bytes are damaged",
  );
}

/** Throws `newer-format` when these first bytes of a journal are a later program's; anything else passes. */
export function requireKnownVersion(bytes: Buffer): void {
  const start = bytes.toString('latin1', 0, MAGIC.length);
  if (start.length === MAGIC.length && start.startsWith(MAGIC_START) && start !== MAGIC.toString('latin1')) {
    throw new BackworkError(
      'newer-format',
      `the store's journal has version ${start.slice(MAGIC_START.length)}; this program writes version 1`,
    );
  }
}

/** Where the note at `at` ends by its length; undefined when that is beyond the file or no length at all. */
function noteEnd(bytes: Buffer, at: number): number | undefined {
  if (at + NOTE_HEADER_BYTES > bytes.length) return undefined;
  const length = bytes.readUInt32LE(at);
  const end = at + NOTE_HEADER_BYTES + length;
  return length > PAYLOAD_BYTES_MAX || end > bytes.length ? undefined : end;
}

function noteIsWhole(bytes: Buffer, at: number, end: number): boolean {
  return bytes.readUInt32LE(at + 4) === crc32(bytes.subarray(at + 8, end));
}

function frameNote(kindNumber: number, payload: Buffer): Buffer {
  const framed = Buffer.allocUnsafe(NOTE_HEADER_BYTES + payload.length);
  framed.writeUInt32LE(payload.length, 0);
  framed[8] = kindNumber;
  payload.copy(framed, NOTE_HEADER_BYTES);
  framed.writeUInt32LE(crc32(framed.subarray(8)), 4);
  return framed;
}

function keyOf(name: SegmentName): string {
  return `${name.spoolId}/${name.sequence}`;
}

/** Without the fields of the note it came in. */
function nameOf(name: SegmentName): SegmentName {
  return { spool: name.spool, spoolId: name.spoolId, sequence: name.sequence };
}
