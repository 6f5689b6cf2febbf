import { describe, expect, it } from 'vitest';
import type { Chdb, ChdbConnection } from '../../src/engine/chdb-native.ts';
import { type Job, type Lane, openSessionPool, SLOTS_TOTAL } from '../../src/engine/session-pool.ts';

/** Connections that write down what is asked of them; a query of an engine that has nothing to do. */
function recorder() {
  const events: string[] = [];
  let opened = 0;
  const open = (): ChdbConnection => {
    const id = opened++;
    const answer = (sql: string) => {
      events.push(`${id} ${sql}`);
      return {
        bytes: Buffer.from(sql.startsWith('KILL') ? 'waiting' : ''),
        resultRows: 0,
        resultBytes: 0,
        elapsedMs: 0,
      };
    };
    return {
      query: async (sql) => answer(sql),
      write: async (sql) => ({ ...answer(sql), writtenRows: 0, writtenBytes: 0 }),
      close: () => void events.push(`${id} close`),
    };
  };
  return { chdb: { open } satisfies Chdb, events };
}

const fifos = Array.from({ length: SLOTS_TOTAL }, (_, i) => `/pipe/${i}`);
/** The test's own time limit is the bound. */
async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await turn();
}
const turn = () => new Promise((resolve) => setTimeout(resolve, 5));

/** A job that runs until it is told to end. */
function heldJob(lane: Lane) {
  const abort = new AbortController();
  const gate = Promise.withResolvers<string>();
  const state = { begun: false };
  const job: Job<string> = {
    lane,
    signal: abort.signal,
    prelude: [],
    work: async () => {
      state.begun = true;
      return await gate.promise;
    },
  };
  return { job, abort, state, end: () => gate.resolve('done') };
}

describe('the session pool', () => {
  it('runs eight reads at once, and an INSERT beside them', async () => {
    const pool = openSessionPool(recorder().chdb, fifos);
    const reads = Array.from({ length: 10 }, () => heldJob('read'));
    const done = reads.map(({ job }) => pool.run(job));
    await until(() => reads.filter(({ state }) => state.begun).length === 8);
    expect(pool.counts).toEqual({ running: 8, waiting: 2 });
    const insert = heldJob('insert');
    insert.end();
    expect(await pool.run(insert.job)).toBe('done');
    for (const { end } of reads) end();
    expect(await Promise.all(done)).toHaveLength(10);
    expect(pool.counts).toEqual({ running: 0, waiting: 0 });
    await pool.close();
  });

  it('never begins a job that was aborted while it waited, and leaves its place to the next', async () => {
    const pool = openSessionPool(recorder().chdb, fifos);
    const running = [heldJob('command'), heldJob('command')];
    const [gone, next] = [heldJob('command'), heldJob('command')];
    const done = running.map(({ job }) => pool.run(job));
    const aborted = pool.run(gone.job);
    const following = pool.run(next.job);
    await until(() => running.every(({ state }) => state.begun));
    gone.abort.abort();
    await expect(aborted).rejects.toMatchObject({ storeCode: 394 });
    expect(pool.counts).toEqual({ running: 2, waiting: 1 });
    for (const { end } of [...running, next, gone]) end();
    expect(await Promise.all([...done, following])).toEqual(['done', 'done', 'done']);
    expect(gone.state.begun).toBe(false);
    await pool.close();
  });

  it('does not begin a job whose abort comes in the same turn as its slot', async () => {
    const { chdb, events } = recorder();
    const pool = openSessionPool(chdb, fifos);
    const job = heldJob('insert');
    const result = pool.run(job.job);
    job.abort.abort();
    await expect(result).rejects.toMatchObject({ storeCode: 394 });
    expect([job.state.begun, events]).toEqual([false, []]);
    await pool.close();
  });

  it('refuses what is over its queue with code 202', async () => {
    const pool = openSessionPool(recorder().chdb, fifos);
    const jobs = Array.from({ length: 2 + 64 }, () => heldJob('command'));
    const done = jobs.map(({ job }) => pool.run(job));
    await expect(pool.run(heldJob('command').job)).rejects.toMatchObject({ storeCode: 202 });
    for (const { end } of jobs) end();
    await Promise.all(done);
    await pool.close();
  });

  it('gives each job a connection of its own, its prelude, and a pipe that nobody else has', async () => {
    const { chdb, events } = recorder();
    const pool = openSessionPool(chdb, fifos);
    const used = new Set<string>();
    const work: Job<void>['work'] = async (session) => {
      used.add(session.fifo);
      await turn();
      await session.query('SELECT 1', 'TSV');
    };
    const signal = new AbortController().signal;
    await Promise.all([0, 1].map(() => pool.run({ lane: 'read', signal, prelude: ['SET a = 1'], work })));
    expect(used.size).toBe(2);
    for (const id of [1, 2]) {
      const own = events.filter((event) => event.startsWith(`${id} `));
      expect(own[0]).toMatch(/SET log_comment = 'backwork-\d', .*;\nSET a = 1$/);
      expect(own.slice(1)).toEqual([`${id} SELECT 1`, `${id} close`]);
    }
    await pool.close();
    expect(events.at(-1)).toBe('0 close');
  });

  it('closes the connection of a job that failed, and goes on', async () => {
    const { chdb, events } = recorder();
    const pool = openSessionPool(chdb, fifos);
    const failing = { ...heldJob('read').job, work: () => Promise.reject(new Error('broken')) };
    await expect(pool.run(failing)).rejects.toThrow('broken');
    expect(events.at(-1)).toBe('1 close');
    expect(pool.counts.running).toBe(0);
    await pool.close();
  });

  it('kills what runs when it closes, and waits for its end', async () => {
    const { chdb, events } = recorder();
    const pool = openSessionPool(chdb, fifos);
    const job = heldJob('read');
    const done = pool.run(job.job);
    await until(() => job.state.begun);
    const closed = pool.close();
    await until(() => events.some((event) => /^0 KILL QUERY WHERE .*backwork-1' ASYNC/.test(event)));
    expect(events).not.toContain('0 close');
    job.end();
    await done;
    await closed;
    expect(events.at(-1)).toBe('0 close');
    await expect(pool.run(heldJob('read').job)).rejects.toMatchObject({ storeCode: 394 });
  });
});
