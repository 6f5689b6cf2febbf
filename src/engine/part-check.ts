/**
 * Whether what the engine says it has written is on the disk. ClickHouse 26.7 in chDB does not always notice that a
 * write failed: of 80 merges and 60 INSERTs that were running when the last byte of the disk went, 23 and 6 ended well
 * and left files that were short or empty (seen with strace: `write` = ENOSPC, and on it goes). So nobody is told that
 * an INSERT is stored before its parts were looked at, and the parts that merges make are looked at while what they
 * were made from is still there (`old_parts_lifetime`, table-settings.ts).
 *
 *   part   <table>/<part>/checksums.txt        lists the files below with their sizes; `bytes_on_disk` is the sum
 *                         data.bin, *.idx, …   whose real sizes must make the same sum: a write that is lost makes a
 *                                              file shorter, whatever is written after it
 *                         columns.txt, …       not listed (UNLISTED), must not be empty
 *
 * What is not whole ends the process, because a start puts it right and nothing else does: the engine compares sizes
 * when it loads a part, moves what is broken to `detached`, and takes the parts again that it was made from; what an
 * INSERT left is then not there, and the store sends it again. Until then a part stays active that cannot be read.
 */
import { readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { BackworkError, messageOf } from '../base/errors.ts';
import type { Log } from '../base/log.ts';
import type { ChdbConnection } from './chdb-native.ts';
import { quote } from './sql-statement.ts';

/** A part whose files are not those that it was written with. */
export interface BrokenPart {
  readonly table: string;
  readonly name: string;
  readonly reason: string;
}

export interface PartCheckDeps {
  /** Of its own: one check runs at a time. */
  readonly connection: ChdbConnection;
  readonly log: Log;
  /** Ends the process: nothing that the engine says of this table is to be believed. */
  readonly onBroken: (part: BrokenPart) => void;
}

/** Less than a part that was merged stays on the disk (30 s), by a wide margin. */
const LOOK_EVERY_MS = 5_000;
/** A list that cannot be had (memory) is asked for again; after 10 s nothing is known, and a start is the way to know. */
const LIST_ATTEMPTS_MAX = 50;
const LIST_RETRY_MS = 200;
const LOOKS_AT_ONCE = 64;
/** What a start moved aside is kept so long for its operator; then it is gone, as everything that expires. */
const KEEP_DETACHED_SQL = 'INTERVAL 1 DAY';
const DROP_EVERY_MS = 3_600_000;
/** Not in checksums.txt, whose total size `bytes_on_disk` is. */
const UNLISTED: ReadonlySet<string> = new Set([
  'checksums.txt',
  'columns.txt',
  'columns_substreams.txt',
  'default_compression_codec.txt',
  'metadata_version.txt',
  'txn_version.txt',
  'uuid.txt',
]);

interface Part {
  readonly database: string;
  readonly table: string;
  readonly name: string;
  readonly path: string;
  readonly bytes: string | number;
}

const PARTS_SQL = `SELECT database, table, name, path, bytes_on_disk AS bytes FROM system.parts
WHERE active AND database != 'system'`;

export class PartCheck {
  readonly #deps: PartCheckDeps;
  /** Paths of the active parts that were looked at. */
  #known: ReadonlySet<string> = new Set();
  /** A connection runs one query at a time: this is the end of all that was asked of it so far, and never rejects. */
  #tail: Promise<void> = Promise.resolve();
  /** A look that has not begun yet. */
  #next: Promise<void> | undefined;
  #timer: NodeJS.Timeout | undefined;
  #dropDueMs = 0;
  #closed = false;

  constructor(deps: PartCheckDeps) {
    this.#deps = deps;
  }

  /** Looks at all parts that are there, and at new ones from now on. */
  start(): void {
    const look = () => void this.check().catch(() => undefined);
    look();
    void this.#inTurn(() => this.#tellDetached()).catch((error: unknown) => this.#cannot('be listed', error));
    this.#timer = setInterval(() => {
      look();
      if (performance.now() >= this.#dropDueMs) this.#dropDetached();
    }, LOOK_EVERY_MS);
    this.#timer.unref();
  }

  /**
   * Looks at all parts that are new since the last look, and that were there when this was called. Resolves when they
   * are whole. Throws `store-unknown-outcome` when one is not, after `onBroken` was called.
   */
  check(): Promise<void> {
    this.#next ??= this.#inTurn(() => {
      this.#next = undefined;
      return this.#look();
    });
    return this.#next;
  }

  /** Waits for the look that runs, and gives the connection back. */
  async close(): Promise<void> {
    this.#closed = true;
    clearInterval(this.#timer);
    await this.#tail;
    this.#deps.connection.close();
  }

  #inTurn(work: () => Promise<void>): Promise<void> {
    const done = this.#tail.then(() => {
      if (this.#closed) throw new BackworkError('shutting-down', 'the engine is being stopped');
      return work();
    });
    this.#tail = done.catch(() => undefined);
    return done;
  }

  async #look(): Promise<void> {
    const known = new Set<string>();
    let looks = 0;
    for (const part of await this.#list()) {
      known.add(part.path);
      if (this.#known.has(part.path)) continue;
      await this.#require(part);
      // After a start there are thousands, and what the supervisor asks must be answered meanwhile.
      if (++looks % LOOKS_AT_ONCE === 0) await new Promise((resolve) => setImmediate(resolve));
    }
    this.#known = known;
  }

  async #require(part: Part): Promise<void> {
    const reason = notWhole(part);
    if (reason === undefined) return;
    const { database, table, name } = part;
    // The engine has the last word: it reads every byte, and a version of it may count its files in another way.
    const sql = `CHECK TABLE ${quoteName(database)}.${quoteName(table)} PART ${quote(name)} SETTINGS check_query_single_value_result = 1`;
    const said = await this.#deps.connection.query(sql, 'TSV').then(({ bytes }) => bytes.toString().trim(), messageOf);
    if (said === '1') {
      this.#deps.log.warn(
        { table, part: name, reason },
        'the sizes of a part are not as expected; the engine finds it whole',
      );
      return;
    }
    // Merged or dropped meanwhile.
    const active = (await this.#list()).some(({ path }) => path === part.path);
    if (active) this.#broken({ table, name, reason });
  }

  async #list(): Promise<Part[]> {
    for (let attempt = 1; ; attempt++) {
      try {
        return parseRows<Part>(await this.#query(PARTS_SQL));
      } catch (error) {
        const reason = `no list of parts after ${attempt} attempts: ${messageOf(error)}`;
        if (attempt >= LIST_ATTEMPTS_MAX) this.#broken({ table: '?', name: '?', reason });
      }
      await sleep(LIST_RETRY_MS);
    }
  }

  #broken(part: BrokenPart): never {
    this.#deps.onBroken(part);
    throw new BackworkError(
      'store-unknown-outcome',
      `the part ${part.name} of ${part.table} is not whole: ${part.reason}`,
    );
  }

  async #query(sql: string): Promise<string> {
    return (await this.#deps.connection.query(sql, 'JSONEachRow')).bytes.toString();
  }

  /** What this start, or one before it, found to be broken. */
  async #tellDetached(): Promise<void> {
    const sql = "SELECT table, count() AS parts FROM system.detached_parts WHERE reason LIKE 'broken%' GROUP BY table";
    for (const { table, parts } of parseRows<{ table: string; parts: number }>(await this.#query(sql)))
      this.#deps.log.warn(
        { table, parts: Number(parts) },
        'parts that are not whole stand aside; they are dropped a day after they were written',
      );
  }

  #dropDetached(): void {
    this.#dropDueMs = performance.now() + DROP_EVERY_MS;
    const sql = `SELECT database, table, name FROM system.detached_parts
WHERE reason LIKE 'broken%' AND modification_time < now() - ${KEEP_DETACHED_SQL}`;
    const work = this.#inTurn(async () => {
      for (const { database, table, name } of parseRows<Part>(await this.#query(sql))) {
        const drop = `ALTER TABLE ${quoteName(database)}.${quoteName(table)} DROP DETACHED PART ${quote(name)} SETTINGS allow_drop_detached = 1`;
        await this.#query(drop);
        this.#deps.log.info({ table, part: name }, 'dropped a part that was not whole');
      }
    });
    void work.catch((error: unknown) => this.#cannot('be dropped', error));
  }

  #cannot(what: string, error: unknown): void {
    if (!this.#closed)
      this.#deps.log.warn({ reason: messageOf(error) }, `parts that are not whole and stand aside cannot ${what}`);
  }
}

/** Why the files of a part cannot be all of it; undefined when they can, or the part is gone. */
export function notWhole({ path, bytes }: Pick<Part, 'path' | 'bytes'>): string | undefined {
  let listedBytes = 0;
  try {
    for (const name of readdirSync(path)) {
      const { size } = statSync(join(path, name));
      if (!UNLISTED.has(name)) listedBytes += size;
      else if (size === 0) return `${name} is empty`;
    }
  } catch (error) {
    // A file of a part that stays is missing, or the part is gone: the engine knows which.
    return `its files cannot be looked at: ${messageOf(error)}`;
  }
  return listedBytes === Number(bytes) ? undefined : `its files have ${listedBytes} bytes of ${Number(bytes)}`;
}

function parseRows<T>(text: string): T[] {
  return text
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line) as T);
}

function quoteName(name: string): string {
  return `\`${name.replaceAll('\\', '\\\\').replaceAll('`', '\\`')}\``;
}
