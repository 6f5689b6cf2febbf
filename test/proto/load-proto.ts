/** proto/ as protobufjs sees it: the oracle of tests that make or read OTLP/protobuf. */
import { globSync } from 'node:fs';
import { join } from 'node:path';
import protobuf from 'protobufjs';
import type { Signal } from '../../src/ingest/messages.ts';

export const PROTO_DIR = join(import.meta.dirname, '../../proto');

/** Paths of all our .proto files, as imports name them. */
export function protoFiles(): string[] {
  return globSync('**/*.proto', { cwd: PROTO_DIR }).sort();
}

/** All of proto/ in one root; imports resolve inside proto/ and nowhere else. */
export function loadProto(): protobuf.Root {
  const root = new protobuf.Root();
  root.resolvePath = (_origin, target) => join(PROTO_DIR, target);
  root.loadSync(protoFiles(), { keepCase: false });
  root.resolveAll();
  return root;
}

/** The message that a body of the signal is. */
export function requestType(root: protobuf.Root, signal: Signal): protobuf.Type {
  const service = { logs: 'Logs', metrics: 'Metrics', traces: 'Trace' }[signal];
  const folder = { logs: 'logs', metrics: 'metrics', traces: 'trace' }[signal];
  return root.lookupType(`opentelemetry.proto.collector.${folder}.v1.Export${service}ServiceRequest`);
}

/** Decoded and turned into plain data: 64-bit integers as decimal text, bytes as Buffers, absent fields absent. */
export function decodePlain(type: protobuf.Type, bytes: Uint8Array): Record<string, unknown> {
  return type.toObject(type.decode(bytes), { longs: String });
}
