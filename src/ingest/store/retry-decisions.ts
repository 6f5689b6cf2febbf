/**
 * The decision about each segment's retries (retries.ts), in the journal before anything of the segment is sent. A journal
 * without room is asked again until what is loaded already has made some.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { BackworkError } from '../../base/errors.ts';
import type { FooterRequest } from '../messages.ts';
import type { Journal } from './journal.ts';
import type { SegmentName } from './journal-notes.ts';
import { KEYS_MAX } from './request-keys.ts';
import { decideOnRetries } from './retries.ts';
import { ENGINE_RETRY, retryDelayMs } from './retry-delay.ts';
import type { FoundSegment } from './segment-finder.ts';
import type { StoreDeps } from './store-deps.ts';

export type RetryDecisionsDeps = Pick<StoreDeps, 'identicalOnce' | 'log' | 'events'> & {
  readonly journal: Journal;
  readonly random: () => number;
  readonly isStopping: () => boolean;
};

export class RetryDecisions {
  private readonly deps: RetryDecisionsDeps;
  private keysDroppedEarly = false;

  constructor(deps: RetryDecisionsDeps) {
    this.deps = deps;
  }

  /** Resolves when the decision is noted, by an earlier run perhaps; false: the store is stopping and it is not. */
  async decided({ name, requests }: FoundSegment): Promise<boolean> {
    const { journal, log, identicalOnce = false } = this.deps;
    const { state } = journal;
    if (state.isRemoved(name) || state.retriesDecided(name)) return true;
    const { leftOut, notes } = decideOnRetries(state, name, requests, identicalOnce);
    for (let attempt = 1; !this.deps.isStopping(); attempt++) {
      try {
        await journal.write(notes);
        this.tell(name, requests, leftOut);
        return true;
      } catch (error) {
        if (!(error instanceof BackworkError) || error.code !== 'store-temporary') throw error;
        if (attempt === 1) log.warn({ ...name, reason: error.message }, 'a segment waits for room for its keys');
        await sleep(retryDelayMs(attempt, this.deps.random(), ENGINE_RETRY), undefined, { ref: false });
      }
    }
    return false;
  }

  private tell(name: SegmentName, requests: readonly FooterRequest[], leftOut: readonly number[]): void {
    const { journal, log, events } = this.deps;
    if (journal.state.keys.droppedEarly > 0 && !this.keysDroppedEarly) {
      this.keysDroppedEarly = true;
      log.warn({ keysMax: KEYS_MAX }, 'too many requests to know each for ten minutes: a retry may be stored twice');
    }
    if (leftOut.length === 0) return;
    log.info({ ...name, requests: leftOut.length }, 'left out requests that were sent again');
    for (const index of leftOut) {
      const { orgId, signal, itemsAccepted: items } = requests[index]!;
      events?.retrySuppressed({ orgId, signal, items });
    }
  }
}
