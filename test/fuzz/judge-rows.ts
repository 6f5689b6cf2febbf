/**
 * One body through the converter, as the ingest process does it, and what must hold whatever the bytes are: it is refused
 * as 'malformed' and leaves nothing, or each item that was found is a row or counted as rejected, and the rows are those
 * that the oracle (test/corpus) makes of what protobufjs decodes.
 */
import type protobuf from 'protobufjs';
import { BackworkError } from '../../src/base/errors.ts';
import { BuilderPool } from '../../src/ingest/convert/builder-pool.ts';
import { BuilderSet } from '../../src/ingest/convert/builders.ts';
import { ConverterPool, convertNow } from '../../src/ingest/convert/convert.ts';
import type { ConvertResult, RowOrigin, Signal } from '../../src/ingest/messages.ts';
import { expectedLogs } from '../corpus/expected-log-rows.ts';
import { expectedMetrics } from '../corpus/expected-metric-rows.ts';
import { expectedTraces } from '../corpus/expected-trace-rows.ts';
import { type ExpectedRequest, MapEntries, type Row } from '../corpus/expected-values.ts';
import { decodePlain, loadProto, requestType } from '../proto/load-proto.ts';
import { ORIGIN } from '../support/log-request.ts';
import { readNativeBlock } from '../support/native-reader.ts';
import { type Case, promise } from './fuzzer.ts';
import { isMalformedWhereRead } from './malformed-parts.ts';

/** The table whose rows are no items: one a trace. */
export const DERIVED_TABLE = 'otel_traces_trace_id_ts';

const ORACLES: Readonly<Record<Signal, (request: object, origin: RowOrigin) => ExpectedRequest>> = {
  logs: expectedLogs,
  metrics: expectedMetrics,
  traces: expectedTraces,
};

export class RowJudge {
  readonly #signal: Signal;
  readonly #type: protobuf.Type;
  readonly #converters = new ConverterPool();
  readonly #builders = new BuilderPool();

  constructor(signal: Signal) {
    this.#signal = signal;
    this.#type = requestType(loadProto(), signal);
  }

  /** undefined: refused. `compare`: its rows are held to the oracle too, which costs far more than converting. */
  judge(body: Buffer, { time, count }: Pick<Case, 'time' | 'count'>, compare: boolean): ConvertResult | undefined {
    const set = new BuilderSet({ cutWhenFull: false, pool: this.#builders });
    let converted: { result: ConvertResult; set: BuilderSet };
    try {
      const result = time(() => convertNow(this.#converters, this.#signal, body, ORIGIN, set));
      converted = result === undefined ? this.#convertInSteps(body, time) : { result, set };
    } catch (error) {
      promise(error instanceof BackworkError && error.code === 'malformed', `it threw ${error}`);
      promise(set.bytes === 0 && [...blocksOf(set, time)].length === 0, 'a refused body left rows');
      const isStricter = STRICTER.test((error as Error).message);
      promise(!compare || isStricter || !decodes(this.#type, body), `refused what protobufjs takes: ${error}`);
      return undefined;
    }
    const { result } = converted;
    const expected = compare ? this.#expected(body, result, count) : undefined;
    const rows = new Map<string, Row[]>();
    let items = 0;
    for (const { table, rowCount, bytes } of blocksOf(converted.set, time)) {
      if (table !== DERIVED_TABLE) items += rowCount;
      if (expected === undefined) continue;
      const block = readNativeBlock(bytes);
      promise(block.rows.length === rowCount, `a block of ${block.rows.length} rows says ${rowCount}`);
      rows.set(table, [...(rows.get(table) ?? []), ...block.rows]);
    }
    promise(items === result.accepted, `${result.accepted} accepted, ${items} rows`);
    if (expected !== undefined) {
      promise(result.rejected === expected.rejected, `${result.rejected} rejected, not ${expected.rejected}`);
      const difference = differenceOf(rows, expected);
      promise(difference === undefined, `other rows: ${difference}`);
    }
    return result;
  }

  /** As convertSliced does it, with each step timed. */
  #convertInSteps(body: Buffer, time: Case['time']): { result: ConvertResult; set: BuilderSet } {
    const set = new BuilderSet({ cutWhenFull: true });
    set.beginRequest();
    const steps = new ConverterPool().get(this.#signal).convertRequest(body, ORIGIN, set);
    for (;;) {
      const step = time(() => steps.next());
      if (step.done === true) return { result: step.value, set };
    }
  }

  /** undefined where the oracle cannot say; the reason is counted. */
  #expected(body: Buffer, { rejected }: ConvertResult, count: Case['count']): ExpectedRequest | undefined {
    let request: object;
    try {
      request = decodePlain(this.#type, body);
    } catch (error) {
      const reason = reasonOf(error);
      if (reason === MALFORMED) {
        promise(!isMalformedWhereRead(this.#type, body, rejected), `took what protobufjs refuses: ${error}`);
      }
      count(`not compared (${reason})`);
      return undefined;
    }
    try {
      const expected = ORACLES[this.#signal](request, ORIGIN);
      count('compared');
      return expected;
    } catch (error) {
      if (!String(error).includes('too near to judge')) throw error;
      count('not compared (near 64 KiB)');
      return undefined;
    }
  }
}

function decodes(type: protobuf.Type, body: Buffer): boolean {
  try {
    type.decode(body);
    return true;
  } catch {
    return false;
  }
}

/** protobufjs skips varints of any length, and groups to a depth of its own. */
const STRICTER = /longer than 10 bytes|groups are nested/;
const MALFORMED = 'malformed in a part that makes no row';

/**
 * Where protobufjs refuses what we take: we replace ill-formed UTF-8 (E10), cut deep values (E11), and do not look into
 * what makes no row: resources and scopes without items, rejected items, members of a oneof before the last one.
 */
function reasonOf(error: unknown): string {
  const text = String(error);
  if (text.includes('utf-8')) return 'ill-formed UTF-8';
  return text.includes('max depth') ? 'nested too deep for protobufjs' : MALFORMED;
}

function* blocksOf(set: BuilderSet, time: Case['time']) {
  const batches = set.encode(() => '0000000000000001');
  for (;;) {
    const step = time(() => batches.next());
    if (step.done === true) return;
    yield step.value;
  }
}

/** The first cell that is not the oracle's, in words. */
function differenceOf(rows: ReadonlyMap<string, readonly Row[]>, expected: ExpectedRequest): string | undefined {
  for (const [table, wanted] of expected.tables) {
    const got = rows.get(table) ?? [];
    if (got.length !== wanted.length) return `${table}: ${got.length}, not ${wanted.length}`;
    for (const [i, row] of wanted.entries()) {
      for (const column in row) {
        if (sameCell(got[i]?.[column], row[column])) continue;
        const [is = '', other = ''] = [got[i]?.[column], row[column]].map((cell) => JSON.stringify(cell));
        // From a little before the first character that differs.
        let at = 0;
        while (at < is.length && is[at] === other[at]) at++;
        const [shown, wantedText] = [is, other].map((text) => text.slice(Math.max(0, at - 60), at + 200));
        return `${table}, row ${i}, ${column}, at ${at}: ${shown} and not ${wantedText}`;
      }
    }
  }
  return undefined;
}

/** As stored: NaN is NaN, -0 is not 0, and the entries of a Map have an order. */
export function sameCell(a: unknown, b: unknown): boolean {
  if (Object.is(a, b)) return true;
  if (a instanceof MapEntries && b instanceof MapEntries) return sameCell(a.entries, b.entries);
  if (!Array.isArray(a) || !Array.isArray(b) || a.length !== b.length) return false;
  return a.every((cell, i) => sameCell(cell, b[i]));
}
