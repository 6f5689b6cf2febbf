/** OpenTelemetry Rust, built by cargo; Cargo.lock pins what it is built from. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Client, Transport } from '../../client.ts';
import { findTool, runTool } from '../../toolchain.ts';

const MANIFEST = join(import.meta.dirname, 'Cargo.toml');
const LOCK = join(import.meta.dirname, 'Cargo.lock');
const CRATES = ['opentelemetry', 'opentelemetry_sdk', 'opentelemetry-otlp', 'tonic', 'reqwest'];
/** A build must not take the machine from the service. */
const BUILD_JOBS = '2';
const SHORT_RETRIES = 'retries 3 times within 1 s';

const TRANSPORTS: readonly Transport[] = [
  { protocol: 'grpc', compression: 'none' },
  { protocol: 'grpc', compression: 'gzip' },
  { protocol: 'http/protobuf', compression: 'none' },
  { protocol: 'http/protobuf', compression: 'gzip' },
  { protocol: 'http/protobuf', compression: 'zstd' },
  { protocol: 'http/json', compression: 'none' },
  { protocol: 'http/json', compression: 'gzip' },
];

export const client: Client = {
  name: 'Rust',
  transports: TRANSPORTS,
  // It does retry, but its delays of 100, 200 and 400 ms end before a service that stays away for 3 s is back.
  retriesByDefault: { grpc: false, 'http/protobuf': false, 'http/json': false },
  outageNotes: { grpc: SHORT_RETRIES, 'http/protobuf': SHORT_RETRIES, 'http/json': SHORT_RETRIES },
  outageSeconds: 3,
  exponentialHistogram: true,
  exceptions: [],
  async toolchain() {
    return (await findTool(['cargo'])) === undefined ? 'cargo is not installed' : undefined;
  },
  async build(cacheDir) {
    await runTool('nice', ['-n', '10', 'cargo', 'build', '--quiet', '--locked', '--manifest-path', MANIFEST], {
      env: { CARGO_TARGET_DIR: join(cacheDir, 'target'), CARGO_BUILD_JOBS: BUILD_JOBS },
    });
  },
  async versions() {
    const rustc = /\d\S*/.exec(await runTool('rustc', ['--version']))?.[0] ?? '';
    return { rustc, ...Object.fromEntries(CRATES.map((name) => [name, lockedVersion(name)])) };
  },
  command: (cacheDir) => ({ file: join(cacheDir, 'target/debug/interop-rust'), args: [] }),
};

function lockedVersion(name: string): string {
  return new RegExp(`name = "${name}"\nversion = "([^"]+)"`).exec(readFileSync(LOCK, 'utf8'))?.[1] ?? '';
}
