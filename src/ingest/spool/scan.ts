/**
 * Walks the records of one segment file: each is good, corrupt (passed over, the next one is found by the mark) or, at
 * the end, torn. Used by recovery and by the readers, so that both see the same records.
 *
 * After a corrupt header the next record is where the segment's mark stands next and a header verifies; after a corrupt
 * body it is right behind it. Memory: a window of SCAN_WINDOW_BYTES and the body asked for.
 */
import { crc32InSlices } from './body.ts';
import { MARK_BYTES, RECORD_HEADER_BYTES_MAX } from './format.ts';
import { type HeadState, type RecordHead, readHead } from './record.ts';
import type { SpoolFile } from './spool-files.ts';

export type ScanStep =
  /** `stored`: the body as stored, its CRC checked; undefined when it was not wanted. Valid for ever. */
  | { readonly kind: 'record'; readonly offset: number; readonly head: RecordHead; readonly stored: Buffer | undefined }
  /** Bytes of no use. `index` when the header was whole and only the body is bad; else `orgId` is ''. */
  | {
      readonly kind: 'corrupt';
      readonly offset: number;
      readonly bytes: number;
      readonly index: number | undefined;
      readonly orgId: string;
      readonly reason: string;
    }
  /** The rest of the file is a record cut short, or zeros. Always the last step. */
  | { readonly kind: 'torn'; readonly offset: number; readonly bytes: number };

export interface ScanRange {
  readonly mark: Buffer;
  /** Offset of the first record. */
  readonly from: number;
  /** End of the file. */
  readonly size: number;
  /** Whether the body of this request is wanted; the others are passed over unchecked. */
  readonly wanted: (index: number) => boolean;
}

const SCAN_WINDOW_BYTES = 1_048_576;
const ZEROS = Buffer.alloc(SCAN_WINDOW_BYTES);

export async function* scanRecords(file: SpoolFile, range: ScanRange): AsyncGenerator<ScanStep, void, void> {
  const window = new Window(file, range.size);
  let offset = range.from;
  let lastIndex = -1;
  while (offset < range.size) {
    const state = await headAt(window, offset, range, lastIndex);
    if (state.kind === 'head') {
      const { head } = state;
      lastIndex = head.index;
      const end = offset + head.headBytes + head.bodyBytes;
      if (!range.wanted(head.index)) {
        yield { kind: 'record', offset, head, stored: undefined };
      } else {
        const stored = await window.view(offset + head.headBytes, head.bodyBytes);
        const whole = stored.length === head.bodyBytes && (await crc32InSlices(stored)) === head.bodyCrc;
        if (whole) yield { kind: 'record', offset, head, stored };
        else
          yield {
            kind: 'corrupt',
            offset,
            bytes: end - offset,
            index: head.index,
            orgId: head.header.orgId,
            reason: 'body CRC',
          };
      }
      offset = end;
      continue;
    }
    const found = await nextRecord(window, offset, range, lastIndex, state);
    yield found.step;
    offset = found.next;
  }
}

/** A header that verifies but goes backwards is of no record of ours either: indexes grow. */
async function headAt(window: Window, offset: number, range: ScanRange, lastIndex: number): Promise<HeadState> {
  const left = range.size - offset;
  const bytes = await window.view(offset, Math.min(left, RECORD_HEADER_BYTES_MAX));
  const state = readHead(
    bytes,
    0,
    Math.min(left, bytes.length < RECORD_HEADER_BYTES_MAX ? bytes.length : left),
    range.mark,
  );
  if (state.kind !== 'head' || state.head.index > lastIndex) return state;
  return { kind: 'corrupt', reason: `request ${state.head.index} after request ${lastIndex}` };
}

/** From bytes at `offset` that are no whole record to the next header that verifies, or to the end. */
async function nextRecord(
  window: Window,
  offset: number,
  range: ScanRange,
  lastIndex: number,
  bad: Exclude<HeadState, { kind: 'head' }>,
): Promise<{ step: ScanStep; next: number }> {
  const torn = { step: { kind: 'torn', offset, bytes: range.size - offset }, next: range.size } as const;
  if (bad.kind === 'torn' && bad.verified) return torn;
  const reason = bad.kind === 'corrupt' ? bad.reason : 'header is cut short';
  let zeros = true;
  for (let at = offset; at < range.size; ) {
    const bytes = await window.view(at, Math.min(SCAN_WINDOW_BYTES, range.size - at));
    if (bytes.length === 0) break;
    zeros &&= bytes.equals(ZEROS.subarray(0, bytes.length));
    for (let hit = bytes.indexOf(range.mark); hit >= 0; hit = bytes.indexOf(range.mark, hit + 1)) {
      if (at + hit === offset) continue;
      const state = await headAt(window, at + hit, range, lastIndex);
      if (state.kind === 'corrupt' || (state.kind === 'torn' && !state.verified)) continue;
      const step = { kind: 'corrupt', offset, bytes: at + hit - offset, index: undefined, orgId: '', reason } as const;
      return { step, next: at + hit };
    }
    at += Math.max(1, bytes.length - (MARK_BYTES - 1));
  }
  if (zeros || bad.kind === 'torn') return torn;
  const step = { kind: 'corrupt', offset, bytes: range.size - offset, index: undefined, orgId: '', reason } as const;
  return { step, next: range.size };
}

/** Reads ahead. A view is never overwritten: each refill is a buffer of its own. */
class Window {
  private readonly file: SpoolFile;
  private readonly size: number;
  private start = 0;
  private bytes: Buffer = Buffer.alloc(0);

  constructor(file: SpoolFile, size: number) {
    this.file = file;
    this.size = size;
  }

  /** `length` bytes from `at`, which lie inside the file; fewer only when the file has shrunk meanwhile. */
  async view(at: number, length: number): Promise<Buffer> {
    const from = at - this.start;
    if (from >= 0 && from + length <= this.bytes.length) return this.bytes.subarray(from, from + length);
    this.bytes = await this.file.read(at, Math.min(this.size - at, Math.max(length, SCAN_WINDOW_BYTES)));
    this.start = at;
    return this.bytes.subarray(0, length);
  }
}
