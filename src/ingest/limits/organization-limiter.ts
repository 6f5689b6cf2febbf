/**
 * May this organization send now? Asked when a request's head has arrived and before its body is read; a refusal is
 * `org-limit`, retryable, and says when to come back (reference R13, F37). 0.4 µs a request,
 * with all limits set and the budget of bodies in memory.
 *
 *   its own limits, always           requests at once, bytes/s, items/s, bytes that wait in the spools
 *   its share, when space is short   of the spools' disk, of what waits to be sealed (of bodies in memory: byte-budget.ts)
 *
 * There is no queue of requests that wait for their turn: a queue holds memory and time of a process that has neither, and
 * exporters come again by themselves. So no organization is served "next"; the one that has most of what is short is
 * refused first, and one below its share never is.
 *
 * A limit holds over all ingest processes. Every LIMIT_EXCHANGE_MS each tells the others what organizations used there, and
 * each charges its own buckets with it: every bucket sees all, whichever process the connections land on. What is let in
 * too much meanwhile is a debt. Requests at once are gauges, too old after a second to add up: there each process has a
 * part of the limit, 1 and the rest by the requests that came lately, so the parts never add up to more than the limit
 * (where the limit is smaller than the number of processes: to one each).
 */
import { retryLater } from '../../base/errors.ts';
import { LIMIT_EXCHANGE_STALE_MS, ORGANIZATION_IDLE_MS } from '../../base/limits.ts';
import type { OrganizationLimits } from '../messages.ts';
import { type OrganizationReport, OrganizationUse } from './organization-use.ts';

export interface LimiterDeps {
  /** Ingest processes of the service. */
  readonly workers: number;
  /** Of organizations that left records in the spool and have not sent since. */
  readonly defaults: OrganizationLimits;
  /** Bytes that may still be written to the disk of the spools above the low-water mark. */
  readonly spoolRoomBytes: () => number;
  /** True while as many segments wait to be sealed as may: with one more, all are refused. */
  readonly sealingIsBehind: () => boolean;
  /** Monotonic. */
  readonly nowMs: () => number;
}

/** Smoothing of an organization's body size. */
const BODY_BYTES_WEIGHT = 1 / 8;
const FULL_RETRY_MS = 2_000;

export class OrganizationLimiter {
  readonly #deps: LimiterDeps;
  readonly #uses = new Map<string, OrganizationUse>();
  /** When each other process last said something, and of which organizations. */
  readonly #heard = new Map<number, { atMs: number; orgs: Set<string> }>();
  /** Bytes of spool that an organization may have waiting for each unit of its weight. */
  #spoolBytesPerWeight = Number.POSITIVE_INFINITY;
  #recentBytes = 0;
  /** Sum of the weights of those that appended records lately. */
  #recentWeights = 0;

  constructor(deps: LimiterDeps) {
    this.#deps = deps;
  }

  /** Throws BackworkError `org-limit`. The caller then owes one `ended`. */
  admit(orgId: string, limits: OrganizationLimits, bytesDeclared: number | undefined): LimitedRequest {
    const use = this.use(orgId, limits);
    use.limits = limits;
    const nowMs = this.#deps.nowMs();
    use.lastMs = nowMs;
    use.arrivals++;
    this.#checkRates(use, nowMs);
    this.#checkShares(use);
    use.running++;
    return new LimitedRequest(use, bytesDeclared ?? Math.max(use.bodyBytes, 1));
  }

  /** The counters of an organization, made when there are none. */
  use(orgId: string, limits = this.#deps.defaults): OrganizationUse {
    let use = this.#uses.get(orgId);
    if (use === undefined) {
      use = new OrganizationUse(orgId, limits);
      use.lastMs = this.#deps.nowMs();
      this.#uses.set(orgId, use);
    }
    return use;
  }

  /** Bytes of an organization joined the open segment; the ledger of what waits is spool-use.ts. */
  appended(use: OrganizationUse, bytes: number): void {
    use.recentBytes += bytes;
    this.#recentBytes += bytes;
  }

  /** True when more than one organization has sent lately: only then is anything shared. */
  get isShared(): boolean {
    return this.#uses.size > 1;
  }

  /** To be called every LIMIT_EXCHANGE_MS: what the other processes must know. */
  report(): OrganizationReport[] {
    const nowMs = this.#deps.nowMs();
    for (const [worker, { atMs }] of this.#heard) {
      if (nowMs - atMs > LIMIT_EXCHANGE_STALE_MS) this.heard(worker, []);
    }
    const reports: OrganizationReport[] = [];
    for (const use of this.#uses.values()) {
      const report = use.report();
      if (report !== undefined) reports.push(report);
      else if (use.idle && nowMs - use.lastMs > ORGANIZATION_IDLE_MS) this.#uses.delete(use.orgId);
    }
    this.#share();
    return reports;
  }

  /** What another process has used, as its `report` says. */
  heard(worker: number, reports: readonly OrganizationReport[]): void {
    const orgs = new Set<string>();
    for (const report of reports) {
      const use = this.use(report.orgId, { ...this.#deps.defaults, weight: report.weight });
      use.heard(worker, report);
      orgs.add(report.orgId);
    }
    for (const orgId of this.#heard.get(worker)?.orgs ?? []) {
      if (!orgs.has(orgId)) this.#uses.get(orgId)?.silent(worker);
    }
    if (orgs.size === 0) this.#heard.delete(worker);
    else this.#heard.set(worker, { atMs: this.#deps.nowMs(), orgs });
  }

  #checkRates(use: OrganizationUse, nowMs: number): void {
    const { bytesPerSecond, itemsPerSecond, requestsAtOnce } = use.limits;
    if (requestsAtOnce > 0 && use.running >= this.#requestsHere(use, requestsAtOnce)) {
      throw retryLater('org-limit', `the organization has ${requestsAtOnce} requests at once, the most it may`);
    }
    const bytesMs = use.bytes.waitMs(bytesPerSecond, nowMs);
    if (bytesMs > 0) {
      throw retryLater('org-limit', `the organization has used up its ${bytesPerSecond} bytes a second`, bytesMs);
    }
    const itemsMs = use.items.waitMs(itemsPerSecond, nowMs);
    if (itemsMs > 0) {
      throw retryLater('org-limit', `the organization has used up its ${itemsPerSecond} items a second`, itemsMs);
    }
  }

  #requestsHere(use: OrganizationUse, requestsAtOnce: number): number {
    const { workers } = this.#deps;
    const shared = requestsAtOnce - workers;
    if (shared <= 0) return 1;
    return 1 + Math.floor((shared * use.arrivals) / use.arrivalsOfAll);
  }

  #checkShares(use: OrganizationUse): void {
    const { spoolBytes, weight } = use.limits;
    const share = this.#spoolBytesPerWeight * weight;
    if (spoolBytes > 0 || share !== Number.POSITIVE_INFINITY) {
      const most = spoolBytes > 0 ? Math.min(spoolBytes, share) : share;
      if (use.spoolBytesOfAll >= most) {
        const waiting = `${use.spoolBytesOfAll} bytes of the organization wait for the telemetry store`;
        throw retryLater('org-limit', `${waiting}, of ${Math.floor(most)} it may have`, FULL_RETRY_MS);
      }
    }
    if (use.recentBytes * this.#recentWeights > this.#recentBytes * weight && this.#deps.sealingIsBehind()) {
      throw retryLater('org-limit', 'segments wait to be sealed, and the organization has sent more than its share');
    }
  }

  #share(): void {
    let waiting = 0;
    let waitingWeights = 0;
    let sharing = 0;
    this.#recentBytes = 0;
    this.#recentWeights = 0;
    for (const use of this.#uses.values()) {
      const spoolBytes = use.spoolBytesOfAll;
      waiting += spoolBytes;
      if (spoolBytes > 0 || use.arrivalsOfAll > 0) {
        waitingWeights += use.weight;
        sharing++;
      }
      this.#recentBytes += use.recentBytes;
      if (use.recentBytes > 0) this.#recentWeights += use.weight;
    }
    const roomBytes = Math.max(0, this.#deps.spoolRoomBytes());
    // Short: more than half of what the spools can hold is taken. The whole is shared then, not what is left of it. One
    // organization alone shares with nobody: a full disk is then not its doing, and says so itself.
    const short = sharing > 1 && waiting > roomBytes;
    this.#spoolBytesPerWeight = short ? (waiting + roomBytes) / waitingWeights : Number.POSITIVE_INFINITY;
  }
}

/** What an admitted request was charged. */
export class LimitedRequest {
  readonly use: OrganizationUse;
  #bytes: number;

  constructor(use: OrganizationUse, bytes: number) {
    this.use = use;
    this.#bytes = bytes;
    use.chargeBytes(bytes);
  }

  /** The body is read and inflated. */
  received(bytes: number): void {
    const { use } = this;
    use.bodyBytes = use.bodyBytes === 0 ? bytes : use.bodyBytes + (bytes - use.bodyBytes) * BODY_BYTES_WEIGHT;
    use.chargeBytes(bytes - this.#bytes);
    this.#bytes = bytes;
  }

  /** Its items are known. */
  stored(items: number): void {
    this.use.chargeItems(items);
  }

  /** This process refused it after all, and the client sends it again: that costs it nothing. */
  giveBack(): void {
    this.use.chargeBytes(-this.#bytes);
    this.#bytes = 0;
  }

  /** Once, at the end of every request. */
  ended(): void {
    this.use.running--;
  }
}
