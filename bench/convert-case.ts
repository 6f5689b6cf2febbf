/**
 * One case of the convert bench in a process of its own: `node bench/convert-case.ts <CaseTask as JSON>`. Warms up, measures
 * whole passes over the corpus until MEASURED_MS_MIN of CPU, and prints a CaseResult as JSON.
 *
 * CPU is `process.cpuUsage`, user and system: threads of the garbage collector and the JIT compiler are in it.
 */
import { readFileSync } from 'node:fs';
import { BuilderSet } from '../src/ingest/convert/builders.ts';
import { ConverterPool, convertNow } from '../src/ingest/convert/convert.ts';
import type { RowOrigin, Signal } from '../src/ingest/messages.ts';
import { expectedLogs } from '../test/corpus/expected-log-rows.ts';
import { expectedMetrics } from '../test/corpus/expected-metric-rows.ts';
import { expectedTraces } from '../test/corpus/expected-trace-rows.ts';
import { rowText } from '../test/corpus/expected-values.ts';
import { decodePlain, loadProto, requestType } from '../test/proto/load-proto.ts';
import { plainJsonRows } from './plain-rows.ts';

export type CaseName = 'transcode' | 'decode' | 'plain' | 'oracle';
export const CASE_NAMES: readonly CaseName[] = ['transcode', 'decode', 'plain', 'oracle'];

export interface CaseTask {
  readonly name: CaseName;
  readonly signal: Signal;
  /** Bodies one after another, and the length of each. */
  readonly bodiesPath: string;
  readonly bodyBytes: readonly number[];
  readonly itemsPerRequest: number;
  readonly warmUpMs: number;
  readonly measuredMs: number;
}

/** µs of CPU an item. */
export interface CaseResult {
  readonly totalUs: number;
  /** Of the transcoder: requests into builders, and builders into blocks. */
  readonly convertUs: number;
  readonly encodeUs: number;
  /** Bytes that came out, an item: blocks or text. Keeps the work from being optimized away. */
  readonly bytesOut: number;
  readonly rows: number;
}

/** The oracle of each signal. */
export const EXPECTED = { traces: expectedTraces, logs: expectedLogs, metrics: expectedMetrics };

export const ORIGIN: RowOrigin = {
  orgId: 'org_aaaabbbbccccdddd',
  receivedAtMs: Date.UTC(2026, 10, 23, 12),
  placement: 'org_aaaabbbbccccdddd',
  retentionDays: 30,
  expiresOnDay: 20_812,
};

interface Pass {
  convertMicros: number;
  encodeMicros: number;
  bytesOut: number;
  rows: number;
}

if (import.meta.main) {
  const task = JSON.parse(process.argv[2] ?? '') as CaseTask;
  console.log(JSON.stringify(runCase(task)));
}

function runCase(task: CaseTask): CaseResult {
  const bodies = readBodies(task);
  const pass = passOf(task);
  const items = bodies.length * task.itemsPerRequest;
  const warmUntil = cpuMicros() + task.warmUpMs * 1_000;
  do pass(bodies);
  while (cpuMicros() < warmUntil);
  const sum: Pass = { convertMicros: 0, encodeMicros: 0, bytesOut: 0, rows: 0 };
  const start = cpuMicros();
  let passes = 0;
  do {
    const one = pass(bodies);
    sum.convertMicros += one.convertMicros;
    sum.encodeMicros += one.encodeMicros;
    sum.bytesOut += one.bytesOut;
    sum.rows += one.rows;
    passes++;
  } while (cpuMicros() < start + task.measuredMs * 1_000);
  const measured = passes * items;
  return {
    totalUs: (cpuMicros() - start) / measured,
    convertUs: sum.convertMicros / measured,
    encodeUs: sum.encodeMicros / measured,
    bytesOut: sum.bytesOut / measured,
    rows: sum.rows / passes,
  };
}

/** One pass over all bodies: for the transcoder, one segment. */
function passOf(task: CaseTask): (bodies: readonly Buffer[]) => Pass {
  const { name, signal } = task;
  if (name === 'transcode') return transcoder(signal);
  const type = requestType(loadProto(), signal);
  if (name === 'decode') {
    return (bodies) => {
      let fields = 0;
      for (const body of bodies) fields += Object.keys(type.decode(body)).length;
      return { convertMicros: 0, encodeMicros: 0, bytesOut: fields, rows: 0 };
    };
  }
  if (name === 'plain') return textPass((body) => plainJsonRows(signal, type.decode(body), ORIGIN));
  return textPass((body) => {
    const { tables } = EXPECTED[signal](decodePlain(type, body), ORIGIN);
    return [...tables.values()].map((rows) => rows.map((row) => `${rowText(row)}\n`).join(''));
  });
}

function textPass(texts: (body: Buffer) => string[]): (bodies: readonly Buffer[]) => Pass {
  return (bodies) => {
    let bytesOut = 0;
    for (const body of bodies) {
      // As bytes: a text that is only joined has not been written yet.
      for (const text of texts(body)) bytesOut += Buffer.from(text).length;
    }
    return { convertMicros: 0, encodeMicros: 0, bytesOut, rows: 0 };
  };
}

function transcoder(signal: Signal): (bodies: readonly Buffer[]) => Pass {
  const pool = new ConverterPool();
  return (bodies) => {
    const start = cpuMicros();
    const set = new BuilderSet();
    bodies.forEach((body, index) => {
      const result = convertNow(pool, signal, body, ORIGIN, set);
      if (result === undefined || result.rejected > 0) throw new Error(`a request was not taken: ${result?.message}`);
      set.assign(index);
    });
    const converted = cpuMicros();
    let bytesOut = 0;
    let rows = 0;
    for (const batch of set.encode(() => '0123456789abcdef')) {
      bytesOut += batch.bytes.length;
      rows += batch.rowCount;
    }
    return { convertMicros: converted - start, encodeMicros: cpuMicros() - converted, bytesOut, rows };
  };
}

function readBodies(task: CaseTask): Buffer[] {
  const all = readFileSync(task.bodiesPath);
  let at = 0;
  return task.bodyBytes.map((bytes) => {
    at += bytes;
    return all.subarray(at - bytes, at);
  });
}

function cpuMicros(): number {
  const { user, system } = process.cpuUsage();
  return user + system;
}
