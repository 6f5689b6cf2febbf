import { closeSync, mkdtempSync, openSync, readFileSync, rmSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { type Api, type ApiServer, createApi, serveApi } from '../../src/api/app.ts';
import type { Readiness } from '../../src/api/health-routes.ts';
import { createLog } from '../../src/base/log.ts';

let dir: string;
let fd: number;
let readiness: () => Readiness;
let api: Api;
let server: ApiServer | undefined;

beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'backwork-api-'));
  fd = openSync(join(dir, 'log'), 'a');
  readiness = () => ({ ready: true, reasons: [] });
  const metrics = async () => ({ contentType: 'text/plain; version=0.0.4', text: 'backwork_ready 1\n' });
  const v1 = () => Promise.reject(new Error('not asked for'));
  api = createApi({ log: createLog('main', 'debug', fd), readiness: () => readiness(), metrics, v1 });
});
afterEach(async () => {
  await server?.close(0);
  server = undefined;
  closeSync(fd);
  rmSync(dir, { recursive: true });
});

function logText(): string {
  return readFileSync(join(dir, 'log'), 'utf8');
}
function logged(): Record<string, unknown>[] {
  return logText()
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line) as Record<string, unknown>);
}

test('/healthz answers while the process lives, ready or not', async () => {
  readiness = () => ({ ready: false, reasons: ['stopping'] });
  const answer = await api.request('/healthz');
  expect(answer.status).toBe(200);
  expect(await answer.json()).toEqual({ status: 'alive' });
});

test('/readyz is 200 with what is amiss all the same', async () => {
  readiness = () => ({ ready: true, reasons: ['ingest 1: the spool is full'] });
  const answer = await api.request('/readyz');
  expect(answer.status).toBe(200);
  expect(await answer.json()).toEqual({ status: 'ready', reasons: ['ingest 1: the spool is full'] });
});

test('/readyz is 503 with the reasons and a time to come back when nothing would be accepted', async () => {
  readiness = () => ({ ready: false, reasons: ['ingest 0: the spool is full', 'store: away'] });
  const answer = await api.request('/readyz');
  expect(answer.status).toBe(503);
  expect(answer.headers.get('content-type')).toBe('application/problem+json');
  expect(answer.headers.get('retry-after')).toBe('1');
  expect(await answer.json()).toEqual({
    title: 'Service Unavailable',
    status: 503,
    code: 'not-ready',
    detail: 'ingest 0: the spool is full; store: away',
    reasons: ['ingest 0: the spool is full', 'store: away'],
  });
});

test('health answers are not to be cached', async () => {
  for (const path of ['/healthz', '/readyz']) {
    expect((await api.request(path)).headers.get('cache-control')).toBe('no-store');
  }
});

test('an unknown path is 404 and a known one with another method 405, as problem documents', async () => {
  const unknown = await api.request('/nothing');
  expect(unknown.status).toBe(404);
  expect(unknown.headers.get('content-type')).toBe('application/problem+json');
  expect(await unknown.json()).toMatchObject({ status: 404, title: 'Not Found', code: 'not-found' });
  const other = await api.request('/readyz', { method: 'POST', body: 'x' });
  expect(other.status).toBe(405);
  expect(other.headers.get('allow')).toBe('GET, HEAD');
  expect(await other.json()).toMatchObject({ status: 405, code: 'method-not-allowed' });
});

test('an unexpected error is 500 with an id, and its text stands in the log only', async () => {
  readiness = () => {
    throw new Error('planted-secret-1');
  };
  const answer = await api.request('/readyz');
  expect(answer.status).toBe(500);
  const text = await answer.text();
  expect(text).not.toContain('planted-secret-1');
  const requestId = answer.headers.get('x-request-id');
  expect(text).toContain(requestId);
  expect(logged()).toContainEqual(
    expect.objectContaining({
      level: 'error',
      requestId,
      error: expect.objectContaining({ message: 'planted-secret-1' }),
    }),
  );
});

test('the request log has the allowed fields and nothing that the client wrote', async () => {
  await api.request('/readyz?planted-secret-2=1', {
    headers: {
      authorization: 'Bearer planted-secret-3',
      cookie: 'planted-secret-4=1',
      'user-agent': 'planted-secret-5',
      'x-request-id': 'planted-secret-6',
    },
  });
  await api.request('/planted-secret-7', { method: 'POST', body: 'planted-secret-8' });
  expect(logText()).not.toContain('planted-secret');
  const allowed = ['level', 'time', 'pid', 'name', 'requestId', 'route', 'status', 'bytes', 'ms', 'msg'];
  for (const line of logged()) expect(Object.keys(line).filter((key) => !allowed.includes(key))).toEqual([]);
  expect(logged().map(({ route, status, bytes }) => ({ route, status, bytes }))).toEqual([
    { route: '/readyz', status: 200, bytes: 31 },
    { route: '-', status: 404, bytes: expect.any(Number) },
  ]);
});

test('over a socket: answers, and closes in time although a client keeps its connection', async () => {
  server = await serveApi(api, '127.0.0.1', 0);
  const url = `http://127.0.0.1:${server.port}`;
  expect((await fetch(`${url}/healthz`)).status).toBe(200);
  expect((await fetch(`${url}/readyz`, { method: 'HEAD' })).status).toBe(200);
  const idle = connect(server.port, '127.0.0.1');
  idle.on('error', () => undefined);
  await new Promise((resolve) => idle.once('connect', resolve));
  idle.write('GET /healthz HTTP/1.1\r\n');
  await server.close(50);
  server = undefined;
  await expect(fetch(`${url}/healthz`)).rejects.toThrow();
  idle.destroy();
});

test('a port that is in use is the system’s error, for the caller to name the setting', async () => {
  server = await serveApi(api, '127.0.0.1', 0);
  await expect(serveApi(api, '127.0.0.1', server.port)).rejects.toMatchObject({ code: 'EADDRINUSE' });
});
