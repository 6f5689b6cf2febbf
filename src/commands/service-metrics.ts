/**
 * /metrics: what all processes count, merged, and what the supervisor itself knows, as Prometheus text. A scrape takes
 * CHILD_ANSWER_MS at most for the children and never fails for one of them: who does not answer is shown by
 * `backwork_process_up 0`, with its counters as last heard and without its gauges.
 */
import type { Log } from '../base/log.ts';
import { messageOf } from '../base/errors.ts';
import { type MetricValues, MetricSheet, type Sample } from '../base/metrics.ts';
import { METRICS, type MetricDefinition, type MetricName } from '../base/metrics-table.ts';
import { ProcessWatch } from '../base/metrics-process.ts';
import type { RetentionState } from '../housekeeping/retention-keeper.ts';
import type { Child } from '../supervisor.ts';
import { type ChildMetrics, sumOf } from './child-metrics.ts';
import { DiskWatch } from './disk-watch.ts';
import { backworkVersion } from './version.ts';

const CHILD_ANSWER_MS = 1_000;

export interface MetricsText {
  readonly contentType: string;
  readonly text: string;
}

/** What a service shows of itself. */
export interface MetricsSource {
  children(): readonly { readonly child: Child; readonly metrics: ChildMetrics }[];
  readiness(): { readonly ready: boolean };
  /** By worker, from 0. */
  accepting(): readonly boolean[];
}

export interface ServiceMetricsDeps {
  /** Absolute. */
  readonly dataDir: string;
  /** Below this much free disk ingest refuses, given the disk's size. */
  readonly reserveBytes: (diskBytes: number) => number;
  readonly source: MetricsSource;
  /** Undefined before it was looked after. */
  readonly retention?: () => RetentionState | undefined;
  readonly log: Log;
}

export class ServiceMetrics {
  readonly #deps: ServiceMetricsDeps;
  readonly #process = new ProcessWatch();
  readonly #disk: DiskWatch;
  #asking: Promise<void> | undefined;

  /** Begins to watch process and disk; `stop` ends that. */
  constructor(deps: ServiceMetricsDeps) {
    this.#deps = deps;
    this.#disk = new DiskWatch(deps.dataDir);
    this.#disk.start(() => void this.#ask());
  }

  stop(): void {
    this.#process.stop();
    this.#disk.stop();
  }

  /** The whole page. */
  async text(): Promise<MetricsText> {
    return textOf(await this.values());
  }

  async values(): Promise<MetricValues> {
    const own = new MetricSheet();
    const [, disk, room] = await Promise.all([this.#ask(), this.#disk.figures(), this.#disk.room()]);
    this.#process.collect(own, { process: 'main' });
    this.#collectService(own);
    const nowMs = Date.now();
    const ages = disk.spools.map(({ oldestMs }) => (oldestMs === undefined ? 0 : nowMs - oldestMs));
    own.add('backwork_spool_oldest_record_age_seconds', Math.max(0, ...ages) / 1_000);
    own.add('backwork_quarantine_bytes', disk.quarantineBytes);
    for (const { worker, bytes, segments } of disk.spools) {
      own.add('backwork_spool_bytes', bytes, { worker });
      own.add('backwork_spool_segments', segments, { worker });
    }
    const retention = this.#deps.retention?.();
    if (retention !== undefined) {
      own.add('backwork_retention_behind_seconds', retention.behindMs / 1_000);
      own.add('backwork_retention_dropped_rows_total', retention.droppedRows);
    }
    if (room !== undefined) {
      own.add('backwork_disk_free_bytes', room.freeBytes);
      own.add('backwork_disk_size_bytes', room.sizeBytes);
      own.add('backwork_disk_reserve_bytes', this.#deps.reserveBytes(room.sizeBytes));
      own.add('backwork_disk_fill_bytes_per_second', room.bytesPerSecond);
    }
    return sumOf([own.values, ...this.#deps.source.children().map(({ metrics }) => metrics.values)]);
  }

  #collectService(own: MetricSheet): void {
    const { source } = this.#deps;
    own.add('backwork_build_info', 1, { version: backworkVersion(), node: process.versions.node });
    own.add('backwork_ready', source.readiness().ready ? 1 : 0);
    for (const [worker, accepts] of source.accepting().entries()) {
      own.add('backwork_accepting', accepts ? 1 : 0, { worker: String(worker) });
    }
    own.add('backwork_process_up', 1, { process: 'main' });
    for (const { child, metrics } of source.children()) {
      own.add('backwork_process_up', metrics.up ? 1 : 0, metrics.labels);
      own.add('backwork_process_restarts_total', child.restarts(), metrics.labels);
    }
  }

  /** Those who ask at the same time share one question. */
  #ask(): Promise<void> {
    this.#asking ??= Promise.all(
      this.#deps.source.children().map(({ child, metrics }) => metrics.ask(child, CHILD_ANSWER_MS)),
    )
      .then(() => undefined)
      .catch((error) => this.#deps.log.error({ reason: messageOf(error) }, 'metrics could not be asked for'))
      .finally(() => {
        this.#asking = undefined;
      });
    return this.#asking;
  }
}

/** In Prometheus' text format. Every metric of the table is there, with no sample when nothing was counted yet. */
export async function textOf(values: MetricValues): Promise<MetricsText> {
  // Loaded when somebody asks for metrics: it takes 18 MB.
  const { AggregatorRegistry } = await import('prom-client');
  const metrics = (Object.keys(METRICS) as MetricName[]).map((name) => {
    const { type, help }: MetricDefinition = METRICS[name];
    return { name, type, help, aggregator: 'first', values: (values[name] ?? []).map((sample) => named(name, sample)) };
  });
  const registry = AggregatorRegistry.aggregate([metrics]);
  return { contentType: registry.contentType, text: await registry.metrics() };
}

function named(name: MetricName, { part, labels, value }: Sample): object {
  return { labels, value, ...(part === undefined ? {} : { metricName: `${name}_${part}` }) };
}
