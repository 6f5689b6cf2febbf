/** Trace and span ids as lower-case hex; invalid ones are '' (reference otlp.md E1). */
import type { StringColumn } from './column-buffers.ts';
import type { Notes } from './notes.ts';
import { appendHex } from './text.ts';

export const TRACE_ID_BYTES = 16;
export const SPAN_ID_BYTES = 8;

/** Writes the id in [start, end) as one value: hex when it has `wanted` bytes and is not all zero, else ''. */
export function appendTraceOrSpanId(
  column: StringColumn,
  source: Uint8Array,
  start: number,
  end: number,
  wanted: number,
  notes: Notes,
  field: string,
): void {
  const length = end - start;
  if (isValidId(source, start, end, wanted)) {
    column.values.byte(2 * wanted);
    appendHex(column.values, source, start, end);
  } else {
    if (length !== 0 && length !== wanted) notes.warn('idLength', field);
    column.values.byte(0);
  }
  column.end();
}

/** `wanted` bytes, not all zero. */
export function isValidId(source: Uint8Array, start: number, end: number, wanted: number): boolean {
  return end - start === wanted && !allZero(source, start, end);
}

function allZero(source: Uint8Array, start: number, end: number): boolean {
  for (let i = start; i < end; i++) if (source[i] !== 0) return false;
  return true;
}
