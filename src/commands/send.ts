/**
 * `send`: a realistic sample of all three signals, so that a new installation has something to look at and an old one
 * something to try. The sample is a small shop's last five minutes (send-shop.ts).
 *
 * Where to: `--endpoint`; else the service that runs on the data directory; else the default ports on this machine. It
 * takes an ingest token and never makes one: a token is an operator's decision. The token is never printed.
 */
import { randomInt } from 'node:crypto';
import { resolve } from 'node:path';
import { BackworkError } from '../base/errors.ts';
import type { Signal } from '../ingest/messages.ts';
import { otlpUrl } from './addresses.ts';
import { TOKEN_VARIABLE } from './children.ts';
import { type CommandContext, readArguments, UsageError } from './command.ts';
import { readServiceState } from './data-directory.ts';
import { nameOf, oneLine, openClient, type Protocol } from './send-client.ts';
import { logRequests, makeShop, metricRequests, type Shop, traceRequests } from './send-shop.ts';

const USAGE = `send [--endpoint URL] [--protocol grpc|http] [--token T | ${TOKEN_VARIABLE}] [--count ORDERS] [--seed S]`;
const ORDERS_DEFAULT = 20;
const ORDERS_MAX = 10_000;
const SEED_MAX = 2 ** 32 - 1;
const NO_TOKEN =
  `no ingest token: set ${TOKEN_VARIABLE} or give --token; ` +
  'npm run -s backwork -- token create --org default --name sample   makes one';

export interface SendOptions {
  readonly endpoint: URL;
  readonly protocol: Protocol;
  readonly token: string;
  readonly orderCount: number;
  readonly seed: number;
  /** The end of the five minutes of the sample. */
  readonly nowMs: number;
}

/** What became of one signal. */
export interface Sent {
  readonly signal: Signal;
  readonly sent: number;
  readonly rejected: number;
  /** What the answers said, '' when nothing. */
  readonly message: string;
}

/** Resolves to 1 when items were rejected. Throws in one line when the endpoint refuses or cannot be reached. */
export async function run(args: readonly string[], context: CommandContext): Promise<number> {
  const options = optionsOf(args, context);
  const { endpoint, protocol, orderCount, seed, token } = options;
  const shop = makeShop({ orderCount, seed, endMs: options.nowMs });
  const way = `${nameOf(endpoint)} (OTLP/${protocol === 'grpc' ? 'gRPC' : 'HTTP'})`;
  context.stdout(`${orderCount} orders of a small shop, seed ${seed}, to ${way}\n\n`);
  context.stdout(`${tableLine('', 'sent', 'accepted', 'rejected')}\n`);
  let rejected = 0;
  for await (const one of sendShop(shop, options)) {
    context.stdout(`${tableLine(NOUNS[one.signal], one.sent, one.sent - one.rejected, one.rejected)}\n`);
    if (one.message !== '') context.stderr(`backwork: ${one.signal}: ${oneLine(one.message, token)}\n`);
    rejected += one.rejected;
  }
  context.stdout(`\n${queries(shop)}`);
  return rejected === 0 ? 0 : 1;
}

/** Sends the sample and yields each signal's outcome when its last answer is there. */
export async function* sendShop(
  shop: Shop,
  { endpoint, protocol, token }: Pick<SendOptions, 'endpoint' | 'protocol' | 'token'>,
): AsyncGenerator<Sent> {
  const client = await openClient(protocol, { endpoint, token });
  try {
    for (const [signal, requests] of REQUESTS) {
      let sent = 0;
      let rejected = 0;
      const messages = new Set<string>();
      for (const request of requests(shop)) {
        const answer = await client.send(signal, request.message);
        sent += request.itemCount;
        rejected += Math.min(answer.rejected, request.itemCount);
        if (answer.message !== '') messages.add(answer.message);
      }
      yield { signal, sent, rejected, message: [...messages].join('; ') };
    }
  } finally {
    client.close();
  }
}

const REQUESTS = [
  ['traces', traceRequests],
  ['logs', logRequests],
  ['metrics', metricRequests],
] as const;
const NOUNS: Readonly<Record<Signal, string>> = { traces: 'spans', logs: 'log records', metrics: 'data points' };

function optionsOf(args: readonly string[], context: CommandContext): SendOptions {
  const { text } = readArguments(
    args,
    { endpoint: 'text', protocol: 'text', token: 'text', count: 'text', seed: 'text' },
    USAGE,
  );
  const protocol = text['protocol'] ?? 'http';
  if (protocol !== 'grpc' && protocol !== 'http') throw new UsageError('--protocol is grpc or http', USAGE);
  const orderCount = wholeNumber('--count', text['count'], 1, ORDERS_MAX) ?? ORDERS_DEFAULT;
  const seed = wholeNumber('--seed', text['seed'], 0, SEED_MAX) ?? randomInt(SEED_MAX + 1);
  const endpoint = text['endpoint'] === undefined ? ownEndpoint(protocol, context) : endpointOf(text['endpoint']);
  const token = text['token'] ?? context.env[TOKEN_VARIABLE] ?? '';
  if (token === '') throw new BackworkError('unauthenticated', NO_TOKEN);
  // It goes into a header. The value is not repeated.
  if (!/^[\x21-\x7e]+$/.test(token))
    throw new BackworkError('unauthenticated', 'the token given holds blanks or other characters that no token has');
  return { endpoint, protocol, token, orderCount, seed, nowMs: Date.now() };
}

function wholeNumber(option: string, text: string | undefined, min: number, max: number): number | undefined {
  if (text === undefined) return undefined;
  const value = /^\d{1,10}$/.test(text) ? Number(text) : Number.NaN;
  if (value >= min && value <= max) return value;
  throw new UsageError(`${option} ${JSON.stringify(text)} must be a whole number from ${min} to ${max}`, USAGE);
}

function endpointOf(text: string): URL {
  const url = URL.parse(text);
  // Not repeated: a user and password may stand in it.
  if (url === null || !/^https?:$/.test(url.protocol) || url.username !== '' || url.search !== '' || url.hash !== '') {
    throw new UsageError('--endpoint is not like http://127.0.0.1:4318', USAGE);
  }
  return url;
}

/** What service.json says of a service that was started with free ports, else the ports of the settings. */
function ownEndpoint(protocol: Protocol, { settings }: CommandContext): URL {
  const running = readServiceState(resolve(settings.dataDir))?.ports;
  const port = running?.[protocol] ?? (protocol === 'grpc' ? settings.otlpGrpcPort : settings.otlpHttpPort);
  return new URL(otlpUrl(settings, port));
}

function tableLine(...cells: readonly (string | number)[]): string {
  const [first = '', ...numbers] = cells;
  return `  ${String(first).padEnd(14)}${numbers.map((cell) => String(cell).padStart(10)).join('')}`;
}

/** One for each signal, of what was just sent. An order that was not simply placed shows most. */
function queries(shop: Shop): string {
  const order = shop.orders.find(({ outcome }) => outcome !== 'placed') ?? shop.orders[0];
  const trace = `TraceId = '${order?.traceId ?? ''}'`;
  const lines = [
    `SELECT Timestamp, ServiceName, SpanName, Duration / 1e6 AS Ms, StatusCode FROM otel_traces WHERE ${trace} ORDER BY Timestamp`,
    `SELECT Timestamp, SeverityText, ServiceName, Body FROM otel_logs WHERE ${trace} ORDER BY Timestamp`,
    "SELECT TimeUnix, ServiceName, Value FROM otel_metrics_sum WHERE MetricName = 'http.server.requests' ORDER BY TimeUnix DESC LIMIT 10",
  ];
  const commands = lines.map((sql) => `npm run -s backwork -- sql "${sql}" --format PrettyCompact`);
  return ['Rows can be seen about 2 s after they were accepted:', ...commands, ''].join('\n\n');
}
