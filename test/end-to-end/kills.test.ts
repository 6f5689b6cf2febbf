import { expect, it } from 'vitest';
import { runKills } from '../faults/kills.ts';

it('every acknowledged item of every signal is stored once, whichever process is killed under load', async () => {
  const seed = Number(process.env['BACKWORK_TEST_SEED'] ?? Date.now() % 1_000_000);
  const lines: string[] = [`seed ${seed}`];
  const report = await runKills({ seed, kills: 8, rowsBetween: 1_000, say: (line) => lines.push(line) });
  const context = lines.join('\n');
  expect(report.judgement, context).toEqual({ lost: [], doubled: [], damaged: [], neverIssued: [] });
  expect(report.lookupMismatches, context).toBe(0);
  expect(report.killed, context).toEqual({ group: 2, ingest: 2, store: 2, engine: 2 });
  expect(report.atInsert, context).toBeGreaterThan(0);
  expect(report.acknowledged, context).toBeGreaterThanOrEqual(9_000);
  expect(Math.min(report.acknowledgedBy.grpc, report.acknowledgedBy.http), context).toBeGreaterThan(0);
  expect(Math.min(...Object.values(report.acknowledgedOf)), context).toBeGreaterThan(0);
  expect(report.stored, context).toBeGreaterThanOrEqual(report.acknowledged);
}, 240_000);
