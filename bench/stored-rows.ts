/**
 * Whether every acknowledged item is stored once: rows counted in the engine, and their distinct (request, item) pairs,
 * both against what was acknowledged. Rows of unsure requests are left out, but may not be doubled either.
 */
import type { Signal } from '../src/ingest/messages.ts';
import { ITEM_KEY, REQUEST_KEY } from './corpus-values.ts';
import type { LiveService } from './live-service.ts';

export interface StoredRows {
  readonly rows: number;
  readonly distinctRows: number;
  /** Rows above the distinct ones, those of unsure requests included. */
  readonly doubled: number;
}

const TABLES: Record<Signal, { readonly attributes: string; readonly names: readonly string[] }> = {
  traces: { attributes: 'SpanAttributes', names: ['otel_traces'] },
  logs: { attributes: 'LogAttributes', names: ['otel_logs'] },
  metrics: {
    attributes: 'Attributes',
    names: ['gauge', 'sum', 'histogram', 'exponential_histogram', 'summary'].map((kind) => `otel_metrics_${kind}`),
  },
};

/** Distinct values are held in the engine's memory: at most so many in one query. */
const ROWS_PER_QUERY_MAX = 2_000_000;

/** `requestIds`: how many ids were used, from 0. */
export async function countStored(
  service: LiveService,
  load: { signal: Signal; requestIds: number; itemsPerRequest: number; unsure: readonly number[] },
): Promise<StoredRows> {
  const slice = Math.max(1, Math.floor(ROWS_PER_QUERY_MAX / load.itemsPerRequest));
  const { attributes, names } = TABLES[load.signal];
  const request = `toUInt64OrZero(ResourceAttributes['${REQUEST_KEY}'])`;
  const item = `toUInt64OrZero(${attributes}['${ITEM_KEY}'])`;
  const union = names.map((name) => `SELECT ${request} AS request, ${item} AS item FROM ${name}`).join(' UNION ALL ');
  const isUnsure = load.unsure.length === 0 ? '0' : `request IN (${load.unsure.join(',')})`;
  const sum = { rows: 0, distinctRows: 0, doubled: 0 };
  for (let from = 0; from < load.requestIds; from += slice) {
    const to = from + slice < load.requestIds ? `AND request < ${from + slice}` : '';
    const sql = `SELECT countIf(NOT unsure) AS rows, uniqExactIf((request, item), NOT unsure) AS distinct,
      count() AS everything, uniqExact((request, item)) AS everythingDistinct
      FROM (SELECT request, item, ${isUnsure} AS unsure FROM (${union}) WHERE request >= ${from} ${to})`;
    const [found] = await service.query<Record<string, string>>(sql);
    sum.rows += Number(found?.['rows']);
    sum.distinctRows += Number(found?.['distinct']);
    sum.doubled += Number(found?.['everything']) - Number(found?.['everythingDistinct']);
  }
  return sum;
}
