/**
 * Kysely over node:sqlite: one connection, statements prepared once by their text, transactions that take the write
 * lock when they begin. A deferred transaction that reads first and writes later fails with SQLITE_BUSY without waiting
 * when another process wrote in between. Who waits for the lock leaves the event loop free, because its holder may be
 * another connection of this very process. Kysely itself lets one user at a time have the connection.
 */
import type { DatabaseSync, SQLInputValue, StatementSync } from 'node:sqlite';
import { setTimeout as sleep } from 'node:timers/promises';
import {
  type CompiledQuery,
  type DatabaseConnection,
  type Dialect,
  type Driver,
  type QueryResult,
  SqliteAdapter,
  SqliteIntrospector,
  SqliteQueryCompiler,
} from 'kysely';
import { BackworkError } from '../../base/errors.ts';
import { sqliteError } from './sqlite.ts';

/** The dialect owns `database` and closes it with the Kysely instance. `path` is for messages only. */
export function nodeSqliteDialect(database: DatabaseSync, path: string): Dialect {
  return {
    createDriver: () => new NodeSqliteDriver(database, path),
    createAdapter: () => new SqliteAdapter(),
    createIntrospector: (db) => new SqliteIntrospector(db),
    createQueryCompiler: () => new SqliteQueryCompiler(),
  };
}

/** A write takes a few milliseconds, of which most is the disk's. */
const WRITE_LOCK_WAIT_MS = 5_000;
const WRITE_LOCK_POLL_MS = 10;

class NodeSqliteDriver implements Driver {
  readonly #database: DatabaseSync;
  readonly #connection: NodeSqliteConnection;

  constructor(database: DatabaseSync, path: string) {
    this.#database = database;
    this.#connection = new NodeSqliteConnection(database, path);
  }

  async init(): Promise<void> {}

  async acquireConnection(): Promise<DatabaseConnection> {
    return this.#connection;
  }

  async beginTransaction(): Promise<void> {
    const deadline = performance.now() + WRITE_LOCK_WAIT_MS;
    for (;;) {
      try {
        return this.#connection.run('BEGIN IMMEDIATE');
      } catch (error) {
        const busy = error instanceof BackworkError && error.code === 'locked';
        if (!busy || performance.now() >= deadline) throw error;
      }
      await sleep(WRITE_LOCK_POLL_MS);
    }
  }

  async commitTransaction(): Promise<void> {
    this.#connection.run('COMMIT');
  }

  async rollbackTransaction(): Promise<void> {
    // A failed statement (a full disk) may have rolled back already: another ROLLBACK would hide its error.
    if (this.#database.isTransaction) this.#connection.run('ROLLBACK');
  }

  async releaseConnection(): Promise<void> {}

  async destroy(): Promise<void> {
    if (this.#database.isOpen) this.#database.close();
  }
}

/** Texts are few (they come from code, values are parameters), but lists of values make texts of their own. */
const STATEMENTS_MAX = 200;

class NodeSqliteConnection implements DatabaseConnection {
  readonly #database: DatabaseSync;
  readonly #path: string;
  readonly #statements = new Map<string, StatementSync>();

  constructor(database: DatabaseSync, path: string) {
    this.#database = database;
    this.#path = path;
  }

  run(sql: string): void {
    try {
      this.#database.exec(sql);
    } catch (error) {
      throw sqliteError(error, this.#path);
    }
  }

  async executeQuery<Row>(query: CompiledQuery): Promise<QueryResult<Row>> {
    try {
      const statement = this.#prepare(query.sql);
      const parameters = query.parameters as SQLInputValue[];
      if (statement.columns().length > 0) return { rows: statement.all(...parameters) as Row[] };
      const { changes } = statement.run(...parameters);
      return { rows: [], numAffectedRows: BigInt(changes) };
    } catch (error) {
      throw sqliteError(error, this.#path);
    }
  }

  // biome-ignore lint/correctness/useYield: the interface wants a generator, and this one only refuses.
  async *streamQuery<Row>(): AsyncIterableIterator<QueryResult<Row>> {
    throw new Error('the accounts database is read in whole results, never streamed');
  }

  #prepare(sql: string): StatementSync {
    const known = this.#statements.get(sql);
    if (known !== undefined) return known;
    if (this.#statements.size >= STATEMENTS_MAX) this.#statements.clear();
    const statement = this.#database.prepare(sql);
    this.#statements.set(sql, statement);
    return statement;
  }
}
