import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
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
