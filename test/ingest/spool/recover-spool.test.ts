import { fork } from 'node:child_process';
import {
  copyFileSync,
  cpSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { takeLock } from '../../../src/base/lock-file.ts';
import { encodeFooter, FooterRequests } from '../../../src/ingest/spool/footer.ts';
import { encodeSegmentHeader, fileName } from '../../../src/ingest/spool/format.ts';
import { encodeIdentity } from '../../../src/ingest/spool/identity.ts';
import { listSealed, readFooter, removeSegment } from '../../../src/ingest/spool/reader.ts';
import { type RecoverDeps, recoverSpool } from '../../../src/ingest/spool/recover-spool.ts';
import { realSpoolFiles } from '../../../src/ingest/spool/spool-files.ts';
import { collectLog, depsFor, diskError, hookedFiles, readAll, send, type TestSpool, testSpool } from './fixtures.ts';

let spoolOf: TestSpool;
beforeEach(() => {
  spoolOf = testSpool();
});
afterEach(() => spoolOf.remove());

/** A spool as a crash leaves it: one segment with these requests, synced, without a footer. */
async function leaveUnsealed(of: TestSpool, ids: readonly number[]): Promise<string> {
  const files = hookedFiles((call, name) => {
    if (call === 'create' && name.endsWith('.footer.tmp')) throw diskError('EIO');
  });
  const spool = await of.open({ files });
  for (const id of ids) await send(spool, id).durable;
  await spool.close();
  const name = readdirSync(of.dir).find((entry) => entry.endsWith('.segment')) as string;
  return join(of.dir, name);
}

async function reopen(of: TestSpool): Promise<Awaited<ReturnType<TestSpool['open']>>['recovered']> {
  const spool = await of.open();
  await spool.close();
  return spool.recovered;
}

const idsOf = async (of: TestSpool): Promise<number[]> =>
  (await readAll(realSpoolFiles, of.dir)).rows.map(({ id }) => id);
const warnings = (of: TestSpool, message: string): number =>
  of.log.lines.filter((line) => line.message === message).length;

describe('after a crash', () => {
  test('an unsealed segment is converted again, sealed and announced', async () => {
    await leaveUnsealed(spoolOf, [1, 2, 3]);
    expect(spoolOf.sealed).toEqual([]);
    const report = await reopen(spoolOf);
    expect(report.sealed).toEqual(spoolOf.sealed);
    expect(await idsOf(spoolOf)).toEqual([1, 2, 3]);
    expect((await reopen(spoolOf)).kept).toEqual(report.sealed);
  });

  test('a segment cut inside its last three records keeps every whole one', async () => {
    const path = await leaveUnsealed(spoolOf, [0, 1, 2, 3, 4, 5]);
    const whole = readFileSync(path);
    const recordBytes = (whole.length - 1_024) / 6;
    const saved = `${spoolOf.dir}-saved`;
    cpSync(spoolOf.dir, saved, { recursive: true });
    for (let length = 1_024 + 3 * recordBytes; length < whole.length; length += 7) {
      rmSync(spoolOf.dir, { recursive: true });
      cpSync(saved, spoolOf.dir, { recursive: true });
      truncateSync(path, length);
      const good = Math.floor((length - 1_024) / recordBytes);
      const report = await reopen(spoolOf);
      expect(report.tornTails, `${length} bytes`).toBe((length - 1_024) % recordBytes === 0 ? 0 : 1);
      expect(await idsOf(spoolOf), `${length} bytes`).toEqual([0, 1, 2, 3, 4, 5].slice(0, good));
    }
  });

  test('a torn tail is cut and logged once', async () => {
    const path = await leaveUnsealed(spoolOf, [1, 2]);
    const whole = readFileSync(path).length;
    truncateSync(path, whole - 1);
    await reopen(spoolOf);
    await reopen(spoolOf);
    expect(readFileSync(path).length).toBe(1_024 + (whole - 1_024) / 2);
    expect(warnings(spoolOf, 'the torn tail of a segment was cut')).toBe(1);
    expect(await idsOf(spoolOf)).toEqual([1]);
  });

  test('a corrupt record is passed over, counted and handed to the quarantine; the others keep their numbers', async () => {
    const path = await leaveUnsealed(spoolOf, [1, 2, 3]);
    const bytes = readFileSync(path);
    const recordBytes = (bytes.length - 1_024) / 3;
    const at = 1_024 + recordBytes;
    bytes[at + 30] = (bytes[at + 30] as number) ^ 1;
    writeFileSync(path, bytes);
    const pieces: { orgId: string; reason: string; bytes: Buffer }[] = [];
    const keepPiece: RecoverDeps['keepPiece'] = async ({ orgId, reason, offset, bytes: length, read }) => {
      pieces.push({ orgId, reason, bytes: await read(offset, length) });
    };
    const spool = await spoolOf.open({ keepPiece });
    await spool.close();
    const report = spool.recovered;
    expect(report.corruptRecords).toBe(1);
    expect(await idsOf(spoolOf)).toEqual([1, 3]);
    const footer = await readFooter(realSpoolFiles, spoolOf.dir, report.sealed[0] as number);
    expect(footer.requests.map(({ orgId }) => orgId === '')).toEqual([false, true, false]);
    const damaged = bytes.subarray(at, at + recordBytes);
    expect(pieces).toEqual([{ orgId: '', reason: 'header CRC', bytes: Buffer.from(damaged) }]);
  });

  test('a footer that was being written is done anew, whatever is left of it', async () => {
    const path = await leaveUnsealed(spoolOf, [1, 2]);
    const sequence = Number(path.slice(-24, -8));
    const parts = { spoolId: '00'.repeat(16), sequence, converterVersion: 1, batches: [], requestCount: 0 };
    const footer = encodeFooter({ ...parts, requests: new FooterRequests() });
    for (const length of [0, 1, 20, footer.length / 2, footer.length]) {
      const saved = `${spoolOf.dir}-saved`;
      if (!existsSync(saved)) cpSync(spoolOf.dir, saved, { recursive: true });
      rmSync(spoolOf.dir, { recursive: true });
      cpSync(saved, spoolOf.dir, { recursive: true });
      writeFileSync(path.replace('.segment', '.footer.tmp'), footer.subarray(0, length));
      writeFileSync(path.replace('.segment', '.batches'), 'rubbish');
      await reopen(spoolOf);
      expect(await idsOf(spoolOf)).toEqual([1, 2]);
      expect(readdirSync(spoolOf.dir).some((name) => name.endsWith('.tmp'))).toBe(false);
    }
  });

  test('SIGKILL at any moment loses nothing that was acknowledged', async () => {
    for (let kill = 0; kill < 3; kill++) {
      const of = testSpool();
      const acknowledged = await killedChild(of.dir, 300 + 200 * kill);
      const report = await reopen(of);
      const { ids, rows } = await readAll(realSpoolFiles, of.dir);
      expect(acknowledged.length).toBeGreaterThanOrEqual(300 + 200 * kill);
      const stored = new Set(ids);
      expect(stored.size).toBe(ids.length);
      expect(rows.length).toBe(ids.length);
      expect(acknowledged.filter((id) => !stored.has(id))).toEqual([]);
      expect(report.sealed.length + report.kept.length).toBeGreaterThan(0);
      of.remove();
    }
  });
});

describe('what does not belong there', () => {
  test('one damaged copy of a segment header costs nothing; two send the segment to quarantine', async () => {
    const path = await leaveUnsealed(spoolOf, [1, 2]);
    const bytes = readFileSync(path);
    bytes[40] = (bytes[40] as number) ^ 1;
    writeFileSync(path, bytes);
    await reopen(spoolOf);
    expect(await idsOf(spoolOf)).toEqual([1, 2]);
    const [sequence] = spoolOf.sealed as [number];
    await removeSegment(realSpoolFiles, spoolOf.dir, sequence);
    bytes[512 + 55] = (bytes[512 + 55] as number) ^ 1;
    writeFileSync(path, bytes);
    const report = await reopen(spoolOf);
    expect(report.quarantined).toEqual([{ sequence, reason: 'both copies of its header are damaged' }]);
  });

  test('a footer with both copies damaged sends its segment to quarantine whole, once', async () => {
    await (await sealedSpool([1])).close();
    await (await sealedSpool([2])).close();
    const [first] = await listSealed(realSpoolFiles, spoolOf.dir);
    const path = join(spoolOf.dir, fileName(first as number, 'footer'));
    const bytes = readFileSync(path);
    bytes[40] = (bytes[40] as number) ^ 1;
    bytes[40 + bytes.length / 2] = (bytes[40 + bytes.length / 2] as number) ^ 1;
    writeFileSync(path, bytes);
    const report = await reopen(spoolOf);
    expect(report.quarantined).toEqual([{ sequence: first, reason: 'both copies of its footer are damaged' }]);
    expect(await idsOf(spoolOf)).toEqual([2]);
    expect(readdirSync(join(spoolOf.dir, 'quarantine')).length).toBe(3);
    expect((await reopen(spoolOf)).quarantined).toEqual([]);
  });

  test('a segment of another spool is refused and reported', async () => {
    const other = testSpool();
    const foreign = await leaveUnsealed(other, [66]);
    await (await sealedSpool([1])).close();
    copyFileSync(foreign, join(spoolOf.dir, '0000000000009999.segment'));
    const report = await reopen(spoolOf);
    expect(report.quarantined).toMatchObject([{ sequence: 9_999 }]);
    expect(await idsOf(spoolOf)).toEqual([1]);
    other.remove();
  });

  test('an old copy of a segment that was stored and removed adds nothing after a restart', async () => {
    await (await sealedSpool([1])).close();
    const [sequence] = await listSealed(realSpoolFiles, spoolOf.dir);
    const path = join(spoolOf.dir, fileName(sequence as number, 'segment'));
    copyFileSync(path, `${spoolOf.dir}-copy`);
    await removeSegment(realSpoolFiles, spoolOf.dir, sequence as number);
    await reopen(spoolOf);
    copyFileSync(`${spoolOf.dir}-copy`, path);
    expect((await reopen(spoolOf)).quarantined.length).toBe(1);
    expect(await idsOf(spoolOf)).toEqual([]);
  });

  test('a segment that cannot be converted goes to quarantine, and the spool opens', async () => {
    await leaveUnsealed(spoolOf, [1]);
    const encodeRecords = (): never => {
      throw new Error('no converter');
    };
    const spool = await spoolOf.open({ encodeRecords });
    expect(spool.recovered.quarantined).toMatchObject([{ reason: 'it could not be converted' }]);
    await send(spool, 5).durable;
    await spool.close();
    expect(await idsOf(spoolOf)).toEqual([5]);
  });

  test('a damaged spool.json costs nothing: its segments tell what it said', async () => {
    const path = await leaveUnsealed(spoolOf, [1, 2]);
    const before = Number(path.slice(-24, -8));
    writeFileSync(join(spoolOf.dir, 'spool.json'), '{"format":1');
    const spool = await spoolOf.open();
    await send(spool, 3).durable;
    await spool.close();
    expect(await idsOf(spoolOf)).toEqual([1, 2, 3]);
    expect((await listSealed(realSpoolFiles, spoolOf.dir))[1]).toBeGreaterThan(before + 1);
  });

  test.each(['segment', 'footer', 'spool.json'])(
    'a newer format in a %s refuses the spool and changes nothing',
    async (where) => {
      await leaveUnsealed(spoolOf, [1]);
      const newer = { spoolId: '11'.repeat(16), sequence: 7_777, mark: Buffer.alloc(16) };
      const parts = { ...newer, converterVersion: 1, requests: new FooterRequests(), requestCount: 0, batches: [] };
      if (where === 'segment')
        writeFileSync(join(spoolOf.dir, fileName(7_777, 'segment')), encodeSegmentHeader(newer, 2));
      if (where === 'footer') writeFileSync(join(spoolOf.dir, fileName(7_777, 'footer')), encodeFooter(parts, 2));
      if (where === 'spool.json')
        writeFileSync(
          join(spoolOf.dir, 'spool.json'),
          encodeIdentity({ spoolId: newer.spoolId, firstSequence: 1, reservedSequence: 2 }, 2),
        );
      const before = contents(spoolOf.dir);
      await expect(spoolOf.open()).rejects.toMatchObject({ code: 'newer-format' });
      expect(contents(spoolOf.dir)).toEqual(before);
      const lock = await takeLock(join(spoolOf.dir, 'spool.lock'), 0);
      lock.release();
    },
  );
});

describe('adopting a spool that nobody serves', () => {
  test('seals everything and opens nothing', async () => {
    await leaveUnsealed(spoolOf, [1, 2]);
    const seen = { log: collectLog(), sealed: [] as number[], fatal: [] };
    const report = await recoverSpool(depsFor(spoolOf.dir, seen));
    expect(seen.sealed).toEqual(report.sealed);
    expect(await idsOf(spoolOf)).toEqual([1, 2]);
    expect(readdirSync(spoolOf.dir).filter((name) => name.endsWith('.segment')).length).toBe(1);
  });

  test('of a directory without segments does nothing', async () => {
    mkdirSync(spoolOf.dir, { recursive: true });
    const report = await recoverSpool(depsFor(spoolOf.dir, { log: collectLog(), sealed: [], fatal: [] }));
    expect(report).toMatchObject({ sealed: [], kept: [], quarantined: [] });
    expect(readdirSync(spoolOf.dir)).toEqual([]);
  });
});

async function sealedSpool(ids: readonly number[]): Promise<Awaited<ReturnType<TestSpool['open']>>> {
  const spool = await spoolOf.open();
  for (const id of ids) await send(spool, id).durable;
  return spool;
}

function contents(dir: string): Record<string, string> {
  const names = readdirSync(dir).filter((name) => !name.startsWith('spool.lock'));
  return Object.fromEntries(
    names.map((name) => [name, readFileSync(join(dir, name)).toString('hex').slice(0, 20_000)]),
  );
}

/** Runs spool-child.ts on the directory and kills it once it has acknowledged so many; what it acknowledged. */
function killedChild(dir: string, acknowledgements: number): Promise<number[]> {
  const child = fork(join(import.meta.dirname, 'spool-child.ts'), [dir], {
    execArgv: [],
    stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
  });
  const acknowledged: number[] = [];
  return new Promise((resolve, reject) => {
    child.on('message', (ids: number[]) => {
      acknowledged.push(...ids);
      if (acknowledged.length >= acknowledgements) child.kill('SIGKILL');
    });
    child.on('exit', (_, signal) =>
      signal === 'SIGKILL' ? resolve(acknowledged) : reject(new Error(`child ended: ${signal}`)),
    );
  });
}
