/** Reads OTLP/JSON with our reader and gives what protobufjs makes of the bytes; bodies around the part that a test is about. */
import { BackworkError } from '../../../src/base/errors.ts';
import { jsonToProtobuf } from '../../../src/ingest/convert/otlp-json.ts';
import type { Signal } from '../../../src/ingest/messages.ts';
import { decodePlain, loadProto, requestType } from '../../proto/load-proto.ts';

const root = loadProto();

export interface Read {
  readonly request: Record<string, unknown>;
  readonly rejected: number;
  readonly message: string;
}

export function read(signal: Signal, json: string | Uint8Array): Read {
  const { protobuf, rejected, message } = jsonToProtobuf(signal, Buffer.from(json as string));
  return { request: decodePlain(requestType(root, signal), protobuf), rejected, message };
}

/** The error of a body that is refused. */
export function refusal(
  signal: Signal,
  json: string | Uint8Array,
): { code: string; message: string; field: string | undefined } {
  try {
    jsonToProtobuf(signal, Buffer.from(json as string));
  } catch (error) {
    if (error instanceof BackworkError) return { code: error.code, message: error.message, field: error.field };
    throw error;
  }
  throw new Error('the body was taken');
}

export const logs = (records: string) => `{"resourceLogs":[{"scopeLogs":[{"logRecords":[${records}]}]}]}`;
export const spans = (records: string) => `{"resourceSpans":[{"scopeSpans":[{"spans":[${records}]}]}]}`;
export const metrics = (list: string) => `{"resourceMetrics":[{"scopeMetrics":[{"metrics":[${list}]}]}]}`;
export const gauge = (points: string) => metrics(`{"name":"m","gauge":{"dataPoints":[${points}]}}`);

/** The only list of items of a request made by the functions above, with the result's counts. */
export function items(
  signal: Signal,
  json: string | Uint8Array,
): { items: unknown; rejected: number; message: string } {
  const { request, rejected, message } = read(signal, json);
  let node: unknown = request;
  for (const key of {
    logs: ['resourceLogs', 'scopeLogs'],
    traces: ['resourceSpans', 'scopeSpans'],
    metrics: ['resourceMetrics', 'scopeMetrics'],
  }[signal]) {
    node = (node as Record<string, unknown[]>)[key]?.[0];
  }
  const list =
    (node as Record<string, unknown>)[{ logs: 'logRecords', traces: 'spans', metrics: 'metrics' }[signal]] ?? [];
  return { items: list, rejected, message };
}

export const logItems = (records: string) => items('logs', logs(records)).items;
export const body = (value: string) => (logItems(`{"body":${value}}`) as { body?: unknown }[])[0]?.body;
export const points = (text: string) => {
  const [metric] = items('metrics', gauge(text)).items as { gauge: { dataPoints: unknown } }[];
  return metric?.gauge.dataPoints;
};
export const clean = { rejected: 0, message: '' };
