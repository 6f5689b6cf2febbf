/** What one organization uses: here, and as the other ingest processes have said. Counters only; the rules are elsewhere. */
import type { OrganizationLimits } from '../messages.ts';
import { RateBucket } from './rate-bucket.ts';

/** What one ingest process tells the others of an organization, once every LIMIT_EXCHANGE_MS. */
export interface OrganizationReport {
  readonly orgId: string;
  /** Charged since the last report. */
  readonly bytes: number;
  readonly items: number;
  /** Requests that came lately, refused ones too; halved with each report. */
  readonly arrivals: number;
  /** Bytes of records that wait in this process's spool. */
  readonly spoolBytes: number;
  readonly weight: number;
}

/** What another process said last; what it says no more is 0. */
interface Remote {
  arrivals: number;
  spoolBytes: number;
}

export class OrganizationUse {
  readonly orgId: string;
  limits: OrganizationLimits;
  /** Requests that were admitted and not released. */
  running = 0;
  /** Of the budget of bodies in memory (byte-budget.ts keeps it). */
  inFlightBytes = 0;
  /** Own spool only. */
  spoolBytes = 0;
  /** Bytes of records appended lately; halved every LIMIT_EXCHANGE_MS. */
  recentBytes = 0;
  /** Average of its bodies: what a body of unknown length is charged until it is read. */
  bodyBytes = 0;
  arrivals = 0;
  /** Monotonic. */
  lastMs = 0;
  readonly bytes = new RateBucket();
  readonly items = new RateBucket();
  #bytesCharged = 0;
  #itemsCharged = 0;
  readonly #remotes = new Map<number, Remote>();

  constructor(orgId: string, limits: OrganizationLimits) {
    this.orgId = orgId;
    this.limits = limits;
  }

  get weight(): number {
    return this.limits.weight;
  }

  chargeBytes(bytes: number): void {
    this.bytes.charge(bytes);
    this.#bytesCharged += bytes;
  }

  chargeItems(items: number): void {
    this.items.charge(items);
    this.#itemsCharged += items;
  }

  /** Over all processes. */
  get spoolBytesOfAll(): number {
    let bytes = this.spoolBytes;
    for (const remote of this.#remotes.values()) bytes += remote.spoolBytes;
    return bytes;
  }

  get arrivalsOfAll(): number {
    let arrivals = this.arrivals;
    for (const remote of this.#remotes.values()) arrivals += remote.arrivals;
    return arrivals;
  }

  /** What the others must know, and undefined when that is nothing. Halves what is recent. */
  report(): OrganizationReport | undefined {
    const { orgId, spoolBytes, weight } = this;
    const arrivals = this.arrivals;
    const report = { orgId, bytes: this.#bytesCharged, items: this.#itemsCharged, arrivals, spoolBytes, weight };
    this.#bytesCharged = 0;
    this.#itemsCharged = 0;
    // Below one a second it counts as nothing.
    this.arrivals = arrivals < 1 ? 0 : arrivals / 2;
    this.recentBytes = this.recentBytes < 1 ? 0 : this.recentBytes / 2;
    const silent = report.bytes === 0 && report.items === 0 && arrivals === 0 && spoolBytes === 0;
    return silent ? undefined : report;
  }

  heard(worker: number, report: OrganizationReport): void {
    this.bytes.charge(report.bytes);
    this.items.charge(report.items);
    this.#remotes.set(worker, { arrivals: report.arrivals, spoolBytes: report.spoolBytes });
  }

  /** This process says nothing of the organization any more. */
  silent(worker: number): void {
    this.#remotes.delete(worker);
  }

  /** Nothing of it is left to count, here or elsewhere. */
  get idle(): boolean {
    return this.running === 0 && this.spoolBytes === 0 && this.#remotes.size === 0;
  }
}
