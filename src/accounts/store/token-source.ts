/**
 * What the data plane reads of the accounts database: rows of tokens with what their organization gives them, newest
 * first known. A connection of its own, read-only, by node:sqlite without Kysely, because ingest processes load as
 * little as they can; it never writes, so accounts cannot stall behind ingest.
 *
 * The file is opened when it is first read, and again when another file stands at its path (a backup put back): a
 * connection to a file that was unlinked would go on answering from it for ever.
 */
import { statSync } from 'node:fs';
import type { DatabaseSync, StatementSync } from 'node:sqlite';
import { BackworkError } from '../../base/errors.ts';
import type { OrganizationLimits } from '../organization-limits.ts';
import type { Scope } from '../token.ts';
import { accountsPath, openSqlite, sqliteError } from './sqlite.ts';

/** What an organization gives its tokens; one object for all of them. */
export interface OrganizationGrant {
  readonly orgId: string;
  readonly placement: string;
  readonly retentionDays: Readonly<Record<Scope, number>>;
  readonly disabled: boolean;
  /** The volume of the day is used up: refused until then. */
  readonly refusedUntilMs: number | undefined;
  readonly limits: OrganizationLimits;
}

/** A token as ingest judges it. Has the shape of TokenRow in ingest/authenticate, which this room may not import. */
export interface TokenGrant {
  readonly id: string;
  /** 32 bytes as hexadecimal digits: of 100,000 tokens a Buffer each would be the larger half of the memory. */
  readonly digest: string;
  readonly organization: OrganizationGrant;
  readonly scopes: readonly Scope[];
  readonly expiresAtMs: number | undefined;
  readonly revokedAtMs: number | undefined;
  readonly revision: number;
}

export interface TokenChanges {
  /** The newest revision, to be asked with next time. */
  readonly revision: number;
  readonly rows: TokenGrant[];
  /** `rows` are all there are, not what changed: the database is another, or an older state of it. */
  readonly complete: boolean;
}

export interface SqliteTokenSource {
  /** Rows newer than the revision; all but the revoked when it is 0. Throws when accounts cannot be read. */
  changesSince(revision: number): TokenChanges;
  /** Whether anything was written since the last call; about 10 µs. Throws when accounts cannot be read. */
  changed(): boolean;
  close(): void;
}

export function openTokenSource(dataDir: string): SqliteTokenSource {
  return new TokenSourceConnection(accountsPath(dataDir));
}

/** This runs on the loop that receives telemetry: better to ask again in 250 ms than to wait here. */
const BUSY_MS = 20;

const COLUMNS = `
  SELECT t.id, t.digest, t.org_id, t.scopes, t.expires_at, t.revoked_at, t.revision AS token_revision,
    o.placement, o.retention_days_logs, o.retention_days_metrics, o.retention_days_traces, o.disabled_at, o.refused_until,
    o.limit_bytes_per_second, o.limit_items_per_second, o.limit_requests_at_once, o.limit_spool_mib, o.weight,
    o.revision AS org_revision`;
const GRANTS = `${COLUMNS} FROM tokens t JOIN organizations o ON o.id = t.org_id`;
const ALL = `${GRANTS} WHERE t.revoked_at IS NULL`;
/**
 * What is newer than a revision. Two halves, not OR: each has an index on its revision. CROSS JOIN is how SQLite is told to begin
 * with the organizations: left to itself it reads every token there is, 100 ms of 100,000, on the loop that receives.
 */
export const NEWER: string = `${GRANTS} WHERE t.revision > ?1
  UNION ALL ${COLUMNS} FROM organizations o CROSS JOIN tokens t ON t.org_id = o.id WHERE o.revision > ?1 AND t.revision <= ?1`;

interface GrantRow {
  id: string;
  digest: string;
  org_id: string;
  scopes: string;
  expires_at: number | null;
  revoked_at: number | null;
  token_revision: number;
  placement: string;
  retention_days_logs: number;
  retention_days_metrics: number;
  retention_days_traces: number;
  disabled_at: number | null;
  refused_until: number | null;
  limit_bytes_per_second: number | null;
  limit_items_per_second: number | null;
  limit_requests_at_once: number | null;
  limit_spool_mib: number | null;
  weight: number | null;
  org_revision: number;
}

interface Connection {
  readonly database: DatabaseSync;
  /** Device and inode: which file this is. */
  readonly file: string;
  readonly dataVersion: StatementSync;
  readonly revision: StatementSync;
  readonly all: StatementSync;
  readonly newer: StatementSync;
}

class TokenSourceConnection implements SqliteTokenSource {
  readonly #path: string;
  #connection: Connection | undefined;
  /** SQLite's count of other connections' commits at the last call of `changed`. */
  #seen: number | undefined;
  /** Nothing was read from this connection yet. */
  #fresh = true;

  constructor(path: string) {
    this.#path = path;
  }

  changed(): boolean {
    return this.#guarded((connection) => {
      const version = connection.dataVersion.get()?.['data_version'] as number;
      const changed = version !== this.#seen;
      this.#seen = version;
      return changed;
    });
  }

  changesSince(revision: number): TokenChanges {
    return this.#guarded((connection) => {
      // One transaction: the revision is that of the rows.
      connection.database.exec('BEGIN');
      try {
        const newest = connection.revision.get()?.['revision'] as number;
        const complete = this.#fresh || revision === 0 || newest < revision;
        const found = complete ? connection.all.iterate() : connection.newer.iterate(revision);
        this.#fresh = false;
        return { revision: newest, rows: grantsOf(found as Iterable<unknown> as Iterable<GrantRow>), complete };
      } finally {
        if (connection.database.isTransaction) connection.database.exec('COMMIT');
      }
    });
  }

  close(): void {
    this.#connection?.database.close();
    this.#connection = undefined;
    this.#seen = undefined;
    this.#fresh = true;
  }

  #guarded<Result>(read: (connection: Connection) => Result): Result {
    try {
      const file = fileAt(this.#path);
      if (this.#connection?.file !== file) {
        this.close();
        this.#connection = connect(this.#path, file);
      }
      return read(this.#connection);
    } catch (error) {
      const known = sqliteError(error, this.#path);
      // Busy passes by itself. What a connection that failed otherwise still knows is not trusted: the next is new.
      if (!(known instanceof BackworkError && known.code === 'locked')) this.close();
      throw known;
    }
  }
}

function fileAt(path: string): string {
  const stat = statSync(path);
  return `${stat.dev}:${stat.ino}`;
}

function connect(path: string, file: string): Connection {
  const database = openSqlite(path, { readOnly: true, busyMs: BUSY_MS });
  try {
    return {
      database,
      file,
      dataVersion: database.prepare('PRAGMA data_version'),
      revision: database.prepare('SELECT revision FROM revision_counter WHERE id = 1'),
      all: database.prepare(ALL),
      newer: database.prepare(NEWER),
    };
  } catch (error) {
    database.close();
    throw error;
  }
}

/** Row by row: all of them as SQLite gives them would be several times what is kept. */
function grantsOf(rows: Iterable<GrantRow>): TokenGrant[] {
  const organizations = new Map<string, OrganizationGrant>();
  const scopes = new Map<string, readonly Scope[]>();
  const grants: TokenGrant[] = [];
  for (const row of rows) {
    const organization = organizations.get(row.org_id) ?? organizationOf(row);
    organizations.set(row.org_id, organization);
    const names = scopes.get(row.scopes) ?? (row.scopes.split(',') as Scope[]);
    scopes.set(row.scopes, names);
    grants.push({
      id: row.id,
      digest: row.digest,
      organization,
      scopes: names,
      expiresAtMs: row.expires_at ?? undefined,
      revokedAtMs: row.revoked_at ?? undefined,
      revision: Math.max(row.token_revision, row.org_revision),
    });
  }
  return grants;
}

function organizationOf(row: GrantRow): OrganizationGrant {
  return {
    orgId: row.org_id,
    placement: row.placement,
    retentionDays: {
      logs: row.retention_days_logs,
      metrics: row.retention_days_metrics,
      traces: row.retention_days_traces,
    },
    disabled: row.disabled_at !== null,
    refusedUntilMs: row.refused_until ?? undefined,
    limits: {
      bytesPerSecond: row.limit_bytes_per_second ?? undefined,
      itemsPerSecond: row.limit_items_per_second ?? undefined,
      requestsAtOnce: row.limit_requests_at_once ?? undefined,
      spoolMib: row.limit_spool_mib ?? undefined,
      weight: row.weight ?? undefined,
    },
  };
}
