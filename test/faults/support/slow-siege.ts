/**
 * Slow senders in a thread of their own, so that well-behaved clients that are measured beside them wait for the service
 * and not for these. Run as a worker it besieges; imported it starts that worker.
 */
import { setTimeout as delay } from 'node:timers/promises';
import { isMainThread, parentPort, Worker, workerData } from 'node:worker_threads';
import { SLOW_KINDS, type SlowEnding, type SlowTarget } from './slow-senders.ts';

export interface Siege {
  readonly target: SlowTarget;
  readonly sockets: number;
  /** They are opened over this time, so that neither their bytes nor their ends come all at once. */
  readonly openedOverMs: number;
  /** One that ends earlier is followed by another. */
  readonly untilMs: number;
  /** After this, those that are still open are left out. */
  readonly giveUpMs: number;
}

/** An ending and the name of its kind in SLOW_KINDS. */
export interface Ended extends SlowEnding {
  readonly kind: string;
}

/** As many sockets at any time; resolves when all have ended or the time to give up has come. */
export function besiege(siege: Siege): Promise<Ended[]> {
  const worker = new Worker(import.meta.filename, { workerData: siege });
  const { promise, resolve, reject } = Promise.withResolvers<Ended[]>();
  worker.once('message', resolve);
  worker.once('error', reject);
  return promise.finally(() => worker.terminate());
}

async function run(siege: Siege): Promise<Ended[]> {
  const startMs = performance.now();
  const ended: Ended[] = [];
  const slots = Array.from({ length: siege.sockets }, async (_, i) => {
    await delay(Math.floor((i / siege.sockets) * siege.openedOverMs));
    const kind = SLOW_KINDS[i % SLOW_KINDS.length]!;
    do ended.push({ kind: kind.name, ...(await kind.run(siege.target)) });
    while (performance.now() - startMs < siege.untilMs);
  });
  await Promise.race([Promise.all(slots), delay(siege.giveUpMs)]);
  return ended;
}

if (!isMainThread && parentPort !== null) parentPort.postMessage(await run(workerData as Siege));
