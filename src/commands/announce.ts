/** What `serve` prints on stdout when it is ready. The token stands here once and in no log. */
import { relative } from 'node:path';
import type { Settings } from '../settings/settings.ts';
import { localUrl, otlpUrl } from './addresses.ts';
import { engineLoginPath } from './data-directory.ts';
import type { ServicePorts } from './service.ts';

export interface Announcement {
  readonly settings: Settings;
  /** Absolute. */
  readonly dataDir: string;
  readonly ports: ServicePorts & { readonly api: number };
  /** The first token, on the first start only. */
  readonly token: string | undefined;
  readonly nowMs: number;
}

/** How the command line is called, as the README has it. */
const BACKWORK = 'npm run -s backwork --';

/** Endpoints, then the token with a line that tries it, or how to make another. Ends with a line end. */
export function announcement({ settings, dataDir, ports, token, nowMs }: Announcement): string {
  const http = otlpUrl(settings, ports.http);
  const engine =
    ports.engine === undefined
      ? 'the server of BACKWORK_CLICKHOUSE_URL'
      : `http://127.0.0.1:${ports.engine}  (user and password: ${readable(engineLoginPath(dataDir))})`;
  return [
    '',
    `  OTLP/gRPC   ${otlpUrl(settings, ports.grpc)}`,
    `  OTLP/HTTP   ${http}`,
    `  API         ${localUrl(settings.apiHost, ports.api)}`,
    `  ClickHouse  ${engine}`,
    '',
    ...(token === undefined ? [anotherToken()] : [tokenText(token), '', ...curlLines(http, token, nowMs)]),
    '',
    '',
  ].join('\n');
}

/** Also printed alone, when a first start fails after the token was made: it cannot be shown again. */
export function tokenText(token: string): string {
  return `  Ingest token of the organization "default" (not shown again):\n\n    ${token}`;
}

function anotherToken(): string {
  return `  Another ingest token:  ${BACKWORK} token create --org default --name my-app`;
}

function curlLines(http: string, token: string, nowMs: number): string[] {
  const attribute = { key: 'service.name', value: { stringValue: 'curl' } };
  const record = {
    timeUnixNano: `${nowMs}000000`,
    severityNumber: 9,
    severityText: 'INFO',
    body: { stringValue: 'Hello from curl' },
  };
  const body = { resourceLogs: [{ resource: { attributes: [attribute] }, scopeLogs: [{ logRecords: [record] }] }] };
  return [
    '  Send a log record, then look at it:',
    '',
    `curl -i ${http}/v1/logs -H 'content-type: application/json' \\`,
    `  -H 'authorization: Bearer ${token}' \\`,
    `  -d '${JSON.stringify(body)}'`,
    '',
    `${BACKWORK} sql "SELECT Timestamp, ServiceName, Body FROM otel_logs"`,
  ];
}

/** Relative to where the operator stands, when that is shorter. */
function readable(path: string): string {
  const short = relative(process.cwd(), path);
  return short.startsWith('..') ? path : short;
}
