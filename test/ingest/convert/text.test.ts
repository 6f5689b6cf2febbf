import { describe, expect, it } from 'vitest';
import { ByteWriter } from '../../../src/base/byte-writer.ts';
import {
  appendBase64,
  appendDouble,
  appendHex,
  appendInt64,
  appendJsonString,
  appendString,
  appendUint64,
} from '../../../src/ingest/convert/text.ts';
import { seededRandom } from '../../corpus/seeded-random.ts';

function written(write: (out: ByteWriter) => void): string {
  const out = new ByteWriter(1);
  write(out);
  return out.view().toString('utf8');
}

function words(value: bigint): [number, number] {
  const unsigned = BigInt.asUintN(64, value);
  return [Number(unsigned & 0xffff_ffffn), Number(unsigned >> 32n)];
}

describe('64-bit integers as text', () => {
  const edges = [0n, 1n, 9n, 10n, 999_999_999n, 10n ** 9n, 2n ** 32n - 1n, 2n ** 32n, 2n ** 53n - 1n, 2n ** 53n];
  edges.push(2n ** 53n + 1n, 10n ** 18n, 2n ** 63n - 1n, 2n ** 63n, 2n ** 64n - 1n, 18_446_744_073_000_000_000n);

  it('have all their digits at every edge, signed and unsigned', () => {
    for (const value of edges) {
      expect(written((out) => appendUint64(out, ...words(value)))).toBe(String(value));
      const signed = BigInt.asIntN(64, value);
      expect(written((out) => appendInt64(out, ...words(signed)))).toBe(String(signed));
      expect(written((out) => appendInt64(out, ...words(-signed)))).toBe(String(BigInt.asIntN(64, -signed)));
    }
  });

  it('equal what BigInt prints for 20,000 seeded values of every magnitude', () => {
    const random = seededRandom(7);
    for (let i = 0; i < 20_000; i++) {
      const bits =
        BigInt(Math.floor(random.next() * 2 ** 32)) * 2n ** 32n + BigInt(Math.floor(random.next() * 2 ** 32));
      const value = bits >> BigInt(Math.floor(random.next() * 64));
      expect(written((out) => appendUint64(out, ...words(value)))).toBe(String(value));
      expect(written((out) => appendInt64(out, ...words(value)))).toBe(String(BigInt.asIntN(64, value)));
    }
  });
});

describe('doubles as text', () => {
  it('are what String gives, but a negative zero keeps its sign', () => {
    const values = [
      0,
      1,
      -1,
      1.5,
      -2.25,
      1e21,
      1e-7,
      123456789012345,
      2 ** 53,
      2 ** 53 + 2,
      1e20,
      0.1 + 0.2,
      Number.NaN,
    ];
    values.push(Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY, Number.MIN_VALUE, Number.MAX_VALUE, -1e15);
    for (const value of values) expect(written((out) => appendDouble(out, value))).toBe(String(value));
    expect(written((out) => appendDouble(out, -0))).toBe('-0');
  });
});

describe('bytes as text', () => {
  it('are hex and base64 as Buffer writes them, at every length', () => {
    const random = seededRandom(3);
    for (let length = 0; length < 70; length++) {
      const bytes = random.bytes(length);
      expect(written((out) => appendHex(out, bytes, 0, length))).toBe(bytes.toString('hex'));
      expect(written((out) => appendBase64(out, bytes, 0, length))).toBe(bytes.toString('base64'));
    }
  });
});

/** Ill-formed UTF-8 of every sort, alone and between valid text, short and past the length where copying is native. */
const ILL_FORMED = [
  [0xff],
  [0xc3],
  [0xe2, 0x82],
  [0xf0, 0x9f, 0x98],
  [0xc0, 0xaf],
  [0xed, 0xa0, 0x80],
  [0xf4, 0x90, 0x80, 0x80],
  [0x80, 0x80],
  [0xe2, 0x28, 0xa1],
];

describe('strings', () => {
  it('are copied with their length prefix when they are valid, byte order marks and NUL included', () => {
    for (const text of ['', 'a', '\u0000', '\ufeffx', 'ä€😀', 'x'.repeat(127), 'x'.repeat(128), 'ü'.repeat(5_000)]) {
      const source = Buffer.from(text, 'utf8');
      const out = new ByteWriter(1);
      expect(appendString(out, source, 0, source.length)).toBe(true);
      const expected = new ByteWriter();
      expected.text(text);
      expect(out.view()).toEqual(expected.view());
    }
  });

  it('get U+FFFD for each ill-formed part, exactly as TextDecoder puts it', () => {
    const decoder = new TextDecoder('utf-8', { ignoreBOM: true });
    for (const bad of ILL_FORMED) {
      for (const around of ['', 'abc', 'ä'.repeat(63), 'y'.repeat(126), 'z'.repeat(500)]) {
        const source = Buffer.concat([Buffer.from(around), Buffer.from(bad), Buffer.from(around)]);
        const out = new ByteWriter(1);
        expect(appendString(out, source, 0, source.length)).toBe(false);
        const expected = new ByteWriter();
        expected.text(decoder.decode(source));
        expect(out.view()).toEqual(expected.view());
      }
    }
  });

  it('are escaped in JSON as JSON.stringify does', () => {
    const control = Array.from({ length: 0x20 }, (_, i) => String.fromCharCode(i)).join('');
    for (const text of [control, '"\\/', '\u007f\u2028\u2029', 'ä😀', '']) {
      const source = Buffer.from(text, 'utf8');
      expect(written((out) => appendJsonString(out, source, 0, source.length))).toBe(JSON.stringify(text));
    }
  });

  it('say in JSON too that they were repaired', () => {
    const out = new ByteWriter();
    expect(appendJsonString(out, Buffer.from([0x61, 0xff, 0x62]), 0, 3)).toBe(false);
    expect(out.view().toString()).toBe('"a\ufffdb"');
  });
});
