import { CompressionAlgorithm } from '@opentelemetry/otlp-exporter-base';
import { Metadata, credentials } from '@grpc/grpc-js';
import type { AnyValueMap, LogRecord as ApiLogRecord } from '@opentelemetry/api-logs';
import { OTLPLogExporter as GrpcExporter } from '@opentelemetry/exporter-logs-otlp-grpc';
import { OTLPLogExporter as JsonExporter } from '@opentelemetry/exporter-logs-otlp-http';
import { OTLPLogExporter as ProtoExporter } from '@opentelemetry/exporter-logs-otlp-proto';
import { resourceFromAttributes } from '@opentelemetry/resources';
import { BatchLogRecordProcessor, LoggerProvider, type LogRecordExporter } from '@opentelemetry/sdk-logs';
import { ROOT_CONTEXT, TraceFlags, trace } from '@opentelemetry/api';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { startService, type TestService } from '../support/service.ts';

let service: TestService;

beforeAll(async () => {
  service = await startService();
});
afterAll(() => service.stopAndRemove());

const TRACE = {
  traceId: '5b8efff798038103d269b633813fc60c',
  spanId: 'eee19b7ec3c1b174',
  traceFlags: TraceFlags.SAMPLED,
};

const ATTRIBUTES: AnyValueMap = {
  text: 'naïve "quoted"\n',
  int: 42,
  negative: -7,
  double: 1.5,
  flag: true,
  list: ['a', 'b'],
  nested: { inner: { deep: [1, 'x', false] } },
  bytes: new Uint8Array([1, 2, 255]),
};

const RECORDS: ApiLogRecord[] = [
  {
    severityNumber: 9,
    severityText: 'INFO',
    body: 'order placed',
    attributes: ATTRIBUTES,
    timestamp: [1_763_900_000, 123_456_789],
  },
  {
    severityNumber: 17,
    severityText: 'ERROR',
    body: { event: 'payment', amount: 12.5 },
    timestamp: [1_763_900_001, 1],
  },
  { body: 'without a time of its own', eventName: 'shop.started' },
];

const EXPORTERS: [string, (compression: CompressionAlgorithm) => LogRecordExporter][] = [
  [
    'grpc',
    (compression) =>
      new GrpcExporter({
        url: `http://127.0.0.1:${service.ports.grpc}`,
        credentials: credentials.createInsecure(),
        metadata: grpcToken(),
        compression,
      }),
  ],
  [
    'proto',
    (compression) =>
      new ProtoExporter({ url: `http://127.0.0.1:${service.ports.http}/v1/logs`, headers: httpToken(), compression }),
  ],
  [
    'http',
    (compression) =>
      new JsonExporter({ url: `http://127.0.0.1:${service.ports.http}/v1/logs`, headers: httpToken(), compression }),
  ],
];

function grpcToken(): Metadata {
  const metadata = new Metadata();
  metadata.set('authorization', `Bearer ${service.token}`);
  return metadata;
}

function httpToken(): Record<string, string> {
  return { authorization: `Bearer ${service.token}` };
}

describe.each(EXPORTERS)('the official %s log exporter', (protocol, make) => {
  it.each([CompressionAlgorithm.NONE, CompressionAlgorithm.GZIP])(
    'exports records that stand in the table value by value (%s)',
    async (compression) => {
      const name = `shop-${protocol}-${compression}`;
      const provider = new LoggerProvider({
        resource: resourceFromAttributes({ 'service.name': name, 'service.instance.id': 7 }),
        processors: [new BatchLogRecordProcessor({ exporter: make(compression) })],
      });
      const logger = provider.getLogger('checkout', '1.2.3', { schemaUrl: 'https://opentelemetry.io/schemas/1.30.0' });
      const traced = trace.setSpanContext(ROOT_CONTEXT, TRACE);
      const before = Date.now();
      for (const record of RECORDS) logger.emit({ ...record, context: traced });
      await provider.forceFlush();
      await provider.shutdown();

      const sql = `SELECT * FROM otel_logs WHERE ServiceName = '${name}' ORDER BY Body`;
      const rows = await service.queryUntil<Record<string, unknown>>(sql, (found) => found.length === RECORDS.length);
      const [order, untimed, payment] = [
        rows.find((row) => row['Body'] === 'order placed'),
        rows.find((row) => row['EventName'] !== ''),
        rows.find((row) => row['BodyType'] === 'm'),
      ];
      const common = {
        ServiceName: name,
        ResourceAttributes: { 'service.name': name, 'service.instance.id': '7' },
        ResourceAttributesTypes: 'si',
        ScopeName: 'checkout',
        ScopeVersion: '1.2.3',
        ScopeSchemaUrl: 'https://opentelemetry.io/schemas/1.30.0',
        TraceId: TRACE.traceId,
        SpanId: TRACE.spanId,
        TraceFlags: 1,
        DroppedAttributesCount: 0,
        Placement: order?.['OrgId'],
        RetentionDays: 30,
      };
      expect(order).toMatchObject({
        ...common,
        Timestamp: '2025-11-23 12:13:20.123456789',
        SeverityText: 'INFO',
        SeverityNumber: 9,
        BodyType: 's',
        LogAttributes: {
          text: 'naïve "quoted"\n',
          int: '42',
          negative: '-7',
          double: '1.5',
          flag: 'true',
          list: '["a","b"]',
          nested: '{"inner":{"deep":[1,"x",false]}}',
          bytes: 'AQL/',
        },
        LogAttributesTypes: 'siidbamx',
      });
      expect(payment).toMatchObject({
        ...common,
        Timestamp: '2025-11-23 12:13:21.000000001',
        SeverityNumber: 17,
        Body: '{"event":"payment","amount":12.5}',
      });
      expect(untimed).toMatchObject({ ...common, EventName: 'shop.started', SeverityNumber: 0, SeverityText: '' });
      const receivedMs = Date.parse(`${String(untimed?.['ReceivedAt']).replace(' ', 'T')}Z`);
      expect(receivedMs).toBeGreaterThanOrEqual(before);
      expect(receivedMs).toBeLessThanOrEqual(Date.now());
    },
  );
});
