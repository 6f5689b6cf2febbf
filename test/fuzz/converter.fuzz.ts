/**
 * The converters of the three signals: whatever comes in, they make rows or throw 'malformed' and leave nothing; and they
 * find as many items as protobufjs does, wherever both take the body.
 */
import type protobuf from 'protobufjs';
import { BackworkError } from '../../src/base/errors.ts';
import { BuilderSet } from '../../src/ingest/convert/builders.ts';
import { ConverterPool, convertNow } from '../../src/ingest/convert/convert.ts';
import { SIGNALS, type Signal } from '../../src/ingest/messages.ts';
import { generateLogsRequest } from '../corpus/generate-logs.ts';
import { generateMetricsRequest } from '../corpus/generate-metrics.ts';
import { generateTracesRequest } from '../corpus/generate-traces.ts';
import type { Random } from '../corpus/seeded-random.ts';
import { loadProto, requestType } from '../proto/load-proto.ts';
import { ORIGIN } from '../support/log-request.ts';
import { type Fuzzer, fuzzer, mutate, promise } from './fuzzer.ts';

const GENERATE: Record<Signal, (random: Random) => object> = {
  logs: generateLogsRequest,
  metrics: generateMetricsRequest,
  traces: generateTracesRequest,
};
/** The table whose rows are items: the lookup of traces has rows of its own. */
const DERIVED_TABLE = 'otel_traces_trace_id_ts';

export function converterFuzzer(): Fuzzer {
  const root = loadProto();
  const types = Object.fromEntries(SIGNALS.map((signal) => [signal, requestType(root, signal)])) as Record<
    Signal,
    protobuf.Type
  >;
  const pool = new ConverterPool();
  return fuzzer('converter', (random) => {
    const signal = random.pick(SIGNALS);
    const body = makeBody(types[signal], signal, random);
    const set = new BuilderSet();
    let result: ReturnType<typeof convertNow>;
    try {
      result = convertNow(pool, signal, body, ORIGIN, set);
    } catch (error) {
      promise(error instanceof BackworkError && error.code === 'malformed', `it threw ${error}`);
      promise(set.bytes === 0 && rowsOf(set) === 0, 'a refused body left rows');
      return false;
    }
    if (result === undefined) return false;
    const rows = rowsOf(set);
    promise(rows === result.accepted, `${signal}: ${result.accepted} accepted, ${rows} rows`);
    const items = itemCount(types[signal], body);
    const found = result.accepted + result.rejected;
    promise(items === undefined || items === found, `${signal}: ${items} items, ${found} found`);
    return true;
  });
}

function makeBody(type: protobuf.Type, signal: Signal, random: Random): Buffer {
  if (random.chance(0.1)) return random.bytes(random.int(0, 200));
  const body = Buffer.from(type.encode(type.fromObject(GENERATE[signal](random))).finish());
  return random.chance(0.1) ? body : mutate(body, random);
}

function rowsOf(set: BuilderSet): number {
  let rows = 0;
  for (const batch of set.encode(() => '0000000000000001')) if (batch.table !== DERIVED_TABLE) rows += batch.rowCount;
  return rows;
}

/** undefined where protobufjs refuses what we take: invalid UTF-8, deep nesting. */
function itemCount(type: protobuf.Type, body: Buffer): number | undefined {
  try {
    return countItems(type.toObject(type.decode(body), { oneofs: true }));
  } catch {
    return undefined;
  }
}

/** Records, spans and points of a decoded request. */
function countItems(message: Record<string, unknown>): number {
  let count = 0;
  for (const resource of lists(message, 'resourceLogs', 'resourceSpans', 'resourceMetrics')) {
    for (const scope of lists(resource, 'scopeLogs', 'scopeSpans', 'scopeMetrics')) {
      count += lists(scope, 'logRecords', 'spans').length;
      for (const metric of lists(scope, 'metrics')) {
        const data = metric[String(metric['data'])];
        if (data !== undefined) count += lists(data as Record<string, unknown>, 'dataPoints').length;
      }
    }
  }
  return count;
}

function lists(message: Record<string, unknown>, ...names: string[]): Record<string, unknown>[] {
  return names.flatMap((name) => (message[name] ?? []) as Record<string, unknown>[]);
}
