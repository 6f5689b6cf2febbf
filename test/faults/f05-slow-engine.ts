/**
 * F5: each INSERT is answered half a minute late. The store has two on their way and no more, gives none up, and neither it
 * nor the workers grow.
 */
import { setTimeout as delay } from 'node:timers/promises';
import type { Fault, FaultOptions, FaultReport } from './fault.ts';
import { type BehindProxy, behindProxy } from './support/behind-proxy.ts';
import { violationsOf } from './support/oracle.ts';
import { rssBytes } from './support/process-figures.ts';
import { mib } from './support/under-service.ts';

const HOLD_MS = { ci: 700, full: 30_000 };
const SIEGE_MS = { ci: 4_000, full: 600_000 };
const SETTLED_AFTER_MS = { ci: 0, full: 120_000 };
const SAMPLE_EVERY_MS = { ci: 200, full: 5_000 };
const INSERTS_AT_ONCE = 2;
const GROWTH_MAX = 0.1;

export const f05: Fault = {
  id: 'F5',
  title: 'every INSERT is answered 30 seconds late',
  run: (options) => behindProxy({ BACKWORK_SEGMENT_MS: '1000' }, (behind) => run(behind, options)),
};

async function run(behind: BehindProxy, options: FaultOptions): Promise<FaultReport> {
  const { size, say } = options;
  const { proxy, service } = behind;
  let late = 0;
  let questions = 0;
  proxy.fate = ({ kind }) => {
    if (kind === 'question') questions++;
    if (kind !== 'insert') return 'pass';
    late++;
    return { holdMs: HOLD_MS[size] };
  };
  behind.load({ rowsPerRequest: 50, intervalMs: 200 });
  const siegeMs = options.minutes === undefined ? SIEGE_MS[size] : options.minutes * 60_000;
  const beganMs = performance.now();
  const rss: number[] = [];
  while (performance.now() < beganMs + siegeMs) {
    await delay(SAMPLE_EVERY_MS[size]);
    if (performance.now() < beganMs + SETTLED_AFTER_MS[size]) continue;
    rss.push(rssBytes([...service.children('store'), ...service.children('ingest')]));
    if (rss.length % 12 === 0) say(`${late} late, ${mib(rss.at(-1) ?? 0)} MiB`);
  }
  const questionsInSiege = questions;
  proxy.fate = () => 'pass';
  // The last late answers are still on their way.
  const verdict = await behind.judge(HOLD_MS[size] + 120_000);
  const violations = violationsOf(verdict);
  if (late < INSERTS_AT_ONCE) violations.push(`only ${late} INSERTs were answered late`);
  if (proxy.inserts.most > INSERTS_AT_ONCE) violations.push(`${proxy.inserts.most} INSERTs were on their way at once`);
  if (questionsInSiege > 0) violations.push(`${questionsInSiege} INSERTs were given up`);
  const third = Math.ceil(rss.length / 3);
  const [atBegin, atEnd] = [median(rss.slice(0, third)), median(rss.slice(-third))];
  const growth = atEnd / atBegin - 1;
  if (size === 'full' && growth > GROWTH_MAX) violations.push(`memory grew by ${(growth * 100).toFixed(1)} %`);
  const figures = {
    ...{ late, atOnce: proxy.inserts.most, questions: questionsInSiege, beginMib: mib(atBegin), endMib: mib(atEnd) },
    ...{ acknowledged: verdict.acknowledged, lost: verdict.lost, doubled: verdict.doubled },
  };
  return { figures, violations };
}

function median(values: readonly number[]): number {
  return [...values].sort((one, other) => one - other)[Math.floor(values.length / 2)] ?? 0;
}
