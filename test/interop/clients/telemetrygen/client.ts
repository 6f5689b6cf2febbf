/**
 * telemetrygen, the load generator of the Collector's authors. It has no compression, and it cannot send the known set:
 * its own flags say what must be stored.
 */
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Client } from '../../client.ts';
import { findTool, runTool } from '../../toolchain.ts';
import { compareCalls, ROWS } from './known-calls.ts';

const MODULE = 'github.com/open-telemetry/opentelemetry-collector-contrib/cmd/telemetrygen';
const VERSION = 'v0.161.0';

export const client: Client = {
  name: 'telemetrygen',
  transports: [
    { protocol: 'grpc', compression: 'none' },
    { protocol: 'http/protobuf', compression: 'none' },
  ],
  retriesByDefault: { grpc: false, 'http/protobuf': false },
  outageNotes: {
    grpc: 'retries as Go does; an export given up after 10 s ends it (of traces it is only logged)',
    'http/protobuf': 'retries 429, 502, 503 and 504, but a refused connection ends it (of traces it is only logged)',
  },
  outageSeconds: 3,
  exponentialHistogram: true,
  exceptions: [],
  own: { rowsExpected: () => ROWS, compare: compareCalls },
  async toolchain() {
    return (await findTool(['go'], ['version'])) === undefined ? 'go is not installed' : undefined;
  },
  async build(cacheDir) {
    const stamp = join(cacheDir, 'built.txt');
    if (existsSync(stamp) && readFileSync(stamp, 'utf8') === VERSION) return;
    // One package at a time: a build may run beside other work.
    await runTool('go', ['install', '-p', '1', `${MODULE}@${VERSION}`], { env: { GOBIN: cacheDir } });
    writeFileSync(stamp, VERSION);
  },
  async versions(cacheDir) {
    const modules = await runTool('go', ['version', '-m', binary(cacheDir)]);
    const of = (name: string) => new RegExp(`\\sdep\\s+${name}\\s+v(\\S+)`).exec(modules)?.[1] ?? 'unknown';
    return {
      telemetrygen: VERSION.slice(1),
      'otel (Go)': of('go.opentelemetry.io/otel'),
      grpc: of('google.golang.org/grpc'),
    };
  },
  command: (cacheDir) => ({
    file: process.execPath,
    args: [join(import.meta.dirname, 'program.ts'), binary(cacheDir)],
  }),
};

function binary(cacheDir: string): string {
  return join(cacheDir, 'telemetrygen');
}
