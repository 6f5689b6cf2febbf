/** Log records of the benches' corpus: ten attributes, a body of 40 to 200 bytes, most of them within a trace. */
import type { Random } from '../test/corpus/seeded-random.ts';
import {
  doubleAttribute,
  fixed64,
  ITEM_KEY,
  intAttribute,
  markedId,
  type Plain,
  textAttribute,
  words,
} from './corpus-values.ts';

const SEVERITIES = [
  { severityNumber: 9, severityText: 'INFO' },
  { severityNumber: 9, severityText: 'INFO' },
  { severityNumber: 5, severityText: 'DEBUG' },
  { severityNumber: 13, severityText: 'WARN' },
  { severityNumber: 17, severityText: 'ERROR' },
];
const RECORDS_PER_TRACE = 5;

/** Records `from` … `to` − 1 of a request. */
export function logItems(random: Random, start: bigint, from: number, to: number): Plain[] {
  const records: Plain[] = [];
  let traceId = markedId(random, 16);
  for (let index = from; index < to; index++) {
    if (index % RECORDS_PER_TRACE === 0) traceId = markedId(random, 16);
    const time = start + BigInt(index) * 1_733_077n;
    const ids = random.chance(0.8) ? { traceId, spanId: markedId(random, 8), flags: 1 } : {};
    records.push({
      timeUnixNano: fixed64(time),
      observedTimeUnixNano: fixed64(time + BigInt(random.int(1_000, 90_000_000))),
      ...random.pick(SEVERITIES),
      body: { stringValue: words(random, random.int(40, 200)) },
      attributes: attributes(random, index),
      ...ids,
    });
  }
  return records;
}

function attributes(random: Random, index: number): Plain[] {
  return [
    intAttribute(ITEM_KEY, index),
    textAttribute('log.logger', random.pick(['shop.cart', 'shop.orders', 'shop.http', 'shop.stock'])),
    textAttribute('code.file.path', `/app/src/${random.pick(['cart', 'orders', 'http'])}/handler.ts`),
    intAttribute('code.line.number', random.int(1, 900)),
    textAttribute('thread.name', `worker-${random.int(1, 16)}`),
    textAttribute('http.route', random.pick(['/api/cart', '/api/checkout', '/api/products/{id}'])),
    textAttribute('user.id', `u-${random.int(100_000, 999_999)}`),
    textAttribute('app.request.id', random.bytes(8).toString('hex')),
    doubleAttribute('app.elapsed_ms', random.int(1, 2_000_000) / 1_000),
    intAttribute('http.response.status_code', random.pick([200, 200, 201, 404, 500])),
  ];
}
