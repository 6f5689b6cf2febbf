import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import type { StoreEvents } from '../../../src/ingest/messages.ts';
import { readRecords } from '../../../src/ingest/spool/reader.ts';
import { range, sealSegments } from '../store/spool-fixture.ts';
import { READERS, useStore } from '../store/store-fixture.ts';
import { entriesIn, type QuarantineOptions, storeQuarantine } from './quarantine-fixture.ts';

const it = useStore();

/** Flips a bit in each of these requests' bodies in the only segment, and removes its batch file. */
async function damage(requests: readonly number[]): Promise<void> {
  for (const name of await it.left()) {
    const path = join(it.spool(), name);
    if (name.endsWith('.batches')) rmSync(path);
    if (!name.endsWith('.segment')) continue;
    const bytes = readFileSync(path);
    for (const request of requests) {
      const at = bytes.indexOf(`"ids":[${request * 1_000},`);
      bytes[at + 2] = bytes[at + 2]! ^ 1;
    }
    writeFileSync(path, bytes);
  }
}

async function storeAll(options: QuarantineOptions & { readonly events: StoreEvents }): Promise<void> {
  const quarantine = storeQuarantine(it.dir, options);
  const readers = { ...READERS, readRecords: quarantine.reading(readRecords) };
  const store = await it.start({ quarantine: quarantine.store, readers, events: options.events });
  await store.idle();
  await store.stop();
}

function counting() {
  const counted: Parameters<StoreEvents['quarantined']>[0][] = [];
  const gaps: Parameters<StoreEvents['gap']>[0][] = [];
  const heard = { quarantined: (one: never) => counted.push(one), gap: (one: never) => gaps.push(one) };
  const events = new Proxy({}, { get: (_, name) => Reflect.get(heard, name) ?? (() => undefined) }) as StoreEvents;
  return { events, counted, gaps };
}

describe('a record that is damaged after its segment was sealed', () => {
  test('costs one request: it is in quarantine, counted once, and the others are stored', async () => {
    const requests = range(0, 5).map((index) => it.rows(range(index * 1_000, 10)));
    await sealSegments(it.spool(), [requests]);
    await damage([2]);
    const { events, counted } = counting();
    await storeAll({ events, log: it.log });
    expect(await it.stored()).toEqual({ ids: 40, doubled: [] });
    expect(await it.left()).toEqual([]);
    const entries = await entriesIn(it.dir);
    expect(entries).toEqual([expect.objectContaining({ kind: 'damaged', orgId: 'org_test', reason: 'body CRC' })]);
    expect(counted).toEqual([{ orgId: 'org_test', reason: 'damaged', bytes: entries[0]!.bytes }]);
    expect(it.log.messages('error')).toEqual(['a corrupt record was passed over']);
  });

  test('is counted though there is no room for a copy, once in the life of a process', async () => {
    await sealSegments(it.spool(), [range(0, 4).map((index) => it.rows(range(index * 1_000, 10)))]);
    await damage([0, 3]);
    const { events, counted } = counting();
    await storeAll({ events, log: it.log, bytesMax: 8_192 });
    expect(await it.stored()).toEqual({ ids: 20, doubled: [] });
    expect((await entriesIn(it.dir)).length).toBe(1);
    expect(counted.length).toBe(2);
  });
});

test('a segment of which only the footer is left is counted as a gap, once', async () => {
  await sealSegments(it.spool(), [[it.rows(range(0, 10)), it.rows(range(20, 5))]]);
  for (const name of await it.left()) if (!name.endsWith('.footer')) rmSync(join(it.spool(), name));
  const { events, gaps } = counting();
  const clock = { aheadMs: 0 };
  const store = await it.start({ events, monotonicMs: () => performance.now() + clock.aheadMs });
  await store.idle();
  clock.aheadMs += 300_000;
  await store.idle();
  expect(gaps).toEqual([expect.objectContaining({ spool: '0' })]);
});
