import { mkdtempSync, rmSync, truncateSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { afterEach, describe, expect, it } from 'vitest';
import { notWhole } from '../../src/engine/part-check.ts';
import { answerOf, begin, run, until } from '../contract/http-request.ts';
import { ended, firstMessage, forkEngine, type RunningEngine, startEngine } from './engine-fixture.ts';

const engines: RunningEngine[] = [];
const dirs: string[] = [];
const start = async (dir?: string) => {
  const engine = await startEngine(dir);
  engines.push(engine);
  return engine;
};
const newDir = () => {
  const dir = mkdtempSync(join(tmpdir(), 'backwork-engine-'));
  dirs.push(dir);
  return dir;
};

afterEach(async () => {
  for (const engine of engines.splice(0)) await engine.stop();
  for (const dir of dirs.splice(0)) rmSync(dir, { recursive: true, force: true });
});

/** Begins a query of an hour, and waits until it runs. */
async function slowQuery(engine: RunningEngine) {
  const request = begin(engine, { params: { query_id: 'slow' } });
  request.end('SELECT sleepEachRow(1) FROM numbers(3600) SETTINGS max_block_size = 1');
  await until(async () => (await run(engine, 'SELECT count() FROM system.processes')) === '2\n');
  return request;
}

describe('the engine process', () => {
  it('ends by itself when its supervisor goes, with a query running', async () => {
    const engine = await start();
    const request = await slowQuery(engine);
    engine.child.disconnect();
    expect(await ended(engine.child)).toBe('SIGKILL');
    request.destroy();
  });

  it('leaves its end to the supervisor on SIGTERM, ends with code 0 on a stop message, and keeps what was written', async () => {
    const dir = newDir();
    const first = await start(dir);
    await run(first, 'CREATE TABLE kept (n UInt8) ENGINE = MergeTree ORDER BY n');
    await run(first, 'INSERT INTO kept VALUES (7)');
    const answer = answerOf(await slowQuery(first)).catch((error: Error) => error);
    first.child.kill('SIGTERM');
    expect(await run(first, 'SELECT n FROM kept')).toBe('7\n');
    first.child.send({ type: 'stop' });
    expect(await ended(first.child)).toBe(0);
    await answer;
    const second = await start(dir);
    expect(await run(second, 'SELECT n FROM kept')).toBe('7\n');
  });

  it('ends when files of a merged part are short, and has every row again after its next start', async () => {
    const dir = newDir();
    const first = await start(dir);
    await run(
      first,
      'CREATE TABLE merged (n UInt64, s LowCardinality(String), INDEX i n TYPE minmax) ENGINE = MergeTree ORDER BY n SETTINGS old_parts_lifetime = 600',
    );
    await run(first, 'INSERT INTO merged SELECT number, toString(number % 7) FROM numbers(1000)');
    await run(first, 'INSERT INTO merged SELECT number, toString(number % 7) FROM numbers(1000, 1000)');
    // Until the truncation comes before the look of each 5 s at new parts.
    for (let killed = false; !killed; ) {
      await run(first, 'OPTIMIZE TABLE merged FINAL SETTINGS optimize_skip_merged_partitions = 0');
      const path = (await run(first, "SELECT path FROM system.parts WHERE active AND table = 'merged'")).trim();
      truncateSync(join(path, 'data.bin'), 100);
      killed = (await Promise.race([ended(first.child), delay(6_000, 'lives')])) === 'SIGKILL';
    }
    const second = await start(dir);
    expect(await run(second, 'SELECT count(), sum(n), uniqExact(s) FROM merged')).toBe('2000\t1999000\t7\n');
  });

  it('counts the files of every kind of part as the engine does', async () => {
    const engine = await start();
    const columns =
      'n UInt64, s LowCardinality(String), m Map(String, String), d Date, INDEX b s TYPE bloom_filter, INDEX i n TYPE minmax';
    for (const [table, settings] of Object.entries({
      compact: 'min_bytes_for_wide_part = 1000000000',
      wide: 'min_bytes_for_wide_part = 0',
    })) {
      await run(
        engine,
        `CREATE TABLE ${table} (${columns}) ENGINE = MergeTree PARTITION BY d ORDER BY n TTL d + INTERVAL 30 DAY SETTINGS ${settings}`,
      );
      await run(
        engine,
        `INSERT INTO ${table} SELECT number, toString(number % 7), map('k', toString(number)), today() FROM numbers(20000)`,
      );
      await run(
        engine,
        `INSERT INTO ${table} SELECT number, toString(number % 7), map('k', toString(number)), today() FROM numbers(20000)`,
      );
      await run(engine, `OPTIMIZE TABLE ${table} FINAL`);
    }
    const rows = await run(
      engine,
      "SELECT path, bytes_on_disk AS bytes, part_type AS type FROM system.parts WHERE table IN ('compact', 'wide') FORMAT JSONEachRow",
    );
    const parts = rows
      .trim()
      .split('\n')
      .map((row) => JSON.parse(row) as { path: string; bytes: number; type: string });
    expect(new Set(parts.map(({ type }) => type))).toEqual(new Set(['Compact', 'Wide']));
    expect(parts.length).toBeGreaterThanOrEqual(6);
    expect(parts.map(notWhole)).toEqual(parts.map(() => undefined));
    const { path, bytes } = parts[0]!;
    truncateSync(join(path, 'columns.txt'));
    expect(notWhole({ path, bytes })).toBe('columns.txt is empty');
  });

  it('waits for a predecessor that is still dying', async () => {
    const dir = newDir();
    const first = await start(dir);
    const second = start(dir);
    setTimeout(() => first.child.kill('SIGKILL'), 1_500);
    expect(await run(await second, 'SELECT 1')).toBe('1\n');
  });

  it('says why it cannot run while another one has the directory', async () => {
    const dir = newDir();
    await start(dir);
    const child = forkEngine(dir, { user: 'backwork', password: 'x' });
    const message = await firstMessage(child);
    expect(message).toMatchObject({ type: 'fatal', message: expect.stringContaining('does another process use it?') });
    expect(await ended(child)).toBe(1);
    // The pipes of the one that runs were not touched.
    expect(await run(engines[0] as RunningEngine, 'SELECT number FROM numbers(2)')).toBe('0\n1\n');
  });

  it('runs in UTC, within its memory, and may back up beside its directory only', async () => {
    const engine = await start();
    expect(await run(engine, "SELECT timezone() IN ('UTC', 'Etc/UTC'), formatDateTime(toDateTime(0), '%T')")).toBe(
      '1\t00:00:00\n',
    );
    const tooMuch = run(engine, 'SELECT length(groupArray(number)) FROM numbers(200000000)');
    await expect(tooMuch).rejects.toThrow('MEMORY_LIMIT_EXCEEDED');
    await run(engine, 'CREATE TABLE t (n UInt8) ENGINE = MergeTree ORDER BY n');
    const to = (name: string) => run(engine, `BACKUP TABLE default.t TO File('${join(engine.dir, name)}')`);
    expect(await to('backups/b1')).toContain('BACKUP_CREATED');
    await expect(to('elsewhere')).rejects.toThrow('DB::Exception');
  });
});
