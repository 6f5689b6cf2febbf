/**
 * What an ingest process counts. A request costs four additions into arrays whose places are known beforehand: labels
 * are put together only when somebody asks.
 */
import { Counted, CountedBy, type MetricSheet } from '../../base/metrics.ts';
import type { MetricName } from '../../base/metrics-table.ts';
import { type IngestEvents, SIGNALS, type Signal, type StoreEvents } from '../messages.ts';
import type { OrganizationNames } from './organization-names.ts';
import { QuarantineCount } from './quarantine-count.ts';

const PROTOCOLS = ['grpc', 'http'] as const;
/** A request for an unknown path is of no signal. */
const SIGNAL_LABELS = [...SIGNALS, 'none'] as const;

export class IngestMetrics implements IngestEvents, Pick<StoreEvents, 'quarantined'> {
  readonly #organizations: OrganizationNames;
  /** By organization, signal and protocol. */
  readonly #requests: Float64Array;
  /** By organization and signal. */
  readonly #items: Float64Array;
  readonly #bytes: Float64Array;
  readonly #rejected = new CountedBy('backwork_items_rejected_total');
  /** By reason; each as `#requests`. */
  readonly #refused = new Map<string, Float64Array>();
  readonly #quarantine: QuarantineCount;
  readonly #bytesRefused = new CountedBy('backwork_bytes_refused_total');
  readonly #commits = new Counted('backwork_commit_duration_seconds');
  readonly #seals = new Counted('backwork_seal_duration_seconds');
  #records = 0;
  #recordBytes = 0;

  constructor(organizations: OrganizationNames) {
    this.#organizations = organizations;
    this.#quarantine = new QuarantineCount(organizations);
    const count = organizations.labels.length * SIGNAL_LABELS.length;
    this.#requests = new Float64Array(count * PROTOCOLS.length);
    this.#items = new Float64Array(count);
    this.#bytes = new Float64Array(count);
  }

  accepted(request: Parameters<IngestEvents['accepted']>[0]): void {
    const { signal, protocol, items, rejected, bytes } = request;
    const place = this.#place(request.orgId, signal);
    add(this.#requests, place * 2 + (protocol === 'grpc' ? 0 : 1), 1);
    add(this.#items, place, items);
    add(this.#bytes, place, bytes);
    if (rejected === 0) return;
    this.#rejected.add(rejected, signal, this.#organizations.labelOf(request.orgId), request.rejectedReason);
  }

  refused({ orgId, signal, protocol, reason, bytes }: Parameters<IngestEvents['refused']>[0]): void {
    let counts = this.#refused.get(reason);
    if (counts === undefined) {
      counts = new Float64Array(this.#requests.length);
      this.#refused.set(reason, counts);
    }
    add(counts, this.#place(orgId, signal) * 2 + (protocol === 'grpc' ? 0 : 1), 1);
    if (bytes > 0) this.#bytesRefused.add(bytes, signal ?? 'none', reason);
  }

  committed({ ms, records, bytes }: Parameters<IngestEvents['committed']>[0]): void {
    this.#commits.observe(ms / 1_000);
    this.#records += records;
    this.#recordBytes += bytes;
  }

  sealed({ ms }: Parameters<IngestEvents['sealed']>[0]): void {
    this.#seals.observe(ms / 1_000);
  }

  /** Recovery found damaged bytes. */
  quarantined(record: Parameters<StoreEvents['quarantined']>[0]): void {
    this.#quarantine.quarantined(record);
  }

  collect(sheet: MetricSheet): void {
    this.#quarantine.collect(sheet);
    this.#collectByProtocol(sheet, 'backwork_requests_accepted_total', this.#requests, {});
    this.#collectBySignal(sheet, 'backwork_items_accepted_total', this.#items);
    this.#collectBySignal(sheet, 'backwork_bytes_accepted_total', this.#bytes);
    sheet.addSamples('backwork_items_rejected_total', this.#rejected.samples());
    for (const [reason, counts] of this.#refused) {
      this.#collectByProtocol(sheet, 'backwork_requests_refused_total', counts, { reason });
    }
    sheet.addSamples('backwork_bytes_refused_total', this.#bytesRefused.samples());
    sheet.addSamples('backwork_commit_duration_seconds', this.#commits.samples());
    sheet.add('backwork_commit_records_total', this.#records);
    sheet.add('backwork_commit_bytes_total', this.#recordBytes);
    sheet.addSamples('backwork_seal_duration_seconds', this.#seals.samples());
  }

  #place(orgId: string | undefined, signal: Signal | undefined): number {
    const at = signal === undefined ? SIGNALS.length : SIGNALS.indexOf(signal);
    return this.#organizations.placeOf(orgId) * SIGNAL_LABELS.length + at;
  }

  /** Zeros are left out: most combinations never happen. */
  #collectBySignal(sheet: MetricSheet, name: MetricName, counts: Float64Array): void {
    for (const [place, value] of counts.entries()) if (value > 0) sheet.add(name, value, this.#labelsOf(place));
  }

  #collectByProtocol(sheet: MetricSheet, name: MetricName, counts: Float64Array, more: Record<string, string>): void {
    for (const [place, value] of counts.entries()) {
      if (value === 0) continue;
      const protocol = PROTOCOLS[place % PROTOCOLS.length] as string;
      sheet.add(name, value, { ...this.#labelsOf(Math.floor(place / PROTOCOLS.length)), protocol, ...more });
    }
  }

  #labelsOf(place: number): { signal: string; organization: string } {
    const organization = this.#organizations.labels[Math.floor(place / SIGNAL_LABELS.length)] as string;
    return { signal: SIGNAL_LABELS[place % SIGNAL_LABELS.length] as string, organization };
  }
}

function add(counts: Float64Array, at: number, value: number): void {
  counts[at] = (counts[at] as number) + value;
}
