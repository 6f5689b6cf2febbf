/** Requests over 1 MiB on their thread: what comes of them, and what happens when the thread or the disk does not go along. */
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { MIB } from '../../../src/base/limits.ts';
import { RowSpill } from '../../../src/ingest/large/large-rows.ts';
import { type LargeRequest, LargeWork, type LargeWorkDeps } from '../../../src/ingest/large/large-work.ts';
import type { BodyEncoding, EncodedBatch, SegmentRows } from '../../../src/ingest/messages.ts';
import { inflateBody } from '../../../src/ingest/spool/body.ts';
import type { RecordHead } from '../../../src/ingest/spool/record.ts';
import { realSpoolFiles, type SpoolFiles } from '../../../src/ingest/spool/spool-files.ts';
import { encodeRecords, ORIGIN } from '../../support/log-request.ts';
import { readNativeBlock } from '../../support/native-reader.ts';

let dir: string;
const running: LargeWork[] = [];

beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'backwork-large-'));
});

afterEach(async () => {
  for (const work of running.splice(0)) await work.close();
  rmSync(dir, { recursive: true, force: true });
});

function workOf(deps: Partial<LargeWorkDeps> = {}, files: SpoolFiles = realSpoolFiles, keptBytesMax = 8 * MIB) {
  const work = new LargeWork({ cutBytes: MIB, spill: new RowSpill({ files, dir, keptBytesMax }), ...deps });
  running.push(work);
  return work;
}

function request(body: Buffer, encoding: BodyEncoding = 'protobuf', onTurn = () => {}): LargeRequest {
  return { signal: 'logs', encoding, body, protobufBytesMax: 64 * MIB, origin: ORIGIN, rejectedBefore: 0, onTurn };
}

const text = (i: number) => `record ${i} ${'x'.repeat(1_000)}`;
const protobuf = (count = 3_000) =>
  Buffer.from(encodeRecords(Array.from({ length: count }, (_, i) => ({ body: { stringValue: text(i) } }))));
const json = (count = 3_000) => {
  const records = Array.from({ length: count }, (_, i) => ({ body: { stringValue: text(i) } }));
  return Buffer.from(JSON.stringify({ resourceLogs: [{ scopeLogs: [{ logRecords: records }] }] }));
};

async function rowsOf(rows: SegmentRows): Promise<{ bodies: unknown[]; batches: EncodedBatch[] }> {
  rows.assign(7);
  const bodies: unknown[] = [];
  const batches: EncodedBatch[] = [];
  for await (const batch of rows.encodeInSteps(() => 'none of these')) {
    if (batch === undefined) continue;
    batches.push(batch);
    for (const row of readNativeBlock(Buffer.from(batch.bytes)).rows) bodies.push(row['Body']);
  }
  return { bodies, batches };
}

describe('a large request', () => {
  it.each(['protobuf', 'json'] as const)(
    'of %s gives its rows in batches and its body as it is stored',
    async (form) => {
      const { result, rows, stored } = await workOf().run(request(form === 'json' ? json() : protobuf(), form));
      expect(result).toEqual({ accepted: 3_000, rejected: 0, message: '' });
      const { bodies, batches } = await rowsOf(rows);
      expect(bodies).toEqual(Array.from({ length: 3_000 }, (_, i) => text(i)));
      expect(batches.length).toBeGreaterThan(1);
      let next = 0;
      for (const batch of batches) {
        expect(batch).toMatchObject({ rowFrom: next, firstRequest: 7, lastRequest: 7, table: 'otel_logs' });
        next += batch.rowCount;
      }
      const head = { codec: stored!.codec, rawBytes: stored!.rawBytes } as RecordHead;
      expect((await inflateBody(head, stored!.bytes))?.equals(protobuf())).toBe(true);
    },
  );

  it('keeps rows in memory up to a bound, sets others aside in a file without a name, and gives both back', async () => {
    const work = workOf({}, realSpoolFiles, 2 * MIB);
    const { rows } = await work.run(request(protobuf()));
    expect(rows.bytes).toBeGreaterThan(0);
    expect(rows.bytes).toBeLessThanOrEqual(2 * MIB);
    expect(readdirSync(dir)).toEqual([]);
    expect((await rowsOf(rows)).bodies).toHaveLength(3_000);
    await rows.release?.();
    expect(rows.bytes).toBe(0);
  });

  it('has no two batches of one BatchId', async () => {
    const { rows } = await workOf().run(request(protobuf()));
    const ids = (await rowsOf(rows)).batches.map((batch) => batch.batchId);
    expect(new Set(ids).size).toBe(ids.length);
  });

  it('that is malformed is refused with its path, and the next one is served by the same thread', async () => {
    const work = workOf();
    const broken = work.run(request(json().subarray(0, -1), 'json'));
    await expect(broken).rejects.toMatchObject({ code: 'malformed', retryable: false });
    const wrong = Buffer.from(`{"resourceLogs":${'[{"resource":7}'.padEnd(2 * MIB)}]}`);
    await expect(work.run(request(wrong, 'json'))).rejects.toMatchObject({ field: 'resourceLogs[0].resource' });
    expect((await work.run(request(protobuf()))).result.accepted).toBe(3_000);
  });

  it('without items has nothing to store', async () => {
    const empty = Buffer.from(`{"unknown":"${'x'.repeat(2 * MIB)}"}`);
    const { stored, result } = await workOf().run(request(empty, 'json'));
    expect({ stored, accepted: result.accepted }).toEqual({ stored: undefined, accepted: 0 });
  });

  it('leaves the memory of a smaller body to those who share it', async () => {
    const bytes = protobuf(5);
    const shared = Buffer.alloc(bytes.length + 8, 'the rest');
    bytes.copy(shared);
    shared.write('the rest', bytes.length);
    const body = shared.subarray(0, shared.length - 8);
    expect((await workOf().run(request(body))).result.accepted).toBe(5);
    expect(shared.subarray(-8).toString()).toBe('the rest');
  });
});

describe('large requests together', () => {
  it('have their turns one after another, in the order they came', async () => {
    const work = workOf();
    const turns: string[] = [];
    const all = ['a', 'b', 'c'].map(async (name) => {
      await work.run(request(protobuf(), 'protobuf', () => turns.push(`${name} begins`)));
      turns.push(`${name} ends`);
    });
    await Promise.all(all);
    expect(turns).toEqual(['a begins', 'a ends', 'b begins', 'b ends', 'c begins', 'c ends']);
  });

  it('tell whoever waited too long to come again', async () => {
    const work = workOf({ waitMsMax: -1 });
    await expect(work.run(request(protobuf()))).rejects.toMatchObject({ code: 'overloaded', retryable: true });
  });

  it('are refused by what has no room for them at their turn, and the next one goes on', async () => {
    const work = workOf();
    const full = () => {
      throw new Error('no room');
    };
    await expect(work.run(request(protobuf(), 'protobuf', full))).rejects.toThrow('no room');
    expect((await work.run(request(protobuf()))).result.accepted).toBe(3_000);
  });
});

describe('when the thread or the disk fails', () => {
  it('the request that the thread had is told to come again, and the next one has a new thread', async () => {
    const marker = join(dir, 'died');
    const program = join(dir, 'dies-once.ts');
    const real = new URL('../../../src/ingest/large/large-thread.ts', import.meta.url).href;
    writeFileSync(
      program,
      `import { existsSync, writeFileSync } from 'node:fs';
       import { parentPort } from 'node:worker_threads';
       if (existsSync(${JSON.stringify(marker)})) await import(${JSON.stringify(real)});
       else parentPort?.on('message', () => { writeFileSync(${JSON.stringify(marker)}, ''); process.exit(3); });`,
    );
    const work = workOf({ program: pathToFileURL(program) });
    await expect(work.run(request(protobuf()))).rejects.toMatchObject({ code: 'overloaded', retryable: true });
    expect((await work.run(request(protobuf()))).result.accepted).toBe(3_000);
  });

  it('a full disk refuses, retryable, and the next request is served', async () => {
    let full = true;
    const files: SpoolFiles = {
      ...realSpoolFiles,
      create: (path) => {
        if (full) return Promise.reject(Object.assign(new Error('no space'), { code: 'ENOSPC' }));
        return realSpoolFiles.create(path);
      },
    };
    const work = workOf({}, files, 0);
    await expect(work.run(request(protobuf()))).rejects.toMatchObject({ code: 'spool-full', retryable: true });
    full = false;
    const { rows } = await work.run(request(protobuf()));
    expect((await rowsOf(rows)).bodies).toHaveLength(3_000);
    await rows.release?.();
  });

  it('a file whose name was not taken before the process ended is removed by the next', async () => {
    writeFileSync(join(dir, 'rows-0'), 'left');
    writeFileSync(join(dir, 'spool.json'), 'stays');
    await new RowSpill({ files: realSpoolFiles, dir, keptBytesMax: 0 }).clear();
    expect(readdirSync(dir)).toEqual(['spool.json']);
  });
});
