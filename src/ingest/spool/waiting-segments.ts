/** What waits in a spool directory for the store, for those who count it: which segments, how large, and whose. */
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { messageOf } from '../../base/errors.ts';
import type { Log } from '../../base/log.ts';
import { fileName, parseFileName } from './format.ts';
import { readFooter } from './reader.ts';
import type { SpoolFiles } from './spool-files.ts';

export interface WaitingSegment {
  readonly sequence: number;
  /** Of the segment's file. */
  readonly bytes: number;
  readonly requests: readonly { readonly orgId: string; readonly bytesReceived: number }[];
}

/** Numbers of the segments whose file stands there, sealed or not. */
export async function listSegmentFiles(files: SpoolFiles, dir: string): Promise<ReadonlySet<number>> {
  const sequences = new Set<number>();
  for (const name of await files.list(dir)) {
    const parsed = parseFileName(name);
    if (parsed?.kind === 'segment') sequences.add(parsed.sequence);
  }
  return sequences;
}

/**
 * These sealed segments, one after another, resting as long as each took: a long backlog must not slow what arrives. One
 * that is gone meanwhile or cannot be read is passed over. Ends early when `goOn` says so.
 */
export async function* readWaiting(
  spool: { readonly files: SpoolFiles; readonly dir: string; readonly log: Log },
  sequences: readonly number[],
  goOn: () => boolean,
): AsyncGenerator<WaitingSegment, void, void> {
  const { files, dir, log } = spool;
  for (const sequence of sequences) {
    if (!goOn()) return;
    const startedMs = performance.now();
    try {
      const { requests } = await readFooter(files, dir, sequence);
      const file = await files.open(join(dir, fileName(sequence, 'segment')), 'read');
      const bytes = await file.size().finally(() => file.close());
      yield { sequence, bytes, requests };
    } catch (error) {
      log.debug({ dir, sequence, error: messageOf(error) }, 'a waiting segment is not counted');
    }
    await sleep(performance.now() - startedMs, undefined, { ref: false });
  }
}
