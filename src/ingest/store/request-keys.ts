/**
 * The keys of the requests that were decided on lately: which request is a copy of one that is stored or will be
 * (reference R4). A key is organization, signal and the 128 bits of the fingerprint, compared whole. Pure, in memory; the
 * journal holds the same, and rebuilds it.
 *
 *   one entry a key:   when its newest copy was received, and how long before that the newest one whose answer is not
 *                      known to have been sent: what decides about the next copy, however many there were
 *   ring + chains:     41 bytes an entry and 4 a bucket in typed arrays, doubled from 1,024 up to KEYS_MAX; the oldest
 *                      entry goes first, by time or for want of room. No objects, nothing for the garbage collector.
 *
 * An entry says: rows of this request are stored or will be, those of its owner. So only a copy that is stored itself
 * makes one, and the owner never counts as a copy, whatever else was forgotten of it: leaving out all copies of a request
 * would lose it, and is the one mistake that must not happen.
 */

/** How long after its receipt a request counts as the same request when it is sent again. */
export const RETRY_WINDOW_MS = 600_000;
/** Kept this much longer: a request is received a while before it stands in a segment. */
const KEPT_LONGER_MS = 60_000;
/** 1,700 requests a second for ten minutes; 45 MiB. With more the oldest go early. */
export const KEYS_MAX = 1_048_576;
const CAPACITY_FIRST = 1_024;
const NONE = -1;
/** In `unsentAgoMs`: no copy of the last ten minutes is without a sent answer. */
export const NO_UNSENT = 0xfffff;

/** What is known of a key, or of one copy: `unsentAgoMs` is 0 or NO_UNSENT then. */
export interface KeyTimes {
  readonly atMs: number;
  readonly unsentAgoMs: number;
}

/** One request of one segment, in 32 bits: two that look the same by chance are at worst both stored. */
export function ownerOf(segmentHash: number, requestIndex: number): number {
  return (segmentHash ^ Math.imul(requestIndex + 1, 0x85ebca6b)) >>> 0;
}

export interface KeyEntry extends KeyTimes {
  readonly scope: number;
  readonly print: Uint8Array;
  readonly owner: number;
}

export class RequestKeys {
  private readonly max: number;
  private readonly scopes = new Map<string, number>();
  private readonly scopeNames: string[] = [];
  private capacity = CAPACITY_FIRST;
  /** Position of the oldest entry in the ring. */
  private first = 0;
  private count = 0;
  private earlyCount = 0;
  private prints = new Uint32Array(4 * CAPACITY_FIRST);
  private scopeOf = new Uint32Array(CAPACITY_FIRST);
  private atMs = new Float64Array(CAPACITY_FIRST);
  private unsentAgoMs = new Uint32Array(CAPACITY_FIRST);
  private ownerOf = new Uint32Array(CAPACITY_FIRST);
  /** 1: a newer copy came since the entry was made or moved; it is not as old as its place says. */
  private renewed = new Uint8Array(CAPACITY_FIRST);
  private next = new Int32Array(CAPACITY_FIRST);
  private buckets = new Int32Array(CAPACITY_FIRST).fill(NONE);

  constructor(max: number = KEYS_MAX) {
    this.max = max;
  }

  get size(): number {
    return this.count;
  }

  /** Entries that had to go before their time. */
  get droppedEarly(): number {
    return this.earlyCount;
  }

  /** Bytes of the arrays. */
  get bytes(): number {
    return this.capacity * (16 + 4 + 8 + 4 + 4 + 1 + 4 + 4);
  }

  /** A number for organization and signal, the same for this object's life. */
  scope(orgId: string, signal: string): number {
    const name = `${orgId} ${signal}`;
    let scope = this.scopes.get(name);
    if (scope === undefined) {
      scope = this.scopeNames.push(name) - 1;
      this.scopes.set(name, scope);
    }
    return scope;
  }

  /** `<orgId> <signal>` of a scope. */
  scopeName(scope: number): string {
    return this.scopeNames[scope] ?? '';
  }

  /** The entry of this key, or −1. Holds until the next `put` or `expire`. */
  find(scope: number, print: Uint8Array): number {
    const [a, b, c, d] = [word(print, 0), word(print, 4), word(print, 8), word(print, 12)];
    const { prints } = this;
    for (let at = this.buckets[this.bucket(a, scope)]!; at !== NONE; at = this.next[at]!) {
      const from = 4 * at;
      if (prints[from] !== a || prints[from + 1] !== b || prints[from + 2] !== c || prints[from + 3] !== d) continue;
      if (this.scopeOf[at] === scope) return at;
    }
    return NONE;
  }

  /**
   * Whether a copy received then is the same request once more: the copy before it has no sent answer, or it has none
   * itself and one came after it, within ten minutes. `always`: whatever the answers. Copies come in any order, because
   * workers seal at different times; of two received in the same millisecond each may be the first.
   */
  isCopy(entry: number, atMs: number, answerSent: boolean, always: boolean): boolean {
    const lastMs = this.atMs[entry]!;
    const agoMs = this.unsentAgoMs[entry]!;
    const near = Math.abs(atMs - lastMs) <= RETRY_WINDOW_MS;
    if (always) return near;
    if (atMs > lastMs) return near && agoMs === 0;
    if (!answerSent) return near;
    if (agoMs === NO_UNSENT) return false;
    const sinceUnsentMs = atMs - (lastMs - agoMs);
    return sinceUnsentMs >= 0 && sinceUnsentMs <= RETRY_WINDOW_MS;
  }

  /** The copy whose rows are stored or will be. */
  owner(entry: number): number {
    return this.ownerOf[entry]!;
  }

  /** Makes the entry of a copy that is stored, or adds the copy to it. The same copy again changes nothing. */
  put(scope: number, print: Uint8Array, times: KeyTimes, owner: number): void {
    const entry = this.find(scope, print);
    if (entry === NONE) {
      this.add(scope, print, times, owner);
      return;
    }
    if (times.atMs >= this.atMs[entry]!) this.ownerOf[entry] = owner;
    this.renew(entry, times);
  }

  /** Adds a copy to an entry. */
  renew(entry: number, { atMs, unsentAgoMs }: KeyTimes): void {
    const lastMs = this.atMs[entry]!;
    const agoMs = this.unsentAgoMs[entry]!;
    const aheadMs = atMs - lastMs;
    const before = agoMs === NO_UNSENT ? Number.POSITIVE_INFINITY : agoMs + Math.max(0, aheadMs);
    const added = unsentAgoMs === NO_UNSENT ? Number.POSITIVE_INFINITY : unsentAgoMs + Math.max(0, -aheadMs);
    const newestMs = Math.min(before, added);
    this.unsentAgoMs[entry] = newestMs <= RETRY_WINDOW_MS ? newestMs : NO_UNSENT;
    if (aheadMs <= 0) return;
    this.atMs[entry] = atMs;
    this.renewed[entry] = 1;
  }

  /** Forgets what no request can be a copy of any more: all received before `reachedMs` are decided on. */
  expire(reachedMs: number): void {
    for (let left = this.count; left > 0; left--) {
      const at = this.first;
      if (this.atMs[at]! + RETRY_WINDOW_MS + KEPT_LONGER_MS >= reachedMs) {
        if (this.renewed[at] === 0) return;
        this.moveToEnd(at);
      } else this.dropFirst();
    }
  }

  /** Every entry, oldest place first. `print` holds until the next step. */
  *entries(): Generator<KeyEntry, void, void> {
    const print = Buffer.alloc(16);
    for (let number = 0; number < this.count; number++) {
      const at = (this.first + number) & (this.capacity - 1);
      for (let i = 0; i < 4; i++) print.writeUInt32LE(this.prints[4 * at + i]!, 4 * i);
      const [scope, atMs, unsentAgoMs] = [this.scopeOf[at]!, this.atMs[at]!, this.unsentAgoMs[at]!];
      yield { scope, print, atMs, unsentAgoMs, owner: this.ownerOf[at]! };
    }
  }

  private bucket(firstWord: number, scope: number): number {
    return (firstWord ^ Math.imul(scope, 0x9e3779b1)) & (this.capacity - 1);
  }

  private add(scope: number, print: Uint8Array, { atMs, unsentAgoMs }: KeyTimes, owner: number): void {
    if (this.count === this.capacity && this.capacity < this.max) this.grow();
    if (this.count === Math.min(this.capacity, this.max)) {
      this.dropFirst();
      this.earlyCount++;
    }
    const at = (this.first + this.count) & (this.capacity - 1);
    for (let i = 0; i < 4; i++) this.prints[4 * at + i] = word(print, 4 * i);
    this.scopeOf[at] = scope;
    this.atMs[at] = atMs;
    this.unsentAgoMs[at] = unsentAgoMs;
    this.ownerOf[at] = owner;
    this.renewed[at] = 0;
    this.count++;
    this.link(at);
  }

  private link(at: number): void {
    const bucket = this.bucket(this.prints[4 * at]!, this.scopeOf[at]!);
    this.next[at] = this.buckets[bucket]!;
    this.buckets[bucket] = at;
  }

  private dropFirst(): void {
    const at = this.first;
    const bucket = this.bucket(this.prints[4 * at]!, this.scopeOf[at]!);
    if (this.buckets[bucket] === at) this.buckets[bucket] = this.next[at]!;
    else {
      let before = this.buckets[bucket]!;
      while (this.next[before] !== at) before = this.next[before]!;
      this.next[before] = this.next[at]!;
    }
    this.first = (at + 1) & (this.capacity - 1);
    this.count--;
  }

  /** The oldest place becomes the newest. */
  private moveToEnd(at: number): void {
    const print = Buffer.alloc(16);
    for (let i = 0; i < 4; i++) print.writeUInt32LE(this.prints[4 * at + i]!, 4 * i);
    const [scope, atMs, unsentAgoMs] = [this.scopeOf[at]!, this.atMs[at]!, this.unsentAgoMs[at]!];
    const owner = this.ownerOf[at]!;
    this.dropFirst();
    this.add(scope, print, { atMs, unsentAgoMs }, owner);
  }

  /** Twice the room; entries move to the start of the ring in their order. */
  private grow(): void {
    const { capacity, first } = this;
    const turned = <T extends Uint8Array | Uint32Array | Float64Array>(from: T, to: T, each = 1): T => {
      to.set(from.subarray(each * first));
      to.set(from.subarray(0, each * first), each * (capacity - first));
      return to;
    };
    this.capacity = 2 * capacity;
    this.first = 0;
    this.prints = turned(this.prints, new Uint32Array(4 * this.capacity), 4);
    this.scopeOf = turned(this.scopeOf, new Uint32Array(this.capacity));
    this.atMs = turned(this.atMs, new Float64Array(this.capacity));
    this.unsentAgoMs = turned(this.unsentAgoMs, new Uint32Array(this.capacity));
    this.ownerOf = turned(this.ownerOf, new Uint32Array(this.capacity));
    this.renewed = turned(this.renewed, new Uint8Array(this.capacity));
    this.next = new Int32Array(this.capacity);
    this.buckets = new Int32Array(this.capacity).fill(NONE);
    for (let at = 0; at < this.count; at++) this.link(at);
  }
}

function word(bytes: Uint8Array, at: number): number {
  return (bytes[at]! | (bytes[at + 1]! << 8) | (bytes[at + 2]! << 16) | (bytes[at + 3]! << 24)) >>> 0;
}
