/**
 * OTLP messages as `send` makes them: plain objects under the names of proto/ in camel case, which protobufjs and
 * proto-loader both encode. 64-bit times are decimal text, because a number holds no nanoseconds since 1970 exactly.
 */

/** A number that is a double also when it has no fraction; a plain number without one is an integer. */
export interface Double {
  readonly double: number;
}
export type Value = string | number | boolean | Double | readonly Value[] | { readonly [key: string]: Value };
export type Attributes = Readonly<Record<string, Value>>;

export interface KeyValue {
  readonly key: string;
  readonly value: object;
}

export interface Exemplar {
  readonly timeUnixNano: string;
  readonly asDouble: number;
  readonly traceId: Buffer;
  readonly spanId: Buffer;
  readonly filteredAttributes: readonly KeyValue[];
}

/** What all points of metrics have; the rest differs by kind. */
export interface DataPoint {
  readonly attributes: readonly KeyValue[];
  readonly startTimeUnixNano: string;
  readonly timeUnixNano: string;
  readonly exemplars?: readonly Exemplar[];
  readonly [field: string]: unknown;
}

export interface Metric {
  readonly name: string;
  readonly description: string;
  readonly unit: string;
  readonly metadata?: readonly KeyValue[];
  readonly gauge?: { readonly dataPoints: readonly DataPoint[] };
  readonly sum?: PointsOverTime & { readonly isMonotonic: boolean };
  readonly histogram?: PointsOverTime;
  readonly exponentialHistogram?: PointsOverTime;
  readonly summary?: { readonly dataPoints: readonly DataPoint[] };
}

interface PointsOverTime {
  readonly dataPoints: readonly DataPoint[];
  readonly aggregationTemporality: number;
}

export const SPAN_KIND = { internal: 1, server: 2, client: 3, producer: 4, consumer: 5 } as const;
export type SpanKind = keyof typeof SPAN_KIND;
export const STATUS = { unset: 0, ok: 1, error: 2 } as const;
export const TEMPORALITY = { delta: 1, cumulative: 2 } as const;
export const SEVERITY = { DEBUG: 5, INFO: 9, WARN: 13, ERROR: 17 } as const;
export type Severity = keyof typeof SEVERITY;

/** Sampled (W3C), and of spans and links besides: it is known whether their parent is remote. */
export const SAMPLED_FLAG = 0x01;
export const HAS_IS_REMOTE_FLAG = 0x100;
export const IS_REMOTE_FLAG = 0x200;

export function double(value: number): Double {
  return { double: value };
}

export function keyValues(attributes: Attributes): KeyValue[] {
  return Object.entries(attributes).map(([key, value]) => ({ key, value: anyValue(value) }));
}

export function anyValue(value: Value): object {
  if (typeof value === 'string') return { stringValue: value };
  if (typeof value === 'boolean') return { boolValue: value };
  if (typeof value === 'number') return Number.isInteger(value) ? { intValue: value } : { doubleValue: value };
  if (Array.isArray(value)) return { arrayValue: { values: value.map(anyValue) } };
  if (isDouble(value)) return { doubleValue: value.double };
  return { kvlistValue: { values: keyValues(value as Attributes) } };
}

function isDouble(value: Value): value is Double {
  return typeof value === 'object' && 'double' in value && Object.keys(value).length === 1;
}

/** An id in hex, as the bytes it is on the wire; '' is no id. */
export function idBytes(hex: string): Buffer {
  return Buffer.from(hex, 'hex');
}

/** Nanoseconds since the epoch, `atUs` microseconds after `endMs` (before it, when negative). */
export function nanoText(endMs: number, atUs: number): string {
  return String(BigInt(endMs) * 1_000_000n + BigInt(atUs) * 1_000n);
}
