/**
 * One segment of a running spool, from its first request to its footer: `open` takes requests, then it is closed and
 * waits for its last group, then it is sealed. Plain state; commit.ts writes it and seal.ts seals it.
 */
import { randomBytes } from 'node:crypto';
import type { SegmentRows } from '../messages.ts';
import { FooterRequests } from './footer.ts';
import { MARK_BYTES, SEGMENT_HEADER_BYTES } from './format.ts';
import type { SpoolFile } from './spool-files.ts';

export class Segment<R extends SegmentRows> {
  readonly sequence: number;
  readonly mark: Buffer = randomBytes(MARK_BYTES);
  readonly rows: R;
  /** Rows of large requests, which make batches of their own. */
  readonly ownRows: SegmentRows[] = [];
  ownRowBytes = 0;
  readonly requests = new FooterRequests();
  /** Bytes of the file when all that was appended is written, its header included. */
  bytes = SEGMENT_HEADER_BYTES;
  /** What is synced: the last good boundary and the requests before it. */
  durableBytes = 0;
  durableCount = 0;
  /** Undefined until its first group is written: a segment without requests never has a file. */
  file: SpoolFile | undefined;
  /** A write failed: nothing is written to it any more, its tail is cut at durableBytes. */
  abandoned = false;
  /** The builders do not hold exactly what the records say: its batches are made from the records. */
  rowsLost = false;
  /** Settles (never rejects) when its last group so far is written or refused. */
  settled: Promise<void> = Promise.resolve();

  constructor(sequence: number, rows: R) {
    this.sequence = sequence;
    this.rows = rows;
  }

  /** Column data in memory. */
  get rowBytes(): number {
    return this.rows.bytes + this.ownRowBytes;
  }
}
