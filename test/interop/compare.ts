/** Stored rows against the known set, and stored numbers against what was created. Pure: rows in, findings out. */
import { isDeepStrictEqual } from 'node:util';
import type { Client, Exception, KnownRow, StoredRows, Transport } from './client.ts';
import { Check, type ExpectedRow, KNOWN_SET, type RunFacts } from './known-set.ts';

type Row = Readonly<Record<string, unknown>>;

export function expectedRows(client: Client): readonly ExpectedRow[] {
  return KNOWN_SET.filter((row) => row.name !== 'metric.payload' || client.exponentialHistogram);
}

/** What differs, one sentence each; none when every column of every row holds what it must. */
export function compareKnownSet(client: Client, transport: Transport, rows: StoredRows, facts: RunFacts): string[] {
  const findings: string[] = [];
  const known = expectedRows(client);
  for (const expected of known) {
    const found = (rows[expected.table] ?? []).filter((row) => identifies(expected, row));
    if (found.length === 0) findings.push(`${expected.name} is missing`);
    if (found.length > 1 && !expected.repeats) findings.push(`${expected.name} is there ${found.length} times`);
    for (const row of found) findings.push(...compareRow(client, transport, expected, row, facts));
  }
  for (const [table, all] of Object.entries(rows)) {
    const strangers = all.filter((row) => !known.some((one) => one.table === table && identifies(one, row)));
    if (strangers.length > 0) findings.push(`${strangers.length} rows in otel_${table} that the known set has not`);
  }
  return findings;
}

function identifies(expected: ExpectedRow, row: Row): boolean {
  return row[expected.identify.column] === expected.identify.value;
}

function compareRow(client: Client, transport: Transport, expected: ExpectedRow, row: Row, facts: RunFacts): string[] {
  const findings: string[] = [];
  for (const column of Object.keys(row)) {
    if (!(column in expected.columns)) findings.push(`${expected.name}.${column} is not in the known set`);
  }
  for (const [column, wanted] of Object.entries(expected.columns)) {
    const value = row[column];
    const exception = exceptionFor(client, transport, expected.name, column);
    const where = `${expected.name}.${column}`;
    if (exception === undefined) {
      if (!holds(wanted, value, facts)) findings.push(`${where} is ${show(value)}, not ${show(wanted)}`);
    } else if (holds(wanted, value, facts)) {
      findings.push(`${where} is what the set says: the exception is not needed (${exception.reason})`);
    } else if (!holds(exception.value, value, facts)) {
      findings.push(`${where} is ${show(value)}, neither ${show(wanted)} nor the exception ${show(exception.value)}`);
    }
  }
  return findings;
}

export function exceptionFor(
  client: Client,
  transport: Transport,
  row: KnownRow,
  column: string,
): Exception | undefined {
  return client.exceptions.find(
    (one) =>
      one.column === column &&
      one.rows.includes(row) &&
      (one.protocols === undefined || one.protocols.includes(transport.protocol)),
  );
}

function holds(wanted: unknown, value: unknown, facts: RunFacts): boolean {
  if (wanted instanceof Check) return value !== undefined && wanted.holds(value, facts);
  return isDeepStrictEqual(value, wanted);
}

function show(value: unknown): string {
  return value instanceof Check ? value.says : JSON.stringify(value);
}

/** The number of one item, and how often it is stored. */
export interface StoredNumber {
  readonly seq: string;
  readonly n: string;
}

export interface Tally {
  readonly created: number;
  readonly lost: number;
  readonly doubled: number;
  /** Stored, but never created. */
  readonly strange: number;
  /** The first and last lost numbers: whether one batch is gone or many. */
  readonly lostRange: string;
}

/** Items 0..created-1 must be stored; an item stored n times counts n-1 as doubled. */
export function tally(created: number, stored: readonly StoredNumber[]): Tally {
  const counts = new Map(stored.map((one) => [Number(one.seq), Number(one.n)]));
  let doubled = 0;
  let strange = 0;
  for (const [seq, n] of counts) {
    doubled += n - 1;
    if (!(seq >= 0 && seq < created)) strange++;
  }
  const missing = Array.from({ length: created }, (_, seq) => seq).filter((seq) => !counts.has(seq));
  const lostRange = missing.length === 0 ? '' : `${missing[0]}..${missing.at(-1)}`;
  return { created, lost: missing.length, doubled, strange, lostRange };
}

/** For items without numbers: too few are lost, too many are doubled. */
export function tallyCount(created: number, stored: number): Tally {
  return {
    created,
    lost: Math.max(0, created - stored),
    doubled: Math.max(0, stored - created),
    strange: 0,
    lostRange: '',
  };
}
