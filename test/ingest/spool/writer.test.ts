import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { SEGMENT_RECORDS_MAX } from '../../../src/ingest/spool/format.ts';
import { listSealed, readBatch, readFooter, readRecords, removeSegment } from '../../../src/ingest/spool/reader.ts';
import { realSpoolFiles } from '../../../src/ingest/spool/spool-files.ts';
import { SEALING_MAX } from '../../../src/ingest/spool/writer.ts';
import {
  bodyOf,
  diskError,
  header,
  hookedFiles,
  IdRows,
  readAll,
  send,
  type TestSpool,
  testSpool,
  until,
} from './fixtures.ts';

let spoolOf: TestSpool;
beforeEach(() => {
  spoolOf = testSpool();
});
afterEach(() => spoolOf.remove());

describe('group commit', () => {
  test('answers only after the records are synced, and for a new segment its directory', async () => {
    const calls: string[] = [];
    const files = hookedFiles((call, name) => {
      if (call !== 'remove') calls.push(`${call} ${name.replace(/^\d{16}/, 'N')}`);
    });
    const spool = await spoolOf.open({ files });
    calls.length = 0;
    await send(spool, 1).durable.then(() => calls.push('answer 1'));
    await send(spool, 2).durable.then(() => calls.push('answer 2'));
    expect(calls).toEqual([
      'create N.segment',
      'write N.segment',
      'datasync N.segment',
      'syncDirectory 0',
      'answer 1',
      'write N.segment',
      'datasync N.segment',
      'answer 2',
    ]);
    await spool.close();
  });

  test('takes all that arrived during a commit into the next one, one commit at a time', async () => {
    let release = (): void => {};
    const syncs: number[] = [];
    let running = 0;
    const files = hookedFiles(async (call, name) => {
      if (call !== 'datasync' || !name.endsWith('.segment')) return;
      expect(++running).toBe(1);
      if (syncs.push(0) === 1)
        await new Promise<void>((resolve) => {
          release = resolve;
        });
      running--;
    });
    const spool = await spoolOf.open({ files });
    const answered: number[] = [];
    const first = send(spool, 1).durable.then(() => answered.push(1));
    await until(() => syncs.length === 1, 'the first sync');
    const others = Array.from({ length: 50 }, (_, at) => send(spool, at + 2).durable.then(() => answered.push(at + 2)));
    await new Promise((resolve) => setTimeout(resolve, 5));
    expect(answered).toEqual([]);
    release();
    await Promise.all([first, ...others]);
    expect(syncs.length).toBe(2);
    expect(answered.length).toBe(51);
    await spool.close();
  });

  test('goes on after short writes', async () => {
    const files = {
      ...realSpoolFiles,
      create: async (path: string) => {
        const file = await realSpoolFiles.create(path);
        return Object.assign(Object.create(file) as typeof file, {
          write: (buffers: readonly Uint8Array[], position: number) =>
            file.write([(buffers[0] as Uint8Array).subarray(0, 7)], position),
        });
      },
    };
    const spool = await spoolOf.open({ files });
    await Promise.all([1, 2, 3].map((id) => send(spool, id, { bytes: 5_000 }).durable));
    await spool.close();
    expect((await readAll(realSpoolFiles, spoolOf.dir)).rows.map(({ id }) => id)).toEqual([1, 2, 3]);
  });

  test('writes groups of more buffers than one call takes', async () => {
    const spool = await spoolOf.open();
    await Promise.all(Array.from({ length: 2_500 }, (_, id) => send(spool, id).durable));
    await spool.close();
    expect((await readAll(realSpoolFiles, spoolOf.dir)).ids).toEqual(Array.from({ length: 2_500 }, (_, id) => id));
  });
});

describe('sealing', () => {
  test('writes records, batches and a footer that says all of them', async () => {
    const spool = await spoolOf.open();
    const one = send(spool, 1, { placement: 'a' });
    const two = send(spool, 2, { placement: 'b', bytes: 9_000 });
    const three = send(spool, 3, { placement: 'a' });
    const large = send(spool, 4, { own: true, bytes: 20_000 });
    await Promise.all([one.durable, two.durable, three.durable, large.durable]);
    two.answered();
    await spool.close();
    const [sequence] = await listSealed(realSpoolFiles, spoolOf.dir);
    expect(spoolOf.sealed).toEqual([sequence]);
    const footer = await readFooter(realSpoolFiles, spoolOf.dir, sequence as number);
    expect(footer.converterVersion).toBe(3);
    expect(footer.requests.map(({ answerSent, ownBatches }) => [answerSent, ownBatches])).toEqual([
      [false, false],
      [true, false],
      [false, false],
      [false, true],
    ]);
    expect(footer.requests[1]).toMatchObject({ orgId: header().orgId, tokenId: header().tokenId, signal: 'logs' });
    expect(Buffer.from((footer.requests[1] as { fingerprint: Uint8Array }).fingerprint)).toEqual(
      Buffer.from(two.body.fingerprint),
    );
    const batches = footer.batches.map((b) => [
      b.table,
      b.partition.placement,
      b.firstRequest,
      b.lastRequest,
      b.rowCount,
    ]);
    expect(batches).toEqual([
      ['otel_logs', 'a', 0, 2, 2],
      ['otel_logs', 'b', 1, 1, 1],
      ['own', 'shared-0', 3, 3, 1],
    ]);
    expect(new Set(footer.batches.map((b) => b.batchId)).size).toBe(3);
    expect(footer.batches.every((b) => b.batchId.startsWith(Math.floor(1_795_456_000).toString(16)))).toBe(true);
    const second = footer.batches[1] as (typeof footer.batches)[number];
    expect(await readBatch(realSpoolFiles, spoolOf.dir, sequence as number, second)).toEqual(
      Buffer.from(Uint32Array.from([2, 1]).buffer),
    );
    expect((await readAll(realSpoolFiles, spoolOf.dir)).ids).toEqual([1, 2, 3, 4]);
  });

  test('happens by bytes, by rows, by a full builder, and by age', async () => {
    const rows: IdRows[] = [];
    const newRows = (): IdRows => rows[rows.push(new IdRows()) - 1] as IdRows;
    const spool = await spoolOf.open({ segmentBytesMax: 20_000, segmentAgeMs: 30, newRows });
    await send(spool, 2, { bytes: 30_000 }).durable;
    await until(() => spoolOf.sealed.length === 1, 'sealed by bytes');
    spool.rows.full = true;
    await send(spool, 3).durable;
    await until(() => spoolOf.sealed.length === 2, 'sealed by a full builder');
    spool.rows.bytes = 64 * 1_048_576;
    await send(spool, 4).durable;
    await until(() => spoolOf.sealed.length === 3, 'sealed by bytes of rows');
    await send(spool, 5).durable;
    await until(() => spoolOf.sealed.length === 4, 'sealed by age');
    await spool.close();
    expect((await readAll(realSpoolFiles, spoolOf.dir)).ids).toEqual([2, 3, 4, 5]);
  });

  test('leaves no file of a segment without requests', async () => {
    const spool = await spoolOf.open({ segmentAgeMs: 1 });
    await new Promise((resolve) => setTimeout(resolve, 20));
    await spool.close();
    expect(readdirSync(spoolOf.dir).sort()).toEqual(['ballast', 'spool.json', 'spool.lock']);
  });

  test('happens at the largest number of records a footer holds', async () => {
    const spool = await spoolOf.open({ segmentBytesMax: 64 * 1_048_576 });
    const stored = send(spool, 0).body;
    for (let id = 1; id < SEGMENT_RECORDS_MAX; id++) {
      spool.rows.write(0, 'shared-0');
      spool.append(header(), stored);
    }
    await until(() => spoolOf.sealed.length === 1, 'sealed by number of records');
    await spool.close();
    const footer = await readFooter(realSpoolFiles, spoolOf.dir, spoolOf.sealed[0] as number);
    expect(footer.requests.length).toBe(SEGMENT_RECORDS_MAX);
  });

  test('goes on while the next segment takes requests; with too many waiting, requests are refused', async () => {
    let release = (): void => {};
    const gate = new Promise<void>((resolve) => {
      release = resolve;
    });
    const files = hookedFiles(async (call, name) => {
      if (call === 'create' && name.endsWith('.footer.tmp')) await gate;
    });
    const spool = await spoolOf.open({ files, segmentBytesMax: 2_000 });
    const ids: number[] = [];
    for (let id = 2; ids.length <= SEALING_MAX; id += 2) {
      expect(spool.refusal(100)).toBeUndefined();
      await send(spool, id, { bytes: 3_000 }).durable;
      ids.push(id);
    }
    expect(spool.refusal(100)).toMatchObject({ code: 'spool-failed', retryable: true });
    release();
    await until(() => spoolOf.sealed.length === ids.length, 'all sealed');
    expect(spool.refusal(100)).toBeUndefined();
    await spool.close();
    expect((await readAll(realSpoolFiles, spoolOf.dir)).ids).toEqual(ids);
  });

  test('refuses while rows without a footer are at their bound, and accepts again once they have one', async () => {
    let release = (): void => {};
    const blocked = new Promise<void>((resolve) => {
      release = resolve;
    });
    const files = hookedFiles((call, name) =>
      call === 'create' && name.endsWith('.footer.tmp') ? blocked : undefined,
    );
    const spool = await spoolOf.open({ files, segmentRowBytesMax: 16, rowBytesMax: 20 });
    for (const id of [1, 2, 3]) {
      expect(spool.refusal(100)).toBeUndefined();
      await send(spool, id).durable;
    }
    // Two rows wait for their footer, one is in the open segment: 24 bytes.
    expect(spool.refusal(100)).toMatchObject({ code: 'overloaded', retryable: true });
    release();
    await until(() => spoolOf.sealed.length === 1, 'sealed');
    await until(() => spool.refusal(100) === undefined, 'room again');
    await spool.close();
  });

  test('lets go of the rows of large requests when their segment has its footer', async () => {
    const spool = await spoolOf.open();
    const rows = Object.assign(new IdRows('own'), { release: () => Promise.resolve(void released++) });
    let released = 0;
    rows.write(1, 'shared-0');
    const { body } = send(spool, 2);
    await spool.append(header({ ownBatches: true, fingerprint: body.fingerprint }), body, rows).durable;
    expect(released).toBe(0);
    await spool.close();
    expect(released).toBe(1);
  });

  test('makes the batches from the records when the builders cannot be encoded', async () => {
    const spool = await spoolOf.open();
    spool.rows.broken = new Error('builder');
    await Promise.all([send(spool, 1).durable, send(spool, 2).durable]);
    await spool.close();
    expect(spoolOf.fatal).toEqual([]);
    expect((await readAll(realSpoolFiles, spoolOf.dir)).rows.map(({ id }) => id)).toEqual([1, 2]);
  });

  test('keeps the rows of a request that does not fit the format out of the segment', async () => {
    const spool = await spoolOf.open();
    await send(spool, 1).durable;
    spool.rows.write(99, 'shared-0');
    const bad = spool.append(header({ tokenId: 'x'.repeat(2_000) }), send(spool, 98, { placement: 'p' }).body);
    await expect(bad.durable).rejects.toMatchObject({ code: 'spool-failed', retryable: true });
    await send(spool, 2).durable;
    await spool.close();
    expect((await readAll(realSpoolFiles, spoolOf.dir)).ids).toEqual([1, 98, 2]);
  });
});

describe('when the disk fails', () => {
  test('a failed sync answers nobody and ends the process', async () => {
    const files = hookedFiles((call, name) => {
      if (call === 'datasync' && name.endsWith('.segment')) throw diskError('EIO');
    });
    const spool = await spoolOf.open({ files });
    let settled = 0;
    for (const { durable } of [send(spool, 1), send(spool, 2)])
      durable.then(
        () => settled++,
        () => settled++,
      );
    await until(() => spoolOf.fatal.length > 0, 'fatal');
    const late = send(spool, 3).durable.then(
      () => settled++,
      () => settled++,
    );
    await new Promise((resolve) => setTimeout(resolve, 20));
    expect(settled).toBe(0);
    expect(spoolOf.fatal.length).toBe(1);
    expect(spool.refusal(1)).toMatchObject({ code: 'spool-failed', retryable: true });
    await spool.close();
    void late;
  });

  test('a directory that cannot be synced answers nobody either', async () => {
    let failing = false;
    const files = hookedFiles((call) => {
      if (call === 'syncDirectory' && failing) throw diskError('EIO');
    });
    const spool = await spoolOf.open({ files });
    failing = true;
    let settled = 0;
    send(spool, 1).durable.then(
      () => settled++,
      () => settled++,
    );
    await until(() => spoolOf.fatal.length > 0, 'fatal');
    expect(settled).toBe(0);
    await spool.close();
  });

  test.each(['ENOSPC', 'EIO'] as const)(
    '%s at the Nth write refuses that group alone and loses nothing else',
    async (code) => {
      for (let failAt = 1; failAt <= 6; failAt++) {
        const of = testSpool();
        let writes = 0;
        const files = hookedFiles((call, name) => {
          if (call === 'write' && name.endsWith('.segment') && ++writes === failAt) throw diskError(code);
        });
        const spool = await of.open({ files });
        const kept: number[] = [];
        for (let id = 0; id < 6; id++) {
          const outcome = send(spool, id).durable.then(() => kept.push(id));
          if (id === failAt - 1) {
            await expect(outcome).rejects.toMatchObject({
              code: code === 'ENOSPC' ? 'spool-full' : 'spool-failed',
              retryable: true,
              retryAfterMs: 1_000,
            });
          } else await outcome;
        }
        await spool.close();
        expect(of.fatal).toEqual([]);
        expect(kept.length).toBe(5);
        const { ids, rows } = await readAll(realSpoolFiles, of.dir);
        expect(ids).toEqual(kept);
        expect(rows.map(({ id }) => id)).toEqual(kept);
        of.remove();
      }
    },
  );

  test('what waits for an abandoned segment is refused too, and nothing behind it is misplaced', async () => {
    let fail = (): void => {};
    let writes = 0;
    const files = hookedFiles(async (call, name) => {
      if (call !== 'write' || !name.endsWith('.segment') || ++writes !== 2) return;
      await new Promise<void>((_, reject) => {
        fail = () => reject(diskError('ENOSPC'));
      });
    });
    const spool = await spoolOf.open({ files });
    await send(spool, 1).durable;
    const second = send(spool, 2).durable;
    await until(() => writes === 2, 'the write that will fail');
    const third = send(spool, 3).durable;
    fail();
    await expect(second).rejects.toMatchObject({ code: 'spool-full' });
    await expect(third).rejects.toMatchObject({ retryable: true });
    await send(spool, 4).durable;
    await spool.close();
    expect((await readAll(realSpoolFiles, spoolOf.dir)).rows.map(({ id }) => id)).toEqual([1, 4]);
  });

  test('a tail that was half written is cut back before the segment is sealed', async () => {
    let half = false;
    const files = {
      ...realSpoolFiles,
      create: async (path: string) => {
        const file = await realSpoolFiles.create(path);
        return Object.assign(Object.create(file) as typeof file, {
          write: async (buffers: readonly Uint8Array[], position: number) => {
            if (!half || !path.endsWith('.segment')) return file.write(buffers, position);
            half = false;
            await file.write([(buffers[0] as Uint8Array).subarray(0, 50)], position);
            throw diskError('ENOSPC');
          },
        });
      },
    };
    const spool = await spoolOf.open({ files });
    await send(spool, 1).durable;
    half = true;
    await expect(send(spool, 2).durable).rejects.toMatchObject({ code: 'spool-full' });
    await spool.close();
    const [sequence] = spoolOf.sealed as [number];
    const bytes = readFileSync(join(spoolOf.dir, `${String(sequence).padStart(16, '0')}.segment`));
    expect(bytes.length).toBeLessThan(1_024 + 300);
    expect((await readAll(realSpoolFiles, spoolOf.dir)).ids).toEqual([1]);
  });

  test('without room for the batch file the segment is sealed all the same', async () => {
    const files = hookedFiles((call, name) => {
      if (call === 'write' && name.endsWith('.batches')) throw diskError('ENOSPC');
    });
    const spool = await spoolOf.open({ files });
    await Promise.all([send(spool, 1).durable, send(spool, 2).durable]);
    await spool.close();
    const footer = await readFooter(realSpoolFiles, spoolOf.dir, spoolOf.sealed[0] as number);
    expect(footer.batches.map(({ length, rowCount }) => [length, rowCount])).toEqual([[0, 2]]);
    expect(readdirSync(spoolOf.dir).some((name) => name.endsWith('.batches'))).toBe(false);
    expect((await readAll(realSpoolFiles, spoolOf.dir)).ids).toEqual([1, 2]);
  });

  test('a footer takes the room set aside, and waits when that is not enough', async () => {
    let failures = 3;
    let ballastGone = false;
    const files = hookedFiles((call, name) => {
      if (call === 'remove' && name === 'ballast') ballastGone = true;
      if (call !== 'write' || !name.endsWith('.footer.tmp') || failures === 0) return;
      failures--;
      throw diskError('ENOSPC');
    });
    const spool = await spoolOf.open({ files, segmentBytesMax: 2_000 });
    ballastGone = false;
    await send(spool, 2, { bytes: 3_000 }).durable;
    await until(() => spoolOf.sealed.length === 1, 'sealed in the end');
    expect(ballastGone).toBe(true);
    await spool.close();
    expect((await readAll(realSpoolFiles, spoolOf.dir)).ids).toEqual([2]);
  });

  test('a footer whose sync fails ends the process; the next start seals the segment', async () => {
    let failing = true;
    const files = hookedFiles((call, name) => {
      if (failing && call === 'datasync' && name.endsWith('.footer.tmp')) throw diskError('EIO');
    });
    const spool = await spoolOf.open({ files });
    await send(spool, 1).durable;
    await spool.close();
    expect(spoolOf.fatal.length).toBe(1);
    expect(spoolOf.sealed).toEqual([]);
    failing = false;
    const next = await spoolOf.open({ files });
    expect(next.recovered.sealed.length).toBe(1);
    await next.close();
    expect((await readAll(realSpoolFiles, spoolOf.dir)).ids).toEqual([1]);
  });
});

describe('refusals and the end', () => {
  test('below the low-water mark requests are refused', async () => {
    const files = { ...realSpoolFiles, freeBytes: async () => 10_000_000 };
    const spool = await spoolOf.open({ files, reserveBytes: 4_000_000, segmentBytesMax: 2_000_000 });
    expect(spool.refusal(1_000_000)).toBeUndefined();
    expect(spool.refusal(7_000_000)).toMatchObject({ code: 'spool-full', retryable: true });
    await spool.close();
  });

  test('a closed spool refuses, and gives its lock back', async () => {
    const spool = await spoolOf.open();
    await send(spool, 1).durable;
    const closing = spool.close();
    expect(spool.refusal(0)).toMatchObject({ code: 'shutting-down', retryable: true });
    await expect(send(spool, 2).durable).rejects.toMatchObject({ code: 'shutting-down' });
    await closing;
    const next = await spoolOf.open();
    await next.close();
    expect((await readAll(realSpoolFiles, spoolOf.dir)).ids).toEqual([1]);
  });

  test('what was appended before close is durable when close returns', async () => {
    const spool = await spoolOf.open();
    const sent = [1, 2, 3].map((id) => send(spool, id).durable);
    await spool.close();
    await Promise.all(sent);
    expect((await readAll(realSpoolFiles, spoolOf.dir)).ids).toEqual([1, 2, 3]);
  });

  test('a second opener of the same directory finds it locked', async () => {
    const spool = await spoolOf.open();
    const takeLock = (await import('../../../src/base/lock-file.ts')).takeLock;
    await expect(spoolOf.open({ takeLock: (path) => takeLock(path, 50) })).rejects.toMatchObject({ code: 'locked' });
    await send(spool, 1).durable;
    await spool.close();
    expect((await readAll(realSpoolFiles, spoolOf.dir)).ids).toEqual([1]);
  });

  test('sequence numbers grow over restarts, also when every segment was stored and removed', async () => {
    const seen: number[] = [];
    for (let start = 0; start < 3; start++) {
      const spool = await spoolOf.open();
      await send(spool, start).durable;
      await spool.close();
      const [sequence] = await listSealed(realSpoolFiles, spoolOf.dir);
      seen.push(sequence as number);
      await removeSegment(realSpoolFiles, spoolOf.dir, sequence as number);
    }
    expect(seen[1]).toBeGreaterThan((seen[0] as number) + 1);
    expect(seen[2]).toBeGreaterThan((seen[1] as number) + 1);
    expect(readdirSync(spoolOf.dir).sort()).toEqual(['ballast', 'spool.json', 'spool.lock']);
  });

  test('records are read back one by one in any range', async () => {
    const spool = await spoolOf.open();
    await Promise.all(Array.from({ length: 20 }, (_, id) => send(spool, id, { bytes: 6_000 }).durable));
    await spool.close();
    const [sequence] = spoolOf.sealed as [number];
    const indexes: number[] = [];
    for await (const { index, record } of readRecords(realSpoolFiles, spoolOf.dir, sequence, { first: 7, last: 9 })) {
      indexes.push(index);
      expect(record.body).toEqual(bodyOf(index, 6_000));
    }
    expect(indexes).toEqual([7, 8, 9]);
  });
});
