import { randomInt } from 'node:crypto';
import { cp, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import type { StoreEvents } from '../../../src/ingest/messages.ts';
import { seededRandom } from '../../corpus/seeded-random.ts';
import { range, sealSegments } from './spool-fixture.ts';
import { until, useStore } from './store-fixture.ts';

const it = useStore();

const KEYED = { fingerprints: true };
const ANSWERED = { ...KEYED, answered: true };

const NO_EVENTS: StoreEvents = {
  inserted: () => {},
  asked: () => {},
  retrySuppressed: () => {},
  quarantined: () => {},
  expired: () => {},
  gap: () => {},
  convertedAgain: () => {},
  removed: () => {},
  reachable: () => {},
};

/** Requests of ten rows each. */
const request = (number: number) => it.rows(range(10 * number, 10));

describe('a request that was sent again', () => {
  test('is stored once, in a segment whose other requests are stored whole, and counted', async () => {
    await sealSegments(it.spool(0), [[request(1), request(2), request(3)]], KEYED);
    await sealSegments(it.spool(1), [[request(4), request(2), request(5)]], ANSWERED);
    const suppressed: unknown[] = [];
    const store = await it.start({ events: { ...NO_EVENTS, retrySuppressed: (retry) => suppressed.push(retry) } });
    await store.idle();
    expect(await it.stored()).toEqual({ ids: 50, doubled: [] });
    expect(suppressed).toEqual([{ orgId: 'org_test', signal: 'logs', items: 10 }]);
  });

  test('is stored twice when the first one was answered, and once with the setting', async () => {
    await sealSegments(it.spool(0), [[request(1)], [request(1)]], ANSWERED);
    await (await it.start()).idle();
    expect((await it.stored()).doubled).toHaveLength(10);
    await sealSegments(it.spool(0), [[request(2)], [request(2)]], ANSWERED);
    await (await it.start({ identicalOnce: true, journalPath: join(it.dir, 'another.journal') })).idle();
    expect((await it.stored()).doubled).toHaveLength(10);
    expect((await it.stored()).ids).toBe(20);
  });

  test('and stored long before the first one turns up is stored once', async () => {
    await sealSegments(it.spool(1), [[request(1)]], ANSWERED);
    const first = await it.start();
    await first.idle();
    await first.stop();
    await sealSegments(it.spool(0), [[request(1), request(2)]], { ...KEYED, receivedAtMs: Date.now() - 30_000 });
    await (await it.start()).idle();
    expect(await it.stored()).toEqual({ ids: 20, doubled: [] });
    expect(await it.left(0)).toEqual([]);
  });

  test('is stored once when the outcome of the first one is unknown and the second one is found first', async () => {
    await sealSegments(it.spool(1), [[request(1), request(2)]], KEYED);
    const proxy = await it.proxy();
    proxy.fate = () => 'cutReply';
    const first = await it.start({ url: proxy.url });
    await until(() => proxy.inserts() > 0);
    await first.stop();
    // Its spool sorts before the other one.
    await sealSegments(it.spool(0), [[request(3), request(1)]], ANSWERED);
    await (await it.start()).idle();
    expect(await it.stored()).toEqual({ ids: 30, doubled: [] });
  });
});

describe('a segment with requests that were left out', () => {
  test('is left alone when a power cut brings it back after it was removed', async () => {
    await sealSegments(it.spool(0), [[request(1)]], KEYED);
    await sealSegments(it.spool(1), [[request(1)]], ANSWERED);
    const copy = join(it.dir, 'copy');
    await cp(it.spool(1), copy, { recursive: true });
    const first = await it.start();
    await first.idle();
    await first.stop();
    await rm(it.spool(1), { recursive: true });
    await rename(copy, it.spool(1));
    await (await it.start()).idle();
    expect(await it.stored()).toEqual({ ids: 10, doubled: [] });
    expect(await it.left(1)).toEqual([]);
  });
});

describe('many requests that were sent again', () => {
  test('are stored once, with stores that end at any moment', async () => {
    const seed = Number(process.env['STORE_SEED'] ?? randomInt(1_000_000));
    console.log(`seed ${seed} (STORE_SEED)`);
    const random = seededRandom(seed);
    let requests = 0;
    for (let round = 0; round < 5; round++) {
      const before = requests;
      requests += 12;
      for (const spool of [0, 1]) {
        const segments = Array.from({ length: 3 }, () =>
          range(before, requests - before)
            .filter((number) => spool === number % 2 || random.chance(0.5))
            .map(request),
        );
        await sealSegments(
          it.spool(spool),
          segments.filter((one) => one.length > 0),
          KEYED,
        );
      }
      const store = await it.start({ segmentsLoadedMax: random.int(1, 4) });
      await new Promise((resolve) => setTimeout(resolve, random.int(0, 60)));
      await store.stop();
    }
    await (await it.start()).idle();
    expect(await it.stored()).toEqual({ ids: 10 * requests, doubled: [] });
  });
});
