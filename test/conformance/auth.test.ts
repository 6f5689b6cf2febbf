/** Who may send: every form of a token, on both transports of the whole service, and that none is ever shown. */
import { randomBytes } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import { crc32 } from 'node:zlib';
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest';
import { makeToken } from '../../src/base/token-format.ts';
import { BackworkError, retryLater } from '../../src/base/errors.ts';
import {
  callOnce,
  grpcFrame,
  type HttpRequestParts,
  type HttpResult,
  httpBytes,
  httpOnce,
  RawHttp,
  SIGNAL_PATHS,
  until,
} from '../ingest/accept/peers.ts';
import { CALL_HEADERS, FLAG, FRAME, frame, headerBlock, RawH2 } from '../ingest/accept/raw-h2.ts';
import { startService, type TestService } from '../support/service.ts';
import { connect, headersOf, JSON_TYPE, ownServer, PROTOBUF, plainHeaders, statusOf } from './http-peer.ts';

let service: TestService;
/** Another token of the service, revoked before the tests begin. */
let revoked = '';
/** May send traces alone. */
let tracesOnly = '';

beforeAll(async () => {
  service = await startService({ env: { BACKWORK_LOG_LEVEL: 'debug', BACKWORK_WORKERS: '1' } });
  revoked = await newToken('revoked');
  tracesOnly = await newToken('scoped', '--scopes', 'traces');
  expect((await service.command('token', 'revoke', revoked.split('_')[2] ?? '')).code).toBe(0);
  // Known within a second.
  while ((await overHttp({ authorization: `Bearer ${revoked}` })).status !== 401) await delay(50);
}, 60_000);
afterAll(() => service.stopAndRemove());

async function newToken(name: string, ...more: string[]): Promise<string> {
  const made = await service.command('token', 'create', '--org', 'default', '--name', name, ...more);
  expect(made.code, made.stderr).toBe(0);
  return made.stdout.trim();
}

/** An empty export with exactly these headers for credentials. */
function overHttp(headers: Record<string, string>, more: HttpRequestParts = {}): Promise<HttpResult> {
  return httpOnce(service.ports.http, { ...more, headers: { authorization: '', ...headers } });
}

/** The status of an empty export over gRPC. */
async function overGrpc(headers: Record<string, string>): Promise<string | undefined> {
  const none = { authorization: undefined };
  const result = await callOnce(service.ports.grpc, {
    headers: { ...none, ...headers },
    body: grpcFrame(Buffer.alloc(0)),
  });
  return String((result.trailersOnly ? result.headers : result.trailers)['grpc-status']);
}

/** The id of the good token with another secret; form and checksum are right. */
function wrongSecret(): string {
  const id = service.token.split('_')[2] ?? '';
  const body = `bw_ing_${id}_${'0'.repeat(43)}`;
  const digits = '0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz';
  let rest = crc32(body);
  let sum = '';
  for (let place = 0; place < 6; place++) {
    sum = digits.charAt(rest % 62) + sum;
    rest = Math.floor(rest / 62);
  }
  return body + sum;
}

const unknown = makeToken('ing', randomBytes).token;

describe('forms of a token', () => {
  it.each([
    ['Bearer, as written', (token: string) => ({ authorization: `Bearer ${token}` })],
    ['lower case', (token: string) => ({ authorization: `bearer ${token}` })],
    ['upper case', (token: string) => ({ authorization: `BEARER ${token}` })],
    ['several blanks', (token: string) => ({ authorization: `Bearer   ${token}` })],
    ['a tab', (token: string) => ({ authorization: `Bearer\t${token}` })],
    ['blanks around', (token: string) => ({ authorization: `  Bearer ${token}  ` })],
    ['a literal %20', (token: string) => ({ authorization: `Bearer%20${token}` })],
    ['a literal %20 and lower case', (token: string) => ({ authorization: `bearer%20${token}` })],
    ['x-api-key', (token: string) => ({ 'x-api-key': token })],
    ['x-api-key with blanks around', (token: string) => ({ 'x-api-key': `  ${token} ` })],
  ])('A2, T10 (tests): %s is taken by both transports, and a wrong token in that form is not', async (_, headers) => {
    expect((await overHttp(headers(service.token))).status).toBe(200);
    expect(await overGrpc(headers(service.token))).toBe('0');
    expect((await overHttp(headers(unknown))).status).toBe(401);
    expect(await overGrpc(headers(unknown))).toBe('16');
  });

  it('A2: x-api-key counts only when there is no authorization', async () => {
    const good = service.token;
    expect((await overHttp({ authorization: `Bearer ${unknown}`, 'x-api-key': good })).status).toBe(401);
    expect(await overGrpc({ authorization: `Bearer ${unknown}`, 'x-api-key': good })).toBe('16');
    expect((await overHttp({ authorization: `Bearer ${good}`, 'x-api-key': unknown })).status).toBe(200);
    expect(await overGrpc({ authorization: `Bearer ${good}`, 'x-api-key': unknown })).toBe('0');
  });

  it('A1, T10 (tests): of several authorization headers the first counts, over HTTP', async () => {
    const [good, bad] = [`Bearer ${service.token}`, `Bearer ${unknown}`];
    expect((await overHttp({ authorization: good, Authorization: bad })).status).toBe(200);
    expect((await overHttp({ authorization: bad, Authorization: good })).status).toBe(401);
    expect((await overHttp({ 'x-api-key': service.token, 'X-API-Key': unknown })).status).toBe(200);
    expect((await overHttp({ 'x-api-key': unknown, 'X-API-Key': service.token })).status).toBe(401);
  });

  it('A1, T10 (tests): of several authorization headers the first counts, over gRPC', async () => {
    const [good, bad] = [`Bearer ${service.token}`, `Bearer ${unknown}`];
    expect(await acceptedByRawH2({ authorization: good }, { authorization: bad })).toBe(true);
    expect(await acceptedByRawH2({ authorization: bad }, { authorization: good })).toBe(false);
    expect(await acceptedByRawH2({ 'x-api-key': service.token }, { 'x-api-key': unknown })).toBe(true);
    expect(await acceptedByRawH2({ 'x-api-key': unknown }, { 'x-api-key': service.token })).toBe(false);
  });
});

/** An empty call whose header block repeats headers; false when it was refused, that is, answered by one HEADERS frame. */
async function acceptedByRawH2(...credentials: Record<string, string>[]): Promise<boolean> {
  const peer = new RawH2(service.ports.grpc);
  onTestFinished(() => peer.close());
  const block = Buffer.concat([CALL_HEADERS, ...credentials].map((headers) => headerBlock(headers)));
  peer.socket.write(frame(FRAME.HEADERS, FLAG.END_HEADERS, 1, block));
  peer.socket.write(frame(FRAME.DATA, FLAG.END_STREAM, 1, grpcFrame(Buffer.alloc(0))));
  await until(() => peer.answered(1));
  return peer.frames.some(({ type, streamId }) => type === FRAME.DATA && streamId === 1);
}

describe('refused tokens', () => {
  const REFUSED: ReadonlyArray<readonly [string, () => Record<string, string>, RegExp]> = [
    ['none', () => ({}), /^no ingest token/],
    ['another scheme', () => ({ authorization: `Basic ${service.token}` }), /holds no ingest token/],
    ['no scheme', () => ({ authorization: service.token }), /holds no ingest token/],
    ['a scheme alone', () => ({ authorization: 'Bearer' }), /holds no ingest token/],
    ['a mistyped one', () => ({ authorization: `Bearer ${service.token.slice(0, -1)}_` }), /mistyped/],
    ['one that is cut off', () => ({ authorization: `Bearer ${service.token.slice(0, -1)}` }), /mistyped/],
    ['one with more behind it', () => ({ authorization: `Bearer ${service.token} x` }), /mistyped/],
    [
      'one of another kind',
      () => ({ authorization: `Bearer ${makeToken('api', randomBytes).token}` }),
      /no ingest token/,
    ],
    ['an unknown one', () => ({ authorization: `Bearer ${unknown}` }), /unknown or revoked/],
    ['a revoked one', () => ({ authorization: `Bearer ${revoked}` }), /unknown or revoked/],
    ['a wrong secret', () => ({ authorization: `Bearer ${wrongSecret()}` }), /unknown or revoked/],
    ['a list', () => ({ authorization: `Bearer ${unknown}, Bearer ${service.token}` }), /mistyped/],
  ];

  it.each(REFUSED)(
    'A5, T10 (tests): %s is 401 with a Status, and UNAUTHENTICATED over gRPC',
    async (_, headers, text) => {
      for (const type of [PROTOBUF, JSON_TYPE]) {
        const result = await overHttp({ ...headers(), 'content-type': type });
        expect(result.status).toBe(401);
        expect(headersOf(result)).toEqual({ ...plainHeaders(type, result.body.length), 'www-authenticate': 'Bearer' });
        expect(statusOf(result)).toEqual({ code: 16, message: expect.stringMatching(text), details: [] });
      }
      expect(await overGrpc(headers())).toBe('16');
    },
  );

  it('A5: a token without the scope is 403, and PERMISSION_DENIED over gRPC', async () => {
    const headers = { authorization: `Bearer ${tracesOnly}` };
    expect((await overHttp(headers, { path: '/v1/traces' })).status).toBe(200);
    const result = await overHttp(headers, { path: '/v1/logs' });
    expect(result.status).toBe(403);
    expect(statusOf(result)).toEqual({
      code: 7,
      message: expect.stringMatching(/may send traces, not logs$/),
      details: [],
    });
    expect(result.headers['retry-after']).toBeUndefined();
    expect(await overGrpc(headers)).toBe('7');
  });

  it.each([
    ['a cookie', { cookie: 'TOKEN; authorization=Bearer%20TOKEN; x-api-key=TOKEN' }, ''],
    ['proxy-authorization', { 'proxy-authorization': 'Bearer TOKEN' }, ''],
    ['?token', {}, '?token=TOKEN'],
    ['?access_token', {}, '?access_token=TOKEN'],
    ['?authorization', {}, '?authorization=Bearer%20TOKEN&x-api-key=TOKEN&api_key=TOKEN'],
  ])('A6: %s is no credential', async (_, headers, query) => {
    const filled = Object.fromEntries(
      Object.entries(headers).map(([name, value]) => [name, value.replaceAll('TOKEN', service.token)]),
    );
    const path = `/v1/logs${query.replaceAll('TOKEN', service.token)}`;
    const result = await overHttp(filled, { path });
    expect(result.status).toBe(401);
    expect(statusOf(result).message).toMatch(/^no ingest token/);
    expect(await overGrpc(filled)).toBe('16');
    // Beside a good token they do no harm.
    expect((await overHttp({ ...filled, authorization: `Bearer ${service.token}` }, { path })).status).toBe(200);
  });

  it('T10 (tests), A3: a wrong token is refused before a byte of the body is read', async () => {
    const headers = { authorization: `Bearer ${unknown}`, 'content-length': '1000000' };
    const client = connect(service.ports.http);
    client.write(httpBytes({ headers }));
    expect(await client.response()).toMatchObject({ status: 401, headers: { connection: 'close' } });
    const asking = connect(service.ports.http);
    asking.write(httpBytes({ headers: { ...headers, expect: '100-continue' } }));
    // Not 100.
    expect(await asking.response()).toMatchObject({ status: 401, headers: { connection: 'close' } });
    const peer = new RawH2(service.ports.grpc);
    onTestFinished(() => peer.close());
    const block = headerBlock({ ...CALL_HEADERS, ':path': SIGNAL_PATHS.traces, authorization: `Bearer ${unknown}` });
    peer.socket.write(frame(FRAME.HEADERS, FLAG.END_HEADERS, 1, block));
    await until(() => peer.answered(1));
    expect(peer.frames.filter(({ type, streamId }) => type === FRAME.DATA && streamId === 1)).toEqual([]);
  });
});

describe('secrecy', () => {
  it('A4, T10 (tests): a presented token is in no answer and in no line of the log', async () => {
    const tokens = [
      service.token,
      unknown,
      revoked,
      tracesOnly,
      wrongSecret(),
      `${unknown}x`,
      'secret-of-another-vendor',
    ];
    const answers: string[] = [];
    for (const token of tokens) {
      for (const headers of [
        { authorization: `Bearer ${token}` },
        { authorization: token },
        { 'x-api-key': token },
        { authorization: `Bearer ${token}`, 'content-type': token },
        { authorization: `Bearer ${token}`, 'content-encoding': token },
        { cookie: `token=${token}` },
      ]) {
        const requests = [{}, { path: `/v1/logs?token=${token}` }, { path: `/${token}` }, { body: token }];
        for (const more of requests) answers.push(JSON.stringify(textOf(await overHttp(headers, more))));
        const path = `/opentelemetry.proto.collector.logs.v1.LogsService/${token}`;
        for (const request of [{ headers }, { headers, path }, { headers: { ...headers, 'grpc-encoding': token } }]) {
          const none = { authorization: undefined };
          const body = grpcFrame(Buffer.from(token));
          const result = await callOnce(service.ports.grpc, {
            ...request,
            headers: { ...none, ...request.headers },
            body,
          });
          answers.push(JSON.stringify([result.headers, result.trailers, result.data.toString('latin1')]));
        }
      }
      answers.push(
        await rawAnswer(`${token} / HTTP/1.1\r\n\r\n`),
        await rawAnswer(`GET /${token}\x00 HTTP/1.1\r\n\r\n`),
      );
    }
    // The log has lines of these requests, or nothing would be shown by what it has not.
    await until(() => service.stderr.includes('/v1/logs') && service.stderr.includes('(no HTTP)'));
    for (const token of tokens) {
      const secret = token.startsWith('bw_') ? token.slice('bw_ing_'.length + 13) : token;
      expect(answers.filter((answer) => answer.includes(secret))).toEqual([]);
      expect(service.stderr.includes(secret)).toBe(false);
    }
  }, 60_000);
});

function textOf({ status, headers, body }: HttpResult): unknown {
  return [status, headers, body.toString('latin1')];
}

async function rawAnswer(bytes: string): Promise<string> {
  const client = new RawHttp(service.ports.http);
  client.write(bytes);
  const answer = JSON.stringify(textOf(await client.response()));
  client.close();
  return answer;
}

it('A3: CORS, path, method, token, content type, coding, declared size, admission: the first fault is the answer', async () => {
  const { port, seen } = await ownServer(
    {
      open: ({ authorization }) => {
        if (authorization === undefined) throw new BackworkError('unauthenticated', 'no token');
        if (authorization !== 'Bearer admitted') throw retryLater('spool-full', 'no room');
      },
    },
    { bodyBytesMax: 1_000 },
    { corsOrigins: ['https://a.example'] },
  );
  const origin = 'https://a.example';
  const all = {
    authorization: '',
    'content-type': 'text/plain',
    'content-encoding': 'br',
    'content-length': '1001',
    origin,
  };
  const preflight = { 'access-control-request-method': 'POST', ...all };
  const STEPS: ReadonlyArray<readonly [status: number, message: RegExp, request: HttpRequestParts]> = [
    [204, /^$/, { method: 'OPTIONS', path: '/nowhere', headers: preflight }],
    [404, /unknown path/, { method: 'GET', path: '/nowhere', headers: all }],
    [405, /by POST/, { method: 'GET', headers: all }],
    [401, /no token/, { headers: all }],
    [415, /content type/, { headers: { ...all, authorization: 'Bearer t' } }],
    [415, /content-encoding/, { headers: { ...all, authorization: 'Bearer t', 'content-type': JSON_TYPE } }],
    [
      413,
      /1001 bytes/,
      { headers: { ...all, authorization: 'Bearer t', 'content-type': JSON_TYPE, 'content-encoding': '' } },
    ],
    [503, /no room/, { headers: { origin, authorization: 'Bearer t', 'content-type': JSON_TYPE } }],
    [200, /^$/, { headers: { origin, authorization: 'Bearer admitted', 'content-type': JSON_TYPE } }],
  ];
  for (const [status, message, request] of STEPS) {
    const result = await httpOnce(port, request);
    expect(result.status).toBe(status);
    expect(result.headers['access-control-allow-origin']).toBe(origin);
    expect(status < 300 ? '' : statusOf(result).message).toMatch(message);
  }
  expect(seen.bodies).toHaveLength(1);
});
