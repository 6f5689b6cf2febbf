/** Spans and logs of the sample shop, and what writes them down while an order is played through. */
import type { Attributes, Severity, SpanKind, STATUS, Value } from './send-otlp.ts';
import type { Random } from './send-shop-random.ts';
import type { ServiceName } from './send-shop-services.ts';

/** Times are whole microseconds relative to the end of the sample, hence negative. */
export interface ShopSpan {
  readonly service: ServiceName;
  readonly traceId: string;
  readonly spanId: string;
  /** '' for the first span of a trace. */
  readonly parentSpanId: string;
  /** The parent is another service's. */
  readonly remoteParent: boolean;
  readonly name: string;
  readonly kind: SpanKind;
  readonly startUs: number;
  readonly endUs: number;
  readonly attributes: Attributes;
  readonly events: readonly ShopEvent[];
  readonly links: readonly ShopLink[];
  readonly status: keyof typeof STATUS;
  readonly statusMessage: string;
}

export interface ShopEvent {
  readonly atUs: number;
  readonly name: string;
  readonly attributes: Attributes;
}

export interface ShopLink {
  readonly traceId: string;
  readonly spanId: string;
  readonly attributes: Attributes;
}

export interface ShopLog {
  readonly service: ServiceName;
  readonly atUs: number;
  readonly severity: Severity;
  readonly body: Value;
  readonly attributes: Attributes;
  readonly eventName: string;
  readonly traceId: string;
  readonly spanId: string;
}

export type OpenSpan = { -readonly [Field in keyof ShopSpan]: ShopSpan[Field] } & { events: ShopEvent[] };

/** Spans and logs of one trace, recorded along a clock that only `work` moves. */
export class Recorder {
  readonly traceId: string;
  readonly spans: OpenSpan[] = [];
  readonly logs: ShopLog[] = [];
  readonly #random: Random;
  readonly #open: OpenSpan[] = [];
  #nowUs: number;

  constructor(random: Random, startUs: number) {
    this.#random = random;
    this.#nowUs = startUs;
    this.traceId = random.hex(16);
  }

  /** Runs `inside` in a span that is a child of the one open now. What `inside` does not set, succeeds. */
  span<Result>(
    service: ServiceName,
    kind: SpanKind,
    name: string,
    attributes: Attributes,
    inside: (span: OpenSpan) => Result,
    links: readonly ShopLink[] = [],
  ): Result {
    const parent = this.#open.at(-1);
    const span: OpenSpan = {
      service,
      traceId: this.traceId,
      spanId: this.#random.hex(8),
      parentSpanId: parent?.spanId ?? '',
      remoteParent: parent !== undefined && parent.service !== service,
      name,
      kind,
      startUs: this.#nowUs,
      endUs: this.#nowUs,
      attributes,
      events: [],
      links,
      status: 'unset',
      statusMessage: '',
    };
    this.spans.push(span);
    this.#open.push(span);
    const result = inside(span);
    this.#open.pop();
    span.endUs = this.#nowUs;
    return result;
  }

  /** About `typicalUs`, seldom three times as much. */
  work(typicalUs: number): void {
    this.#nowUs += Math.ceil(typicalUs * (0.6 + 0.6 * this.#random.next() + 2 * this.#random.next() ** 8));
  }

  event(name: string, attributes: Attributes): void {
    this.#open.at(-1)?.events.push({ atUs: this.#nowUs, name, attributes });
  }

  fail(span: OpenSpan, message: string, type: string): void {
    span.status = 'error';
    span.statusMessage = message;
    span.attributes = { ...span.attributes, 'error.type': type };
  }

  log(severity: Severity, body: Value, attributes: Attributes, eventName = ''): void {
    const span = this.#open.at(-1);
    if (span === undefined) return;
    const { service, traceId, spanId } = span;
    this.logs.push({ service, atUs: this.#nowUs, severity, body, attributes, eventName, traceId, spanId });
  }
}
