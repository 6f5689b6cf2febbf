/**
 * The converter of logs: whatever comes in, it makes rows or throws 'malformed' and leaves nothing; and it finds as many
 * records as protobufjs does, wherever both take the body.
 */
import { BackworkError } from '../../src/base/errors.ts';
import { BuilderSet } from '../../src/ingest/convert/builders.ts';
import { ConverterPool, convertNow } from '../../src/ingest/convert/convert.ts';
import { generateLogsRequest } from '../corpus/generate-logs.ts';
import type { Random } from '../corpus/seeded-random.ts';
import { logsRequestType, ORIGIN } from '../support/log-request.ts';
import { type Fuzzer, fuzzer, mutate, promise } from './fuzzer.ts';

export function logConverterFuzzer(): Fuzzer {
  const type = logsRequestType();
  const pool = new ConverterPool();
  return fuzzer('log-converter', (random) => {
    const body = makeBody(random);
    const set = new BuilderSet();
    let result: ReturnType<typeof convertNow>;
    try {
      result = convertNow(pool, 'logs', body, ORIGIN, set);
    } catch (error) {
      promise(error instanceof BackworkError && error.code === 'malformed', `it threw ${error}`);
      promise(set.bytes === 0 && rowsOf(set) === 0, 'a refused body left rows');
      return false;
    }
    if (result === undefined) return false;
    promise(rowsOf(set) === result.accepted, `${result.accepted} accepted, ${rowsOf(set)} rows`);
    const records = recordCount(body);
    const found = result.accepted + result.rejected;
    promise(records === undefined || records === found, `${records} records, ${found} found`);
    return true;
  });

  function makeBody(random: Random): Buffer {
    if (random.chance(0.1)) return random.bytes(random.int(0, 200));
    const body = Buffer.from(type.encode(type.fromObject(generateLogsRequest(random))).finish());
    return random.chance(0.1) ? body : mutate(body, random);
  }

  /** undefined where protobufjs refuses what we take: invalid UTF-8, deep nesting. */
  function recordCount(body: Buffer): number | undefined {
    try {
      const { resourceLogs = [] } = type.toObject(type.decode(body)) as {
        resourceLogs?: { scopeLogs?: { logRecords?: unknown[] }[] }[];
      };
      return resourceLogs.flatMap(({ scopeLogs = [] }) => scopeLogs.flatMap(({ logRecords = [] }) => logRecords))
        .length;
    } catch {
      return undefined;
    }
  }
}

function rowsOf(set: BuilderSet): number {
  let rows = 0;
  for (const batch of set.encode(() => '0000000000000001')) rows += batch.rowCount;
  return rows;
}
