/**
 * The thread that works on requests over SLICED_BODY_BYTES (large-work.ts starts it), one after another: one value of tens
 * of MiB cannot be converted in slices, and held the event loop for up to 632 ms (*measured*). Here it holds nobody.
 *
 *   job ─► read JSON ─► convert ─► block, block, …  each is taken before the next one is made
 *                    └► hash, compress ─► outcome
 *
 * Memory is handed over in both directions, not copied, and what is done with is given back at once: the garbage collector
 * knows nothing of the ceiling.
 */
import { randomInt } from 'node:crypto';
import { parentPort } from 'node:worker_threads';
import { ByteWriter } from '../../base/byte-writer.ts';
import { BackworkError, type ErrorCode, messageOf } from '../../base/errors.ts';
import { MIB } from '../../base/limits.ts';
import type { Builder } from '../convert/builder.ts';
import { BuilderPool } from '../convert/builder-pool.ts';
import { encodeBuilderInSteps } from '../convert/builders.ts';
import { convertInParts } from '../convert/convert.ts';
import { type JsonConverted, jsonToProtobuf } from '../convert/otlp-json.ts';
import type { BodyEncoding, ConvertResult, EncodedBatch, RowOrigin, Signal } from '../messages.ts';
import { createBatchIds } from '../spool/batch-id.ts';
import { type StoredBody, storeLargeBody } from '../spool/body.ts';

export interface LargeJob {
  readonly signal: Signal;
  readonly encoding: BodyEncoding;
  /** Handed over. */
  readonly body: Uint8Array<ArrayBuffer>;
  /** Of protobuf that is made from JSON. */
  readonly protobufBytesMax: number;
  readonly origin: RowOrigin;
  /** Rows become a block at this size. */
  readonly cutBytes: number;
  /** Items that were left out before: alone they are worth a record. */
  readonly rejectedBefore: number;
}

/** What comes of a job: blocks, then one of the others. A block is answered with `undefined` when it is taken. */
export type LargeMessage =
  | { readonly kind: 'block'; readonly batch: EncodedBatch }
  | {
      readonly kind: 'done';
      readonly result: ConvertResult;
      /** Of the JSON reader: items left out, and what it says. */
      readonly rejected: number;
      readonly message: string;
      /** Undefined: nothing of the request is worth a record. */
      readonly stored: StoredBody | undefined;
    }
  | { readonly kind: 'refused'; readonly code: ErrorCode; readonly message: string; readonly field?: string }
  /** A bug of ours. */
  | { readonly kind: 'fault'; readonly message: string };

/** Builders that are kept for the next request. */
const POOL_BYTES_MAX = 16 * MIB;

const pool = new BuilderPool(POOL_BYTES_MAX);
const newBatchId = createBatchIds(Date.now, () => randomInt(2 ** 32));
let taken: (() => void) | undefined;

parentPort?.on('message', (message: LargeJob | undefined) => {
  if (message === undefined) taken?.();
  else
    void work(message).catch((error: unknown) => {
      post(refusalOf(error), []);
    });
});

async function work(job: LargeJob): Promise<void> {
  const { rejected, message, protobuf } = readBody(job);
  const { signal, origin, cutBytes } = job;
  const parts = convertInParts(signal, protobuf, origin, { cutWhenFull: true, cutAtBytes: cutBytes, pool });
  for (;;) {
    const part = await parts.next();
    if (part.done !== true) {
      for (const builder of part.value) await sendBlock(builder);
      continue;
    }
    const result = part.value;
    const isWorth = result.accepted + result.rejected + rejected + job.rejectedBefore > 0;
    const stored = isWorth ? await storeLargeBody(protobuf) : undefined;
    if (stored?.bytes !== protobuf) (protobuf.buffer as ArrayBuffer).transfer(0);
    post({ kind: 'done', result, rejected, message, stored }, stored === undefined ? [] : [stored.bytes]);
    return;
  }
}

function readBody({ signal, encoding, body, protobufBytesMax }: LargeJob): JsonConverted {
  if (encoding === 'protobuf') {
    return { protobuf: Buffer.from(body.buffer, body.byteOffset, body.length), rejected: 0, message: '' };
  }
  const read = jsonToProtobuf(signal, body, protobufBytesMax);
  body.buffer.transfer(0);
  return read;
}

async function sendBlock(builder: Builder): Promise<void> {
  if (builder.rowCount > 0) {
    const out = new ByteWriter(1024);
    for (const batch of encodeBuilderInSteps(out, builder, newBatchId())) {
      if (batch === undefined) continue;
      const isTaken = new Promise<void>((resolve) => {
        taken = resolve;
      });
      post({ kind: 'block', batch }, [batch.bytes]);
      await isTaken;
    }
  }
  // One that has no successor may still be held by the converter.
  if (!builder.isClosed || builder.isReplaced) pool.give(builder);
  else builder.forgetRows();
}

function post(message: LargeMessage, memory: readonly Uint8Array[]): void {
  parentPort?.postMessage(
    message,
    memory.map((bytes) => bytes.buffer as ArrayBuffer),
  );
}

function refusalOf(error: unknown): LargeMessage {
  if (!(error instanceof BackworkError)) return { kind: 'fault', message: messageOf(error) };
  const { code, message, field } = error;
  return { kind: 'refused', code, message, ...(field === undefined ? {} : { field }) };
}
