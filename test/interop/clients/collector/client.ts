/**
 * The OpenTelemetry Collector, built by its official builder from the components of builder.yaml, with the defaults of
 * its two OTLP exporters (gzip, retry, a sending queue), and once more with the queue on disk. The JS client feeds it.
 */
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Client, Transport } from '../../client.ts';
import { findTool, runTool } from '../../toolchain.ts';

const MANIFEST = join(import.meta.dirname, 'builder.yaml');
const BUILDER = 'go.opentelemetry.io/collector/cmd/builder@v0.165.0';
/** One package at a time: a build may run beside other work. */
const ONE_AT_A_TIME = { GOFLAGS: '-p=1', GOMAXPROCS: '1' };
const PERSISTENT = 'persistent queue';

const TRANSPORTS: readonly Transport[] = [
  { protocol: 'grpc', compression: 'gzip' },
  { protocol: 'grpc', compression: 'gzip', variant: PERSISTENT },
  { protocol: 'http/protobuf', compression: 'gzip' },
  { protocol: 'http/protobuf', compression: 'gzip', variant: PERSISTENT },
];

export const client: Client = {
  name: 'Collector',
  transports: TRANSPORTS,
  retriesByDefault: { grpc: true, 'http/protobuf': true },
  outageSeconds: 20,
  outageTransports: TRANSPORTS,
  exponentialHistogram: true,
  exceptions: [],
  async toolchain() {
    return (await findTool(['go'], ['version'])) === undefined ? 'go is not installed' : undefined;
  },
  async build(cacheDir) {
    const stamp = join(cacheDir, 'built.txt');
    const wanted = `${BUILDER}\n${readFileSync(MANIFEST, 'utf8')}`;
    if (existsSync(stamp) && readFileSync(stamp, 'utf8') === wanted) return;
    await runTool('go', ['install', BUILDER], { env: { ...ONE_AT_A_TIME, GOBIN: cacheDir } });
    await runTool(join(cacheDir, 'builder'), ['--config', MANIFEST], { cwd: cacheDir, env: ONE_AT_A_TIME });
    writeFileSync(stamp, wanted);
  },
  async versions(cacheDir) {
    const modules = await runTool('go', ['version', '-m', binary(cacheDir)]);
    const version = (name: string) => new RegExp(`\\sdep\\s+\\S+/${name}\\s+v(\\S+)`).exec(modules)?.[1] ?? 'unknown';
    const names = ['otlpexporter', 'otlphttpexporter', 'filestorage'];
    const grpc = /\sdep\s+google\.golang\.org\/grpc\s+v(\S+)/.exec(modules)?.[1] ?? 'unknown';
    return { ...Object.fromEntries(names.map((name) => [name, version(name)])), grpc };
  },
  command: (cacheDir) => ({
    file: process.execPath,
    args: [join(import.meta.dirname, 'program.ts'), binary(cacheDir), cacheDir],
  }),
};

function binary(cacheDir: string): string {
  return join(cacheDir, 'dist/interop-collector');
}
