import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { text } from 'node:stream/consumers';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { type ClickHouse, connectClickHouse } from '../../src/engine/clickhouse.ts';
import { run, send, until } from '../contract/http-request.ts';
import { type RunningEngine, startEngine } from './engine-fixture.ts';

const OK = { 'X-ClickHouse-Summary': JSON.stringify({ written_rows: '3' }) };
const block = Buffer.from('not looked at here');
const insert = { table: 't', blocks: [block], rowCount: 3, queryId: 'q1', timeoutMs: 20_000 };

describe('insertNative, of a server that answers badly', () => {
  let server: Server | undefined;
  let clickhouse: ClickHouse;
  const answering = async (answer: (response: ServerResponse, request: IncomingMessage) => void) => {
    server = createServer((request, response) => void text(request).then(() => answer(response, request)));
    await new Promise<void>((resolve) => server?.listen(0, '127.0.0.1', resolve));
    const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    clickhouse = connectClickHouse({ url, user: 'u', password: 'p', database: 'default' });
  };
  afterEach(async () => {
    await clickhouse.close();
    server?.closeAllConnections();
    await new Promise((resolve) => (server === undefined ? resolve(undefined) : server.close(resolve)));
  });
  const exception = (code: number, name: string) =>
    `Code: ${code}. DB::Exception: value 'secret' is wrong. (${name}) (version 26)`;

  it('resolves when everything is as it must be', async () => {
    let url = '';
    await answering((response, request) => {
      url = request.url ?? '';
      response.writeHead(200, OK).end();
    });
    await clickhouse.insertNative(insert);
    const { searchParams } = new URL(`http://x${url}`);
    expect(Object.fromEntries(searchParams)).toMatchObject({
      query: 'INSERT INTO `t` FORMAT Native',
      query_id: 'q1',
      async_insert: '0',
      deduplicate_insert: 'disable',
      min_insert_block_size_rows: '100000000',
      min_insert_block_size_bytes: '0',
      max_insert_block_size: '100000000',
      wait_end_of_query: '1',
    });
  });

  it.each<[string, (response: ServerResponse) => void]>([
    [
      'an exception in the body behind status 200',
      (r) => r.writeHead(200, OK).end(exception(241, 'MEMORY_LIMIT_EXCEEDED')),
    ],
    ['a body that breaks off', (r) => r.writeHead(200, OK).write('', () => r.write(' ', () => r.destroy()))],
    ['no summary', (r) => r.writeHead(200).end()],
    ['a summary that cannot be read', (r) => r.writeHead(200, { 'X-ClickHouse-Summary': '{' }).end()],
    ['too few rows', (r) => r.writeHead(200, { 'X-ClickHouse-Summary': '{"written_rows":"2"}' }).end()],
    ['an exception in the trailer', (r) => trailer(r)],
    ['a broken connection', (r) => r.destroy()],
    ['a status of a proxy', (r) => r.writeHead(502).end('bad gateway')],
    ['another status that is no error', (r) => r.writeHead(204, OK).end()],
    ['code 319, UNKNOWN_STATUS_OF_INSERT', (r) => r.writeHead(500).end(exception(319, 'UNKNOWN_STATUS_OF_INSERT'))],
  ])('does not know the outcome after %s', async (_name, answer) => {
    await answering(answer);
    await expect(clickhouse.insertNative(insert)).rejects.toMatchObject({ code: 'store-unknown-outcome' });
  });

  it('does not know the outcome when the answer is late', async () => {
    await answering(() => undefined);
    const late = clickhouse.insertNative({ ...insert, timeoutMs: 50 });
    await expect(late).rejects.toMatchObject({
      code: 'store-unknown-outcome',
      message: expect.stringContaining('in time'),
    });
  });

  it.each([
    [241, 'MEMORY_LIMIT_EXCEEDED', 'store-temporary', true],
    [469, 'VIOLATED_CONSTRAINT', 'store-permanent', false],
  ])(
    'gives error %d the class that the table says, and no value of a row',
    async (storeCode, name, code, retryable) => {
      await answering((r) =>
        r.writeHead(500, { 'X-ClickHouse-Exception-Code': String(storeCode) }).end(exception(storeCode, name)),
      );
      const error = await clickhouse.insertNative(insert).catch((thrown: unknown) => thrown);
      expect(error).toMatchObject({ code, storeCode, retryable });
      expect((error as Error).message).toContain(name);
      expect((error as Error).message).not.toContain('secret');
    },
  );

  it('knows that nothing was applied when nobody listens', async () => {
    await answering(() => undefined);
    await new Promise((resolve) => server?.close(resolve));
    await expect(clickhouse.insertNative(insert)).rejects.toMatchObject({ code: 'store-unreachable', retryable: true });
    await expect(clickhouse.query('SELECT 1')).rejects.toMatchObject({ code: 'store-unreachable' });
    await expect(clickhouse.running(['a'])).rejects.toMatchObject({ code: 'store-unreachable' });
    expect(await clickhouse.ping()).toBe(false);
  });

  it('asks a server, which does not call itself the door, by system.processes', async () => {
    const asked: string[] = [];
    await answering((response, request) => {
      asked.push(request.url ?? '');
      response.end(request.url === '/ping' ? 'Ok.\n' : '{"id":"b"}\n');
    });
    expect(await clickhouse.isDoor()).toBe(false);
    expect(await clickhouse.running(['a', 'b'])).toEqual(new Set(['b']));
    expect(asked[0]).toBe('/ping');
    expect(asked.at(-1)).toContain('param_ids=');
  });
});

function trailer(response: ServerResponse): void {
  response.writeHead(200, { ...OK, Trailer: 'X-ClickHouse-Exception-Code' });
  response.addTrailers({ 'X-ClickHouse-Exception-Code': '241' });
  response.end();
}

describe('a store connection to the engine', () => {
  let engine: RunningEngine;
  let clickhouse: ClickHouse;
  beforeAll(async () => {
    engine = await startEngine();
    clickhouse = connectClickHouse({ ...engine, database: 'default' });
    await clickhouse.command(
      'CREATE TABLE t (n UInt64, CONSTRAINT small CHECK n < 5000) ENGINE = MergeTree ORDER BY n',
    );
  });
  afterAll(async () => {
    await clickhouse?.close();
    await engine?.stop();
  });
  const native = async (rows: string) =>
    (await send(engine, { body: `SELECT number AS n FROM ${rows} FORMAT Native` })).body;

  it('stores several blocks as one part, and what is refused not at all', async () => {
    const blocks = [await native('numbers(1000)'), await native('numbers(1000, 1000)')];
    await clickhouse.insertNative({ ...insert, blocks, rowCount: 2_000 });
    expect(await run(engine, "SELECT count(), sum(rows) FROM system.parts WHERE table = 't' AND active")).toBe(
      '1\t2000\n',
    );
    const bad = { ...insert, blocks: [...blocks, await native('numbers(5000, 1)')], rowCount: 2_001, queryId: 'q2' };
    await expect(clickhouse.insertNative(bad)).rejects.toMatchObject({ code: 'store-permanent', storeCode: 469 });
    const cut = blocks[0]?.subarray(0, 500) ?? block;
    const truncated = clickhouse.insertNative({ ...insert, blocks: [cut], rowCount: 1_000, queryId: 'q3' });
    await expect(truncated).rejects.toMatchObject({ code: 'store-permanent' });
    expect(await run(engine, 'SELECT count() FROM t')).toBe('2000\n');
  });

  it('gives rows, streams and errors', async () => {
    expect(await clickhouse.query('SELECT {a:String} AS a', { a: "it's\n" })).toEqual([{ a: "it's\n" }]);
    expect(await text(await clickhouse.stream('SELECT 1 AS a', 'CSVWithNames'))).toBe('"a"\n1\n');
    expect(await text(await clickhouse.stream('SELECT 1 AS a FORMAT TSV', 'CSV'))).toBe('1\n');
    const wrong = { code: 'store-temporary', storeCode: 60 };
    await expect(clickhouse.query('SELECT * FROM nothing')).rejects.toMatchObject(wrong);
    await expect(clickhouse.stream('SELECT * FROM nothing', 'TSV')).rejects.toMatchObject(wrong);
    await expect(clickhouse.command('DROP TABLE nothing')).rejects.toMatchObject(wrong);
  });

  it('knows the door, and what runs in it', async () => {
    expect([await clickhouse.ping(), await clickhouse.isDoor()]).toEqual([true, true]);
    const slow = clickhouse.insertNative.bind(clickhouse);
    await run(
      engine,
      'CREATE TABLE slow (n UInt64, s UInt8 MATERIALIZED sleepEachRow(0.5)) ENGINE = MergeTree ORDER BY n',
    );
    const inserted = slow({ ...insert, table: 'slow', blocks: [await native('numbers(3)')], queryId: 'slow-1' });
    await until(async () => (await clickhouse.running(['slow-1', 'other'])).has('slow-1'));
    await inserted;
    expect(await clickhouse.running(['slow-1', 'other'])).toEqual(new Set());
  });

  it('is refused with a wrong password', async () => {
    const wrong = connectClickHouse({ ...engine, password: 'x', database: 'default' });
    expect(await wrong.ping()).toBe(false);
    await expect(wrong.query('SELECT 1')).rejects.toMatchObject({ storeCode: 516, code: 'store-temporary' });
    await wrong.close();
  });
});
