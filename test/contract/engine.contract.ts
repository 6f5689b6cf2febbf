/**
 * What backwork needs of a ClickHouse HTTP interface, as tests that its door and a real server must both pass. Expected
 * bytes are ClickHouse's own: they are written here as a server sends them, or made by the engine itself.
 */
import { ClickHouseLogLevel, createClient } from '@clickhouse/client';
import { Readable } from 'node:stream';
import { gunzipSync, gzipSync, zstdCompressSync, zstdDecompressSync } from 'node:zlib';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { answerOf, begin, run, send, type Target, until } from './http-request.ts';

export interface ContractTarget extends Target {
  /** Which of these query ids wait or run. */
  running(queryIds: readonly string[]): Promise<ReadonlySet<string>>;
  close(): Promise<void>;
}

const ONE_BLOCK = {
  async_insert: 0,
  min_insert_block_size_rows: 100_000_000,
  min_insert_block_size_bytes: 0,
  max_insert_block_size: 100_000_000,
  wait_end_of_query: 1,
};
const SLOW_READ = 'SELECT sleepEachRow(0.1) FROM numbers(600) SETTINGS max_block_size = 1, max_threads = 1';

export function engineContract(name: string, start: () => Promise<ContractTarget>): void {
  describe(name, () => {
    let target: ContractTarget;
    const log = { level: ClickHouseLogLevel.OFF };
    const client = () => createClient({ url: target.url, username: target.user, password: target.password, log });
    const table = async (columns: string) => {
      const id = `contract_${Math.random().toString(36).slice(2)}`;
      await run(target, `CREATE TABLE ${id} (${columns}) ENGINE = MergeTree ORDER BY tuple()`);
      return id;
    };

    beforeAll(async () => {
      target = await start();
    });
    afterAll(async () => {
      await target?.close();
    });

    asking(() => target, client);
    writing(() => target, client, table);
    failing(() => target, client, table);
    together(() => target, client, table);
  });
}

type Client = () => ReturnType<typeof createClient>;
type MakeTable = (columns: string) => Promise<string>;

function asking(target: () => ContractTarget, client: Client): void {
  const rows = "SELECT number AS n, concat('a', toString(number)) AS s FROM numbers(2)";

  it.each([
    ['TSV', '0\ta0\n1\ta1\n'],
    ['TSVWithNames', 'n\ts\n0\ta0\n1\ta1\n'],
    ['CSV', '0,"a0"\n1,"a1"\n'],
    ['JSONEachRow', '{"n":0,"s":"a0"}\n{"n":1,"s":"a1"}\n'],
    ['JSONCompactEachRow', '[0, "a0"]\n[1, "a1"]\n'],
    ['Values', "(0,'a0'),(1,'a1')"],
    ['XML', undefined],
    ['JSON', undefined],
    ['Parquet', undefined],
  ])('answers in format %s', async (format, expected) => {
    const answer = await send(target(), { body: `${rows} FORMAT ${format}`, params: NUMBERS });
    expect(answer.status, answer.text).toBe(200);
    expect(answer.headers['x-clickhouse-format']).toBe(format);
    if (expected !== undefined) expect(answer.text).toBe(expected);
    if (format === 'JSON')
      expect(JSON.parse(answer.text)).toMatchObject({ rows: 2, data: [{ n: 0, s: 'a0' }, { n: 1 }] });
    if (format === 'Parquet') expect([answer.text.slice(0, 4), answer.text.slice(-4)]).toEqual(['PAR1', 'PAR1']);
    if (format === 'XML') expect(answer.text).toContain('<s>a1</s>');
  });

  it('answers in Native and RowBinary byte for byte', async () => {
    const sql = "SELECT toUInt8(7) AS n, 'ab' AS s";
    const native = await send(target(), { body: `${sql} FORMAT Native` });
    expect(native.body.toString('latin1')).toBe('\x02\x01\x01n\x05UInt8\x07\x01s\x06String\x02ab');
    const binary = await send(target(), { body: `${sql} FORMAT RowBinary` });
    expect(binary.body.toString('latin1')).toBe('\x07\x02ab');
  });

  it('takes the query from the URL, from the body, and from both with a line break between', async () => {
    const sql = 'SELECT 1 + 1';
    expect((await send(target(), { method: 'GET', params: { query: sql } })).text).toBe('2\n');
    expect((await send(target(), { body: sql })).text).toBe('2\n');
    expect((await send(target(), { params: { query: 'SELECT 1 -- one' }, body: '+ 1' })).text).toBe('2\n');
  });

  it('prefers FORMAT in the query to default_format, and that to X-ClickHouse-Format', async () => {
    const headers = { 'X-ClickHouse-Format': 'CSV' };
    const sql = "SELECT 'x' AS s";
    expect((await send(target(), { body: sql, headers })).text).toBe('"x"\n');
    const params = { default_format: 'JSONEachRow' };
    expect((await send(target(), { body: sql, headers, params })).text).toBe('{"s":"x"}\n');
    expect((await send(target(), { body: `${sql} FORMAT TSV`, headers, params })).text).toBe('x\n');
  });

  it('answers SHOW, DESCRIBE, EXISTS, EXPLAIN and comments around a query', async () => {
    expect(await run(target(), 'DESCRIBE (SELECT 1 AS one) FORMAT CSV')).toContain('"one","UInt8"');
    expect(await run(target(), 'EXISTS TABLE system.one')).toBe('1\n');
    expect(await run(target(), 'SHOW DATABASES')).toContain('system\n');
    expect(await run(target(), 'EXPLAIN SELECT 1')).not.toBe('');
    expect(await run(target(), '/* first */ SELECT 1 -- FORMAT CSV\n;')).toBe('1\n');
    expect(await run(target(), "WITH 2 AS two SELECT two, ') FORMAT TSV' FORMAT CSV")).toBe('2,") FORMAT TSV"\n');
  });

  it('gives parameters of every type as they were', async () => {
    const values = {
      s: `quote ' double " back \\ tab \t line \n null-like \\N é 日本`,
      list: ["it's", 'a\\b', 'c\nd', ''],
      nested: [[1], [], [2, 3]],
      map: { key: 'v1', "k'2": 'v\\2' },
      big: '18446744073709551615',
      negative: -12,
      float: 0.25,
      yes: true,
      nothing: null,
      time: new Date('2026-11-23T01:02:03.456Z'),
      identifier: 'number',
    };
    const sql = `SELECT {s:String} AS s, {list:Array(String)} AS list, {nested:Array(Array(UInt8))} AS nested,
      {map:Map(String, String)} AS map, toString({big:UInt64}) AS big, {negative:Int32} AS negative, {float:Float64} AS float,
      {yes:Bool} AS yes, {nothing:Nullable(String)} AS nothing, {time:DateTime64(3)} AS time, {identifier:Identifier} AS n
      FROM numbers(1)`;
    const connection = client();
    const result = await connection.query({ query: sql, format: 'JSONEachRow', query_params: values });
    const [row] = await result.json<Record<string, unknown>>();
    await connection.close();
    expect(row).toMatchObject({
      s: values.s,
      list: values.list,
      nested: values.nested,
      map: values.map,
      negative: -12,
    });
    expect(row).toMatchObject({ float: 0.25, yes: true, nothing: null, time: '2026-11-23 01:02:03.456' });
    expect([row?.['big'], Number(row?.['n'])]).toEqual([values.big, 0]);
  });

  it('takes settings and the database from the URL, for one query only', async () => {
    const sql = "SELECT getSetting('max_block_size'), currentDatabase()";
    expect(await run(target(), sql, { max_block_size: 4321, database: 'system' })).toBe('4321\tsystem\n');
    expect(await run(target(), sql)).not.toContain('4321');
  });

  it.each(['gzip', 'zstd'] as const)('compresses an answer with %s when asked', async (coding) => {
    const headers = { 'Accept-Encoding': coding };
    const body = 'SELECT number FROM numbers(300000)';
    const plain = await send(target(), { body, headers });
    expect(plain.headers['content-encoding']).toBeUndefined();
    const answer = await send(target(), { body, headers, params: { enable_http_compression: 1 } });
    expect(answer.headers['content-encoding']).toBe(coding);
    const inflated = coding === 'gzip' ? gunzipSync(answer.body) : zstdDecompressSync(answer.body);
    expect(inflated.equals(plain.body)).toBe(true);
  });

  it('gives back the query id, the time zone and a summary', async () => {
    const answer = await send(target(), {
      body: 'SELECT 1',
      params: { query_id: 'contract-id-1', wait_end_of_query: 1 },
    });
    expect(answer.headers['x-clickhouse-query-id']).toBe('contract-id-1');
    expect(answer.headers['x-clickhouse-timezone']).toBe('UTC');
    const summary = JSON.parse(String(answer.headers['x-clickhouse-summary'])) as Record<string, string>;
    expect(summary).toMatchObject({ read_rows: '1', written_rows: '0', result_rows: '1' });
  });

  it('streams a result of 100 MB without holding it', async () => {
    const answer = await send(target(), { body: 'SELECT number FROM numbers(13000000) FORMAT RowBinary' });
    expect(answer.body.length).toBe(13_000_000 * 8);
    expect(answer.body.readBigUInt64LE(answer.body.length - 8)).toBe(12_999_999n);
  });

  it('answers ping without credentials', async () => {
    const answer = await send(target(), { method: 'GET', path: '/ping', auth: undefined });
    expect([answer.status, answer.text]).toEqual([200, 'Ok.\n']);
  });
}

/** Numbers unquoted in JSON, as newer versions do by default. */
const NUMBERS = { output_format_json_quote_64bit_integers: 0 };

function writing(target: () => ContractTarget, client: Client, table: MakeTable): void {
  it.each(['TSV', 'CSV', 'CSVWithNames', 'JSONEachRow', 'Native', 'RowBinary', 'Parquet', 'Values', 'ArrowStream'])(
    'inserts the body in format %s, plain and compressed',
    async (format) => {
      const id = await table('n UInt64, s String');
      const source = `SELECT number AS n, concat('it\\'s ', toString(number), '\n') AS s FROM numbers(1000)`;
      const { body } = await send(target(), { body: `${source} FORMAT ${format}` });
      const params = { ...ONE_BLOCK, query: `INSERT INTO ${id} FORMAT ${format}` };
      const bodies = { identity: body, gzip: gzipSync(body), zstd: zstdCompressSync(body) };
      for (const [coding, bytes] of Object.entries(bodies)) {
        const headers: Record<string, string> = coding === 'identity' ? {} : { 'Content-Encoding': coding };
        const answer = await send(target(), { params, headers, body: bytes });
        expect(answer.status, answer.text).toBe(200);
        expect(JSON.parse(String(answer.headers['x-clickhouse-summary']))).toMatchObject({ written_rows: '1000' });
      }
      const check = `SELECT count(), sum(n), countIf(s = concat('it\\'s ', toString(n), '\n')) FROM ${id}`;
      expect(await run(target(), check)).toBe('3000\t1498500\t3000\n');
    },
  );

  it('finds where the data begins when statement and data stand in one body', async () => {
    const id = await table('n UInt64, s String');
    await run(target(), `INSERT INTO ${id} VALUES (1, 'FORMAT CSV'), (2, upper('x'))`);
    await run(target(), `INSERT INTO ${id} (n, s) FORMAT CSV\n3,"three"\n`);
    await run(target(), `-- comment\nINSERT INTO ${id} SETTINGS async_insert = 0 FORMAT TSV\n4\tfour\n`);
    await run(target(), `(5,'five')`, { query: `INSERT INTO ${id} VALUES` });
    await run(target(), `INSERT INTO ${id} SELECT 6, 'six'`);
    expect(await run(target(), `SELECT * FROM ${id} ORDER BY n FORMAT CSV`)).toBe(
      '1,"FORMAT CSV"\n2,"X"\n3,"three"\n4,"four"\n5,"five"\n6,"six"\n',
    );
  });

  it('stores 30 Native blocks of one body as one part', async () => {
    const id = await table('n UInt64');
    const { body } = await send(target(), { body: 'SELECT number AS n FROM numbers(5000) FORMAT Native' });
    const params = { ...ONE_BLOCK, query: `INSERT INTO ${id} FORMAT Native` };
    const answer = await send(target(), { params, body: Buffer.concat(Array<Buffer>(30).fill(body)) });
    expect(answer.status, answer.text).toBe(200);
    const parts = `SELECT count(), sum(rows) FROM system.parts WHERE table = '${id}'`;
    expect(await run(target(), parts)).toBe('1\t150000\n');
  });

  it('takes rows, streams and commands from the client library', async () => {
    const id = await table('n UInt64, s String');
    const connection = client();
    await connection.insert({ table: id, values: [{ n: 1, s: "it's" }], format: 'JSONEachRow' });
    const stream = Readable.from([
      { n: 2, s: 'b' },
      { n: 3, s: 'c' },
    ]);
    const result = await connection.insert({ table: id, values: stream, format: 'JSONEachRow' });
    expect(result.summary?.written_rows).toBe('2');
    await connection.command({ query: `ALTER TABLE ${id} ADD COLUMN t String DEFAULT 'd'` });
    const rows = await (await connection.query({ query: `SELECT s, t FROM ${id} ORDER BY n`, format: 'JSON' })).json();
    expect(rows.data).toEqual([
      { s: "it's", t: 'd' },
      { s: 'b', t: 'd' },
      { s: 'c', t: 'd' },
    ]);
    await connection.close();
  });

  it.each([
    ['small', 5_000, 2],
    ['of 96 MB', 1_500_000, 8],
  ])('stores nothing of a %s body that breaks off between two blocks', async (size, rows, blocks) => {
    const id = await table('n UInt64');
    const queryId = `broken-${id}`;
    const { body } = await send(target(), { body: `SELECT number AS n FROM numbers(${rows}) FORMAT Native` });
    const params = { ...ONE_BLOCK, query: `INSERT INTO ${id} FORMAT Native`, query_id: queryId };
    const request = begin(target(), { params });
    for (let i = 0; i < blocks; i++) {
      await new Promise((resolve) => request.write(body, resolve));
    }
    await until(async () => (await target().running([queryId])).size === 1);
    // The large one has begun: all its rows are read, and the end of the body is all that is missing.
    const read = `SELECT max(read_rows) FROM system.processes WHERE query LIKE 'INSERT INTO ${id}%'`;
    if (blocks > 2) await until(async () => Number(await run(target(), read)) >= rows * (blocks - 1));
    request.destroy();
    await until(async () => (await target().running([queryId])).size === 0);
    expect(await run(target(), `SELECT count() FROM ${id}`), size).toBe('0\n');
  });
}

function failing(target: () => ContractTarget, client: Client, table: MakeTable): void {
  it.each([
    ['SELECT count() FROM no_such_table', 60, 404, 'UNKNOWN_TABLE'],
    ['SELEC 1', 62, 400, 'SYNTAX_ERROR'],
    ['SELECT 1; SELECT 2', 62, 400, 'SYNTAX_ERROR'],
    ['SELECT no_such_column FROM system.one', 47, 404, 'UNKNOWN_IDENTIFIER'],
    ['SELECT noSuchFunction(1)', 46, 404, 'UNKNOWN_FUNCTION'],
    ['SELECT * FROM no_such_database.t', 81, 404, 'UNKNOWN_DATABASE'],
    ['SELECT 1 FORMAT NoSuchFormat', 73, 404, 'UNKNOWN_FORMAT'],
    ['SELECT 1 SETTINGS no_such_setting = 1', 115, 404, 'UNKNOWN_SETTING'],
    ["SELECT toUInt8('x')", 6, 400, 'CANNOT_PARSE_TEXT'],
    ['SELECT throwIf(1)', 395, 500, 'FUNCTION_THROW_IF_VALUE_IS_NON_ZERO'],
    ["SELECT 1 INTO OUTFILE 'x'", 358, 500, 'INTO_OUTFILE_NOT_ALLOWED'],
  ])('answers %s with code %d and status %d', async (sql, code, status, name) => {
    const answer = await send(target(), { body: sql });
    expect(answer.text).toMatch(new RegExp(`^Code: ${code}\\. DB::Exception: [\\s\\S]*\\(${name}\\)`));
    expect(answer.headers['x-clickhouse-exception-code']).toBe(String(code));
    expect(answer.status).toBe(status);
  });

  it('refuses a wrong setting, a wrong value in an INSERT, and writing by GET', async () => {
    const id = await table('n UInt8');
    const setting = await send(target(), { body: 'SELECT 1', params: { no_such_setting: 1 } });
    expect([setting.status, setting.headers['x-clickhouse-exception-code']]).toEqual([404, '115']);
    const value = await send(target(), { body: 'abc\n', params: { query: `INSERT INTO ${id} FORMAT TSV` } });
    expect(value.status, value.text).toBe(400);
    const get = await send(target(), { method: 'GET', params: { query: `DROP TABLE ${id}` } });
    expect(get.headers['x-clickhouse-exception-code']).toBe('164');
    expect(await run(target(), `EXISTS TABLE ${id}`)).toBe('1\n');
  });

  it('refuses a wrong password in each of the three places, and takes the right one there', async () => {
    const { user, password } = target();
    const ask = { body: 'SELECT 1', auth: undefined };
    for (const [given, status] of [
      [password, 200],
      [`${password}x`, 403],
    ] as const) {
      const headers = { 'X-ClickHouse-User': user, 'X-ClickHouse-Key': given };
      const answers = [
        await send(target(), { body: 'SELECT 1', auth: `${user}:${given}` }),
        await send(target(), { ...ask, headers }),
        await send(target(), { ...ask, params: { user, password: given } }),
      ];
      for (const answer of answers) {
        expect(answer.status, answer.text).toBe(status);
        if (status === 403) expect(answer.headers['x-clickhouse-exception-code']).toBe('516');
      }
    }
  });

  it('tells of an exception that comes after the first bytes', async () => {
    const sql = 'SELECT throwIf(number = 3000000, $$late$$), number FROM numbers(6000000)';
    const settings = 'SETTINGS max_threads = 1, max_block_size = 65536';
    const answer = await send(target(), { body: `${sql} ${settings} FORMAT TSV` });
    expect(answer.status).toBe(200);
    expect(answer.text.slice(-600)).toContain('Code: 395');
    const tag = String(answer.headers['x-clickhouse-exception-tag']);
    expect(answer.text.slice(-100)).toContain(`${tag}\r\n__exception__\r\n`);
    const waited = await send(target(), { body: `${sql} ${settings} FORMAT TSV`, params: { wait_end_of_query: 1 } });
    expect([waited.status, waited.headers['x-clickhouse-exception-code']]).toEqual([500, '395']);
    const connection = client();
    const result = await connection.query({ query: `${sql} ${settings}`, format: 'JSONEachRow' });
    await expect(result.text()).rejects.toThrow();
    await connection.close();
  });
}

function together(target: () => ContractTarget, client: Client, table: MakeTable): void {
  const ids = (name: string, count: number) => Array.from({ length: count }, (_, i) => `${name}-${i}-${Date.now()}`);

  it('inserts while 20 slow reads are asked for', async () => {
    const id = await table('n UInt64');
    const readIds = ids('slow', 20);
    const reads = readIds.map((query_id) => {
      const request = begin(target(), { params: { query_id } });
      request.end(SLOW_READ);
      return request;
    });
    await until(async () => (await target().running(readIds)).size === 20);
    await run(target(), '1\n2\n', { query: `INSERT INTO ${id} FORMAT TSV` });
    expect((await target().running(readIds)).size).toBe(20);
    for (const read of reads) read.destroy();
    await until(async () => (await target().running(readIds)).size === 0);
    expect(await run(target(), `SELECT sum(n) FROM ${id}`)).toBe('3\n');
  });

  it('runs different queries at once, each with its own parameters and settings', async () => {
    const asked = Array.from({ length: 60 }, (_, i) => i);
    const answers = await Promise.all(
      asked.map((i) =>
        run(target(), "SELECT {p:String}, getSetting('max_block_size')", { param_p: `v${i}`, max_block_size: i + 1 }),
      ),
    );
    expect(answers).toEqual(asked.map((i) => `v${i}\t${i + 1}\n`));
  });

  it.each([
    ['a read that has sent nothing', 'SELECT count() FROM numbers(1000000000000) WHERE sipHash64(number) = 1'],
    ['a read whose client does not read on', 'SELECT number FROM numbers(10000000000)'],
  ])('ends %s when its client goes', async (_name, sql) => {
    // At every moment of its life, the first milliseconds above all.
    for (const query_id of ids('gone', 25)) {
      const request = begin(target(), { params: { query_id, cancel_http_readonly_queries_on_client_close: 1 } });
      request.on('response', (response) => response.pause().on('error', () => undefined));
      request.end(sql);
      await until(async () => (await target().running([query_id])).size === 1);
      request.destroy();
      await until(async () => (await target().running([query_id])).size === 0);
    }
  });

  it('kills a query by its id', async () => {
    const [query_id = ''] = ids('killed', 1);
    const request = begin(target(), { params: { query_id } });
    const answer = answerOf(request);
    request.end(SLOW_READ);
    await until(async () => (await target().running([query_id])).size === 1);
    const connection = client();
    await connection.command({ query: `KILL QUERY WHERE query_id = '${query_id}' ASYNC` });
    await connection.close();
    expect((await answer).text).toContain('Code: 394');
    expect(await run(target(), "KILL QUERY WHERE query_id = 'no-such-id' ASYNC")).toBe('');
  });

  it('refuses a second query with the id of one that runs', async () => {
    const [query_id = ''] = ids('twice', 1);
    const request = begin(target(), { params: { query_id } });
    request.end(SLOW_READ);
    await until(async () => (await target().running([query_id])).size === 1);
    const answer = await send(target(), { body: 'SELECT 1', params: { query_id } });
    expect(answer.headers['x-clickhouse-exception-code']).toBe('216');
    request.destroy();
    await until(async () => (await target().running([query_id])).size === 0);
  });
}
