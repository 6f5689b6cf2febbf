/** What is the door's own, beside the contract that it shares with a server. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { connectClickHouse } from '../../src/engine/clickhouse.ts';
import { DOOR_DISPLAY_NAME } from '../../src/engine/door-answer.ts';
import { answerOf, begin, run, send, until } from '../contract/http-request.ts';
import { type RunningEngine, startEngine } from './engine-fixture.ts';

let engine: RunningEngine;
beforeAll(async () => {
  engine = await startEngine();
});
afterAll(async () => {
  await engine?.stop();
});

const listed = async () => {
  const answer = await send(engine, { method: 'GET', path: '/running' });
  return JSON.parse(answer.text) as string[];
};

describe('the door', () => {
  it('says that it is the door, to anybody; tells what runs to nobody without the password', async () => {
    const ping = await send(engine, { method: 'GET', path: '/ping', auth: undefined });
    expect(ping.headers['x-clickhouse-server-display-name']).toBe(DOOR_DISPLAY_NAME);
    for (const path of ['/', '/running', '/other']) {
      const answer = await send(engine, { method: 'GET', path, auth: undefined });
      expect([answer.status, answer.headers['x-clickhouse-exception-code']]).toEqual([401, '194']);
    }
    expect((await send(engine, { method: 'GET', path: '/other' })).status).toBe(404);
    expect((await send(engine, { method: 'GET' })).text).toBe('Ok.\n');
  });

  it('never begins an INSERT whose client went while it waited, and lists it until then', async () => {
    // Each row takes a second to insert, so four INSERTs hold the four slots.
    await run(
      engine,
      'CREATE TABLE slow (n UInt64, s UInt8 MATERIALIZED sleepEachRow(1)) ENGINE = MergeTree ORDER BY n',
    );
    await run(engine, 'CREATE TABLE quick (n UInt64) ENGINE = MergeTree ORDER BY n');
    const insert = (table: string, query_id: string) => {
      const params = {
        query: `INSERT INTO ${table} FORMAT TSV`,
        query_id,
        function_sleep_max_microseconds_per_block: 0,
      };
      const request = begin(engine, { params });
      request.end('1\n2\n3\n');
      return request;
    };
    const slow = [0, 1, 2, 3].map((i) => insert('slow', `slow-${i}`));
    const answers = slow.map((request) => answerOf(request));
    await until(async () => (await listed()).length === 4);
    const waiting = insert('quick', 'waiting');
    await until(async () => (await listed()).includes('waiting'));
    waiting.destroy();
    await until(async () => !(await listed()).includes('waiting'));
    for (const answer of answers) expect((await answer).status).toBe(200);
    expect(await run(engine, 'SELECT count() FROM quick')).toBe('0\n');
    expect(await run(engine, 'SELECT sum(n) FROM slow')).toBe('24\n');
  });

  it('applies nothing any more of an INSERT that is off its list', async () => {
    await run(engine, 'CREATE TABLE left_at_once (n UInt64) ENGINE = MergeTree ORDER BY n');
    const connection = connectClickHouse({ ...engine, database: 'default' });
    const ids = Array.from({ length: 60 }, (_, i) => `left-${i}`);
    for (const [i, query_id] of ids.entries()) {
      const request = begin(engine, { params: { query: 'INSERT INTO left_at_once FORMAT TSV', query_id } });
      request.end('1\n');
      request.on('finish', () => setTimeout(() => request.destroy(), i % 10));
      await new Promise((resolve) => request.on('close', resolve));
    }
    await until(async () => (await connection.running(ids)).size === 0);
    const count = await run(engine, 'SELECT count() FROM left_at_once');
    await run(engine, '1\n', { query: 'INSERT INTO left_at_once FORMAT TSV' });
    expect(await run(engine, 'SELECT count() FROM left_at_once')).toBe(`${Number(count) + 1}\n`);
    await connection.close();
  });

  it('takes LZ4 frames that ClickHouse made, of linked and of stored blocks', async () => {
    await run(engine, 'CREATE TABLE lz4 (n UInt64, s String) ENGINE = MergeTree ORDER BY n');
    for (const [i, value] of ["repeat('ab', 40)", 'randomPrintableASCII(60)'].entries()) {
      const path = join(engine.dir, `rows-${i}.tsv.lz4`);
      const source = `SELECT number, base64Encode(${value}) FROM numbers(100000)`;
      await run(engine, `INSERT INTO FUNCTION file('${path}', 'TSV', 'n UInt64, s String', 'lz4') ${source}`);
      const headers = { 'Content-Encoding': 'lz4' };
      const params = { query: 'INSERT INTO lz4 FORMAT TSV' };
      const frame = readFileSync(path);
      const answer = await send(engine, { params, headers, body: frame });
      expect(answer.status, answer.text).toBe(200);
      const same = `SELECT (SELECT sum(cityHash64(*)) FROM lz4) = (SELECT sum(cityHash64(*)) FROM file('${path}', 'TSV', 'n UInt64, s String', 'lz4'))`;
      expect(await run(engine, same)).toBe('1\n');
      const cut = await send(engine, { params, headers, body: frame.subarray(0, frame.length - 20) });
      expect(cut.headers['x-clickhouse-exception-code']).toBe('271');
      await run(engine, 'TRUNCATE TABLE lz4');
    }
  });

  it.each([
    [{ headers: { 'Content-Encoding': 'br' } }, 415, '89'],
    [{ headers: { 'Content-Encoding': 'gzip' } }, 500, '271'],
    [{ params: { compress: 1 } }, 501, '48'],
    [{ params: { role: 'admin' } }, 404, '511'],
  ])('refuses %j with status %d and code %s', async (request, status, code) => {
    const answer = await send(engine, { body: 'SELECT 1', ...request });
    expect([answer.status, answer.headers['x-clickhouse-exception-code']]).toEqual([status, code]);
  });

  it('ignores the parameters of server-side sessions', async () => {
    const params = { session_id: 'a', session_timeout: 60, client_protocol_version: 54405, quota_key: '' };
    expect(await run(engine, 'SELECT 1', params)).toBe('1\n');
  });

  it('takes query and parameters from a multipart form', async () => {
    const parts = { query: 'SELECT {p:String} FORMAT CSV', param_p: 'it"s' };
    const body = Object.entries(parts)
      .map(([name, value]) => `--b1\r\nContent-Disposition: form-data; name="${name}"\r\n\r\n${value}\r\n`)
      .join('');
    const headers = { 'Content-Type': 'multipart/form-data; boundary=b1' };
    expect((await send(engine, { headers, body: `${body}--b1--\r\n` })).text).toBe('"it""s"\n');
  });

  it('keeps its pipes and its configuration to itself', async () => {
    const mode = (path: string) =>
      run(engine, `SELECT 1`).then(() => readMode(join(engine.dir, 'engine', 'door', path)));
    expect([await mode('pipes'), await mode('pipes/0'), await mode('engine-config.xml')]).toEqual([
      '700',
      '600',
      '600',
    ]);
  });

  it('hides its own clauses from error texts', async () => {
    const read = await send(engine, { body: 'SELECT 1 FROM' });
    const insert = await send(engine, { body: 'x\n', params: { query: 'INSERT INTO system.one FORMAT TSV' } });
    for (const { text } of [read, insert]) {
      expect(text).toContain('DB::Exception');
      expect(text).not.toMatch(/OUTFILE '|INFILE '/);
    }
  });
});

async function readMode(path: string): Promise<string> {
  const { statSync } = await import('node:fs');
  return (statSync(path).mode & 0o777).toString(8);
}
