/**
 * Who sent this? Every live token in memory, so that a request costs a map look-up and one keyed hash, and no query.
 *
 *     authorization ─► form, CRC ─► id in the table ─► digest equal ─► not revoked, not expired ─► organization enabled,
 *                         │ 401        │ unknown          │ 401             │ 401                       scope │ 403
 *                                      └─► one refresh, then again ─► 401, or 503 when accounts cannot be read
 *
 * - The table asks the source every 250 ms whether anything changed and reads only what is newer than its revision: a
 *   revoked or expired token and a disabled organization are refused within a second (reference F35).
 * - An unknown id starts one refresh, so that a token works the moment it is made; at most 10 a second, whoever asks.
 *   Those who come meanwhile wait for the same one.
 * - While accounts cannot be read, known tokens go on from memory for 15 minutes; after that, and for unknown tokens at
 *   once, the answer is `accounts-unavailable`, never `unauthenticated`: that would make clients drop (reference F36).
 * - Reading is synchronous, on the loop that receives: when it takes long, it rests 10 times as long, 5 s at most: accounts
 *   on a slow disk cost a tenth of the time.
 * - Neither error nor log ever holds what was presented.
 */
import { timingSafeEqual } from 'node:crypto';
import { BackworkError, messageOf, retryLater } from '../../base/errors.ts';
import type { KeyedHash } from '../../base/keyed-hash.ts';
import { MIB } from '../../base/limits.ts';
import type { Log } from '../../base/log.ts';
import type { ParsedToken } from '../../base/token-format.ts';
import type { OrganizationLimits, Signal, Tenant } from '../messages.ts';
import { readBearerToken } from './bearer-token.ts';

/** What an organization gives its tokens: one object for all of them, as long as nothing of it changes. */
export interface TokenOrganization {
  readonly orgId: string;
  readonly placement: string;
  readonly retentionDays: Readonly<Record<Signal, number>>;
  readonly disabled: boolean;
  /** The volume of the day is used up: `volume-used-up` until then. */
  readonly refusedUntilMs: number | undefined;
  /** undefined: the default of the settings. */
  readonly limits: {
    readonly bytesPerSecond: number | undefined;
    readonly itemsPerSecond: number | undefined;
    readonly requestsAtOnce: number | undefined;
    readonly spoolMib: number | undefined;
    readonly weight: number | undefined;
  };
}

export interface TokenRow {
  readonly id: string;
  /** Keyed BLAKE2b-256 of the whole token, 64 hexadecimal digits. */
  readonly digest: string;
  readonly organization: TokenOrganization;
  readonly scopes: readonly Signal[];
  readonly expiresAtMs: number | undefined;
  readonly revokedAtMs: number | undefined;
  readonly revision: number;
}

export interface TokenSource {
  /**
   * Rows newer than the revision, and the revision to ask with next; `complete` says that they are all there are, and
   * what is not among them is gone. Throws when accounts cannot be read.
   */
  changesSince(revision: number): {
    readonly revision: number;
    readonly rows: readonly TokenRow[];
    readonly complete: boolean;
  };
  /** Cheap: whether anything changed since this was last asked. Throws when accounts cannot be read. */
  changed(): boolean;
  close(): void;
}

export interface TokenTable {
  /**
   * The tenant of an authorization header's value; a promise only for unknown tokens. Throws or rejects with
   * BackworkError `unauthenticated`, `forbidden`, `volume-used-up` or `accounts-unavailable` (retryable).
   */
  tenant(authorization: string | undefined, signal: Signal): Tenant | Promise<Tenant>;
  /** Stops polling and closes the source; callers that wait get `shutting-down`. */
  close(): void;
}

export interface TokenTableDeps {
  readonly source: TokenSource;
  readonly pepper: Uint8Array;
  readonly hash: KeyedHash;
  /** For organizations that have no limits of their own. */
  readonly limits: OrganizationLimits;
  readonly nowMs: () => number;
  readonly log: Log;
  readonly pollMs?: number;
}

/** Reads all tokens. A source that cannot be read is no error here: the table answers `accounts-unavailable`. */
export async function openTokenTable(deps: TokenTableDeps): Promise<TokenTable> {
  const table = new PolledTokenTable(deps);
  table.refresh();
  table.dontRest();
  return table;
}

const POLL_MS = 250;
/** Between two refreshes for unknown tokens: at most 10 a second. */
const REFRESH_INTERVAL_MS = 100;
/** Of the time that the last refresh took: how long none follows. */
const REST = 10;
const REST_MS_MAX = 5_000;
/** How long known tokens go on while accounts cannot be read. */
const MEMORY_MS_MAX = 15 * 60_000;

/** A row with its answer, made at its first use: of many tokens few send. */
interface Entry {
  readonly row: TokenRow;
  tenant: Tenant | undefined;
}

class PolledTokenTable implements TokenTable {
  readonly #deps: TokenTableDeps;
  readonly #timer: NodeJS.Timeout;
  #entries = new Map<string, Entry>();
  #revision = 0;
  /** The source said that something changed, and it was not read yet. */
  #behind = true;
  #state: 'unread' | 'readable' | 'unreadable' = 'unread';
  /** When the source last answered, by deps.nowMs. */
  #confirmedAtMs = Number.NEGATIVE_INFINITY;
  /** When a refresh last ran, by performance.now: a wall clock that jumps must not stop refreshes. */
  #refreshedAt = Number.NEGATIVE_INFINITY;
  /** Not before this one, by performance.now. */
  #restUntil = 0;
  #waiting: { readonly done: Promise<void>; readonly timer: NodeJS.Timeout; readonly wake: () => void } | undefined;
  #closed = false;

  constructor(deps: TokenTableDeps) {
    this.#deps = deps;
    this.#timer = setInterval(() => this.#poll(), deps.pollMs ?? POLL_MS).unref();
  }

  tenant(authorization: string | undefined, signal: Signal): Tenant | Promise<Tenant> {
    if (authorization === undefined) {
      throw new BackworkError('unauthenticated', 'no ingest token: send it as "Authorization: Bearer bw_ing_…"');
    }
    const token = readBearerToken(authorization);
    if (token === undefined || token.kind !== 'ing') {
      throw new BackworkError('unauthenticated', 'the authorization header holds no ingest token, or a mistyped one');
    }
    const entry = this.#entries.get(token.id);
    if (entry !== undefined && this.#trusted()) return this.#judge(entry, token, signal);
    return this.#judgeAfterRefresh(token, signal);
  }

  close(): void {
    this.#closed = true;
    clearInterval(this.#timer);
    clearTimeout(this.#waiting?.timer);
    this.#waiting?.wake();
    this.#waiting = undefined;
    this.#deps.source.close();
  }

  /** After the first refresh, which reads all there is: nobody is received yet, and a token made now must work within a second. */
  dontRest(): void {
    this.#restUntil = 0;
  }

  /** Reads what changed; synchronous. Failure is remembered and logged once, not thrown. */
  refresh(): void {
    this.#refreshedAt = performance.now();
    try {
      this.#behind = this.#deps.source.changed() || this.#behind;
      if (this.#behind) this.#read();
      this.#behind = false;
      this.#confirmedAtMs = this.#deps.nowMs();
      this.#become('readable', undefined);
    } catch (error) {
      this.#become('unreadable', messageOf(error));
    }
    const now = performance.now();
    this.#restUntil = now + Math.min(REST_MS_MAX, REST * (now - this.#refreshedAt));
  }

  #poll(): void {
    if (performance.now() >= this.#restUntil) this.refresh();
  }

  #become(state: 'readable' | 'unreadable', error: string | undefined): void {
    if (state === this.#state) return;
    this.#state = state;
    const tokens = this.#entries.size;
    if (error === undefined) this.#deps.log.info({ tokens }, 'tokens read');
    else {
      const text =
        'accounts cannot be read: known tokens go on from memory for 15 minutes, others are told to come back';
      this.#deps.log.error({ error, tokens }, text);
    }
  }

  #read(): void {
    const changes = this.#deps.source.changesSince(this.#revision);
    if (changes.complete) this.#entries = new Map();
    for (const row of changes.rows) {
      // A revoked token is forgotten: its next use is that of an unknown one, 401 after a refresh.
      if (row.revokedAtMs !== undefined) this.#entries.delete(row.id);
      else this.#entries.set(row.id, { row, tenant: undefined });
    }
    this.#revision = changes.revision;
  }

  #trusted(): boolean {
    return this.#state === 'readable' || this.#deps.nowMs() - this.#confirmedAtMs <= MEMORY_MS_MAX;
  }

  async #judgeAfterRefresh(token: ParsedToken, signal: Signal): Promise<Tenant> {
    await this.#refreshed();
    if (this.#closed) throw retryLater('shutting-down', 'the service is shutting down');
    const entry = this.#entries.get(token.id);
    if (entry !== undefined && this.#trusted()) return this.#judge(entry, token, signal);
    if (this.#state === 'readable') throw unknownToken();
    throw retryLater('accounts-unavailable', 'accounts cannot be read, so the token cannot be judged');
  }

  #judge(entry: Entry, token: ParsedToken, signal: Signal): Tenant {
    const { row } = entry;
    const { organization } = row;
    const digest = this.#deps.hash(this.#deps.pepper, Buffer.from(token.token, 'latin1'));
    if (!timingSafeEqual(digest, Buffer.from(row.digest, 'hex'))) throw unknownToken();
    if (row.expiresAtMs !== undefined && this.#deps.nowMs() >= row.expiresAtMs) {
      throw new BackworkError('unauthenticated', `ingest token ${row.id} has expired`);
    }
    if (organization.disabled) throw new BackworkError('forbidden', `organization ${organization.orgId} is disabled`);
    const { refusedUntilMs } = organization;
    if (refusedUntilMs !== undefined && this.#deps.nowMs() < refusedUntilMs) throw usedUp(organization);
    if (!row.scopes.includes(signal)) {
      throw new BackworkError('forbidden', `ingest token ${row.id} may send ${row.scopes.join(', ')}, not ${signal}`);
    }
    entry.tenant ??= tenantOf(row, this.#deps.limits);
    return entry.tenant;
  }

  /** Resolves after a refresh that began after this call; all who call before it begins share it. */
  #refreshed(): Promise<void> {
    if (this.#waiting !== undefined) return this.#waiting.done;
    const delayMs = Math.max(this.#refreshedAt + REFRESH_INTERVAL_MS, this.#restUntil) - performance.now();
    if (delayMs <= 0) {
      this.refresh();
      return Promise.resolve();
    }
    const { promise, resolve } = Promise.withResolvers<void>();
    const timer = setTimeout(() => {
      this.#waiting = undefined;
      this.refresh();
      resolve();
    }, delayMs);
    this.#waiting = { done: promise, timer, wake: resolve };
    return promise;
  }
}

function tenantOf(row: TokenRow, defaults: OrganizationLimits): Tenant {
  const { orgId, placement, retentionDays, limits } = row.organization;
  const { bytesPerSecond, itemsPerSecond, requestsAtOnce, spoolMib, weight } = limits;
  return {
    ...{ orgId, tokenId: row.id, placement, retentionDays },
    scopes: new Set(row.scopes),
    limits: {
      bytesPerSecond: bytesPerSecond ?? defaults.bytesPerSecond,
      itemsPerSecond: itemsPerSecond ?? defaults.itemsPerSecond,
      requestsAtOnce: requestsAtOnce ?? defaults.requestsAtOnce,
      spoolBytes: spoolMib === undefined ? defaults.spoolBytes : spoolMib * MIB,
      weight: weight ?? defaults.weight,
    },
  };
}

/** For good, not to be tried again: a client that kept a day's worth to send it at midnight would lose more than this. */
function usedUp({ orgId, refusedUntilMs = 0 }: TokenOrganization): BackworkError {
  const until = new Date(refusedUntilMs).toISOString();
  const error = new BackworkError(
    'volume-used-up',
    `organization ${orgId} has used up its volume of the day; from ${until} on again`,
  );
  error.orgId = orgId;
  return error;
}

/** Unknown, revoked and wrong secret have one answer: which it was is none of a guesser's business. */
function unknownToken(): BackworkError {
  return new BackworkError('unauthenticated', 'the ingest token is unknown or revoked');
}
