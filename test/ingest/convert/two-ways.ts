/**
 * The same bytes stored two ways in one real engine: by the converter, as Native blocks in the tables themselves, and by
 * the oracle, as JSONEachRow in tables of the same columns named `<table>_expected`.
 */
import type protobuf from 'protobufjs';
import { BuilderSet } from '../../../src/ingest/convert/builders.ts';
import { ConverterPool, convertNow, convertSliced } from '../../../src/ingest/convert/convert.ts';
import type { ConvertResult, RowOrigin, Signal } from '../../../src/ingest/messages.ts';
import { TABLES } from '../../../src/tables/all-tables.ts';
import { expectedLogs } from '../../corpus/expected-log-rows.ts';
import { expectedMetrics } from '../../corpus/expected-metric-rows.ts';
import { expectedTraces } from '../../corpus/expected-trace-rows.ts';
import { type ExpectedRequest, rowText } from '../../corpus/expected-values.ts';
import { decodePlain, loadProto, requestType } from '../../proto/load-proto.ts';
import type { TableEngine } from '../../support/table-engine.ts';

const ORACLES: Readonly<Record<Signal, (request: object, origin: RowOrigin) => ExpectedRequest>> = {
  logs: expectedLogs,
  metrics: expectedMetrics,
  traces: expectedTraces,
};

export interface TwoWays {
  readonly types: Readonly<Record<Signal, protobuf.Type>>;
  /** Converts a request, and asks the oracle; both kinds of rows wait for `store`. */
  add(signal: Signal, body: Buffer, origin: RowOrigin): Promise<{ result: ConvertResult; expected: ExpectedRequest }>;
  /** Converts a request that the oracle cannot read. */
  convert(signal: Signal, body: Buffer, origin: RowOrigin): Promise<ConvertResult>;
  /** Bytes that wait on the oracle's side. */
  readonly waitingBytes: number;
  /** Inserts what waits, on both sides. */
  store(): Promise<void>;
  /** What one side holds more often than the other, one case a way and table, in words; empty when there is none. */
  differences(): Promise<string[]>;
}

export async function openTwoWays(engine: TableEngine): Promise<TwoWays> {
  for (const table of TABLES) {
    await engine.create(table);
    await engine.create({ ...table, name: `${table.name}_expected` });
  }
  const root = loadProto();
  const types = {
    logs: requestType(root, 'logs'),
    metrics: requestType(root, 'metrics'),
    traces: requestType(root, 'traces'),
  };
  const pool = new ConverterPool();
  const blocks = new Map<string, Buffer[]>();
  const lines = new Map<string, string[]>();
  let set = new BuilderSet();
  let assigned = 0;
  let batches = 0;
  let waitingBytes = 0;

  const encode = (rows: BuilderSet) => {
    for (const batch of rows.encode(() => (++batches).toString(16).padStart(16, '0'))) {
      listOf(blocks, batch.table).push(Buffer.from(batch.bytes)); // a copy: the encoder reuses its memory
    }
  };
  const convert = async (signal: Signal, body: Buffer, origin: RowOrigin): Promise<ConvertResult> => {
    const result = convertNow(pool, signal, body, origin, set);
    set.assign(assigned++);
    if (result !== undefined) return result;
    const sliced = await convertSliced(signal, body, origin);
    sliced.rows.assign(0);
    encode(sliced.rows);
    return sliced.result;
  };

  return {
    types,
    async add(signal, body, origin) {
      const result = await convert(signal, body, origin);
      const expected = ORACLES[signal](decodePlain(types[signal], body), origin);
      for (const [table, rows] of expected.tables) {
        for (const row of rows) {
          const line = rowText(row);
          waitingBytes += line.length;
          listOf(lines, table).push(line);
        }
      }
      return { result, expected };
    },
    convert,
    get waitingBytes() {
      return waitingBytes;
    },
    async store() {
      encode(set);
      set = new BuilderSet();
      for (const [table, list] of blocks) await engine.insert(table, Buffer.concat(list));
      for (const [table, list] of lines) await engine.insertJson(`${table}_expected`, list);
      blocks.clear();
      lines.clear();
      waitingBytes = 0;
    },
    async differences() {
      const found: string[] = [];
      for (const { name } of TABLES) {
        found.push(...(await difference(engine, name, `${name}_expected`)));
        found.push(...(await difference(engine, `${name}_expected`, name)));
      }
      return found;
    },
  };
}

function listOf<T>(lists: Map<string, T[]>, name: string): T[] {
  const list = lists.get(name) ?? [];
  lists.set(name, list);
  return list;
}

/** The rows of a table, each once, with how often it is there. BatchId has no counterpart on the oracle's side. */
function counted(table: string): string {
  return `SELECT * EXCEPT BatchId, count() AS Times FROM ${table} GROUP BY ALL`;
}

/** The first row that `table` holds and `other` does not hold as often, beside the most similar one of its request. */
async function difference(engine: TableEngine, table: string, other: string): Promise<string[]> {
  const [row] = await engine.rows(`SELECT * FROM (${counted(table)} EXCEPT ${counted(other)}) LIMIT 1`);
  if (row === undefined) return [];
  const sameRequest = `OrgId = '${row['OrgId']}' AND ReceivedAt = '${row['ReceivedAt']}'`;
  const candidates = await engine.rows(
    `SELECT * FROM (${counted(other)} EXCEPT ${counted(table)}) WHERE ${sameRequest}`,
  );
  const unequal = candidates.map((candidate) => unequalCells(row, candidate)).sort((a, b) => a.length - b.length);
  const nearest = unequal[0]?.join('; ') ?? `nothing like ${JSON.stringify(row).slice(0, 2_000)}`;
  return [`${table} holds what ${other} does not, of ${sameRequest}: ${nearest}`];
}

function unequalCells(row: Record<string, unknown>, candidate: Record<string, unknown>): string[] {
  return Object.keys(row)
    .map((column) => ({ column, is: JSON.stringify(row[column]), other: JSON.stringify(candidate[column]) }))
    .filter(({ is, other }) => is !== other)
    .map(({ column, is, other }) => `${column}: ${is.slice(0, 300)} and not ${other.slice(0, 300)}`);
}
