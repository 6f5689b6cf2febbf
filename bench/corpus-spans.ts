/** Spans of the benches' corpus: HTTP servers and clients, database calls, inner work; some with events and links. */
import type { Random } from '../test/corpus/seeded-random.ts';
import {
  boolAttribute,
  fixed64,
  ITEM_KEY,
  intAttribute,
  markedId,
  type Plain,
  textAttribute,
  words,
} from './corpus-values.ts';

const SPANS_PER_TRACE = 8;
const ROUTES = [
  '/api/cart',
  '/api/cart/{id}',
  '/api/checkout',
  '/api/products',
  '/api/products/{id}',
  '/api/orders/{id}',
];
const KIND = { internal: 1, server: 2, client: 3, producer: 4 };

/** Spans `from` … `to` − 1 of a request, in traces of eight, children after their parents. */
export function spanItems(random: Random, start: bigint, from: number, to: number): Plain[] {
  const spans: Plain[] = [];
  let traceId = markedId(random, 16);
  let inTrace: Buffer[] = [];
  for (let index = from; index < to; index++) {
    if (inTrace.length === SPANS_PER_TRACE) {
      traceId = markedId(random, 16);
      inTrace = [];
    }
    const parent = inTrace.length === 0 ? undefined : random.pick(inTrace);
    const spanId = markedId(random, 8);
    inTrace.push(spanId);
    spans.push(span(random, start + BigInt(index) * 1_733_077n, index, { traceId, spanId, parent }));
  }
  return spans;
}

interface Ids {
  readonly traceId: Buffer;
  readonly spanId: Buffer;
  readonly parent: Buffer | undefined;
}

function span(random: Random, start: bigint, index: number, ids: Ids): Plain {
  const end = start + BigInt(random.int(40_000, 250_000_000));
  const failed = random.chance(0.04);
  return {
    traceId: ids.traceId,
    spanId: ids.spanId,
    ...(ids.parent === undefined ? {} : { parentSpanId: ids.parent, flags: 0x101 }),
    startTimeUnixNano: fixed64(start),
    endTimeUnixNano: fixed64(end),
    ...work(random, index),
    ...(failed || random.chance(0.08) ? { events: [event(random, end, failed)] } : {}),
    ...(random.chance(0.02) ? { links: [link(random)] } : {}),
    ...(failed ? { status: { code: 2, message: words(random, 30) } } : {}),
  };
}

/** Name, kind and ten attributes. */
function work(random: Random, index: number): Plain {
  const item = intAttribute(ITEM_KEY, index);
  const choice = random.next();
  if (choice < 0.35) return httpServer(random, item);
  if (choice < 0.6) return httpClient(random, item);
  if (choice < 0.85) return database(random, item);
  return innerWork(random, item);
}

function httpServer(random: Random, item: Plain): Plain {
  const method = random.pick(['GET', 'GET', 'GET', 'POST', 'PUT']);
  const route = random.pick(ROUTES);
  return {
    name: `${method} ${route}`,
    kind: KIND.server,
    attributes: [
      textAttribute('http.request.method', method),
      textAttribute('http.route', route),
      textAttribute('url.path', route.replace('{id}', String(random.int(1, 99_999)))),
      textAttribute('url.scheme', 'https'),
      intAttribute('http.response.status_code', random.pick([200, 200, 200, 201, 404, 500])),
      textAttribute('server.address', 'shop.example.com'),
      textAttribute('client.address', `10.${random.int(0, 255)}.${random.int(0, 255)}.${random.int(1, 254)}`),
      textAttribute('user_agent.original', random.pick(['Mozilla/5.0 (X11; Linux x86_64)', 'okhttp/4.12.0'])),
      textAttribute('user.id', `u-${random.int(100_000, 999_999)}`),
      item,
    ],
  };
}

function httpClient(random: Random, item: Plain): Plain {
  const method = random.pick(['GET', 'POST']);
  const host = random.pick(['cart', 'payment', 'catalogue', 'shipping']);
  return {
    name: method,
    kind: KIND.client,
    attributes: [
      textAttribute('http.request.method', method),
      textAttribute('url.full', `http://${host}:8080/v2/${host}/${random.int(1, 99_999)}?expand=prices`),
      textAttribute('server.address', `${host}.shop.svc.cluster.local`),
      intAttribute('server.port', 8_080),
      intAttribute('http.response.status_code', random.pick([200, 200, 204, 404, 503])),
      textAttribute('network.protocol.version', '1.1'),
      textAttribute('network.peer.address', `10.0.${random.int(0, 255)}.${random.int(1, 254)}`),
      intAttribute('http.request.resend_count', random.int(0, 2)),
      textAttribute('thread.name', `worker-${random.int(1, 16)}`),
      item,
    ],
  };
}

function database(random: Random, item: Plain): Plain {
  const table = random.pick(['orders', 'products', 'carts', 'users']);
  return {
    name: `SELECT shop.${table}`,
    kind: KIND.client,
    attributes: [
      textAttribute('db.system.name', 'postgresql'),
      textAttribute('db.namespace', 'shop'),
      textAttribute('db.collection.name', table),
      textAttribute('db.operation.name', 'SELECT'),
      textAttribute('db.query.text', `SELECT id, name, price, updated_at FROM ${table} WHERE id = $1`),
      textAttribute('server.address', 'db-primary.shop.svc.cluster.local'),
      intAttribute('server.port', 5_432),
      intAttribute('db.response.returned_rows', random.int(0, 400)),
      textAttribute('db.user', 'shop_app'),
      item,
    ],
  };
}

function innerWork(random: Random, item: Plain): Plain {
  const step = random.pick(['price', 'validate', 'render', 'serialize']);
  return {
    name: `${step}Order`,
    kind: random.chance(0.2) ? KIND.producer : KIND.internal,
    attributes: [
      textAttribute('code.function.name', `com.example.shop.order.OrderService.${step}Order`),
      textAttribute('code.file.path', `/app/src/order/${step}-order.ts`),
      intAttribute('code.line.number', random.int(1, 900)),
      textAttribute('app.order.id', `ord_${random.int(1_000_000, 9_999_999)}`),
      intAttribute('app.order.items', random.int(1, 30)),
      textAttribute('app.feature.flag', random.pick(['control', 'variant-a', 'variant-b'])),
      boolAttribute('app.cache.hit', random.chance(0.7)),
      intAttribute('thread.id', random.int(1, 64)),
      textAttribute('app.tenant.region', random.pick(['eu-west-1', 'us-east-1', 'ap-south-1'])),
      item,
    ],
  };
}

function event(random: Random, time: bigint, failed: boolean): Plain {
  const attributes = failed
    ? [
        textAttribute('exception.type', 'TimeoutError'),
        textAttribute('exception.message', words(random, 40)),
        textAttribute('exception.stacktrace', `TimeoutError: ${words(random, 30)}`),
      ]
    : [textAttribute('message.type', 'SENT'), intAttribute('message.id', random.int(1, 9_999))];
  return { timeUnixNano: fixed64(time), name: failed ? 'exception' : 'message', attributes };
}

function link(random: Random): Plain {
  const attributes = [textAttribute('messaging.operation.name', 'receive')];
  return { traceId: markedId(random, 16), spanId: markedId(random, 8), attributes, flags: 0x100 };
}
