/** Reading /metrics back: the text of our own page, for `doctor`. */
import type { Labels } from '../base/metrics.ts';
import type { MetricName } from '../base/metrics-table.ts';

export class MetricsReading {
  readonly #samples = new Map<string, { readonly labels: Labels; readonly value: number }[]>();

  /** `text` in Prometheus' format; lines that are no samples are passed over. */
  constructor(text: string) {
    for (const line of text.split('\n')) {
      const match = /^([a-z_]+)(?:\{(.*)\})? (\S+)$/.exec(line);
      if (match === null) continue;
      const [, name = '', pairs = '', value] = match;
      const labels = [...pairs.matchAll(/([a-z_]+)="((?:[^"\\]|\\.)*)"/g)].map((pair) => [pair[1], pair[2]]);
      const samples = this.#samples.get(name) ?? [];
      samples.push({ labels: Object.fromEntries(labels) as Labels, value: Number(value) });
      this.#samples.set(name, samples);
    }
  }

  /** undefined when the page has no such sample. */
  value(name: MetricName): number | undefined {
    const samples = this.#samples.get(name);
    return samples === undefined ? undefined : this.sum(name);
  }

  /** Of all samples of the metric. */
  sum(name: MetricName): number {
    return (this.#samples.get(name) ?? []).reduce((sum, { value }) => sum + value, 0);
  }

  /** Sums by a label, those that are not 0, largest first. */
  by(name: MetricName, label: string): (readonly [string, number])[] {
    const sums = new Map<string, number>();
    for (const { labels, value } of this.#samples.get(name) ?? []) {
      const word = labels[label] ?? '';
      sums.set(word, (sums.get(word) ?? 0) + value);
    }
    return [...sums].filter(([, sum]) => sum !== 0).sort(([, one], [, other]) => other - one);
  }

  /** Labels of the samples that have this value. */
  labelsWhere(name: MetricName, value: number): Labels[] {
    return (this.#samples.get(name) ?? []).filter((sample) => sample.value === value).map(({ labels }) => labels);
  }
}
