/** OpenTelemetry Python, in a virtual environment of its own; requirements.txt pins what stands in it. */
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Client, Transport } from '../../client.ts';
import { findTool, runTool } from '../../toolchain.ts';

const REQUIREMENTS = join(import.meta.dirname, 'requirements.txt');
/** The pinned packages need 3.10 or later. */
const INTERPRETERS = ['python3.14', 'python3.13', 'python3.12', 'python3.11', 'python3.10', 'python3'];
const NEEDS = 'import sys, venv; sys.exit(sys.version_info < (3, 10))';
const PACKAGES = ['opentelemetry-sdk', 'opentelemetry-exporter-otlp-proto-grpc', 'grpcio', 'requests'];

const TRANSPORTS: readonly Transport[] = [
  { protocol: 'grpc', compression: 'none' },
  { protocol: 'grpc', compression: 'gzip' },
  { protocol: 'http/protobuf', compression: 'none' },
  { protocol: 'http/protobuf', compression: 'gzip' },
  { protocol: 'http/protobuf', compression: 'deflate' },
];

export const client: Client = {
  name: 'Python',
  transports: TRANSPORTS,
  retriesByDefault: { grpc: true, 'http/protobuf': true },
  outageSeconds: 3,
  exponentialHistogram: true,
  exceptions: [
    {
      rows: ['span.root', 'span.child'],
      column: 'Flags',
      value: 256,
      reason:
        'it sends whether the parent is known and remote, but not the lowest 8 bits, the flags of the trace context',
    },
    { rows: ['span.child'], column: 'Links.Flags', value: [768], reason: 'as Flags' },
  ],
  async toolchain() {
    return (await interpreter()) === undefined ? 'no Python 3.10 or later with venv' : undefined;
  },
  async build(cacheDir) {
    const stamp = join(cacheDir, 'installed.txt');
    const wanted = readFileSync(REQUIREMENTS, 'utf8');
    if (existsSync(stamp) && readFileSync(stamp, 'utf8') === wanted) return;
    const python = await interpreter();
    if (python === undefined) throw new Error('no Python 3.10 or later with venv');
    await runTool(python, ['-m', 'venv', '--clear', join(cacheDir, 'venv')]);
    await runTool(pythonOf(cacheDir), ['-m', 'pip', 'install', '--quiet', '--requirement', REQUIREMENTS]);
    writeFileSync(stamp, wanted);
  },
  async versions(cacheDir) {
    const list = PACKAGES.map((name) => `'${name}': v('${name}')`).join(', ');
    const script = `import json, platform; from importlib.metadata import version as v
print(json.dumps({'python': platform.python_version(), ${list}}))`;
    return JSON.parse(await runTool(pythonOf(cacheDir), ['-c', script])) as Record<string, string>;
  },
  command: (cacheDir) => ({ file: pythonOf(cacheDir), args: ['-B', join(import.meta.dirname, 'program.py')] }),
};

function interpreter(): Promise<string | undefined> {
  return findTool(INTERPRETERS, ['-c', NEEDS]);
}

function pythonOf(cacheDir: string): string {
  return join(cacheDir, 'venv/bin/python');
}
