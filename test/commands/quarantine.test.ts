/** Without a running service; beside one it is F33 (test/faults/f33-poison.ts). */
import { mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { RefusedEntry } from '../../src/ingest/quarantine/entry.ts';
import { quarantineFiles, storeQuarantine } from '../ingest/quarantine/quarantine-fixture.ts';
import { Workplace } from './run-main.ts';

const BODY = Buffer.from('the body of a request');
const SPOOL_ID = '0123456789abcdef0123456789abcdef';
const FIRST = '0123456789ab-7-0';
const SECOND = '0123456789ab-7-1';
const UNDECIDED = '0123456789ab-7-2';
const PIECE = '0123456789ab-7-at4096';

let place: Workplace;
beforeEach(() => {
  place = new Workplace();
});
afterEach(() => place.remove());

/** Two requests of org_a, one of org_b that the store has not decided, and a damaged piece of nobody. */
async function fill(): Promise<void> {
  mkdirSync(place.dataDir, { recursive: true });
  const { store, keepPiece } = storeQuarantine(place.dataDir);
  for (const [request, orgId] of ['org_a', 'org_a', 'org_b'].entries()) {
    const where = { orgId, spoolId: SPOOL_ID, sequence: 7, request };
    const batchId = `00000000000000${10 + request}`;
    const partition = { placement: orgId, retentionDays: 30, expiresOnDay: 40_000 };
    const rows = { table: 'otel_logs', partition, batchId, rowFrom: 0, rowCount: 3 };
    await store.keep(
      { ...where, record: { header: headerOf(orgId), body: BODY } },
      { ...rows, reason: 'refused', atMs: 5 },
    );
    if (request < 2) await store.decide(where, batchId);
  }
  const piece = { orgId: '', spoolId: SPOOL_ID, sequence: 7, offset: 4_096, bytes: 9, reason: 'body CRC', atMs: 5 };
  await keepPiece({ ...piece, read: async (_, length) => Buffer.alloc(length, 7) });
}

function headerOf(orgId: string) {
  return {
    orgId,
    tokenId: 'token',
    signal: 'logs' as const,
    receivedAtMs: 1,
    placement: orgId,
    retentionDays: 30,
    expiresOnDay: 40_000,
    itemsAccepted: 3,
    itemsRejected: 0,
    bytesReceived: BODY.length,
    fingerprint: Buffer.alloc(16),
    ownBatches: false,
  };
}

describe('quarantine list', () => {
  test('prints a line for each entry: what, whose, what is missing, why', async () => {
    await fill();
    const { code, stdout } = await place.run(['quarantine', 'list']);
    expect(code).toBe(0);
    const lines = stdout.trimEnd().split('\n');
    expect(lines[0]).toBe('ID\tKIND\tORG\tSIGNAL\tSINCE\tBYTES\tMISSING\tREASON');
    expect(lines.slice(1).map((line) => line.split('\t'))).toEqual([
      [FIRST, 'refused', 'org_a', 'logs', expect.any(String), expect.any(String), 'otel_logs:3', 'refused'],
      [SECOND, 'refused', 'org_a', 'logs', expect.any(String), expect.any(String), 'otel_logs:3', 'refused'],
      [
        UNDECIDED,
        'refused',
        'org_b',
        'logs',
        expect.any(String),
        expect.any(String),
        'otel_logs:3',
        'refused (undecided)',
      ],
      [PIECE, 'damaged', '-', '-', expect.any(String), '9', '-', 'body CRC'],
    ]);
  });

  test('prints whole segments that recovery set aside, and drop removes their files', async () => {
    const dir = join(place.dataDir, 'spool', '3', 'quarantine');
    mkdirSync(dir, { recursive: true });
    for (const kind of ['segment', 'footer']) writeFileSync(join(dir, `1700-0000000000000042.${kind}`), 'x'.repeat(10));
    const { stdout } = await place.run(['quarantine', 'list']);
    expect(stdout.trimEnd().split('\n')[1]!.split('\t').slice(0, 6)).toEqual([
      'spool3-1700-42',
      'segment',
      '-',
      '-',
      '1970-01-01T00:00:01.700Z',
      '20',
    ]);
    expect((await place.run(['quarantine', 'drop', 'spool3-1700-42'])).stdout).toBe('spool3-1700-42\tdropped\n');
    expect(readdirSync(dir)).toEqual([]);
  });

  test('names an entry that is damaged, and prints the others', async () => {
    await fill();
    const path = join(place.dataDir, 'quarantine', 'org_a', `${FIRST}.json`);
    writeFileSync(path, '{}');
    const { code, stdout, stderr } = await place.run(['quarantine', 'list']);
    expect([code, stderr]).toEqual([0, `${path} is damaged\n`]);
    expect(stdout).toContain(SECOND);
    expect(stdout).not.toContain(FIRST);
  });
});

test('quarantine show prints an entry with the header of its record, and with --body the request', async () => {
  await fill();
  const shown = await place.run(['quarantine', 'show', SECOND]);
  const entry = JSON.parse(shown.stdout) as RefusedEntry & { header: { itemsAccepted: number; bodyBytes: number } };
  expect(entry).toMatchObject({ id: SECOND, orgId: 'org_a', sequence: 7, request: 1 });
  expect(entry.missing).toEqual([expect.objectContaining({ table: 'otel_logs', batchId: '0000000000000011' })]);
  expect(entry.header).toMatchObject({ itemsAccepted: 3, bodyBytes: BODY.length });
  expect((await place.run(['quarantine', 'show', SECOND, '--body'])).stdoutBytes).toEqual(BODY);
  const missing = await place.run(['quarantine', 'show', 'nothing']);
  expect([missing.code, missing.stderr]).toEqual([1, 'backwork: nothing in quarantine has the id nothing\n']);
});

describe('quarantine drop', () => {
  test('deletes the files of an entry, and of no other', async () => {
    await fill();
    const { code, stdout } = await place.run(['quarantine', 'drop', FIRST, PIECE]);
    expect([code, stdout]).toEqual([0, `${FIRST}\tdropped\n${PIECE}\tdropped\n`]);
    expect(readdirSync(join(place.dataDir, 'quarantine', 'org_a'))).toEqual([`${SECOND}.json`, `${SECOND}.record`]);
    expect(readdirSync(join(place.dataDir, 'quarantine', 'unknown'))).toEqual([]);
  });

  test('leaves what the store has not decided, and says so', async () => {
    await fill();
    const { code, stderr } = await place.run(['quarantine', 'drop', '--all']);
    expect([code, stderr]).toEqual([1, `${UNDECIDED}: stays, the store has not decided yet\n`]);
    const left = await Array.fromAsync(quarantineFiles(place.dataDir).entries());
    expect(left.map(({ id }) => id)).toEqual([UNDECIDED]);
  });
});

test.each([
  [[], 'list, show, replay or drop?'],
  [['mend'], 'quarantine mend: list, show, replay or drop?'],
  [['drop'], 'which? ids, --org or --all'],
  [['replay', 'an-id', '--all'], 'which? ids, --org or --all'],
])('quarantine %j is refused with the usage', async (args, message) => {
  mkdirSync(place.dataDir, { recursive: true });
  const { code, stderr } = await place.run(['quarantine', ...args]);
  expect(code).toBe(2);
  expect(stderr).toContain(`backwork: ${message}\n`);
  expect(stderr).toContain('usage: quarantine list [--org ID|SLUG]');
});
