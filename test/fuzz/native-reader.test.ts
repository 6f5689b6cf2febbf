/** The reader of Native blocks that the fuzzers judge by, held to the engine: the same blocks, inserted and read back. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { BuilderSet } from '../../src/ingest/convert/builders.ts';
import { ConverterPool, convertNow } from '../../src/ingest/convert/convert.ts';
import { SIGNALS } from '../../src/ingest/messages.ts';
import { TABLES } from '../../src/tables/all-tables.ts';
import { rowText } from '../corpus/expected-values.ts';
import { ORIGIN } from '../support/log-request.ts';
import { readNativeBlock } from '../support/native-reader.ts';
import { openTableEngine, type TableEngine } from '../support/table-engine.ts';
import { validRequests } from './valid-requests.ts';

const BATCH_ID = '0123456789abcdef';
let engine: TableEngine;
const blocks = new Map<string, Buffer>();

beforeAll(async () => {
  engine = openTableEngine();
  const set = new BuilderSet();
  const converters = new ConverterPool();
  for (const signal of SIGNALS) {
    const { small, large } = validRequests(signal);
    for (const body of [...small, ...large]) convertNow(converters, signal, body, FAR_OFF, set);
  }
  for (const { table, bytes } of set.encode(() => BATCH_ID)) blocks.set(table, Buffer.from(bytes));
});
afterAll(() => engine.close());

/** A day on which nothing expires while this runs. */
const FAR_OFF = { ...ORIGIN, expiresOnDay: 40_000 };

describe('the reader of Native blocks', () => {
  it.each(TABLES)('reads of a block of $name what the engine stores of it', async (table) => {
    const block = blocks.get(table.name) ?? Buffer.alloc(0);
    const { columns, rows } = readNativeBlock(block);
    expect(columns).toEqual(table.columns.map(({ name, type }) => ({ name, type })));
    expect(rows.length).toBeGreaterThan(50);
    await engine.create(table);
    await engine.create({ ...table, name: `${table.name}_read` });
    await engine.insert(table.name, block);
    await engine.insertJson(`${table.name}_read`, rows.map(rowText));
    for (const [here, there] of [
      [table.name, `${table.name}_read`],
      [`${table.name}_read`, table.name],
    ]) {
      const counted = (name: string | undefined) => `SELECT *, count() AS Times FROM ${name} GROUP BY ALL`;
      expect(await engine.rows(`SELECT * FROM (${counted(here)} EXCEPT ${counted(there)}) LIMIT 1`)).toEqual([]);
    }
  });

  it('refuses a block that is cut short, one with bytes after it, and one with a wrong length inside', () => {
    const block = blocks.get('otel_logs') as Buffer;
    expect(() => readNativeBlock(block.subarray(0, block.length - 1))).toThrow(RangeError);
    expect(() => readNativeBlock(Buffer.concat([block, Buffer.alloc(1)]))).toThrow('1 bytes after the block');
    const rowMore = Buffer.from(block);
    rowMore[1] = (rowMore[1] as number) ^ 1; // the low bits of the number of rows
    expect(() => readNativeBlock(rowMore)).toThrow(RangeError);
  });
});
