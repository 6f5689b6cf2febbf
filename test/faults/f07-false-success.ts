/**
 * F7: answers to INSERTs that look like success and are not: status 200 with an exception in header, body or trailer, a body
 * that breaks off, other numbers of rows. Half of those INSERTs were applied all the same, half never arrived; believing
 * the answer loses the second half, inserting again without a question doubles the first.
 */
import { setTimeout as delay } from 'node:timers/promises';
import { seededRandom } from '../corpus/seeded-random.ts';
import type { Fault, FaultOptions, FaultReport } from './fault.ts';
import { type BehindProxy, behindProxy } from './support/behind-proxy.ts';
import { violationsOf } from './support/oracle.ts';
import type { Fate } from './support/tcp-proxy.ts';

/** At least each kind once applied and once not. */
const ANSWERS = { ci: 18, full: 100 };
/** Patience of the run, and longest that an INSERT is waited for (insert-run.ts): a dropped answer takes that long. */
const PATIENCE_MS = 900_000;

export const f07: Fault = {
  id: 'F7',
  title: 'answers to INSERTs that are no success: 200 with an exception, bodies that break off, other numbers',
  run: (options) => behindProxy({ BACKWORK_LOG_LEVEL: 'debug' }, (behind) => run(behind, options)),
};

interface FalseAnswer {
  readonly name: string;
  readonly head?: string;
  /** In place of the true one; '' is none. */
  readonly summary?: string;
  readonly body: string;
}

const EXCEPTION =
  'Code: 241. DB::Exception: (total) memory limit exceeded. (MEMORY_LIMIT_EXCEEDED) (version 26.7.2.1)\n';
const WRONG_SUMMARY = '{"read_rows":"0","written_rows":"1","written_bytes":"1","result_rows":"0"}';
const tail = `\r\n__exception__\r\nabcdefgh\r\n${EXCEPTION}${EXCEPTION.length} abcdefgh\r\n__exception__\r\n`;

const FALSE_ANSWERS: readonly FalseAnswer[] = [
  { name: 'exception in the body', body: chunks(EXCEPTION) },
  { name: 'tagged exception in the body', body: chunks(tail) },
  { name: 'exception code in a header', head: 'X-ClickHouse-Exception-Code: 241', body: chunks('') },
  {
    name: 'exception code in a trailer',
    head: 'Trailer: X-ClickHouse-Exception-Code',
    body: '0\r\nX-ClickHouse-Exception-Code: 241\r\n\r\n',
  },
  { name: 'body breaks off within a chunk', body: '40\r\nCode: 2' },
  { name: 'body breaks off before its end', body: '5\r\nhello\r\n' },
  { name: 'no body, not even its end', body: '' },
  { name: 'no summary', summary: '', body: chunks('') },
  { name: 'other number of rows', summary: WRONG_SUMMARY, body: chunks('') },
];

async function run(behind: BehindProxy, { size, seed, say }: FaultOptions): Promise<FaultReport> {
  const random = seededRandom(seed);
  const wanted = ANSWERS[size];
  let falsified = 0;
  let applied = 0;
  let dropped = 0;
  behind.proxy.fate = (exchange): Fate => {
    if (exchange.kind !== 'insert' || falsified >= wanted || !random.chance(0.5)) return 'pass';
    const kind = FALSE_ANSWERS[falsified % FALSE_ANSWERS.length]!;
    const arrives = Math.floor(falsified++ / FALSE_ANSWERS.length) % 2 === 0;
    // Once, because the store waits for it for minutes: no answer at all, on a connection that stays open.
    if (size === 'full' && falsified === wanted && dropped++ === 0) return 'drop';
    if (!arrives) return { answer: falseAnswer(kind, WRONG_SUMMARY) };
    applied++;
    // With the true numbers, so that only what is false about it can give it away.
    return { change: (answer) => falseAnswer(kind, summaryOf(answer)) };
  };
  behind.load();
  // The log is kept for its last part only, so it is read while it grows.
  const detected = new Set<string>();
  const read = () =>
    behind.service.stderr
      .split('\n')
      .filter(isFailedInsert)
      .map((line) => detected.add(line));
  const deadline = performance.now() + PATIENCE_MS;
  while (falsified < wanted) {
    if (performance.now() > deadline) throw new Error(`only ${falsified} of ${wanted} answers within the time`);
    read();
    await delay(500);
  }
  say(`${falsified} answers were false, ${applied} of their INSERTs applied`);
  const verdict = await behind.judge(size === 'full' ? PATIENCE_MS / 2 : undefined);
  const violations = violationsOf(verdict);
  read();
  const found = detected.size;
  if (found !== falsified) violations.push(`${found} of ${falsified} false answers were taken for what they are`);
  const { acknowledged, lost, doubled } = verdict;
  return { figures: { falsified, applied, dropped, detected: found, acknowledged, lost, doubled }, violations };
}

/** The store's own line about an INSERT (level debug). */
function isFailedInsert(line: string): boolean {
  // The first line that is kept, and the last one that has come, may be parts of lines.
  if (!line.startsWith('{') || !line.endsWith('}') || !line.includes('"msg":"insert"')) return false;
  return (JSON.parse(line) as { outcome: string }).outcome !== 'stored';
}

function falseAnswer({ head, summary, body }: FalseAnswer, ofAnswer: string): Buffer {
  const shown = summary ?? ofAnswer;
  const lines = [
    'HTTP/1.1 200 OK',
    'X-ClickHouse-Server-Display-Name: backwork-embedded-engine',
    'Content-Type: text/plain; charset=UTF-8',
    ...(shown === '' ? [] : [`X-ClickHouse-Summary: ${shown}`]),
    ...(head === undefined ? [] : [head]),
    'Transfer-Encoding: chunked',
    'Connection: close',
  ];
  return Buffer.from(`${lines.join('\r\n')}\r\n\r\n${body}`);
}

function summaryOf(answer: Buffer): string {
  return /x-clickhouse-summary: *([^\r\n]*)/i.exec(answer.toString('latin1'))?.[1] ?? '';
}

function chunks(text: string): string {
  return `${text === '' ? '' : `${Buffer.byteLength(text).toString(16)}\r\n${text}\r\n`}0\r\n\r\n`;
}
