/** All tables, in the order in which they are made, and the version of their schema. */
import type { Table } from './column.ts';
import { LOGS } from './logs.ts';
import {
  METRICS_EXPONENTIAL_HISTOGRAM,
  METRICS_GAUGE,
  METRICS_HISTOGRAM,
  METRICS_SUM,
  METRICS_SUMMARY,
} from './metrics.ts';
import { TRACE_ID_TS, TRACES } from './traces.ts';

/** Raised with every change of a column list; each raise has a step in engine/migrate.ts. */
export const SCHEMA_VERSION = 1;

export const TABLES: readonly Table[] = [
  LOGS,
  TRACES,
  TRACE_ID_TS,
  METRICS_GAUGE,
  METRICS_SUM,
  METRICS_HISTOGRAM,
  METRICS_EXPONENTIAL_HISTOGRAM,
  METRICS_SUMMARY,
];

/** The signal whose retention holds for the rows of a table. */
export function signalOf(table: string): 'logs' | 'metrics' | 'traces' {
  if (table.startsWith('otel_logs')) return 'logs';
  return table.startsWith('otel_traces') ? 'traces' : 'metrics';
}
