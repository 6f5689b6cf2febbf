/** Faults in the content of requests: each case is a request, what must be answered, and the rows it must leave. */
import type { Signal } from '../../../src/ingest/messages.ts';
import { startService, type TestService } from '../../support/service.ts';
import type { FaultReport } from '../fault.ts';
import { exportOver } from './export-call.ts';

export interface ContentCase {
  readonly name: string;
  readonly signal: Signal;
  /** Text is OTLP/JSON. Its service.name is `name`. */
  readonly body: Buffer | string;
  readonly rejected: number;
  /** What the answer's message says; '' for none. */
  readonly message: RegExp | '';
  /** A query of one column `v`, ordered; `{name}` stands for the name as a literal. */
  readonly sql: string;
  readonly rows: readonly string[];
}

const ROWS_WITHIN_MS = 10_000;

/** Sends every case to one service, then compares: what leaves no rows is looked at when the rows of others are there. */
export async function checkContent(cases: readonly ContentCase[]): Promise<FaultReport> {
  const service = await startService();
  const violations: string[] = [];
  let [rejected, rows] = [0, 0];
  try {
    const answers = new Map<ContentCase, string[]>();
    for (const one of cases) answers.set(one, await checkAnswer(service, one));
    const withRowsFirst = [...cases].sort((one, other) => other.rows.length - one.rows.length);
    for (const one of withRowsFirst) {
      const wrong = [...(answers.get(one) ?? []), ...(await checkRows(service, one))];
      violations.push(...wrong.map((text) => `${one.name}: ${text}`));
      rejected += one.rejected;
      rows += one.rows.length;
    }
    const worker = service.children('ingest').length;
    if (worker !== 1) violations.push(`${worker} ingest workers run at the end, not 1`);
  } finally {
    await service.stopAndRemove();
  }
  return { figures: { requests: cases.length, rowsExpected: rows, itemsRejected: rejected }, violations };
}

async function checkAnswer(service: TestService, one: ContentCase): Promise<string[]> {
  const answer = await exportOver(service, one.signal, one.body);
  const wrong: string[] = [];
  if (answer.status !== 200) return [`answered ${answer.status}: ${answer.message}`];
  if (answer.rejected !== one.rejected) wrong.push(`rejected ${answer.rejected}, not ${one.rejected}`);
  const said = one.message === '' ? answer.message === '' : one.message.test(answer.message);
  if (!said) wrong.push(`the answer says ${JSON.stringify(answer.message)}`);
  return wrong;
}

async function checkRows(service: TestService, one: ContentCase): Promise<string[]> {
  const sql = one.sql.replaceAll('{name}', `'${one.name}'`);
  const expected = JSON.stringify(one.rows);
  let found: string[] = [];
  const done = (rows: { v: string }[]) => {
    found = rows.map(({ v }) => v);
    return JSON.stringify(found) === expected;
  };
  try {
    await service.queryUntil<{ v: string }>(sql, done, ROWS_WITHIN_MS);
    return [];
  } catch {
    return [`rows ${JSON.stringify(found).slice(0, 300)}, not ${expected.slice(0, 300)}`];
  }
}
