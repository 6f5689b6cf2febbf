/**
 * The spool against a simple model, on a disk that loses power at any call (reference F2): whatever was acknowledged is
 * stored once and whole, whatever was not at most once and whole, over several power cuts, in recovery too. A store is
 * played that knows batches by BatchId alone.
 *
 * SPOOL_MODEL_SEEDS: how many seeds (default 300); SPOOL_MODEL_SEED: one seed, to replay it.
 */
import { setImmediate as turn } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { fileName } from '../../src/ingest/spool/format.ts';
import { listSealed, readFooter, removeSegment } from '../../src/ingest/spool/reader.ts';
import { openSpool, type Spool } from '../../src/ingest/spool/writer.ts';
import { collectLog, depsFor, encodeIdRecords, IdRows, readAll, send } from '../ingest/spool/fixtures.ts';
import { type CrashCounts, type Random, seeded, SimulatedDisk } from './simulated-disk.ts';

const SEEDS = Number(process.env['SPOOL_MODEL_SEEDS'] ?? 300);
const ONE_SEED = process.env['SPOOL_MODEL_SEED'];
const DIR = '/data/spool/0';
const FULL = [/\.segment$/, /\.batches$/, /\.footer\.tmp$/];

interface Model {
  readonly acknowledged: Set<number>;
  /** Rows in the played store: request id → BatchIds under which it was stored. */
  readonly stored: Map<number, Set<string>>;
  /** BatchIds that the played store holds. */
  readonly batches: Set<string>;
  nextId: number;
}

test(`keeps its promise over power cuts (${SEEDS} seeds)`, { timeout: 600_000 }, async () => {
  const counts: CrashCounts = { lostSuffix: 0, tornSectors: 0, revertedNames: 0, cutWrites: 0 };
  const first = ONE_SEED === undefined ? 1 : Number(ONE_SEED);
  const seeds = ONE_SEED === undefined ? SEEDS : 1;
  let acknowledged = 0;
  for (let seed = first; seed < first + seeds; seed++) {
    try {
      acknowledged += await runSeed(seed, counts);
    } catch (error) {
      throw new Error(`SPOOL_MODEL_SEED=${seed}: ${error instanceof Error ? error.message : error}`, { cause: error });
    }
  }
  console.log(
    `spool model: seeds ${first} to ${first + seeds - 1}, ${acknowledged} acknowledged, ${JSON.stringify(counts)}`,
  );
  if (seeds === 1) return;
  expect(acknowledged).toBeGreaterThan(10 * seeds);
  for (const count of Object.values(counts)) expect(count).toBeGreaterThan(seeds / 10);
});

/** A few lives of one spool, all but the last ended by a power cut; how many requests were acknowledged. */
async function runSeed(seed: number, counts: CrashCounts): Promise<number> {
  const random = seeded(seed);
  let disk = new SimulatedDisk(random);
  const model: Model = { acknowledged: new Set(), stored: new Map(), batches: new Set(), nextId: 0 };
  for (let life = 2 + random(3); life > 0; life--) {
    const cut = disk.powerCutAfter(5 + random(200));
    await Promise.race([cut, live(disk, random, model, 2 + random(40))]);
    disk = random(4) === 0 ? disk.afterKill() : disk.afterPowerCut(counts);
  }
  await live(disk, random, model, 0);
  await storeSome(disk, random, model);
  check(model);
  return model.acknowledged.size;
}

/** Opens, sends requests, lets the store take and remove some segments, closes. */
async function live(disk: SimulatedDisk, random: Random, model: Model, requests: number): Promise<void> {
  const spool = await open(disk, random);
  const waiting: Promise<void>[] = [];
  for (let sent = 0; sent < requests; sent++) {
    if (random(10) === 0) disk.full = { names: FULL[random(3)] as RegExp, times: 1 + random(2) };
    if (spool.refusal(0) === undefined) waiting.push(sendOne(spool, random, model));
    if (random(3) === 0) await turn();
    if (random(12) === 0) await Promise.all(waiting.splice(0));
    if (random(15) === 0) await storeSome(disk, random, model);
  }
  disk.full = undefined;
  await Promise.all(waiting);
  await spool.close();
}

async function open(disk: SimulatedDisk, random: Random): Promise<Spool<IdRows>> {
  const fatal: Error[] = [];
  const spool = await openSpool({
    ...depsFor(DIR, { log: collectLog(), sealed: [], fatal }),
    files: disk,
    takeLock: async () => ({ release: () => {} }),
    segmentBytesMax: 400 + random(4_000),
    onFatal: (error) => {
      throw error;
    },
    encodeRecords: encodeIdRecords,
    newRows: () => new IdRows(),
  });
  if (spool.recovered.quarantined.some(({ reason }) => !/header|none of its records/.test(reason)))
    throw new Error(`quarantined: ${JSON.stringify(spool.recovered.quarantined)}`);
  return spool;
}

async function sendOne(spool: Spool<IdRows>, random: Random, model: Model): Promise<void> {
  const id = model.nextId++;
  const options = {
    bytes: 4 + random(random(5) === 0 ? 6_000 : 500),
    own: random(10) === 0,
    placement: `p${random(3)}`,
  };
  const { durable, answered } = send(spool, id, options);
  try {
    await durable;
  } catch {
    return;
  }
  model.acknowledged.add(id);
  if (random(2) === 0) answered();
}

/** The store: a batch whose BatchId it holds is not inserted again; a segment is removed when all of it is stored. */
async function storeSome(disk: SimulatedDisk, random: Random, model: Model): Promise<void> {
  const names = new Set(await disk.list(DIR));
  for (const sequence of await listSealed(disk, DIR)) {
    if (names.has(fileName(sequence, 'segment'))) {
      for (const { id, batchId } of (await readAll(disk, DIR, [sequence])).rows) {
        model.stored.set(id, (model.stored.get(id) ?? new Set()).add(batchId));
        model.batches.add(batchId);
      }
    } else {
      // A power cut in the middle of a removal leaves the footer: it must be of a segment that is stored.
      const { batches } = await readFooter(disk, DIR, sequence);
      if (!batches.every(({ batchId }) => model.batches.has(batchId))) throw new Error(`segment ${sequence} is gone`);
    }
    if (random(3) > 0) continue;
    if (random(3) === 0) disk.powerCutWithin(8);
    await removeSegment(disk, DIR, sequence);
  }
}

function check(model: Model): void {
  for (const id of model.acknowledged) {
    if (!model.stored.has(id)) throw new Error(`acknowledged request ${id} is lost`);
  }
  for (const [id, batches] of model.stored) {
    if (batches.size !== 1) throw new Error(`request ${id} is stored ${batches.size} times`);
    if (id >= model.nextId) throw new Error(`request ${id} was never sent`);
  }
}
