/** Ways to break HTTP/2 and gRPC, each with what must come of it: the connection is closed, or it serves on. */
import { grpcFrame } from '../../ingest/accept/peers.ts';
import { CALL_HEADERS, FLAG, FRAME, frame, headerBlock, type RawH2 } from '../../ingest/accept/raw-h2.ts';

export interface Violation {
  readonly name: string;
  /** `either`: both are right, as long as nothing else suffers. */
  readonly expected: 'closed' | 'serves' | 'either';
  readonly bytes: Buffer;
  /** Sent so many times, one after another, until the connection is closed. */
  readonly times?: number;
}

const LAST_STREAM = 1_000_001;
const CONTINUATION = 9;
const [END_STREAM, END_HEADERS, PADDED] = [1, 4, 8];

/** A call without items, on the highest stream of all. */
export function lastCall(client: RawH2, headers: Buffer): void {
  client.socket.write(frame(FRAME.HEADERS, FLAG.END_HEADERS, LAST_STREAM, headers));
  client.socket.write(frame(FRAME.DATA, FLAG.END_STREAM, LAST_STREAM, grpcFrame(Buffer.alloc(0))));
}

/** Answered with a message: a refusal has none. */
export function isServed(client: RawH2): boolean {
  return client.frames.some(({ type, streamId }) => type === FRAME.DATA && streamId === LAST_STREAM);
}

export function callHeaders(token: string): Record<string, string> {
  return { ...CALL_HEADERS, authorization: `Bearer ${token}` };
}

export function violations(token: string): readonly Violation[] {
  return [...headerViolations(token), ...frameViolations(token), ...floods(token)];
}

function closed(name: string, ...parts: readonly Buffer[]): Violation {
  return { name, expected: 'closed', bytes: Buffer.concat(parts) };
}

function serves(name: string, ...parts: readonly Buffer[]): Violation {
  return { name, expected: 'serves', bytes: Buffer.concat(parts) };
}

function either(name: string, ...parts: readonly Buffer[]): Violation {
  return { name, expected: 'either', bytes: Buffer.concat(parts) };
}

function headers(streamId: number, block: Buffer, flags = END_HEADERS | END_STREAM): Buffer {
  return frame(FRAME.HEADERS, flags, streamId, block);
}

function headerViolations(token: string): Violation[] {
  const call = callHeaders(token);
  const good = headerBlock(call);
  const { ':path': _, ...noPath } = call;
  const hpack = (name: string, hex: string) => closed(`HPACK: ${name}`, headers(1, Buffer.from(hex, 'hex')));
  const own = (name: string, more: Record<string, string>) =>
    serves(name, headers(1, headerBlock({ ...call, ...more })));
  const repeated = Buffer.concat([good, headerBlock({ ':path': '/other' })]);
  return [
    hpack('index 0', '80'),
    hpack('an index beyond both tables', 'ffffff7f'),
    hpack('an integer without an end', 'ffffffffffffffffffffff'),
    hpack('a table larger than was agreed', '3fe1ffffff07'),
    hpack('a string longer than the block', '00057465'),
    hpack('Huffman code that ends in the middle', '008400000000840000ffff'),
    closed('HEADERS on stream 0', headers(0, good)),
    closed('HEADERS on an even stream', headers(2, good)),
    // nghttp2 takes it for a stream that was closed meanwhile, reads its headers for the table's sake, and serves nothing.
    either('HEADERS on a lower stream than before', headers(5, good), headers(3, good)),
    closed('HEADERS with more padding than payload', headers(1, Buffer.from([200, 1, 2]), END_HEADERS | PADDED)),
    closed('CONTINUATION without HEADERS', frame(CONTINUATION, END_HEADERS, 1, good)),
    closed('another frame inside a header block', headers(1, good, 0), frame(FRAME.PING, 0, 0, Buffer.alloc(8))),
    closed(
      'PUSH_PROMISE of a client',
      headers(1, good),
      frame(5, END_HEADERS, 1, Buffer.concat([Buffer.alloc(4), good])),
    ),
    serves('no :path', headers(1, headerBlock(noPath))),
    own('a name in capitals', { 'X-Capital': 'a' }),
    own('a header of connections', { connection: 'close' }),
    own('a header name with a NUL', { 'a\0b': 'c' }),
    own('a value with a line break', { a: 'b\r\nc: d' }),
    own('the method CONNECT', { ':method': 'CONNECT' }),
    own('a content length that is none', { 'content-length': '-1' }),
    serves('two paths', headers(1, repeated)),
    serves('a pseudo-header after others', headers(1, Buffer.concat([good, headerBlock({ ':status': '200' })]))),
    serves(
      'trailers that do not end the stream',
      headers(1, good, END_HEADERS),
      headers(1, headerBlock({ a: 'b' }), END_HEADERS),
    ),
    // 60 × 1,000 bytes of headers are over the list's limit of 16 KiB.
    either('a header list over the limit', headerList(good, 60)),
  ];
}

function headerList(good: Buffer, count: number): Buffer {
  const field = headerBlock({ 'x-long': 'a'.repeat(100) });
  const fields = Buffer.concat(Array.from({ length: 10 }, () => field));
  const more = Array.from({ length: count }, (_, i) =>
    frame(CONTINUATION, i === count - 1 ? END_HEADERS : 0, 1, fields),
  );
  return Buffer.concat([headers(1, good, END_STREAM), ...more]);
}

function frameViolations(token: string): Violation[] {
  const good = headerBlock(callHeaders(token));
  const u32 = (value: number): Buffer => Buffer.from([value >>> 24, value >>> 16, value >>> 8, value]);
  const setting = (id: number, value: number) =>
    frame(FRAME.SETTINGS, 0, 0, Buffer.concat([Buffer.from([0, id]), u32(value)]));
  const data = (streamId: number, body: Buffer, flags = END_STREAM) => frame(FRAME.DATA, flags, streamId, body);
  const open = headers(1, good, END_HEADERS);
  const message = (name: string, body: Buffer) => serves(`gRPC: ${name}`, open, data(1, body));
  return [
    closed('DATA on stream 0', data(0, Buffer.alloc(5))),
    closed('DATA on a stream that was never opened', data(7, Buffer.alloc(5))),
    closed('DATA with more padding than payload', open, data(1, Buffer.from([200, 1]), PADDED)),
    closed('a frame longer than was agreed', open, data(1, Buffer.alloc(16_385))),
    closed('SETTINGS of five bytes', frame(FRAME.SETTINGS, 0, 0, Buffer.alloc(5))),
    closed('SETTINGS of a stream', frame(FRAME.SETTINGS, 0, 1)),
    closed('an acknowledgement with settings', frame(FRAME.SETTINGS, 1, 0, Buffer.alloc(6))),
    closed('a window of 2^31', setting(4, 2 ** 31)),
    closed('frames of one byte', setting(5, 1)),
    closed('push that is neither on nor off', setting(2, 2)),
    closed('PING of seven bytes', frame(FRAME.PING, 0, 0, Buffer.alloc(7))),
    closed('PING of a stream', frame(FRAME.PING, 0, 1, Buffer.alloc(8))),
    closed('GOAWAY of four bytes', frame(FRAME.GOAWAY, 0, 0, Buffer.alloc(4))),
    closed('GOAWAY of a stream', frame(FRAME.GOAWAY, 0, 1, Buffer.alloc(8))),
    closed('WINDOW_UPDATE of three bytes', frame(FRAME.WINDOW_UPDATE, 0, 0, Buffer.alloc(3))),
    closed('a window that grows by nothing', frame(FRAME.WINDOW_UPDATE, 0, 0, u32(0))),
    closed('a window that overflows', ...Array(3).fill(frame(FRAME.WINDOW_UPDATE, 0, 0, u32(0x7fffffff)))),
    closed('RST_STREAM of three bytes', open, frame(FRAME.RST_STREAM, 0, 1, Buffer.alloc(3))),
    closed('RST_STREAM of a stream that was never opened', frame(FRAME.RST_STREAM, 0, 9, u32(8))),
    either('DATA after the end of its stream', open, data(1, Buffer.alloc(5)), data(1, Buffer.alloc(5))),
    // RFC 9113 asks for the end of the stream; nghttp2 ends the connection.
    either('a stream window that grows by nothing', open, frame(FRAME.WINDOW_UPDATE, 0, 1, u32(0))),
    serves('frames of an unknown type', frame(99, 255, 0, Buffer.alloc(100)), frame(200, 1, 8, Buffer.alloc(3))),
    serves('settings that nobody knows', setting(200, 1)),
    serves('a priority that depends on itself', frame(2, 0, 1, Buffer.from([0, 0, 0, 1, 0]))),
    message('no message', Buffer.alloc(0)),
    message('half a prefix', Buffer.alloc(3)),
    message('a flag of 2', Buffer.from([2, 0, 0, 0, 0])),
    message('compressed without a coding', Buffer.from([1, 0, 0, 0, 1, 0])),
    message('no protobuf', grpcFrame(Buffer.alloc(50, 0xff))),
    message('two messages', Buffer.concat([grpcFrame(Buffer.alloc(0)), grpcFrame(Buffer.alloc(0))])),
    serves(
      'gRPC: compressed, and no gzip',
      headers(1, headerBlock({ ...callHeaders(token), 'grpc-encoding': 'gzip' }), END_HEADERS),
      data(1, grpcFrame(Buffer.alloc(50, 0xff), true)),
    ),
    // 20 MiB, whatever the windows say: where they are kept to, the connection is closed.
    either('DATA beyond its window', open, ...Array(1_280).fill(data(1, Buffer.alloc(16_384), 0))),
  ];
}

function floods(token: string): Violation[] {
  const good = headerBlock(callHeaders(token));
  const of = (count: number, make: (i: number) => Buffer): Buffer =>
    Buffer.concat(Array.from({ length: count }, (_, i) => make(i)));
  const cancel = Buffer.from([0, 0, 0, 8]);
  const times = 100;
  const open = headers(1, good, END_HEADERS);
  // An entry of 4,000 bytes in the dynamic table, then two bytes each time that it is meant.
  const entry = Buffer.concat([Buffer.from([0x40, 1, 0x62, 0x7f, 0xa1, 0x1e]), Buffer.alloc(4_000, 0x61)]);
  const bomb = headers(1, Buffer.concat([good, entry, Buffer.alloc(10_000, 0xbe)]));
  const reset = (i: number) =>
    Buffer.concat([headers(i * 2 + 1, good, END_HEADERS), frame(FRAME.RST_STREAM, 0, i * 2 + 1, cancel)]);
  return [
    {
      name: 'flood of PING',
      expected: 'closed',
      times,
      bytes: of(100, () => frame(FRAME.PING, 0, 0, Buffer.alloc(8))),
    },
    { name: 'flood of SETTINGS', expected: 'closed', times, bytes: of(100, () => frame(FRAME.SETTINGS, 0, 0)) },
    { name: 'streams opened and reset', expected: 'closed', bytes: of(20_000, reset) },
    {
      name: 'flood of CONTINUATION',
      expected: 'closed',
      bytes: Buffer.concat([headers(1, good, 0), of(20_000, () => frame(CONTINUATION, 0, 1))]),
    },
    either(
      'flood of RST_STREAM',
      open,
      of(20_000, () => frame(FRAME.RST_STREAM, 0, 1, cancel)),
    ),
    either(
      'flood of WINDOW_UPDATE',
      of(20_000, () => frame(FRAME.WINDOW_UPDATE, 0, 0, Buffer.from([0, 0, 0, 1]))),
    ),
    either(
      'flood of PRIORITY',
      of(20_000, (i) => frame(2, 0, i * 2 + 1, Buffer.alloc(5))),
    ),
    either('flood of empty DATA', Buffer.concat([open, of(20_000, () => frame(FRAME.DATA, 0, 1))])),
    either(
      'flood of unknown frames',
      of(20_000, () => frame(77, 0, 0)),
    ),
    either('a header list of 40 MB in 14 KB', bomb),
    either(
      'calls without a path',
      of(2_000, (i) => headers(i * 2 + 1, headerBlock({ ':method': 'POST' }))),
    ),
  ];
}
