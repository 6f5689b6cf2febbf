/**
 * Ways to break HTTP/1.1, most of them known from request smuggling: two readers of the same bytes that disagree where a
 * request ends. Each carries a whole second request inside it, which must never be taken for one: its row would be stored.
 */
import { httpBytes } from '../../ingest/accept/peers.ts';
import { encodeIds } from '../../support/load.ts';

export interface BrokenRequest {
  readonly name: string;
  readonly bytes: Buffer;
}

/** Of every row that must not be there. */
export const SMUGGLED = 'smuggled';

/** Each is refused with 400 and `Connection: close`, or closed, and nothing of it is taken. */
export function brokenRequests(token: string): readonly BrokenRequest[] {
  const authorization = `Bearer ${token}`;
  const hidden = (i: number): Buffer =>
    httpBytes({ headers: { authorization }, body: encodeIds([`${SMUGGLED}-${i}`]) });
  const start = (lines: string) =>
    `POST /v1/logs HTTP/1.1\r\nHost: a\r\nAuthorization: ${authorization}\r\nContent-Type: application/x-protobuf\r\n${lines}`;
  const lengthOf = (bytes: Buffer): string => `Content-Length: ${bytes.length}\r\n`;
  const chunked = 'Transfer-Encoding: chunked\r\n';
  const shapes: ReadonlyArray<readonly [string, (body: Buffer) => string]> = [
    ['a length and chunks', (body) => start(`${lengthOf(body)}${chunked}\r\n0\r\n\r\n`)],
    ['chunks and a length', (body) => start(`${chunked}${lengthOf(body)}\r\n0\r\n\r\n`)],
    ['two lengths', (body) => start(`Content-Length: 0\r\n${lengthOf(body)}\r\n`)],
    ['two lengths in one', (body) => start(`Content-Length: 0, ${body.length}\r\n\r\n`)],
    ['a length with a sign', () => start('Content-Length: +0\r\n\r\n')],
    ['a length in hexadecimal', () => start('Content-Length: 0x0\r\n\r\n')],
    ['chunks that are not the last coding', () => start('Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n')],
    ['chunks twice', () => start('Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n')],
    ['a coding that is almost chunked', () => start('Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n')],
    ['a tab before the coding', () => start('Transfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n')],
    ['a blank before the colon', () => start('Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n')],
    ['a chunk size that is no number', () => start(`${chunked}\r\nzz\r\n\r\n`)],
    ['a chunk size with a sign', () => start(`${chunked}\r\n-1\r\n\r\n`)],
    ['a chunk size with 0x', () => start(`${chunked}\r\n0x0\r\n\r\n`)],
    ['a chunk size of 2^68', () => start(`${chunked}\r\n100000000000000000\r\n`)],
    ['a chunk longer than its size', () => start(`${chunked}\r\n1\r\nabc\r\n0\r\n\r\n`)],
    ['a chunk line that ends in LF', () => start(`${chunked}\r\n0\n\n`)],
    ['a NUL in a header', () => start('X-A: a\0b\r\nContent-Length: 0\r\n\r\n')],
    ['a CR alone in a header', () => start('X-A: a\rContent-Length: 0\r\n\r\n')],
    ['a header line without a colon', () => start('X-A\r\nContent-Length: 0\r\n\r\n')],
    ['a folded header', () => start('Content-Length: 0\r\n folded\r\n\r\n')],
    ['a NUL in a header name', () => start('X\0A: a\r\n\r\n')],
    ['a request line with three blanks', () => 'POST /v1/logs HTTP/1.1 X\r\n\r\n'],
    ['HTTP/3.7', () => 'POST /v1/logs HTTP/3.7\r\n\r\n'],
    ['a header list of 64 KiB', () => start(`X-A: ${'a'.repeat(65_536)}\r\n\r\n`)],
  ];
  return shapes.map(([name, shape], i) => {
    const body = hidden(i);
    return { name, bytes: Buffer.concat([Buffer.from(shape(body), 'latin1'), body]) };
  });
}

/** Thousands of tiny headers: refused or served, but never more than the parser's own limit of them is kept. */
export function manyHeaders(token: string): Buffer {
  const lines = Array.from({ length: 3_000 }, (_, i) => [`a${i}`, ''] as const);
  const head = lines.map(([name]) => `${name}:\r\n`).join('');
  return Buffer.from(`POST /v1/logs HTTP/1.1\r\nAuthorization: Bearer ${token}\r\n${head}Content-Length: 0\r\n\r\n`);
}
