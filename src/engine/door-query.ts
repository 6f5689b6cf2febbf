/** How each kind of statement runs in a session, and where its result or its data goes. */
import { type DoorAnswer, NO_SUMMARY, type Summary } from './door-answer.ts';
import type { DoorRequest } from './door-request.ts';
import { engineException } from './exception.ts';
import { feedFifo, openFifoReader } from './fifo.ts';
import type { RunningQueries } from './running-queries.ts';
import type { Lane, Session } from './session-pool.ts';
import { infileClause, insertFrom, outfileClause, quote, readInto, type Statement } from './sql-statement.ts';

export interface DoorQuery {
  readonly request: DoorRequest;
  readonly answer: DoorAnswer;
  readonly running: RunningQueries;
  /** Aborted when the client has gone or the query was killed. */
  readonly signal: AbortSignal;
}

export function laneOf(statement: Statement): Lane {
  if (statement.kind === 'insert') return 'insert';
  return statement.kind === 'command' || statement.kind === 'insert-select' ? 'command' : 'read';
}

/** Runs the query and writes its result. Resolves with the summary; throws ClickHouse's exception. */
export async function runQuery(session: Session, query: DoorQuery): Promise<Summary> {
  const { statement, defaultFormat } = query.request;
  switch (statement.kind) {
    case 'read':
      return await runRead(session, statement, query);
    case 'insert':
      return await runInsert(session, statement, query);
    case 'insert-select': {
      const output = await session.write(statement.sql).catch((error: unknown) => {
        throw engineException(error);
      });
      return { ...NO_SUMMARY, ...output };
    }
    case 'kill': {
      const found = query.running.kill(statement.queryId);
      const row = `'waiting' AS kill_status, ${quote(statement.queryId)} AS query_id, 'default' AS user, '' AS query`;
      const sql = `SELECT ${row} WHERE ${found ? 1 : 0}`;
      return await runSmall(session, sql, statement.format ?? defaultFormat, query);
    }
    default:
      return await runSmall(session, statement.sql, statement.format ?? defaultFormat, query);
  }
}

/** A statement with a small result or none: the engine holds it. */
async function runSmall(session: Session, sql: string, format: string, query: DoorQuery): Promise<Summary> {
  const output = await session.query(sql, format).catch((error: unknown) => {
    throw engineException(error);
  });
  await query.answer.write(output.bytes, query.signal);
  return readSummary(output);
}

/**
 * The result comes through the pipe, as fast as the client takes it. After an abort it is read on and dropped: the
 * engine may be about to open its end, which blocks, unkillable, while nobody has the other one.
 */
async function runRead(session: Session, statement: Statement & { kind: 'read' }, query: DoorQuery): Promise<Summary> {
  const { answer, request, signal } = query;
  const reader = openFifoReader(session.fifo);
  const output = session
    .query(readInto(statement, session.fifo, request.defaultFormat), 'TSV')
    .finally(() => reader.writerDone());
  // Awaited below; until then a failure must not count as unhandled.
  output.catch(() => undefined);
  let failure: unknown;
  try {
    for await (const chunk of reader.chunks) {
      if (signal.aborted || failure !== undefined) continue;
      await answer.write(chunk, signal).catch((error: unknown) => {
        failure = error;
        void session.kill();
      });
    }
  } finally {
    await reader.close();
  }
  const summary = await output.then(readSummary, (error: unknown) => {
    throw failure ?? engineException(error, [outfileClause(session.fifo)]);
  });
  if (failure !== undefined) throw failure;
  return summary;
}

/** The data goes to the engine through the pipe; as a whole, or the query is killed before the pipe ends. */
async function runInsert(
  session: Session,
  statement: Statement & { kind: 'insert' },
  query: DoorQuery,
): Promise<Summary> {
  const ended = new AbortController();
  const output = session.write(insertFrom(statement, session.fifo)).finally(() => ended.abort());
  output.catch(() => undefined);
  let failure: unknown;
  await feedFifo(session.fifo, {
    data: query.request.data.data(),
    ended: ended.signal,
    aborted: query.signal,
    kill: () => session.kill(),
  }).catch((error: unknown) => {
    failure = error;
  });
  const { writtenRows, writtenBytes, elapsedMs } = await output.catch((error: unknown) => {
    throw failure ?? engineException(error, [infileClause(session.fifo)]);
  });
  return { ...NO_SUMMARY, readRows: writtenRows, readBytes: writtenBytes, writtenRows, writtenBytes, elapsedMs };
}

/** chDB counts the rows of the result, not those it read for it. */
function readSummary(output: { resultRows: number; resultBytes: number; elapsedMs: number }): Summary {
  const { resultRows, resultBytes, elapsedMs } = output;
  return { ...NO_SUMMARY, readRows: resultRows, readBytes: resultBytes, resultRows, resultBytes, elapsedMs };
}
