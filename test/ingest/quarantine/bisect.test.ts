import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, test } from 'vitest';
import type { StoreEvents } from '../../../src/ingest/messages.ts';
import { range, sealSegments } from '../store/spool-fixture.ts';
import { A, B, useStore } from '../store/store-fixture.ts';
import { quarantineFiles, refusedIn, storeQuarantine } from './quarantine-fixture.ts';
import { startRefusingProxy } from './refusing-proxy.ts';

const it = useStore();
const REASON = 'INSERT refused: ClickHouse error 469 (VIOLATED_CONSTRAINT)';

/** Ten good rows a request; the ids of request n begin at 1,000 n. Poison is 13 above. */
function requestsWith(count: number, poisoned: readonly number[]) {
  return range(0, count).map((index) => {
    const ids = range(index * 1_000, 10);
    return it.rows(poisoned.includes(index) ? [...ids, index * 1_000 + 13] : ids);
  });
}

function addConstraint(): Promise<void> {
  return it.command(`ALTER TABLE ${it.table} ADD CONSTRAINT no_poison CHECK Id % 1000 != 13`);
}

function dropConstraint(): Promise<void> {
  return it.command(`ALTER TABLE ${it.table} DROP CONSTRAINT no_poison`);
}

describe('one request that ClickHouse refuses for good', () => {
  test.each(range(0, 7))('at position %i of a batch of 7 goes to quarantine, alone', async (position) => {
    await addConstraint();
    const requests = requestsWith(7, [position]);
    const [sequence] = await sealSegments(it.spool(), [requests]);
    const store = await it.start({ quarantine: storeQuarantine(it.dir).store });
    await store.idle();
    expect(await it.stored()).toEqual({ ids: 60, doubled: [] });
    expect(await it.left()).toEqual([]);
    const [entry, ...others] = await refusedIn(it.dir);
    expect(others).toEqual([]);
    expect(entry).toMatchObject({ orgId: 'org_test', sequence, request: position, signal: 'logs' });
    expect(entry!.missing).toEqual([
      expect.objectContaining({ table: it.table, partition: A, rowCount: 11, reason: REASON, decided: true }),
    ]);
    const record = await quarantineFiles(it.dir).readRecord(entry!);
    expect(JSON.parse(record.body.toString())).toEqual(requests[position]);
  });

  test.each([
    [27, 'CANNOT_PARSE_INPUT_ASSERTION_FAILED'],
    [41, 'CANNOT_PARSE_DATETIME'],
    [53, 'TYPE_MISMATCH'],
  ])('with code %i goes to quarantine, and INSERTs of others are not among those it costs', async (code, type) => {
    const proxy = await startRefusingProxy(it.engine.port);
    it.onCleanup(() => proxy.close());
    const poison = Buffer.from(BigUint64Array.of(3_013n).buffer);
    proxy.refuse = (body) => (body.includes(poison) ? { code, type } : undefined);
    await sealSegments(it.spool(), [requestsWith(8, [3]), [it.rows(range(90_000, 10), B)]]);
    const store = await it.start({ url: proxy.url, quarantine: storeQuarantine(it.dir).store });
    await store.idle();
    expect(await it.stored()).toEqual({ ids: 80, doubled: [] });
    expect((await refusedIn(it.dir)).map(({ request, missing }) => [request, missing[0]!.reason])).toEqual([
      [3, `INSERT refused: ClickHouse error ${code} (${type})`],
    ]);
    // The batch, then a half, a quarter and one request; beside them the three good parts and the other lane.
    expect(proxy.inserts.filter(({ refused }) => refused).length).toBe(4);
    expect(proxy.inserts.filter(({ refused }) => !refused).length).toBe(4);
  });

  test('is one of several: each is alone in quarantine, and counted once', async () => {
    await addConstraint();
    await sealSegments(it.spool(), [requestsWith(12, [0, 5, 6, 11])]);
    const counted: Parameters<StoreEvents['quarantined']>[0][] = [];
    const events = withOnly({ quarantined: (one) => counted.push(one) });
    const store = await it.start({ quarantine: storeQuarantine(it.dir).store, events });
    await store.idle();
    expect(await it.stored()).toEqual({ ids: 80, doubled: [] });
    expect((await refusedIn(it.dir)).map(({ request }) => request).sort((a, b) => a - b)).toEqual([0, 5, 6, 11]);
    expect(counted.map(({ orgId, reason }) => [orgId, reason])).toEqual(range(0, 4).map(() => ['org_test', 'refused']));
  });

  test('for two tables is one entry that names both', async () => {
    const other = `${it.table}_other`;
    await it.engine.createTable(other);
    await addConstraint();
    await it.command(`ALTER TABLE ${other} ADD CONSTRAINT no_poison CHECK Id % 1000 != 13`);
    const both = [...it.rows([1, 13]), ...it.rows([2, 3_013], A, other)];
    await sealSegments(it.spool(), [[it.rows([5]), both, it.rows([6], A, other)]]);
    const store = await it.start({ quarantine: storeQuarantine(it.dir).store });
    await store.idle();
    const [entry, ...others] = await refusedIn(it.dir);
    expect(others).toEqual([]);
    expect(entry!.missing.map(({ table, rowCount }) => [table, rowCount]).sort()).toEqual([
      [it.table, 2],
      [other, 2],
    ]);
    expect((await it.stored()).ids + (await it.stored(other)).ids).toBe(2);
  });
});

describe('an organization whose quarantine is full', () => {
  test('keeps what is refused in the spool, and others go on; with room it goes to quarantine', async () => {
    await addConstraint();
    const [first] = await sealSegments(it.spool(), [requestsWith(4, [1, 2]), [it.rows(range(50_000, 10), B)]]);
    const clock = { aheadMs: 0 };
    const monotonicMs = () => performance.now() + clock.aheadMs;
    // Room for one: a record and its entry are two blocks of 4 KiB.
    const full = await it.start({ quarantine: storeQuarantine(it.dir, { bytesMax: 8_192 }).store, monotonicMs });
    await full.idle();
    expect(await it.stored()).toEqual({ ids: 30, doubled: [] });
    expect((await refusedIn(it.dir)).length).toBe(1);
    expect([...new Set((await it.left()).map((name) => Number.parseInt(name, 10)))]).toEqual([first]);
    const said = it.log.lines.find(({ message }) => message.startsWith('set a segment aside'));
    expect(said?.fields['reason']).toContain(
      'the quarantine of org_test holds 8192 bytes and has no room for 8192 more',
    );
    await full.stop();

    const wide = await it.start({ quarantine: storeQuarantine(it.dir).store });
    await wide.idle();
    expect((await refusedIn(it.dir)).map(({ request }) => request)).toEqual([1, 2]);
    expect(await it.stored()).toEqual({ ids: 30, doubled: [] });
    expect(await it.left()).toEqual([]);
  });
});

describe('a store that ends while it looks for the cause', () => {
  const STEPS = ['keep', 'after keep', 'decide', 'after decide'] as const;

  test.each(STEPS)('at %s: the next one has every row once, and the request once in quarantine', async (step) => {
    await addConstraint();
    await sealSegments(it.spool(), [requestsWith(6, [4])]);
    const real = storeQuarantine(it.dir).store;
    const died = Promise.withResolvers<void>();
    const die = (): Promise<never> => {
      died.resolve();
      return new Promise(() => {});
    };
    const dying: typeof real = {
      ...real,
      keep: async (...given) => {
        if (step === 'keep') return die();
        const kept = await real.keep(...given);
        return step === 'after keep' ? die() : kept;
      },
      decide: async (...given) => {
        if (step === 'decide') return die();
        await real.decide(...given);
        if (step === 'after decide') await die();
      },
    };
    const first = await it.start({ quarantine: dying });
    await died.promise;
    await first.stop();
    const second = await it.start({ quarantine: real });
    await second.idle();
    expect(await it.stored()).toEqual({ ids: 50, doubled: [] });
    expect((await refusedIn(it.dir)).map(({ missing }) => missing.map(({ decided }) => decided))).toEqual([[true]]);
    expect(await it.left()).toEqual([]);
  });

  test('and whose table takes the request after all: it is stored, and not in quarantine', async () => {
    await addConstraint();
    await sealSegments(it.spool(), [requestsWith(6, [4])]);
    const real = storeQuarantine(it.dir).store;
    const died = Promise.withResolvers<void>();
    const first = await it.start({
      quarantine: {
        ...real,
        keep: async (...given) => {
          await real.keep(...given);
          died.resolve();
          return new Promise(() => {});
        },
      },
    });
    await died.promise;
    await first.stop();
    expect((await refusedIn(it.dir)).length).toBe(1);
    await dropConstraint();
    const second = await it.start({ quarantine: real });
    await second.idle();
    expect(await it.stored()).toEqual({ ids: 61, doubled: [] });
    expect(await refusedIn(it.dir)).toEqual([]);
  });

  test('when it is in the journal: the request is not sent again, though the table would take it now', async () => {
    await addConstraint();
    await sealSegments(it.spool(), [requestsWith(6, [4])]);
    const real = storeQuarantine(it.dir).store;
    const died = Promise.withResolvers<void>();
    const decide = (): Promise<never> => {
      died.resolve();
      return new Promise(() => {});
    };
    const first = await it.start({ quarantine: { ...real, decide } });
    await died.promise;
    await first.stop();
    await dropConstraint();
    const second = await it.start({ quarantine: real });
    await second.idle();
    expect(await it.stored()).toEqual({ ids: 50, doubled: [] });
    expect((await refusedIn(it.dir)).map(({ missing }) => missing.map(({ decided }) => decided))).toEqual([[true]]);
    expect(await it.left()).toEqual([]);
  });

  test('between two parts: what was split stays split, and nothing is stored under the first BatchId', async () => {
    await addConstraint();
    await sealSegments(it.spool(), [requestsWith(8, [7])]);
    const quarantine = storeQuarantine(it.dir).store;
    const proxy = await it.proxy();
    // The first INSERT is the whole batch; a part that was stored is not heard of, and nothing after it is let through.
    proxy.fate = (insert) => (insert === 0 ? 'pass' : insert === 1 ? 'cutReply' : 'cutBefore');
    const first = await it.start({ url: proxy.url, quarantine });
    while (proxy.inserts() < 3) await sleep(20);
    await first.stop();
    await dropConstraint();
    const second = await it.start({ quarantine });
    await second.idle();
    expect(await it.stored()).toEqual({ ids: 81, doubled: [] });
    expect(await it.left()).toEqual([]);
  });
});

test('a batch that was refused, but that the table holds, is done: it is asked about before it is cut', async () => {
  const proxy = await startRefusingProxy(it.engine.port);
  it.onCleanup(() => proxy.close());
  // As a view of the operator's does that fails after the table has the rows.
  proxy.refuseAfter = () => ({ code: 53, type: 'TYPE_MISMATCH' });
  await sealSegments(it.spool(), [requestsWith(4, [])]);
  const store = await it.start({ url: proxy.url, quarantine: storeQuarantine(it.dir).store });
  await store.idle();
  expect(await it.stored()).toEqual({ ids: 40, doubled: [] });
  expect(await refusedIn(it.dir)).toEqual([]);
});

/** Every other event is of no interest here. */
function withOnly(events: Partial<StoreEvents>): StoreEvents {
  return new Proxy(events, { get: (target, name) => Reflect.get(target, name) ?? (() => undefined) }) as StoreEvents;
}
