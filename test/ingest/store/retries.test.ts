import { createHash } from 'node:crypto';
import { describe, expect, test } from 'vitest';
import type { FooterRequest } from '../../../src/ingest/messages.ts';
import {
  encodeNote,
  JOURNAL_MAGIC,
  type JournalState,
  type Note,
  readJournal,
  type SegmentName,
} from '../../../src/ingest/store/journal-notes.ts';
import { decideOnRetries } from '../../../src/ingest/store/retries.ts';
import { type Random, seededRandom } from '../../corpus/seeded-random.ts';

const T = 1_800_000_000_000;
const RUNS = 3_000;

function request(body: string, receivedAtMs: number, answerSent: boolean, changes = {}): FooterRequest {
  return {
    orgId: 'org_a',
    tokenId: 'token',
    signal: 'logs',
    receivedAtMs,
    itemsAccepted: 1,
    itemsRejected: 0,
    bytesReceived: 1,
    fingerprint: createHash('sha256').update(body).digest().subarray(0, 16),
    answerSent,
    ownBatches: false,
    ...changes,
  };
}

/** A journal in memory: what is written is on the disk, what is being written may be cut anywhere by a crash. */
class JournalFile {
  bytes: Buffer = JOURNAL_MAGIC;
  state: JournalState = readJournal(JOURNAL_MAGIC).state;

  write(notes: readonly Note[]): void {
    this.bytes = Buffer.concat([this.bytes, ...notes.map(encodeNote)]);
    for (const note of notes) this.state.apply(note);
  }

  /** The process ends while these are written. */
  crashDuring(notes: readonly Note[], random: Random): void {
    const more = Buffer.concat(notes.map(encodeNote));
    this.restart(Buffer.concat([this.bytes, more.subarray(0, random.int(0, more.length))]));
  }

  restart(bytes: Buffer = this.bytes): void {
    const content = readJournal(bytes);
    this.state = content.state;
    this.bytes = this.state.encode(undefined);
    expect(content.damagedNotes).toBe(0);
  }

  rewrite(nowMs: number): void {
    this.bytes = this.state.encode(nowMs);
  }
}

interface Segment {
  readonly name: SegmentName;
  readonly requests: FooterRequest[];
  readonly bodies: string[];
  /** Its rows are sent: all but those left out. */
  sent: boolean;
}

const nameOf = (sequence: number, spool = 0): SegmentName => ({
  spool: String(spool),
  spoolId: `spool${spool}`,
  sequence,
});

function decide(journal: JournalFile, name: SegmentName, requests: readonly FooterRequest[], always = false) {
  const { leftOut, notes } = decideOnRetries(journal.state, name, requests, always);
  journal.write(notes);
  return leftOut;
}

describe('of a request that was sent again', () => {
  test('the copy that is decided on first is stored, in whatever order they were received', () => {
    for (const [first, second] of [
      [request('a', T, false), request('a', T + 5_000, true)],
      [request('a', T + 5_000, true), request('a', T, false)],
    ] as const) {
      const journal = new JournalFile();
      expect(decide(journal, nameOf(1), [request('b', T, false), first])).toEqual([]);
      expect(decide(journal, nameOf(1, 1), [second, request('c', T, false)])).toEqual([0]);
      expect(journal.state.leftOut(nameOf(1, 1))).toEqual(new Set([0]));
    }
  });

  test('and was answered, both copies are stored, unless one always is enough', () => {
    const journal = new JournalFile();
    decide(journal, nameOf(1), [request('a', T, true)]);
    expect(decide(journal, nameOf(2), [request('a', T + 1, true)])).toEqual([]);
    expect(decide(journal, nameOf(3), [request('a', T + 2, true)], true)).toEqual([0]);
  });

  test('within one segment, the second one is left out', () => {
    const requests = [request('a', T, false), request('a', T + 1, false), request('a', T + 2, true)];
    expect(decide(new JournalFile(), nameOf(1), requests)).toEqual([1, 2]);
  });

  test('by another organization, of another signal, without rows, or of an unreadable record, all are kept', () => {
    const journal = new JournalFile();
    const requests = [
      request('a', T, false),
      request('a', T, false, { orgId: 'org_b' }),
      request('a', T, false, { signal: 'traces' }),
      request('a', T, false, { itemsAccepted: 0 }),
      request('a', T, false, { orgId: '', fingerprint: Buffer.alloc(16) }),
      request('', T, false, { fingerprint: Buffer.alloc(16) }),
      request('', T, false, { fingerprint: Buffer.alloc(16) }),
    ];
    expect(decide(journal, nameOf(1), requests)).toEqual([]);
  });

  test('the first one counts after a restart and after its segment is gone', () => {
    const journal = new JournalFile();
    decide(journal, nameOf(1), [request('a', T, false)]);
    journal.write([{ kind: 'removed', ...nameOf(1), atMs: T }]);
    journal.restart();
    journal.rewrite(T + 599_000);
    journal.restart();
    expect(decide(journal, nameOf(1, 1), [request('a', T + 599_000, true)])).toEqual([0]);
  });
});

describe('a decision', () => {
  test('is the same when it is made again, with its notes lost or in part', () => {
    const journal = new JournalFile();
    const requests = [request('a', T, false), request('b', T, false), request('a', T + 1, true)];
    const first = decideOnRetries(journal.state, nameOf(1), requests, false);
    expect(decideOnRetries(journal.state, nameOf(1), requests, false).leftOut).toEqual(first.leftOut);
    journal.write(first.notes.slice(0, 1));
    expect(journal.state.retriesDecided(nameOf(1))).toBe(false);
    expect(decideOnRetries(journal.state, nameOf(1), requests, false).leftOut).toEqual(first.leftOut);
    journal.write(first.notes);
    expect(journal.state.retriesDecided(nameOf(1))).toBe(true);
  });

  test('counts as none when the note of what it left out is lost', () => {
    const journal = new JournalFile();
    const { notes } = decideOnRetries(journal.state, nameOf(1), [request('a', T, false), request('a', T, true)], false);
    expect(notes.map(({ kind }) => kind)).toEqual(['left-out', 'keys']);
    journal.write(notes.slice(1));
    expect(journal.state.retriesDecided(nameOf(1))).toBe(false);
  });

  test('never leaves out the copy in whose favour others were left out, whatever note of the journal is damaged', () => {
    const journal = new JournalFile();
    const segments = [[request('a', T, false)], [request('a', T + 1, false)], [request('a', T + 2, true)]];
    const leftOut = segments.map((requests, index) => decide(journal, nameOf(index), requests));
    expect(leftOut).toEqual([[], [0], [0]]);
    for (const bytes of [journal.bytes, journal.state.encode(T)]) {
      for (let at = JOURNAL_MAGIC.length; at < bytes.length; at++) {
        const damaged = Buffer.from(bytes);
        damaged[at] = damaged[at]! ^ 0x55;
        const again = new JournalFile();
        again.state = readJournal(damaged).state;
        for (const order of [
          [0, 1, 2],
          [2, 1, 0],
          [1, 0, 2],
        ]) {
          const stored = order.filter((index) => {
            if (!again.state.retriesDecided(nameOf(index))) decide(again, nameOf(index), segments[index]!);
            return !again.state.leftOut(nameOf(index)).has(0);
          });
          expect(stored.length, `byte ${at}, order ${order}`).toBeGreaterThanOrEqual(1);
        }
      }
    }
  });

  test('of a segment with more keys than a note holds is whole or none', () => {
    const journal = new JournalFile();
    const requests = Array.from({ length: 40_000 }, (_, index) => request(`r${index}`, T + index, index % 2 === 0));
    const { notes } = decideOnRetries(journal.state, nameOf(1), requests, false);
    expect(notes).toHaveLength(2);
    journal.write(notes.slice(0, 1));
    expect(journal.state.retriesDecided(nameOf(1))).toBe(false);
    journal.restart();
    expect(decide(journal, nameOf(1), requests)).toEqual([]);
    journal.restart();
    expect(journal.state.retriesDecided(nameOf(1))).toBe(true);
    expect(journal.state.keys.size).toBe(40_000);
    expect(decide(journal, nameOf(1, 1), [request('r39999', T + 40_000, true)])).toEqual([0]);
  });
});

describe(`requests that are sent until they are answered, ${RUNS} runs`, () => {
  test('are stored once, with two workers, crashes in the middle of decisions, and segments in any order', () => {
    const counts = { copies: 0, leftOut: 0, crashes: 0, restarts: 0, rewrites: 0, returned: 0 };
    for (let seed = 1; seed <= RUNS; seed++) {
      const stored = runOnce(seededRandom(seed), counts);
      for (const [body, times] of stored) expect(times, `seed ${seed}, ${body}`).toBe(1);
    }
    for (const count of Object.values(counts)) expect(count).toBeGreaterThan(RUNS / 4);
  });
});

/** How often each body was stored. */
function runOnce(random: Random, counts: Record<string, number>): Map<string, number> {
  const segments = madeSegments(random, counts);
  const stored = new Map<string, number>();
  const journal = new JournalFile();
  let waiting = shuffled(segments, random);
  for (let steps = 0; waiting.length > 0 && steps < 500; steps++) {
    const segment = random.pick(waiting);
    const { name } = segment;
    if (!journal.state.retriesDecided(name)) {
      const { leftOut, notes } = decideOnRetries(journal.state, name, segment.requests, false);
      if (random.chance(0.15)) {
        journal.crashDuring(notes, random);
        counts['crashes']!++;
        continue;
      }
      journal.write(notes);
      counts['leftOut']! += leftOut.length;
    }
    if (random.chance(0.2)) {
      journal.restart();
      counts['restarts']!++;
      continue;
    }
    send(segment, journal, stored);
    if (random.chance(0.1)) {
      // Seen as lost, and back with the next look: its decision is forgotten, its keys are not.
      journal.write([{ kind: 'gap', ...name }]);
      counts['returned']!++;
      continue;
    }
    if (random.chance(0.3)) continue;
    journal.write([{ kind: 'removed', ...name, atMs: T }]);
    waiting = waiting.filter((one) => one !== segment);
    if (!random.chance(0.3)) continue;
    journal.rewrite(T);
    counts['rewrites']!++;
  }
  expect(waiting).toEqual([]);
  return stored;
}

/** A batch is stored once, whatever is sent again: its BatchId is asked about. */
function send(segment: Segment, journal: JournalFile, stored: Map<string, number>): void {
  if (segment.sent) return;
  segment.sent = true;
  const leftOut = journal.state.leftOut(segment.name);
  for (const [index, body] of segment.bodies.entries())
    if (!leftOut.has(index)) stored.set(body, (stored.get(body) ?? 0) + 1);
}

function madeSegments(random: Random, counts: Record<string, number>): Segment[] {
  const segments: Segment[] = Array.from({ length: random.int(2, 6) }, (_, index) => ({
    name: nameOf(index, index % 2),
    requests: [],
    bodies: [],
    sent: false,
  }));
  for (let body = 0; body < 5; body++) {
    const copies = random.int(1, 4);
    let receivedAtMs = T;
    for (let copy = 0; copy < copies; copy++) {
      const segment = random.pick(segments);
      const answered = copy === copies - 1 && random.chance(0.5);
      segment.requests.push(request(`${body}`, receivedAtMs, answered));
      receivedAtMs += random.int(0, 150_000);
      segment.bodies.push(`${body}`);
    }
    counts['copies']! += copies - 1;
  }
  return segments;
}

function shuffled<Item>(items: readonly Item[], random: Random): Item[] {
  return items
    .map((item) => ({ item, key: random.next() }))
    .sort((a, b) => a.key - b.key)
    .map(({ item }) => item);
}
