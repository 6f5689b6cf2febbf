/**
 * What one child has to say for the metrics, over all the processes that it has been: a counter never goes back because
 * a process was started again, for whoever reads the sum of several would take that for a reset of all of them.
 *
 * Counts since the last answer of a process that ends are lost with it: the supervisor asks every 10 s at least.
 */
import type { Labels, MetricValues, Sample } from '../base/metrics.ts';
import { METRICS, type MetricName } from '../base/metrics-table.ts';
import type { ChildMessage } from '../process-messages.ts';
import type { Child } from '../supervisor.ts';

export class ChildMetrics {
  readonly labels: Labels;
  /** Counters and histograms of its former processes. */
  #former: MetricValues = {};
  #last: MetricValues = {};
  #question = 0;
  #answered: (() => void) | undefined;
  #up = false;

  /** `labels`: process, and worker where there are several. */
  constructor(labels: Labels) {
    this.labels = labels;
  }

  /** It answered the last question in time. */
  get up(): boolean {
    return this.#up;
  }

  /** Gauges only of a process that has just answered; counters as last heard. */
  get values(): MetricValues {
    return sumOf([this.#former, this.#up ? this.#last : countersOf(this.#last)]);
  }

  /** Resolves when the child has answered, or `withinMs` are over. One question at a time. */
  async ask(child: Child, withinMs: number): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<boolean>();
    this.#answered = () => resolve(true);
    const late = setTimeout(() => resolve(false), withinMs);
    child.send({ type: 'metrics', question: ++this.#question });
    this.#up = child.pid() !== undefined && (await promise);
    this.#answered = undefined;
    clearTimeout(late);
  }

  received({ question, values }: Extract<ChildMessage, { type: 'metrics' }>): void {
    // Also when it comes late: it is the newest that is known.
    this.#last = values as MetricValues;
    if (question === this.#question) this.#answered?.();
  }

  /** Its process has ended. */
  ended(): void {
    this.#former = sumOf([this.#former, countersOf(this.#last)]);
    this.#last = {};
    this.#up = false;
  }
}

/** All samples of all, those of equal labels added up. */
export function sumOf(all: readonly MetricValues[]): MetricValues {
  const sums: { [Name in MetricName]?: readonly Sample[] } = {};
  for (const name of Object.keys(METRICS) as MetricName[]) {
    const byLabels = new Map<string, Sample>();
    for (const sample of all.flatMap((values) => values[name] ?? [])) {
      const key = JSON.stringify([sample.part, ...Object.entries(sample.labels)]);
      const value = (byLabels.get(key)?.value ?? 0) + sample.value;
      byLabels.set(key, { ...sample, value });
    }
    if (byLabels.size > 0) sums[name] = [...byLabels.values()];
  }
  return sums;
}

function countersOf(values: MetricValues): MetricValues {
  return Object.fromEntries(
    Object.entries(values).filter(([name]) => METRICS[name as MetricName]?.type !== 'gauge'),
  ) as MetricValues;
}
