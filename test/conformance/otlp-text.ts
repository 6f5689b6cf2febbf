/** OTLP/JSON as text, for what no object can say: two equal keys, numbers beyond a double, bytes that are no UTF-8. */
import type { Signal } from '../../src/ingest/messages.ts';
import type { TestService } from '../support/service.ts';
import { type Answer, newName, sendBody } from './otlp-client.ts';

const resource = (name: string) => `{"attributes":[{"key":"service.name","value":{"stringValue":"${name}"}}]}`;

/** The body of a request of a service, around the text of its items. */
export const logsText = (records: string) => (name: string) =>
  `{"resourceLogs":[{"resource":${resource(name)},"scopeLogs":[{"logRecords":[${records}]}]}]}`;
export const spansText = (spans: string) => (name: string) =>
  `{"resourceSpans":[{"resource":${resource(name)},"scopeSpans":[{"spans":[${spans}]}]}]}`;
export const metricsText = (metrics: string) => (name: string) =>
  `{"resourceMetrics":[{"resource":${resource(name)},"scopeMetrics":[{"metrics":[${metrics}]}]}]}`;
export const gaugeText = (points: string) => metricsText(`{"name":"m","gauge":{"dataPoints":[${points}]}}`);

/** Sends it under a name of its own. */
export async function postText(
  service: TestService,
  signal: Signal,
  body: (name: string) => string,
): Promise<{ name: string; answer: Answer }> {
  const name = newName();
  return { name, answer: await sendBody(service, signal, 'json', Buffer.from(body(name))) };
}
