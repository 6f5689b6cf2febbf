/**
 * Where the rows of a large request wait for their segment's footer: in memory when they are few, else in a file beside
 * the segments that has lost its name already, so that nothing of it stays when the process ends. Never synced: the records
 * are the truth, and a segment whose rows cannot be read back here is made from them.
 *
 *   Native blocks ─► memory, or file ─► (the segment is sealed) ─► batch file
 */
import { join } from 'node:path';
import { freeNow } from '../../base/byte-writer.ts';
import { messageOf, retryLater } from '../../base/errors.ts';
import type { EncodedBatch, SegmentRows } from '../messages.ts';
import { isDiskFull, type SpoolFile, type SpoolFiles, writeAll } from '../spool/spool-files.ts';

const NAME = 'rows-';

export interface RowSpillDeps {
  readonly files: SpoolFiles;
  /** The spool's directory. */
  readonly dir: string;
  /** Blocks of one request up to this stay in memory. */
  readonly keptBytesMax: number;
}

export class RowSpill {
  readonly #deps: RowSpillDeps;
  #next = 0;

  constructor(deps: RowSpillDeps) {
    this.#deps = deps;
  }

  /** Removes what a process left that ended between making a file and taking its name. */
  async clear(): Promise<void> {
    const { files, dir } = this.#deps;
    for (const name of await files.list(dir)) if (name.startsWith(NAME)) await files.remove(join(dir, name));
  }

  /** For one request; makes its file when it needs one. */
  open(): LargeRows {
    return new LargeRows(this.#deps, join(this.#deps.dir, `${NAME}${this.#next++}`));
  }
}

type Batch = Omit<EncodedBatch, 'bytes' | 'firstRequest' | 'lastRequest'>;

interface Kept {
  readonly batch: Batch;
  /** Undefined: in the file. */
  readonly bytes: Uint8Array | undefined;
  readonly offset: number;
  readonly length: number;
}

/** The rows of one request. */
export class LargeRows implements SegmentRows {
  /** In memory. */
  bytes = 0;
  readonly full = false;
  readonly #deps: RowSpillDeps;
  readonly #path: string;
  readonly #kept: Kept[] = [];
  #file: SpoolFile | undefined;
  #fileBytes = 0;
  #request = -1;

  constructor(deps: RowSpillDeps, path: string) {
    this.#deps = deps;
    this.#path = path;
  }

  /** Takes a block; its memory is given away. Throws `spool-full` or `spool-failed`, retryable. */
  async add({ bytes, firstRequest: _first, lastRequest: _last, ...batch }: EncodedBatch): Promise<void> {
    const { length } = bytes;
    if (this.bytes + length <= this.#deps.keptBytesMax) {
      this.bytes += length;
      this.#kept.push({ batch, bytes, offset: 0, length });
      return;
    }
    try {
      this.#file ??= await this.#create();
      await writeAll(this.#file, [bytes], this.#fileBytes);
    } catch (error) {
      if (isDiskFull(error)) throw retryLater('spool-full', 'the disk of the spool is full');
      throw retryLater('spool-failed', `the rows of a large request could not be set aside: ${messageOf(error)}`);
    }
    (bytes.buffer as ArrayBuffer).transfer(0);
    this.#kept.push({ batch, bytes: undefined, offset: this.#fileBytes, length });
    this.#fileBytes += length;
  }

  assign(requestIndex: number): void {
    this.#request = requestIndex;
  }

  /** Throws what the disk says; the BatchIds are those that stand in the blocks. */
  async *encodeInSteps(): AsyncGenerator<EncodedBatch, void, void> {
    const request = { firstRequest: this.#request, lastRequest: this.#request };
    for (const { batch, bytes: held, offset, length } of this.#kept) {
      const bytes = held ?? (await this.#file?.read(offset, length)) ?? Buffer.alloc(0);
      if (bytes.length !== length) throw new Error(`rows set aside are cut off: ${bytes.length} of ${length} bytes`);
      yield { ...batch, ...request, bytes };
      // Whoever asked for the next one is done with it.
      if (held === undefined) freeNow(bytes);
    }
  }

  /** Nothing of it is needed any more. */
  async release(): Promise<void> {
    const file = this.#file;
    this.#file = undefined;
    this.#kept.length = 0;
    this.bytes = 0;
    await file?.close().catch(() => undefined);
  }

  async #create(): Promise<SpoolFile> {
    const { files } = this.#deps;
    const file = await files.create(this.#path);
    await files.remove(this.#path);
    return file;
  }
}
