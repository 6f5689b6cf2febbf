/**
 * The greeting of a driver that speaks the Native format at a protocol revision over HTTP (clickhouse-go from 2.38 on).
 *
 * ClickHouse's HTTP interface lets a client name its revision (`client_protocol_version`) and then writes Native at that
 * revision. A driver learns the server's by a first query, SELECT displayName(), version(), revision(), timezone(), whose
 * answer it already reads at its own revision; everything else at the smaller of the two. chDB takes no revision: it
 * always writes revision 0, and its revision() names that of its code, not that of its Native. So this one answer is
 * written here, at the client's revision, and says revision 0, which is then true of all that follows.
 *
 *   01 00  02 ff ff ff ff  00       block info: 1 is_overflows = 0, 2 bucket_num = -1, end
 *   04 01                           columns, rows
 *   name  type  [00]  value         of each column; 00 (no custom serialization) from revision 54454 on
 */
import { ByteWriter } from '../base/byte-writer.ts';
import { DOOR_DISPLAY_NAME, type DoorAnswer, NO_SUMMARY, type Summary } from './door-answer.ts';
import type { DoorRequest } from './door-request.ts';

const GREETING =
  /^\s*SELECT\s+displayName\(\)\s*,\s*version\(\)\s*,\s*revision\(\)\s*,\s*timezone\(\)\s*(?:FORMAT\s+\w+\s*)?$/i;

/** The first revision whose columns say how they are serialized (DBMS_MIN_REVISION_WITH_CUSTOM_SERIALIZATION). */
const REVISION_WITH_SERIALIZATION = 54_454;

const BLOCK_INFO = Buffer.from([1, 0, 2, 0xff, 0xff, 0xff, 0xff, 0]);

/** True of exactly these four columns, asked for in Native by a client that names a revision. */
export function isGreeting({ statement, defaultFormat, clientRevision }: DoorRequest): boolean {
  if (clientRevision === 0 || statement.kind !== 'read') return false;
  return (statement.format ?? defaultFormat).toLowerCase() === 'native' && GREETING.test(statement.sql);
}

/** Writes the greeting's one row at the client's revision. `version` is the engine's. */
export async function answerGreeting(
  answer: DoorAnswer,
  greeting: { readonly clientRevision: number; readonly version: string; readonly signal: AbortSignal },
): Promise<Summary> {
  const bytes = greetingBlock(greeting.clientRevision, greeting.version);
  await answer.write(bytes, greeting.signal);
  return { ...NO_SUMMARY, readRows: 1, readBytes: bytes.length, resultRows: 1, resultBytes: bytes.length };
}

function greetingBlock(clientRevision: number, version: string): Buffer {
  const out = new ByteWriter();
  const column = (name: string, type: string) => {
    out.text(name);
    out.text(type);
    if (clientRevision >= REVISION_WITH_SERIALIZATION) out.byte(0);
  };
  out.append(BLOCK_INFO);
  out.varuint(4);
  out.varuint(1);
  column('displayName()', 'String');
  out.text(DOOR_DISPLAY_NAME);
  column('version()', 'String');
  out.text(version);
  column('revision()', 'UInt32');
  out.zeros(4);
  column('timezone()', 'String');
  out.text('UTC');
  return out.view();
}
