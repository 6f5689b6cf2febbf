/** HTTP/2 by hand: a peer that may break every rule. */
import net from 'node:net';
import { SIGNAL_PATHS } from './peers.ts';

export const FRAME = { DATA: 0, HEADERS: 1, RST_STREAM: 3, SETTINGS: 4, PING: 6, GOAWAY: 7, WINDOW_UPDATE: 8 } as const;
export const FLAG = { END_STREAM: 1, END_HEADERS: 4 } as const;
export const PREFACE = Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n');

export interface Frame {
  readonly type: number;
  readonly flags: number;
  readonly streamId: number;
  readonly payload: Buffer;
}

export function frame(type: number, flags: number, streamId: number, payload: Buffer = Buffer.alloc(0)): Buffer {
  const header = Buffer.alloc(9);
  header.writeUIntBE(payload.length, 0, 3);
  header[3] = type;
  header[4] = flags;
  header.writeUInt32BE(streamId, 5);
  return Buffer.concat([header, payload]);
}

/** A header block of literals without indexing, without Huffman coding. */
export function headerBlock(headers: Readonly<Record<string, string>>): Buffer {
  const parts = Object.entries(headers).map(([name, value]) => {
    return Buffer.concat([
      Buffer.from([0, name.length]),
      Buffer.from(name),
      Buffer.from([value.length]),
      Buffer.from(value),
    ]);
  });
  return Buffer.concat(parts);
}

export const CALL_HEADERS = {
  ':method': 'POST',
  ':scheme': 'http',
  ':path': SIGNAL_PATHS.logs,
  ':authority': 'localhost',
  'content-type': 'application/grpc',
  te: 'trailers',
} as const;

export class RawH2 {
  readonly socket: net.Socket;
  readonly frames: Frame[] = [];
  closed = false;
  #pending = Buffer.alloc(0);

  /** Says preface and SETTINGS unless told to keep quiet. */
  constructor(port: number, options: { quiet?: boolean } = {}) {
    this.socket = net.connect(port, '127.0.0.1');
    this.socket.on('error', () => {});
    this.socket.on('close', () => {
      this.closed = true;
    });
    this.socket.on('data', (chunk: Buffer) => this.#read(chunk));
    if (!options.quiet) this.socket.write(Buffer.concat([PREFACE, frame(FRAME.SETTINGS, 0, 0)]));
  }

  call(streamId: number, body: Buffer): void {
    this.socket.write(
      Buffer.concat([
        frame(FRAME.HEADERS, FLAG.END_HEADERS, streamId, headerBlock(CALL_HEADERS)),
        frame(FRAME.DATA, FLAG.END_STREAM, streamId, body),
      ]),
    );
  }

  /** The peer has ended this stream with HEADERS: its trailers, or a Trailers-Only answer. */
  answered(streamId: number): boolean {
    return this.frames.some((received) => {
      const ends = received.type === FRAME.HEADERS && (received.flags & FLAG.END_STREAM) !== 0;
      return ends && received.streamId === streamId;
    });
  }

  close(): void {
    this.socket.destroy();
  }

  #read(chunk: Buffer): void {
    this.#pending = Buffer.concat([this.#pending, chunk]);
    while (this.#pending.length >= 9) {
      const end = 9 + this.#pending.readUIntBE(0, 3);
      if (this.#pending.length < end) return;
      this.frames.push({
        type: this.#pending.readUInt8(3),
        flags: this.#pending.readUInt8(4),
        streamId: this.#pending.readUInt32BE(5) & 0x7fffffff,
        payload: this.#pending.subarray(9, end),
      });
      this.#pending = this.#pending.subarray(end);
    }
  }
}
