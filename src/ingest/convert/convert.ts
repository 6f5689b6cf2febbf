/**
 * One request's body → rows, in one go or in slices. Which signals there are is decided here, and only here.
 *
 *   convertNow     bodies up to SLICED_BODY_BYTES, into the builders of the open segment, without an await
 *   convertSliced  larger ones, and those whose rows grow large: builders of their own, the event loop turns in between
 *
 * Both are pure functions of (origin, body): the store converts again from the record and gets the same rows.
 */
import { setImmediate as nextTurn } from 'node:timers/promises';
import { UNSLICED_ROW_BYTES_MAX } from '../../base/limits.ts';
import type { ConvertResult, RowOrigin, Signal } from '../messages.ts';
import type { Builder } from './builder.ts';
import { BuilderSet, type BuilderSetOptions } from './builders.ts';
import { LogConverter } from './convert-logs.ts';
import { MetricConverter } from './convert-metrics.ts';
import { TraceConverter } from './convert-traces.ts';

/** Raised with every change that makes other rows of the same request; it stands in each footer. */
export const CONVERTER_VERSION = 2;

export interface SignalConverter {
  convertRequest(body: Uint8Array, origin: RowOrigin, set: BuilderSet): Generator<number, ConvertResult, void>;
}

function newConverter(signal: Signal): SignalConverter {
  switch (signal) {
    case 'logs':
      return new LogConverter();
    case 'traces':
      return new TraceConverter();
    case 'metrics':
      return new MetricConverter();
  }
}

/** Converters hold scratch memory; one of each serves all requests that are converted without an await. */
export class ConverterPool {
  readonly #converters = new Map<Signal, SignalConverter>();

  get(signal: Signal): SignalConverter {
    let converter = this.#converters.get(signal);
    if (converter === undefined) {
      converter = newConverter(signal);
      this.#converters.set(signal, converter);
    }
    return converter;
  }
}

/**
 * Converts into `set`; on `malformed` the rows are rolled back and the error thrown. Undefined: the rows grow larger than
 * a segment's builders should take from one request; they are rolled back, and convertSliced is the way.
 */
export function convertNow(
  pool: ConverterPool,
  signal: Signal,
  body: Uint8Array,
  origin: RowOrigin,
  set: BuilderSet,
): ConvertResult | undefined {
  set.beginRequest();
  try {
    const steps = pool.get(signal).convertRequest(body, origin, set);
    for (;;) {
      const step = steps.next();
      if (step.done === true) return step.value;
      if (step.value > UNSLICED_ROW_BYTES_MAX) break;
    }
  } catch (error) {
    set.rollBack();
    throw error;
  }
  set.rollBack();
  return undefined;
}

/**
 * The rows of a large request as builders that get no more rows, as soon as there are some; the last ones at its end.
 * Whoever asks no further leaves the rest unconverted.
 */
export async function* convertInParts(
  signal: Signal,
  body: Uint8Array,
  origin: RowOrigin,
  options: BuilderSetOptions = { cutWhenFull: true },
): AsyncGenerator<readonly Builder[], ConvertResult, void> {
  const rows = new BuilderSet(options);
  rows.beginRequest();
  const steps = newConverter(signal).convertRequest(body, origin, rows);
  for (;;) {
    const step = steps.next();
    const closed = step.done === true ? rows.takeAll() : rows.takeClosed();
    if (closed.length > 0) yield closed;
    if (step.done === true) return step.value;
    await nextTurn();
  }
}

/** Converts into builders of its own, cut into several batches where one would be too large; `rows` holds all of them. */
export async function convertSliced(
  signal: Signal,
  body: Uint8Array,
  origin: RowOrigin,
  options: BuilderSetOptions = { cutWhenFull: true },
): Promise<{ result: ConvertResult; rows: BuilderSet }> {
  const rows = new BuilderSet(options);
  rows.beginRequest();
  const steps = newConverter(signal).convertRequest(body, origin, rows);
  for (;;) {
    const step = steps.next();
    if (step.done === true) return { result: step.value, rows };
    await nextTurn();
  }
}
