/** What every process of ours says of itself: memory, CPU, and how late its event loop is. */
import { performance } from 'node:perf_hooks';
import { Counted, type Labels, MetricSheet } from './metrics.ts';

const LAG_TIMER_MS = 100;

export class ProcessWatch {
  readonly #lag = new Counted('backwork_event_loop_lag_seconds');
  readonly #timer: NodeJS.Timeout;

  /** Begins to measure; its timer keeps no process alive. */
  constructor() {
    let dueMs = performance.now() + LAG_TIMER_MS;
    this.#timer = setInterval(() => {
      const nowMs = performance.now();
      this.#lag.observe(Math.max(0, nowMs - dueMs) / 1_000);
      dueMs = nowMs + LAG_TIMER_MS;
    }, LAG_TIMER_MS);
    this.#timer.unref();
  }

  stop(): void {
    clearInterval(this.#timer);
  }

  /** `labels`: process, and worker where there are several. */
  collect(sheet: MetricSheet, labels: Labels): void {
    const memory = process.memoryUsage();
    const cpu = process.cpuUsage();
    sheet.add('backwork_process_start_time_seconds', performance.timeOrigin / 1_000, labels);
    sheet.add('backwork_process_resident_memory_bytes', memory.rss, labels);
    sheet.add('backwork_process_heap_used_bytes', memory.heapUsed, labels);
    sheet.add('backwork_process_buffers_bytes', memory.external, labels);
    sheet.add('backwork_process_cpu_seconds_total', (cpu.user + cpu.system) / 1e6, labels);
    sheet.add('backwork_event_loop_busy_seconds_total', performance.eventLoopUtilization().active / 1_000, labels);
    sheet.addSamples('backwork_event_loop_lag_seconds', this.#lag.samples(labels));
  }
}

/**
 * For the compositions of children: from here on the process answers the supervisor's questions for metrics with what
 * it says of itself and what `collect` adds.
 */
export function answerWithMetrics(labels: Labels, collect: (sheet: MetricSheet) => void = () => undefined): void {
  const watch = new ProcessWatch();
  process.on('message', (message: { readonly type: string; readonly question?: number }) => {
    if (message.type !== 'metrics' || !process.connected) return;
    const sheet = new MetricSheet();
    watch.collect(sheet, labels);
    collect(sheet);
    process.send?.({ type: 'metrics', question: message.question, values: sheet.values });
  });
}
