/**
 * How a process counts, and the form in which counts travel: plain numbers in arrays while requests run, samples when
 * somebody asks. Nothing here knows a registry or a text format: those are the supervisor's, which alone answers
 * /metrics (loading them costs a process 18 MB, *measured*, and each of ours would pay it).
 */
import { METRICS, type MetricDefinition, type MetricName } from './metrics-table.ts';

export type Labels = Readonly<Record<string, string>>;

/** One number of a metric. `part` is set for histograms only: a bucket has the label `le`. */
export interface Sample {
  readonly labels: Labels;
  readonly value: number;
  readonly part?: 'bucket' | 'sum' | 'count';
}

/** What a process, or all of them, have to say: samples by metric. */
export type MetricValues = { readonly [Name in MetricName]?: readonly Sample[] };

/** Where samples are put when somebody asks. */
export class MetricSheet {
  readonly #values: { [Name in MetricName]?: Sample[] } = {};

  add(name: MetricName, value: number, labels: Labels = {}): void {
    this.addSamples(name, [{ labels, value }]);
  }

  addSamples(name: MetricName, samples: readonly Sample[]): void {
    const there = this.#values[name];
    if (there === undefined) this.#values[name] = [...samples];
    else there.push(...samples);
  }

  get values(): MetricValues {
    return this.#values;
  }
}

/** A histogram of one set of labels: an observation is a search in a list of about ten bounds and two additions. */
export class Counted {
  readonly #bounds: readonly number[];
  readonly #counts: Float64Array;
  #sum = 0;

  /** `name` must be a histogram's. */
  constructor(name: MetricName) {
    const definition: MetricDefinition = METRICS[name];
    this.#bounds = definition.buckets ?? [];
    this.#counts = new Float64Array(this.#bounds.length + 1);
  }

  observe(value: number): void {
    let index = 0;
    while (index < this.#bounds.length && value > (this.#bounds[index] as number)) index++;
    this.#counts[index] = (this.#counts[index] as number) + 1;
    this.#sum += value;
  }

  /** Cumulative buckets, sum and count. */
  samples(labels: Labels = {}): Sample[] {
    const samples: Sample[] = [];
    let count = 0;
    for (const [index, counted] of this.#counts.entries()) {
      count += counted;
      const bound = this.#bounds[index];
      samples.push({
        part: 'bucket',
        labels: { ...labels, le: bound === undefined ? '+Inf' : `${bound}` },
        value: count,
      });
    }
    samples.push({ part: 'sum', labels, value: this.#sum }, { part: 'count', labels, value: count });
    return samples;
  }
}

/**
 * Counters of one metric whose labels are found out only while counting, from fixed lists: of words as they come, each
 * with a place of its own. Not for values that a client chooses.
 */
export class CountedBy {
  readonly #counts = new Map<string, { readonly labels: Labels; value: number }>();
  readonly #names: readonly string[];

  /** Labels in the order in which `add` is given them. */
  constructor(name: MetricName) {
    this.#names = METRICS[name].labels;
  }

  add(value: number, ...words: string[]): void {
    const key = words.join(' ');
    const counted = this.#counts.get(key);
    if (counted !== undefined) counted.value += value;
    else this.#counts.set(key, { labels: Object.fromEntries(this.#names.map((n, at) => [n, words[at] ?? ''])), value });
  }

  samples(): Sample[] {
    return [...this.#counts.values()].map(({ labels, value }) => ({ labels, value }));
  }
}
