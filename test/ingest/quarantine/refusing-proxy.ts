/**
 * An HTTP proxy before the door that refuses INSERTs as ClickHouse does: by an error code, when their body holds a
 * marker. Everything else passes, and what passed is counted.
 */
import { createServer, request as httpRequest, type IncomingMessage, type ServerResponse } from 'node:http';
import { buffer } from 'node:stream/consumers';

export interface RefusingProxy {
  readonly url: string;
  /** undefined: passes. */
  refuse: (body: Buffer) => { readonly code: number; readonly type: string } | undefined;
  /** The same, but only after the door has stored it. */
  refuseAfter: (body: Buffer) => { readonly code: number; readonly type: string } | undefined;
  /** Table and bytes of each INSERT that came. */
  readonly inserts: { readonly table: string; readonly bytes: number; readonly refused: boolean }[];
  close(): Promise<void>;
}

export async function startRefusingProxy(enginePort: () => number): Promise<RefusingProxy> {
  const proxy: Omit<RefusingProxy, 'url'> & { url: string } = {
    url: '',
    refuse: () => undefined,
    refuseAfter: () => undefined,
    inserts: [],
    close: async () => {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
  const server = createServer((incoming, response) => {
    void answer(proxy, enginePort(), incoming, response).catch(() => response.destroy());
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('no port');
  proxy.url = `http://127.0.0.1:${address.port}`;
  return proxy;
}

async function answer(
  proxy: RefusingProxy,
  port: number,
  incoming: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  const body = await buffer(incoming);
  const query = new URL(incoming.url ?? '/', 'http://door').searchParams.get('query') ?? '';
  const table = /^INSERT INTO `?(\w+)/.exec(query)?.[1];
  if (table !== undefined) {
    const refusal = proxy.refuse(body);
    proxy.inserts.push({ table, bytes: body.length, refused: refusal !== undefined });
    if (refusal !== undefined) return answerRefusal(response, refusal);
  }
  const passed = await pass(port, incoming, body);
  const late = table === undefined ? undefined : proxy.refuseAfter(body);
  if (late !== undefined) answerRefusal(response, late);
  else response.writeHead(passed.status, passed.headers).end(passed.body);
}

function answerRefusal(response: ServerResponse, { code, type }: { code: number; type: string }): void {
  const text = `Code: ${code}. DB::Exception: refused. (${type}) (version 26.7)\n`;
  response.writeHead(500, { 'x-clickhouse-exception-code': String(code) }).end(text);
}

async function pass(port: number, incoming: IncomingMessage, body: Buffer) {
  const { method, url: path, headers } = incoming;
  const given = { host: '127.0.0.1', port, method, path, headers: { ...headers, connection: 'close' } };
  const { 'transfer-encoding': _, ...plain } = given.headers;
  const upstream = await new Promise<IncomingMessage>((resolve, reject) => {
    const sent = httpRequest({ ...given, headers: { ...plain, 'content-length': body.length } }, resolve);
    sent.on('error', reject);
    sent.end(body);
  });
  const answered = await buffer(upstream);
  const { 'transfer-encoding': __, connection: ___, ...answerHeaders } = upstream.headers;
  return { status: upstream.statusCode ?? 502, headers: answerHeaders, body: answered };
}
