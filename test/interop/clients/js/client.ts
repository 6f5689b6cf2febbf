/** OpenTelemetry JS: the packages are devDependencies of the project, so there is nothing to build. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Client } from '../../client.ts';

const PACKAGES = ['sdk-trace-base', 'sdk-logs', 'sdk-metrics', 'otlp-exporter-base'];

export const client: Client = {
  name: 'JS (Node)',
  transports: (['grpc', 'http/protobuf', 'http/json'] as const).flatMap((protocol) =>
    (['none', 'gzip'] as const).map((compression) => ({ protocol, compression })),
  ),
  retriesByDefault: { grpc: false, 'http/protobuf': true, 'http/json': true },
  outageSeconds: 3,
  exponentialHistogram: true,
  exceptions: [],
  toolchain: async () => undefined,
  build: async () => {},
  versions: async () => ({ node: process.versions.node, ...Object.fromEntries(PACKAGES.map(versionOf)) }),
  command: () => ({ file: process.execPath, args: [join(import.meta.dirname, 'program.ts')] }),
};

function versionOf(name: string): [string, string] {
  const path = join(import.meta.dirname, '../../../../node_modules/@opentelemetry', name, 'package.json');
  return [name, (JSON.parse(readFileSync(path, 'utf8')) as { version: string }).version];
}
