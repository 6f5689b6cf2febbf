/**
 * Where tests may step in: moments of the data path that have a name, and mistakes that the tests of the tests make on
 * purpose. In production both do nothing. Handed down as a dependency; only the compositions (`*-process.ts`) ask
 * `faultPointsInForce`, which finds what a test has put there before the program began (`node --import`).
 */

/** In the order of the data path (reliability reference, section 1.4). */
export const FAULT_POINTS = [
  /** ingest: a group of records is written, not synced */
  'record-written',
  /** ingest: it is synced; nobody was told yet */
  'record-synced',
  /** ingest: a request's answer is about to be written */
  'answer-due',
  /** ingest: the next segment is open, the old one waits to be sealed */
  'segment-opened',
  /** ingest: one Native block of a segment is encoded */
  'block-encoded',
  /** ingest: a footer is written, not synced */
  'footer-written',
  /** ingest: the footer is synced and has its name */
  'footer-synced',
  /** store: an INSERT was handed to the connection, its answer is awaited */
  'insert-sent',
  /** store: an INSERT was answered; nothing was made of the answer yet */
  'insert-answered',
  /** store: the table has said which BatchIds it holds */
  'question-answered',
  /** store: notes are written to the journal and synced */
  'journal-written',
  /** store: the directories of a segment's tables are synced */
  'tables-synced',
  /** store: all notes are made, the first file of a segment is about to be removed */
  'removal-due',
  /** store: a segment's files are gone */
  'segment-removed',
] as const;
export type FaultPoint = (typeof FAULT_POINTS)[number];

/** Mistakes that the suite must catch (reliability reference, section 1.4), and one that the bench measures. */
export type PlantedBug =
  /** Requests are told before the sync. */
  | 'answer-before-sync'
  /** One record of a group is not written. */
  | 'drop-record'
  /** A stored batch is inserted once more. */
  | 'double-batch'
  /** After an unknown outcome the table is not asked: all counts as missing. */
  | 'skip-question'
  /** A sealed segment that is found at a start gets a new footer. */
  | 'recompute-footer'
  /** A segment goes before the directories of its tables are synced. */
  | 'remove-before-sync'
  /** No `fdatasync` of records: what it costs is what the bench shows. */
  | 'no-datasync';

export interface FaultPoints {
  /** The code has come to this point. A test may end the process here, or throw. */
  reached(point: FaultPoint): void;
  /** True: make this mistake now. */
  planted(bug: PlantedBug): boolean;
}

export const NO_FAULT_POINTS: FaultPoints = { reached: () => undefined, planted: () => false };

/** Under this name a test leaves its FaultPoints on `globalThis`. */
export const FAULT_POINTS_KEY: symbol = Symbol.for('backwork.fault-points');

/** For compositions only: what a test has put there, else nothing happens at any point. */
export function faultPointsInForce(): FaultPoints {
  const found = (globalThis as Record<symbol, unknown>)[FAULT_POINTS_KEY];
  return found === undefined ? NO_FAULT_POINTS : (found as FaultPoints);
}
