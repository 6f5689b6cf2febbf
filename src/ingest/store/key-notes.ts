/**
 * `keys` notes of the journal, as bytes; pure. At 1,000 requests a second ten minutes are 600,000 keys, so they are no
 * JSON:
 *
 *   payload := length u32 | JSON of that length | key*
 *   key     := fingerprint 16 | owner u32 | receipt u32, ms after `baseMs` | u32: bits 0–19 unsentAgoMs
 *              (request-keys.ts), bit 20 set when only an entry that is there may be renewed, bits 21–31 number in `scopes`
 *
 * The notes of one segment are its decision, together with its `left-out` note, which stands before them: the last one
 * is `final` and says how many requests were left out, so that a decision of which a note was lost counts as none. Notes
 * without a segment (spoolId '') are keys of any segments, as the rewritten journal holds them.
 */
import assert from 'node:assert';
import { type KeyEntry, NO_UNSENT, type RequestKeys } from './request-keys.ts';

const KEY_BYTES = 28;
const RENEW_ONLY = 1 << 20;
const SCOPES_MAX = 1 << 11;
/** 917,504 bytes: below what a note may hold. */
const KEYS_PER_NOTE_MAX = 32_768;
const RECEIPT_MIDDLE = 2 ** 31;
const RECEIPT_MAX = 2 ** 32 - 1;

export interface KeyNote {
  readonly kind: 'keys';
  readonly spool: string;
  readonly spoolId: string;
  readonly sequence: number;
  readonly final: boolean;
  /** Requests of the segment that were left out. */
  readonly leftOutCount: number;
  readonly baseMs: number;
  /** Organization and signal, each pair once. */
  readonly scopes: readonly (readonly [orgId: string, signal: string])[];
  readonly keys: Buffer;
}

/** A segment's name, or of no segment. */
interface NoteName {
  readonly spool: string;
  readonly spoolId: string;
  readonly sequence: number;
}

export const NO_SEGMENT: NoteName = { spool: '', spoolId: '', sequence: 0 };

/** Collects keys into as many notes as they need. */
export class KeyNotes {
  private readonly name: NoteName;
  private readonly notes: KeyNote[] = [];
  private scopes = new Map<string, number>();
  private scopeList: [string, string][] = [];
  private baseMs = 0;
  private keys: Buffer = Buffer.alloc(0);
  private bytes = 0;

  constructor(name: NoteName) {
    this.name = name;
  }

  /** `renewOnly`: a copy that is left out; no proof that any copy is stored. */
  add(orgId: string, signal: string, key: Omit<KeyEntry, 'scope'>, renewOnly: boolean): void {
    if (this.bytes === 0) this.baseMs = key.atMs - RECEIPT_MIDDLE;
    let receipt = key.atMs - this.baseMs;
    const name = `${orgId} ${signal}`;
    const full = this.bytes === KEYS_PER_NOTE_MAX * KEY_BYTES;
    if (full || receipt < 0 || receipt > RECEIPT_MAX || (this.scopes.size === SCOPES_MAX && !this.scopes.has(name))) {
      this.cut(false, 0);
      this.baseMs = key.atMs - RECEIPT_MIDDLE;
      receipt = RECEIPT_MIDDLE;
    }
    let scope = this.scopes.get(name);
    if (scope === undefined) {
      scope = this.scopeList.push([orgId, signal]) - 1;
      this.scopes.set(name, scope);
    }
    if (this.bytes + KEY_BYTES > this.keys.length) this.grow();
    this.keys.set(key.print, this.bytes);
    this.keys.writeUInt32LE(key.owner, this.bytes + 16);
    this.keys.writeUInt32LE(receipt, this.bytes + 20);
    const meta = key.unsentAgoMs + (renewOnly ? RENEW_ONLY : 0) + scope * 2 * RENEW_ONLY;
    this.keys.writeUInt32LE(meta, this.bytes + 24);
    this.bytes += KEY_BYTES;
  }

  /** The notes; of a segment the last one is final. */
  end(leftOutCount: number): readonly KeyNote[] {
    const ofSegment = this.name.spoolId !== '';
    if (ofSegment || this.bytes > 0) this.cut(ofSegment, leftOutCount);
    return this.notes;
  }

  private cut(final: boolean, leftOutCount: number): void {
    const keys = Buffer.from(this.keys.subarray(0, this.bytes));
    const { name, baseMs, scopeList: scopes } = this;
    this.notes.push({ kind: 'keys', ...name, final, leftOutCount, baseMs, scopes, keys });
    this.scopes = new Map();
    this.scopeList = [];
    this.bytes = 0;
  }

  private grow(): void {
    const grown = Buffer.alloc(Math.min(Math.max(2 * this.keys.length, 64 * KEY_BYTES), KEYS_PER_NOTE_MAX * KEY_BYTES));
    this.keys.copy(grown, 0, 0, this.bytes);
    this.keys = grown;
  }
}

export function encodeKeyNote(note: KeyNote): Buffer {
  const { kind: _, keys, ...fields } = note;
  const json = Buffer.from(JSON.stringify(fields));
  const length = Buffer.alloc(4);
  length.writeUInt32LE(json.length);
  return Buffer.concat([length, json, keys]);
}

/** The payload's CRC was right, so its lengths are what the writer meant. */
export function decodeKeyNote(payload: Buffer): KeyNote {
  const end = 4 + payload.readUInt32LE(0);
  const fields = JSON.parse(payload.toString('utf8', 4, end));
  const keys = payload.subarray(end);
  assert(keys.length % KEY_BYTES === 0, `${keys.length} bytes of keys`);
  return { kind: 'keys', ...fields, keys };
}

/** Puts the note's keys among those that are known. */
export function applyKeyNote(note: KeyNote, known: RequestKeys): void {
  const scopes = note.scopes.map(([orgId, signal]) => known.scope(orgId, signal));
  for (let at = 0; at < note.keys.length; at += KEY_BYTES) {
    const print = note.keys.subarray(at, at + 16);
    const owner = note.keys.readUInt32LE(at + 16);
    const meta = note.keys.readUInt32LE(at + 24);
    const scope = scopes[meta >>> 21]!;
    const times = { atMs: note.baseMs + note.keys.readUInt32LE(at + 20), unsentAgoMs: meta & NO_UNSENT };
    if ((meta & RENEW_ONLY) === 0) {
      known.put(scope, print, times, owner);
      continue;
    }
    const entry = known.find(scope, print);
    if (entry >= 0) known.renew(entry, times);
  }
}

/** All that is known, as notes of no segment. */
export function allKeyNotes(known: RequestKeys): readonly KeyNote[] {
  const notes = new KeyNotes(NO_SEGMENT);
  for (const entry of known.entries()) {
    const [orgId = '', signal = ''] = known.scopeName(entry.scope).split(' ');
    notes.add(orgId, signal, entry, false);
  }
  return notes.end(0);
}
