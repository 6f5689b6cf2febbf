/**
 * What `fdatasync` costs on a disk while something else loads it: a thread of its own appends and syncs a file at a steady pace
 * and times the sync alone, by calls that block, so that no event loop is in the figure.
 */
import { closeSync, fdatasyncSync, ftruncateSync, openSync, unlinkSync, writeSync } from 'node:fs';
import { isMainThread, parentPort, Worker, workerData } from 'node:worker_threads';

export interface SyncProbe {
  /** Milliseconds of each sync so far, ascending; the file is gone. */
  stop(): Promise<Float64Array>;
}

interface ProbeOptions {
  /** The file; on the disk that is asked about. */
  readonly path: string;
  /** Appended before each sync. */
  readonly bytes: number;
  readonly everyMs: number;
}

/** The file is cut when it has grown to this. */
const FILE_BYTES_MAX = 64 * 1024 * 1024;

export function startSyncProbe(options: ProbeOptions): SyncProbe {
  const worker = new Worker(new URL(import.meta.url), { workerData: options });
  return {
    stop: () =>
      new Promise((resolve, reject) => {
        worker.once('message', (times: Float64Array) => resolve(times.sort()));
        worker.once('error', reject);
        worker.postMessage('stop');
      }),
  };
}

if (!isMainThread && parentPort !== null) probe(workerData as ProbeOptions, parentPort);

function probe({ path, bytes, everyMs }: ProbeOptions, port: NonNullable<typeof parentPort>): void {
  const file = openSync(path, 'w');
  const data = Buffer.alloc(bytes, 1);
  const times: number[] = [];
  let written = 0;
  const timer = setInterval(() => {
    if (written + bytes > FILE_BYTES_MAX) {
      ftruncateSync(file, 0);
      written = 0;
    }
    writeSync(file, data, 0, bytes, written);
    written += bytes;
    const startMs = performance.now();
    fdatasyncSync(file);
    times.push(performance.now() - startMs);
  }, everyMs);
  port.once('message', () => {
    clearInterval(timer);
    closeSync(file);
    unlinkSync(path);
    port.postMessage(Float64Array.from(times));
    port.close();
  });
}
