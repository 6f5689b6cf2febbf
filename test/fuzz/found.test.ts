/** What the fuzzers have found, as bytes: each was once taken otherwise than protobuf says, or than the oracle said. */
import { describe, expect, it } from 'vitest';
import type { Signal } from '../../src/ingest/messages.ts';
import { field, keyValue, varintField } from '../corpus/hand-made-protobuf.ts';
import { RowJudge } from './judge-rows.ts';

/** Throws when the rows are not the oracle's; what was accepted, and whether rows were compared. */
function judged(signal: Signal, body: Buffer) {
  const counts: string[] = [];
  const watch = { time: <T>(work: () => T): T => work(), count: (what: string) => void counts.push(what) };
  return { result: new RowJudge(signal).judge(body, watch, true), counts };
}

const text = (value: string) => field(1, Buffer.from(value));
const record = (...fields: Buffer[]) => field(1, field(2, field(2, ...fields)));
const taken = { result: { accepted: 1, rejected: 0 }, counts: ['compared'] };

describe('found by fuzzing', () => {
  it.each([
    ['a key that stands beside an index', record(field(6, text('k'), field(2, text('v')), varintField(3, 7)))],
    ['an array in two parts', record(field(5, field(5, field(1, text('a'))), field(5, field(1, text('b')))))],
    [
      'a kvlist in two parts',
      record(
        field(
          5,
          field(6, field(1, keyValue(Buffer.from('a'), text('1')))),
          field(6, field(1, keyValue(Buffer.from('b'), text('2')))),
        ),
      ),
    ],
    ['a body in two parts', record(field(5, field(5, field(1, text('a')))), field(5, field(5, field(1, text('b')))))],
    [
      'the value of an attribute in two parts',
      record(field(6, text('k'), field(2, text('a')), field(2, varintField(3, 5)))),
    ],
  ])('makes the rows of the oracle: %s', (_what, body) => {
    expect(judged('logs', body)).toMatchObject(taken);
  });

  it('refuses a group that ends under another number', () => {
    const body = Buffer.concat([record(), Buffer.from([0x2b, 0x34])]); // group 5 begins, group 6 ends
    expect(judged('logs', body).result).toBeUndefined();
  });
});
