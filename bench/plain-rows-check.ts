/**
 * The obvious way is only worth comparing with when it gives the right rows: those of one request are held against the
 * oracle's before anything is measured. Times are the one thing that the two write differently.
 */
import type { RowOrigin } from '../src/ingest/messages.ts';
import { rowText } from '../test/corpus/expected-values.ts';
import { decodePlain, loadProto, requestType } from '../test/proto/load-proto.ts';
import { EXPECTED } from './convert-case.ts';
import type { Corpus } from './corpus.ts';
import { plainJsonRows } from './plain-rows.ts';

/** Throws with the first row that differs. */
export function checkPlainRows({ signal, bodies }: Corpus, origin: RowOrigin): void {
  const body = bodies[0] ?? Buffer.alloc(0);
  const type = requestType(loadProto(), signal);
  const plain = plainJsonRows(signal, type.decode(body), origin).flatMap((text) => text.split('\n').filter(Boolean));
  const { tables } = EXPECTED[signal](decodePlain(type, body), origin);
  const expected = new Set([...tables.values()].flat().map((row) => comparable(rowText(row))));
  const wrong = plain.map(comparable).find((row) => !expected.has(row));
  if (wrong !== undefined)
    throw new Error(`the obvious way gives a row of ${signal} that the oracle does not: ${wrong}`);
  if (plain.length !== expected.size) {
    throw new Error(`the obvious way gives ${plain.length} rows of ${signal}, the oracle ${expected.size}`);
  }
}

/** Keys in order; seconds with nine decimals as the date and time that they are. */
function comparable(line: string): string {
  return JSON.stringify(JSON.parse(line), (_, value: unknown) => {
    if (typeof value === 'string') return /^\d{10}\.\d{9}$/.test(value) ? dateText(value) : value;
    if (typeof value !== 'object' || value === null || Array.isArray(value)) return value;
    return Object.fromEntries(Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1)));
  });
}

function dateText(seconds: string): string {
  const date = new Date(Number(seconds.slice(0, 10)) * 1_000).toISOString().slice(0, 19).replace('T', ' ');
  return `${date}${seconds.slice(10)}`;
}
