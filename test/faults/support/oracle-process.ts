/**
 * The oracle's process, which no test ever kills: issues ids, sends them, and writes on disk what was issued and what was
 * acknowledged, a range of ids a line. An item is a pure function of its id. Its parent (oracle.ts) starts and stops it.
 *
 *   issued.log         `first count`, before the request is sent
 *   acknowledged.log   `first count atMs latencyMs`, after its answer was read; of the last attempt when there were several
 */
import { closeSync, openSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { encodeIds, grpcSender, httpSender, type Protocol, type Sender } from '../../support/load.ts';
import { type OracleMessage, type OracleOptions, type OracleStatus, oracleId } from './oracle.ts';
import type { Signal } from '../../../src/ingest/messages.ts';

const STATUS_EVERY_MS = 20;
/** A client that was refused waits so long before it sends again. */
const RETRY_DELAY_MS = 50;
/** After `stop`, how long a request that was not answered is sent again. */
const LAST_RETRIES_MS = 10_000;
/** Over it a request counts as failed. Long: an answer that a client gave up on may have left all the same. */
const DEADLINE_MS = 60_000;

class Oracle {
  readonly #options: OracleOptions;
  readonly #issued: number;
  readonly #acknowledged: number;
  #next = 0;
  #stoppingAtMs = Number.POSITIVE_INFINITY;
  readonly #status = { acknowledged: 0, issued: 0, failed: 0, retried: 0 };
  readonly #by: OracleStatus['by'] = { grpc: 0, http: 0, logs: 0, metrics: 0, traces: 0 };

  constructor(options: OracleOptions) {
    this.#options = options;
    this.#issued = openSync(join(options.dir, 'issued.log'), 'a');
    this.#acknowledged = openSync(join(options.dir, 'acknowledged.log'), 'a');
  }

  async run(): Promise<void> {
    const telling = setInterval(() => this.#tell(), STATUS_EVERY_MS);
    await Promise.all(this.#options.clients.map((client, index) => this.#client(client, index)));
    clearInterval(telling);
    closeSync(this.#issued);
    closeSync(this.#acknowledged);
    this.#tell();
    process.send?.({ type: 'ended' } satisfies OracleMessage, () => process.disconnect?.());
  }

  stop(): void {
    this.#stoppingAtMs = performance.now();
  }

  async #client({ protocol, retrying }: OracleOptions['clients'][number], index: number): Promise<void> {
    const { grpcPort, httpPort, token, rowsPerRequest, intervalMs, signals } = this.#options;
    const sender =
      protocol === 'grpc' ? grpcSender(grpcPort, token, DEADLINE_MS) : httpSender(httpPort, token, DEADLINE_MS);
    // Spread over the interval, so that the load is even.
    await delay((index / this.#options.clients.length) * intervalMs);
    for (let turn = index; performance.now() < this.#stoppingAtMs; turn++) {
      const nextAtMs = performance.now() + intervalMs;
      const signal = signals[turn % signals.length] ?? 'logs';
      const first = this.#next;
      this.#next += rowsPerRequest;
      const ids = Array.from({ length: rowsPerRequest }, (_, i) => oracleId(first + i));
      this.#status.issued = this.#next;
      writeSync(this.#issued, `${first} ${rowsPerRequest}\n`);
      const body = encodeIds(ids, signal);
      const latencyMs = await this.#send(sender, body, signal, retrying);
      if (latencyMs !== undefined) {
        writeSync(this.#acknowledged, `${first} ${rowsPerRequest} ${Date.now()} ${latencyMs.toFixed(2)}\n`);
        this.#count(rowsPerRequest, signal, protocol);
      }
      await delay(Math.max(0, Math.min(nextAtMs, this.#stoppingAtMs) - performance.now()));
    }
    sender.close();
  }

  /** The same bytes until they are accepted, when the client retries. Returns how long that took, or undefined. */
  async #send(sender: Sender, body: Buffer, signal: Signal, retrying: boolean): Promise<number | undefined> {
    for (;;) {
      const beganMs = performance.now();
      if (await sender.send(body, signal)) return performance.now() - beganMs;
      this.#status.failed++;
      if (!retrying || performance.now() > this.#stoppingAtMs + LAST_RETRIES_MS) return undefined;
      await delay(RETRY_DELAY_MS);
      this.#status.retried++;
    }
  }

  #count(count: number, signal: Signal, protocol: Protocol): void {
    this.#status.acknowledged += count;
    this.#by[signal] += count;
    this.#by[protocol] += count;
  }

  #tell(): void {
    process.send?.({ type: 'status', ...this.#status, by: this.#by } satisfies OracleMessage);
  }
}

let oracle: Oracle | undefined;
process.on('message', (message: OracleMessage) => {
  if (message.type === 'start') {
    oracle = new Oracle(message);
    void oracle.run();
  } else if (message.type === 'stop') oracle?.stop();
});
process.on('disconnect', () => process.exit(0));
