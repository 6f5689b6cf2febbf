/** What the store process counts: a few additions an INSERT or segment. */
import { Counted, CountedBy, type MetricSheet } from '../../base/metrics.ts';
import type { StoreEvents } from '../messages.ts';
import type { OrganizationNames } from './organization-names.ts';
import { QuarantineCount } from './quarantine-count.ts';

export class StoreMetrics implements StoreEvents {
  readonly #organizations: OrganizationNames;
  readonly #inserts = new CountedBy('backwork_inserts_total');
  readonly #retries = new CountedBy('backwork_insert_retries_total');
  readonly #rows = new CountedBy('backwork_insert_rows_total');
  readonly #bytes = new CountedBy('backwork_insert_bytes_total');
  readonly #durations = new Counted('backwork_insert_duration_seconds');
  readonly #suppressed = new CountedBy('backwork_retries_suppressed_total');
  readonly #itemsSuppressed = new CountedBy('backwork_items_suppressed_total');
  readonly #quarantine: QuarantineCount;
  readonly #expired = new CountedBy('backwork_rows_expired_total');
  readonly #untilStored = new Counted('backwork_time_to_store_seconds');
  #asked = 0;
  #found = 0;
  #convertedAgain = 0;
  #gaps = 0;
  #unreachable: string | undefined;

  constructor(organizations: OrganizationNames) {
    this.#organizations = organizations;
    this.#quarantine = new QuarantineCount(organizations);
  }

  /** Why the telemetry store cannot be reached; undefined: it answered last time, or was not asked yet. */
  get unreachable(): string | undefined {
    return this.#unreachable;
  }

  inserted({ table, outcome, batches, sentBefore, rows, bytes, ms }: Parameters<StoreEvents['inserted']>[0]): void {
    if (batches === 0) return;
    this.#inserts.add(1, table, outcome);
    this.#retries.add(sentBefore > 0 ? 1 : 0, table);
    this.#durations.observe(ms / 1_000);
    if (outcome !== 'stored') return;
    this.#rows.add(rows, table);
    this.#bytes.add(bytes, table);
  }

  asked({ batches, found }: Parameters<StoreEvents['asked']>[0]): void {
    this.#asked += batches;
    this.#found += found;
  }

  retrySuppressed({ orgId, signal, items }: Parameters<StoreEvents['retrySuppressed']>[0]): void {
    const organization = this.#organizations.labelOf(orgId);
    this.#suppressed.add(1, signal, organization);
    this.#itemsSuppressed.add(items, signal, organization);
  }

  quarantined(record: Parameters<StoreEvents['quarantined']>[0]): void {
    this.#quarantine.quarantined(record);
  }

  expired({ table, rows }: Parameters<StoreEvents['expired']>[0]): void {
    this.#expired.add(rows, table);
  }

  gap(): void {
    this.#gaps++;
  }

  convertedAgain(): void {
    this.#convertedAgain++;
  }

  removed({ ageMs }: Parameters<StoreEvents['removed']>[0]): void {
    this.#untilStored.observe(Math.max(0, ageMs) / 1_000);
  }

  reachable(reason: string | undefined): void {
    this.#unreachable = reason;
  }

  collect(sheet: MetricSheet): void {
    sheet.add('backwork_store_reachable', this.#unreachable === undefined ? 1 : 0);
    sheet.addSamples('backwork_inserts_total', this.#inserts.samples());
    sheet.addSamples('backwork_insert_retries_total', this.#retries.samples());
    sheet.addSamples('backwork_insert_rows_total', this.#rows.samples());
    sheet.addSamples('backwork_insert_bytes_total', this.#bytes.samples());
    sheet.addSamples('backwork_insert_duration_seconds', this.#durations.samples());
    sheet.add('backwork_batches_asked_total', this.#asked);
    sheet.add('backwork_batches_found_total', this.#found);
    sheet.add('backwork_batches_converted_again_total', this.#convertedAgain);
    sheet.addSamples('backwork_time_to_store_seconds', this.#untilStored.samples());
    sheet.addSamples('backwork_retries_suppressed_total', this.#suppressed.samples());
    sheet.addSamples('backwork_items_suppressed_total', this.#itemsSuppressed.samples());
    this.#quarantine.collect(sheet);
    sheet.addSamples('backwork_rows_expired_total', this.#expired.samples());
    sheet.add('backwork_segment_gaps_total', this.#gaps);
  }
}
