/**
 * Runs in a thread of its own: clients of one organization that send large bodies at a fixed pace and never wait as they are
 * told. In a thread, because making and sending 20 MB holds the loop on which the neighbours' latency is measured.
 */
import { randomBytes } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import { parentPort, workerData } from 'node:worker_threads';
import type { Protocol } from '../../support/load.ts';
import { encodeRecords } from '../../support/log-request.ts';
import { outcomeSender } from './outcome-sender.ts';

export interface NoisyOptions {
  readonly ports: { readonly grpc: number; readonly http: number };
  readonly token: string;
  readonly clients: readonly Protocol[];
  readonly bodyBytes: number;
  /** Of all clients together. */
  readonly bytesPerSecond: number;
  /** At least 6 characters; no two of a test alike. */
  readonly prefix: string;
}

export interface NoisyResult {
  readonly offeredBytes: number;
  readonly acceptedBytes: number;
  readonly acceptedRows: number;
  /** How often each answer came: `retried 429`. */
  readonly answers: Readonly<Record<string, number>>;
  /** Of the first refusal. */
  readonly message: string;
}

const ROW_BYTES = 1_000;
const PAD_BYTES = 675;
const NUMBER_DIGITS = 8;

async function run(options: NoisyOptions): Promise<void> {
  const body = template(options);
  const result = {
    offeredBytes: 0,
    acceptedBytes: 0,
    acceptedRows: 0,
    answers: {} as Record<string, number>,
    message: '',
  };
  let stopping = false;
  let next = 0;
  const heard = new Set<string>();
  // The same but for its numbers is not told again.
  const hear = (answer: string): void => {
    const text = answer.replaceAll(/\d{4,}/g, 'n');
    if (heard.has(text)) return;
    heard.add(text);
    parentPort?.postMessage({ answer });
  };
  parentPort?.once('message', () => {
    stopping = true;
  });
  const everyMs = (body.bytes.length / options.bytesPerSecond) * 1_000 * options.clients.length;
  const client = async (protocol: Protocol, index: number): Promise<void> => {
    const sender = outcomeSender(protocol, options.ports[protocol], options.token);
    await delay((index * everyMs) / options.clients.length);
    while (!stopping) {
      const startedMs = performance.now();
      result.offeredBytes += body.bytes.length;
      const outcome = await sender.send(body.numbered(next++));
      const answer = `${outcome.kind} ${outcome.status}`;
      hear(outcome.kind === 'accepted' ? answer : `${answer} ${outcome.message}`);
      result.answers[answer] = (result.answers[answer] ?? 0) + 1;
      if (outcome.kind === 'accepted') {
        result.acceptedBytes += body.bytes.length;
        result.acceptedRows += body.rows;
      } else result.message ||= outcome.message;
      while (!stopping && performance.now() - startedMs < everyMs) await delay(20);
    }
    sender.close();
  };
  await Promise.all(options.clients.map(client));
  parentPort?.postMessage({ result: result satisfies NoisyResult });
}

function padOf(pads: string, row: number): string {
  const length = (PAD_BYTES / 3) * 4;
  return pads.slice(row * length, (row + 1) * length);
}

/** A body of which each copy gets a number of its own in every row, without being encoded again. */
function template({ bodyBytes, prefix }: NoisyOptions) {
  const placeholder = `${prefix}${'0'.repeat(NUMBER_DIGITS)}`;
  const rows = Math.max(1, Math.floor(bodyBytes / ROW_BYTES));
  // Nothing that zstd makes smaller by much: what waits in a spool is counted as stored.
  const pads = randomBytes(rows * PAD_BYTES).toString('base64');
  const records = Array.from({ length: rows }, (_, row) => ({
    timeUnixNano: '1700000000000000000',
    body: { stringValue: `${placeholder}-${row}` },
    attributes: [{ key: 'pad', value: { stringValue: padOf(pads, row) } }],
  }));
  const bytes = encodeRecords(records);
  const places: number[] = [];
  for (let at = bytes.indexOf(placeholder); at >= 0; at = bytes.indexOf(placeholder, at + 1)) {
    places.push(at + prefix.length);
  }
  const numbered = (number: number): Buffer => {
    const copy = Buffer.from(bytes);
    const digits = String(number).padStart(NUMBER_DIGITS, '0');
    for (const place of places) copy.write(digits, place, 'latin1');
    return copy;
  };
  return { bytes, rows, numbered };
}

await run(workerData as NoisyOptions);
