/**
 * Bursts of small requests of one organization, each within one segment and over one connection, so that they make one
 * batch; one request of a burst may hold a poisoned row. And another organization beside them, whose rows are timed
 * from their acknowledgement until the table shows them.
 */
import { setTimeout as delay } from 'node:timers/promises';
import { encodeRecords } from '../../support/log-request.ts';
import type { TestService } from '../../support/service.ts';
import { type Door, queryRows } from './door-client.ts';

export const BURST_REQUESTS = 8;
export const ROWS_PER_REQUEST = 5;
const NEIGHBOUR_EVERY_MS = 100;
const LOOK_EVERY_MS = 50;

export interface Burst {
  /** Bodies that must be stored. */
  readonly good: readonly string[];
  /** Bodies of the request with the poisoned row. */
  readonly poisoned: readonly string[];
  /** When the last of them was acknowledged. */
  readonly acknowledgedMs: number;
}

/** `poison`: the text that a row begins with, and the position of its request; undefined: none. */
export async function sendBurst(
  service: TestService,
  number: number,
  poison: { readonly text: string; readonly position: number } | undefined,
): Promise<Burst> {
  const good: string[] = [];
  const poisoned: string[] = [];
  for (let request = 0; request < BURST_REQUESTS; request++) {
    const bodies = Array.from({ length: ROWS_PER_REQUEST }, (_, row) => `burst-${number}-${request}-${row}`);
    const isPoisoned = request === poison?.position;
    if (isPoisoned) bodies[2] = `${poison.text}-${number}`;
    await send(service, service.token, bodies);
    (isPoisoned ? poisoned : good).push(...bodies);
  }
  return { good, poisoned, acknowledgedMs: performance.now() };
}

/** How long each row of an organization took from its acknowledgement until it was seen in the table. */
export class Neighbour {
  readonly #service: TestService;
  readonly #token: string;
  readonly #door: Door;
  readonly #waiting = new Map<number, number>();
  #latenciesMs: number[] = [];
  #sent = 0;
  #stopping = false;
  #running: Promise<unknown> = Promise.resolve();

  constructor(service: TestService, token: string, door: Door) {
    this.#service = service;
    this.#token = token;
    this.#door = door;
  }

  start(): void {
    this.#running = Promise.all([this.#send(), this.#look()]);
  }

  /** Resolves when every row was seen, or rejects with what was missing after 20 s. */
  async stop(): Promise<void> {
    this.#stopping = true;
    await this.#running;
  }

  /** Since the last call, ascending. */
  takeLatenciesMs(): number[] {
    const taken = this.#latenciesMs.sort((one, other) => one - other);
    this.#latenciesMs = [];
    return taken;
  }

  async #send(): Promise<void> {
    while (!this.#stopping) {
      const dueMs = performance.now() + NEIGHBOUR_EVERY_MS;
      const number = this.#sent++;
      await send(this.#service, this.#token, [`neighbour-${number}`]);
      this.#waiting.set(number, performance.now());
      await delay(Math.max(0, dueMs - performance.now()));
    }
  }

  async #look(): Promise<void> {
    const sql =
      "SELECT substring(Body, 11) AS number FROM otel_logs WHERE startsWith(Body, 'neighbour-') AND toUInt32(number) >=";
    for (let giveUpMs = Number.POSITIVE_INFINITY; !this.#stopping || this.#waiting.size > 0; ) {
      if (this.#stopping) giveUpMs = Math.min(giveUpMs, performance.now() + 20_000);
      if (performance.now() > giveUpMs) throw new Error(`${this.#waiting.size} rows of the neighbour are not stored`);
      const oldest = Math.min(this.#sent, ...this.#waiting.keys());
      for (const row of await queryRows(this.#door, `${sql} ${oldest}`)) this.#seen(Number(row['number']));
      await delay(LOOK_EVERY_MS);
    }
  }

  #seen(number: number): void {
    const acknowledgedMs = this.#waiting.get(number);
    if (acknowledgedMs === undefined) return;
    this.#waiting.delete(number);
    this.#latenciesMs.push(performance.now() - acknowledgedMs);
  }
}

async function send(service: TestService, token: string, bodies: readonly string[]): Promise<void> {
  const answer = await fetch(`http://127.0.0.1:${service.ports.http}/v1/logs`, {
    method: 'POST',
    headers: { authorization: `Bearer ${token}`, 'content-type': 'application/x-protobuf' },
    body: new Uint8Array(encodeRecords(bodies.map((text) => ({ timeUnixNano: '1', body: { stringValue: text } })))),
  });
  await answer.arrayBuffer();
  if (answer.status !== 200) throw new Error(`a request was answered ${answer.status}`);
}
