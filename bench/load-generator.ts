/**
 * Sends requests over a number of connections, as fast as they are answered or at a given rate, and notes what was said.
 *
 * A request that was not acknowledged is not sent again: its id is `unsure`, its rows may be stored once or not at all.
 */
import { setTimeout as delay } from 'node:timers/promises';
import type { RequestBody } from './request-bodies.ts';
import type { Sender } from './senders.ts';

export interface LoadOptions {
  readonly senders: readonly Sender[];
  /** Requests at once on each connection. */
  readonly inFlight: number;
  /** At least one for each request in flight; each slot uses its own share of them. */
  readonly bodies: readonly RequestBody[];
  readonly itemsPerRequest: number;
  /** 0: as fast as requests are answered. */
  readonly itemsPerSecond: number;
  readonly seconds: number;
  readonly firstRequestId: number;
}

export interface LoadResult {
  readonly acknowledgedRequests: number;
  /** Ids from firstRequestId to this, excluded, were sent. */
  readonly nextRequestId: number;
  readonly unsure: readonly number[];
  /** What the first refusal said. */
  readonly firstRefusal: string | undefined;
  /** From the sending of a request to its answer, ms, ascending. */
  readonly acknowledgementMs: Float64Array;
  /** From the first sending to the last answer. */
  readonly elapsedMs: number;
  /** This process's, user and system. */
  readonly generatorCpuMicros: number;
}

/** Without a rate, a refused slot waits this long: a full spool is not hammered. */
const REFUSED_PAUSE_MS = 100;

export async function runLoad(options: LoadOptions): Promise<LoadResult> {
  const { senders, inFlight, bodies, itemsPerRequest, itemsPerSecond } = options;
  const slotCount = senders.length * inFlight;
  const intervalMs = itemsPerSecond === 0 ? 0 : (1_000 * itemsPerRequest) / itemsPerSecond;
  const acknowledgementMs: number[] = [];
  const unsure: number[] = [];
  let firstRefusal: string | undefined;
  let nextRequestId = options.firstRequestId;
  const cpu = process.cpuUsage();
  const startMs = performance.now();
  const untilMs = startMs + options.seconds * 1_000;

  const slot = async (index: number): Promise<void> => {
    const sender = senders[index % senders.length]!;
    // Bodies index, index + slotCount, …: no other slot has them.
    const own = bodies.filter((_, at) => at % slotCount === index);
    for (let turn = 0; performance.now() < untilMs; turn++) {
      const body = own[turn % own.length]!;
      const requestId = nextRequestId++;
      const dueMs = startMs + (requestId - options.firstRequestId) * intervalMs;
      if (dueMs > performance.now()) await delay(dueMs - performance.now());
      body.setId(requestId);
      const sentMs = performance.now();
      const refusal = await sender.send(body.bytes);
      if (refusal === undefined) acknowledgementMs.push(performance.now() - sentMs);
      else {
        unsure.push(requestId);
        firstRefusal ??= refusal;
        await delay(REFUSED_PAUSE_MS);
      }
    }
  };
  await Promise.all(Array.from({ length: slotCount }, (_, index) => slot(index)));
  const { user, system } = process.cpuUsage(cpu);
  return {
    acknowledgedRequests: acknowledgementMs.length,
    nextRequestId,
    unsure,
    firstRefusal,
    acknowledgementMs: Float64Array.from(acknowledgementMs).sort(),
    elapsedMs: performance.now() - startMs,
    generatorCpuMicros: user + system,
  };
}
