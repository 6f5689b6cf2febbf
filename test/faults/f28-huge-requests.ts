/**
 * F28: requests whose content is out of proportion. Caps cut what is over and count it, rows of a request stay within
 * 256 MiB, and the work goes in slices: no body holds the event loop longer than 50 ms or costs more than 2 s of CPU.
 */
import { setTimeout as delay } from 'node:timers/promises';
import type { Signal } from '../../src/ingest/messages.ts';
import { field, keyValue, varintField } from '../corpus/hand-made-protobuf.ts';
import type { Fault, FaultOptions, FaultReport } from './fault.ts';
import { type Exported, exportOver } from './support/export-call.ts';
import { startWatchedService, type WatchedService } from './support/watched-service.ts';

const STALL_MS_MAX = 50;
const CPU_MS_MAX = 2_000;
const ATTRIBUTES_MAX = 1_024;
const MIB = 1_048_576;

interface Shape {
  readonly name: string;
  readonly signal: Signal;
  /** Text is OTLP/JSON. */
  readonly body: () => Buffer | string;
  readonly items: number;
  /** Over the rows of this shape: what is stored, as text. */
  readonly sql: string;
  readonly stored: (rejected: number) => string;
  /** Part of the answer's message. */
  readonly message: RegExp;
  /** undefined: either will do. */
  readonly rejects: boolean | undefined;
}

export const f28: Fault = {
  id: 'F28',
  title: 'requests with too many attributes, a huge key, a million spans, rows that outgrow the request',
  async run(options: FaultOptions): Promise<FaultReport> {
    const watched = await startWatchedService();
    try {
      return await sendShapes(watched, options);
    } finally {
      await watched.stop();
    }
  },
};

async function sendShapes(watched: WatchedService, { size, say }: FaultOptions): Promise<FaultReport> {
  const figures: Record<string, number> = {};
  const violations: string[] = [];
  const full = size === 'full';
  await exportOver(watched.service, 'traces', spans('warm-up', 100, []));
  for (const shape of shapes(full)) {
    const body = shape.body();
    await delay(full ? 3_000 : 0);
    const cpuBeforeMs = watched.cpuMs();
    const startMs = Date.now();
    const answer = await exportOver(watched.service, shape.signal, body, body.length > MIB);
    const cpuMs = watched.cpuMs() - cpuBeforeMs;
    await delay(full ? 2_000 : 0);
    const stalls = watched.stallsSince(startMs);
    // Not counted: a late tick in which the loop's thread was hardly given the processor.
    const stallMs = Math.max(0, ...stalls.map((stall) => Math.min(stall.stallMs, stall.cpuMs)));
    figures[`${shape.name}CpuMs`] = cpuMs;
    figures[`${shape.name}StallMs`] = stallMs;
    figures[`${shape.name}Rejected`] = answer.rejected;
    violations.push(...(await judgeShape(watched, shape, answer)).map((text) => `${shape.name}: ${text}`));
    if (full && stallMs > STALL_MS_MAX) violations.push(`${shape.name}: the loop stood still for ${stallMs} ms`);
    if (full && cpuMs > CPU_MS_MAX) violations.push(`${shape.name}: ${cpuMs} ms of CPU`);
    say(`${shape.name}: ${body.length} bytes, ${answer.rejected} rejected, ${cpuMs} ms CPU, stall ${stallMs} ms`);
  }
  return { figures, violations };
}

async function judgeShape(watched: WatchedService, shape: Shape, answer: Exported): Promise<string[]> {
  const wrong: string[] = [];
  if (answer.status !== 200) return [`answered ${answer.status}: ${answer.message}`];
  if (shape.rejects !== undefined && answer.rejected > 0 !== shape.rejects)
    wrong.push(`${answer.rejected} of ${shape.items} rejected`);
  if (!shape.message.test(answer.message)) wrong.push(`the answer says: ${answer.message}`);
  const expected = shape.stored(answer.rejected);
  const sql = `SELECT toString(${shape.sql}) AS stored FROM otel_traces WHERE ServiceName = '${shape.name}'`;
  const done = (rows: { stored: string }[]) => rows[0]?.stored === expected;
  await watched.service.queryUntil<{ stored: string }>(sql, done, 90_000).catch((error: Error) => {
    wrong.push(`stored is not ${expected}: ${error.message.slice(0, 200)}`);
  });
  return wrong;
}

function shapes(full: boolean): Shape[] {
  const spanCount = full ? 1_000_000 : 50_000;
  return [
    {
      name: 'manyAttributes',
      signal: 'traces',
      body: () => spans('manyAttributes', 1, [], numbered(100_000)),
      items: 1,
      sql: 'tuple(count(), max(length(SpanAttributes)), max(DroppedAttributesCount))',
      stored: () => `(1,${ATTRIBUTES_MAX},${100_000 - ATTRIBUTES_MAX})`,
      message: /1,?024/,
      rejects: false,
    },
    {
      name: 'hugeKey',
      signal: 'traces',
      body: () => spans('hugeKey', 2, [], [field(9, keyValue(Buffer.alloc(10_000_000, 'k'), field(1)))]),
      items: 2,
      sql: 'tuple(count(), max(length(SpanAttributes)), min(DroppedAttributesCount))',
      stored: () => '(2,0,1)',
      message: /4,?096|4 KiB/,
      rejects: false,
    },
    {
      name: 'manySpans',
      signal: 'traces',
      body: () => spans('manySpans', spanCount, []),
      items: spanCount,
      sql: 'count()',
      stored: (rejected) => String(spanCount - rejected),
      // A span of 30 bytes takes 410 in its columns: a million of them pass 256 MiB.
      message: full ? /256 MiB|268,?435,?456/ : /^$/,
      rejects: full,
    },
    {
      name: 'grownRows',
      signal: 'traces',
      // 8 resource attributes of 128 KiB are over what may be repeated; 60,000 bytes are not, and 30,000 rows of them are.
      body: () => {
        const large = Array.from({ length: 8 }, (_, i) => attribute(`large${i}`, Buffer.alloc(131_072, 'v')));
        return spans('grownRows', 30_000, [...large, attribute('rest', Buffer.alloc(60_000, 'r'))]);
      },
      items: 30_000,
      sql: 'count()',
      stored: (rejected) => String(30_000 - rejected),
      message: /256 MiB|268,?435,?456/,
      rejects: true,
    },
    ...oneValueShapes(full ? 60_000_000 : 3_000_000),
  ];
}

/** One value is most of the body: nothing in it can be put off to the next slice. */
function oneValueShapes(bytes: number): Shape[] {
  const dropped = {
    signal: 'traces',
    items: 1,
    sql: 'tuple(count(), max(length(SpanAttributes)), max(DroppedAttributesCount))',
    stored: () => '(1,0,1)',
    message: /1,?048,?576|1 MiB/,
    rejects: false,
  } as const;
  const kept = { ...dropped, stored: () => '(1,0,0)', message: /^$/ };
  const element = field(1, varintField(3, 7));
  return [
    {
      ...dropped,
      name: 'jsonText',
      body: () => jsonSpan('jsonText', `{"stringValue":"${'t'.repeat(bytes)}"}`),
    },
    {
      ...dropped,
      name: 'jsonBase64',
      body: () => jsonSpan('jsonBase64', `{"bytesValue":"${'QUJD'.repeat(bytes / 4)}"}`),
    },
    {
      ...dropped,
      name: 'jsonList',
      body: () =>
        jsonSpan(
          'jsonList',
          `{"arrayValue":{"values":[${'{"intValue":7000000000000},'.repeat(Math.floor(bytes / 27))}{}]}}`,
        ),
    },
    {
      ...kept,
      name: 'jsonBrackets',
      body: () => `{"unknown":${'['.repeat(bytes / 2)}${']'.repeat(bytes / 2)},${jsonSpan('jsonBrackets').slice(1)}`,
    },
    {
      ...dropped,
      name: 'longList',
      body: () =>
        spans(
          'longList',
          1,
          [],
          [field(9, keyValue(Buffer.from('list'), field(5, Buffer.alloc(element.length * (bytes / 6), element))))],
        ),
    },
  ];
}

/** One span with at most one attribute. */
function jsonSpan(service: string, value?: string): string {
  const attributes = value === undefined ? '' : `,"attributes":[{"key":"value","value":${value}}]`;
  const name = `{"key":"service.name","value":{"stringValue":"${service}"}}`;
  const ids = '"traceId":"0102030405060708090a0b0c0d0e0f10","spanId":"0102030405060708"';
  const scopes = `[{"spans":[{${ids}${attributes}}]}]`;
  return `{"resourceSpans":[{"resource":{"attributes":[${name}]},"scopeSpans":${scopes}}]}`;
}

/** One resource, one scope, `count` spans with ids of their own; `own` are fields of each span. */
function spans(service: string, count: number, resource: readonly Buffer[], own: readonly Buffer[] = []): Buffer {
  const [traceIdAt, spanIdAt] = [4, 22];
  const ids = Buffer.concat([field(1, Buffer.alloc(16, 1)), field(2, Buffer.alloc(8, 1))]);
  const span = field(2, ids, ...own);
  const headBytes = span.length - ids.length - own.reduce((sum, part) => sum + part.length, 0);
  const all = Buffer.alloc(span.length * count);
  for (let i = 0; i < count; i++) {
    span.copy(all, i * span.length);
    all.writeUInt32BE(i + 1, i * span.length + headBytes + traceIdAt);
    all.writeUInt32BE(i + 1, i * span.length + headBytes + spanIdAt);
  }
  const attributes = [attribute('service.name', Buffer.from(service)), ...resource];
  return field(1, field(1, ...attributes), field(2, all));
}

function attribute(key: string, value: Buffer): Buffer {
  return field(1, keyValue(Buffer.from(key), field(1, value)));
}

/** Attributes of a span: `a0` … each an integer. */
function numbered(count: number): Buffer[] {
  return Array.from({ length: count }, (_, i) => field(9, keyValue(Buffer.from(`a${i}`), varintField(3, i % 100))));
}
