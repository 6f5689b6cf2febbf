/**
 * One order of the sample shop: the spans of its two traces (the request, and the parcel that the queue leads to, which
 * links to it) and the logs written meanwhile, with the ids of the spans they were written in.
 */
import { type Attributes, double } from './send-otlp.ts';
import type { Random } from './send-shop-random.ts';
import { Recorder, type ShopLink, type ShopLog, type ShopSpan } from './send-shop-recorder.ts';

export type Outcome = 'placed' | 'declined' | 'retried';

export interface Order {
  readonly id: string;
  readonly outcome: Outcome;
  /** What was paid; 0 when declined. */
  readonly revenue: number;
  readonly traceId: string;
  /** How long it stood in the queue; undefined when it was declined. */
  readonly queued: { readonly fromUs: number; readonly toUs: number } | undefined;
  readonly spans: readonly ShopSpan[];
  readonly logs: readonly ShopLog[];
}

/** Of the order with this index, counted from 0. */
export function outcomeOf(index: number): Outcome {
  if (index % 7 === 3) return 'declined';
  return index % 7 === 5 ? 'retried' : 'placed';
}

export function placeOrder(random: Random, index: number, startUs: number): Order {
  const outcome = outcomeOf(index);
  const id = `ord-${random.hex(4)}`;
  const price = random.int(500, 25_000) / 100;
  const request = new Recorder(random, startUs);
  const context: Context = { id, outcome, price, random };
  const published = checkoutRequest(request, context);
  const traceId = request.traceId;
  if (published === undefined) {
    return { id, outcome, revenue: 0, traceId, queued: undefined, spans: request.spans, logs: request.logs };
  }
  // Waiting in the queue takes longer than all the rest, so that its depth can be seen.
  const takenUs = published.endUs + random.int(2_000_000, 12_000_000);
  const parcel = new Recorder(random, takenUs);
  shipParcel(parcel, context, published);
  return {
    id,
    outcome,
    revenue: price,
    traceId,
    queued: { fromUs: published.endUs, toUs: takenUs },
    spans: [...request.spans, ...parcel.spans],
    logs: [...request.logs, ...parcel.logs],
  };
}

interface Context {
  readonly id: string;
  readonly outcome: Outcome;
  readonly price: number;
  readonly random: Random;
}

/** Returns the span that put the order into the queue, or undefined when it was declined. */
function checkoutRequest(trace: Recorder, context: Context): ShopSpan | undefined {
  const { id, random } = context;
  const attributes: Attributes = {
    'http.request.method': 'POST',
    'http.route': '/api/checkout',
    'url.path': '/api/checkout',
    'url.scheme': 'https',
    'client.address': `203.0.113.${random.int(1, 254)}`,
    'user_agent.original': random.pick(['Mozilla/5.0 (X11; Linux x86_64)', 'Mozilla/5.0 (iPhone)', 'shop-app/4.2']),
    'shop.order.id': id,
  };
  return trace.span('frontend', 'server', 'POST /api/checkout', attributes, (span) => {
    trace.work(1_500);
    loadCart(trace, context);
    const published = placeByCheckout(trace, context);
    trace.work(2_000);
    const statusCode = published === undefined ? 402 : 200;
    span.attributes = { ...span.attributes, 'http.response.status_code': statusCode };
    // A client's own fault is no error of the server (semantic conventions of HTTP), a card that is declined included.
    trace.log(published === undefined ? 'WARN' : 'INFO', `POST /api/checkout answered ${statusCode}`, {
      'http.response.status_code': statusCode,
    });
    return published;
  });
}

function loadCart(trace: Recorder, { id, random }: Context): void {
  const cartId = random.hex(6);
  const itemCount = random.int(1, 5);
  const http = { 'http.request.method': 'GET', 'http.response.status_code': 200 };
  trace.span('frontend', 'client', 'GET', { ...http, 'server.address': 'cart', 'server.port': 8_080 }, () => {
    trace.work(400);
    const route = { ...http, 'http.route': '/carts/{id}', 'url.path': `/carts/${cartId}` };
    trace.span('cart', 'server', 'GET /carts/{id}', route, () => {
      trace.work(600);
      const command = { 'db.system.name': 'redis', 'db.operation.name': 'HGETALL', 'server.address': 'redis' };
      trace.span('cart', 'client', 'HGETALL', command, () => trace.work(700));
      trace.log('DEBUG', `cart ${cartId} has ${itemCount} items`, { 'cart.id': cartId, 'cart.items': itemCount });
      trace.event('cart loaded', { 'cart.items': itemCount, 'shop.order.id': id });
    });
    trace.work(300);
  });
}

function rpc(service: string, method: string): Attributes {
  return { 'rpc.system': 'grpc', 'rpc.service': service, 'rpc.method': method };
}

function placeByCheckout(trace: Recorder, context: Context): ShopSpan | undefined {
  const { id, outcome, price, random } = context;
  const call = rpc('shop.Checkout', 'PlaceOrder');
  const declined = outcome === 'declined';
  const status = { 'rpc.grpc.status_code': declined ? 9 : 0 };
  return trace.span('frontend', 'client', 'shop.Checkout/PlaceOrder', { ...call, ...status }, (client) => {
    trace.work(500);
    const published = trace.span('checkout', 'server', 'shop.Checkout/PlaceOrder', { ...call, ...status }, (server) => {
      trace.work(1_200);
      charge(trace, context);
      if (declined) {
        trace.fail(server, 'payment declined', 'FAILED_PRECONDITION');
        return undefined;
      }
      const insert = 'INSERT INTO orders (id, total) VALUES ($1, $2)';
      trace.span('checkout', 'client', 'INSERT orders', database('INSERT', 'orders', insert), () => trace.work(4_000));
      // A body of its own structure, as structured loggers send it.
      const body = { message: 'order placed', order: { id, total: double(price), gift: random.next() < 0.2 } };
      trace.log('INFO', body, { 'shop.order.id': id, 'shop.order.total': double(price) }, 'shop.order.placed');
      return trace.span('checkout', 'producer', 'send orders', messaging('send', id), (span) => {
        trace.work(900);
        return span;
      });
    });
    if (declined) trace.fail(client, 'payment declined', 'FAILED_PRECONDITION');
    trace.work(300);
    return published;
  });
}

function charge(trace: Recorder, { id, outcome, price }: Context): void {
  const call = rpc('shop.Payment', 'Charge');
  trace.span('checkout', 'client', 'shop.Payment/Charge', call, (client) => {
    trace.work(400);
    trace.span('payment', 'server', 'shop.Payment/Charge', { ...call, 'shop.order.id': id }, (server) => {
      trace.work(800);
      const gateway = { 'http.request.method': 'POST', 'server.address': 'gateway.example.com', 'server.port': 443 };
      if (outcome === 'retried') {
        trace.span('payment', 'client', 'POST', gateway, (span) => {
          trace.work(2_000_000);
          trace.event('exception', exception('java.net.SocketTimeoutException', 'Read timed out'));
          trace.fail(span, 'Read timed out', 'java.net.SocketTimeoutException');
        });
        trace.event('retry', { 'retry.attempt': 1, 'retry.delay_ms': 50 });
        trace.log('WARN', 'gateway timed out, trying again', { 'shop.order.id': id, 'retry.attempt': 1 });
        trace.work(50_000);
      }
      const status = outcome === 'declined' ? 402 : 200;
      trace.span('payment', 'client', 'POST', { ...gateway, 'http.response.status_code': status }, (span) => {
        trace.work(90_000);
        if (status === 402) trace.fail(span, '', '402');
      });
      if (outcome !== 'declined') {
        trace.log('INFO', `charged ${price.toFixed(2)} EUR`, { 'shop.order.id': id, 'payment.amount': double(price) });
        return;
      }
      const thrown = exception('shop.payment.CardDeclined', 'insufficient funds');
      trace.event('exception', thrown);
      trace.log('ERROR', `Card declined for order ${id}: insufficient funds`, { 'shop.order.id': id, ...thrown });
      trace.fail(server, 'insufficient funds', 'shop.payment.CardDeclined');
    });
    if (outcome === 'declined') trace.fail(client, 'insufficient funds', 'FAILED_PRECONDITION');
    trace.work(200);
  });
}

function shipParcel(trace: Recorder, { id, random }: Context, published: ShopSpan): void {
  const link: ShopLink = {
    traceId: published.traceId,
    spanId: published.spanId,
    attributes: { 'messaging.message.id': id },
  };
  trace.span(
    'shipping',
    'consumer',
    'process orders',
    messaging('process', id),
    (span) => {
      trace.work(3_000);
      const parcel = `PKG-${random.hex(4).toUpperCase()}`;
      const insert = 'INSERT INTO shipments (order_id, parcel) VALUES ($1, $2)';
      const attributes = database('INSERT', 'shipments', insert);
      trace.span('shipping', 'client', 'INSERT shipments', attributes, () => trace.work(5_000));
      trace.span('shipping', 'internal', 'print label', { 'shipping.parcel': parcel }, () => trace.work(12_000));
      trace.log('INFO', `parcel ${parcel} is booked`, { 'shop.order.id': id, 'shipping.parcel': parcel });
      span.status = 'ok';
    },
    [link],
  );
}

function database(operation: string, table: string, text: string): Attributes {
  return {
    'db.system.name': 'postgresql',
    'db.namespace': 'shop',
    'db.operation.name': operation,
    'db.collection.name': table,
    'db.query.text': text,
    'server.address': 'postgres',
    'server.port': 5_432,
  };
}

function messaging(operation: string, messageId: string): Attributes {
  return {
    'messaging.system': 'rabbitmq',
    'messaging.destination.name': 'orders',
    'messaging.operation.name': operation,
    'messaging.message.id': messageId,
  };
}

function exception(type: string, message: string): Attributes {
  return {
    'exception.type': type,
    'exception.message': message,
    'exception.stacktrace': `${type}: ${message}\n\tat shop.payment.Gateway.charge(Gateway.java:118)`,
  };
}
