/** OpenTelemetry Go: one module, its exporters pinned by go.mod and go.sum. */
import { join } from 'node:path';
import type { Client, Transport } from '../../client.ts';
import { findTool, runTool } from '../../toolchain.ts';

const SOURCES = import.meta.dirname;
const MODULES = [
  'go.opentelemetry.io/otel/sdk',
  'go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracegrpc',
  'go.opentelemetry.io/otel/exporters/otlp/otlplog/otlploggrpc',
  'google.golang.org/grpc',
];

/** Only the exporter of traces has JSON; the two others send protobuf beside it. */
const JSON_TRACES = 'traces as JSON';
const REFUSED = 'retries 429, 502, 503 and 504, but not a refused connection';

const TRANSPORTS: readonly Transport[] = [
  { protocol: 'grpc', compression: 'none' },
  { protocol: 'grpc', compression: 'gzip' },
  { protocol: 'http/protobuf', compression: 'none' },
  { protocol: 'http/protobuf', compression: 'gzip' },
  { protocol: 'http/json', compression: 'none', variant: JSON_TRACES },
  { protocol: 'http/json', compression: 'gzip', variant: JSON_TRACES },
];

export const client: Client = {
  name: 'Go',
  transports: TRANSPORTS,
  retriesByDefault: { grpc: true, 'http/protobuf': false, 'http/json': false },
  outageNotes: { 'http/protobuf': REFUSED, 'http/json': REFUSED },
  givesUp: {
    grpc:
      'it waits 5 s ± 50 % after the first try and 7.5 s ± 50 % after the second, and gives the batch up 10 s after the first, ' +
      'so an outage of 3 s may end it',
  },
  outageSeconds: 3,
  exponentialHistogram: true,
  exceptions: [],
  async toolchain() {
    return (await findTool(['go'], ['version'])) === undefined ? 'go is not installed' : undefined;
  },
  async build(cacheDir) {
    // One package at a time: a build may run beside other work. Go's own cache makes the second one short.
    const args = ['build', '-p', '1', '-mod=readonly', '-o', program(cacheDir), '.'];
    await runTool('go', args, { cwd: SOURCES });
  },
  async versions() {
    const go = (await runTool('go', ['env', 'GOVERSION'])).trim().replace(/^go/, '');
    const list = await runTool('go', ['list', '-m', ...MODULES], { cwd: SOURCES });
    const modules = list
      .trim()
      .split('\n')
      .map((line) => line.split(' ') as [string, string])
      .map(([path, version]) => [path.split('/').at(-1) ?? path, version.replace(/^v/, '')]);
    return { go, ...(Object.fromEntries(modules) as Record<string, string>) };
  },
  command: (cacheDir) => ({ file: program(cacheDir), args: [] }),
};

function program(cacheDir: string): string {
  return join(cacheDir, 'interop-go');
}
