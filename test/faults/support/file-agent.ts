/**
 * Loaded by `node --import` into the processes of a service: every write to a file handle takes fewer bytes than it was
 * given, as write(2) may, and some take one. `FILE_AGENT` is the seed.
 */
import fs from 'node:fs';
import { type FileHandle, open } from 'node:fs/promises';
import { syncBuiltinESMExports } from 'node:module';
import { devNull } from 'node:os';
import { seededRandom } from '../../corpus/seeded-random.ts';

const seed = process.env['FILE_AGENT'];
if (seed !== undefined && /\b(ingest|store)-process\.ts$/.test(process.argv[1] ?? '')) await shortWrites(Number(seed));

async function shortWrites(from: number): Promise<void> {
  const random = seededRandom(from + process.pid);
  // The class of handles is not exported: one that is open leads to it.
  const handle = await open(devNull, 'w');
  const handles = Object.getPrototypeOf(handle) as Pick<FileHandle, 'writev'>;
  await handle.close();
  const { writev } = handles;
  const { writevSync } = fs;
  const fewer = (buffers: readonly Uint8Array[]): readonly Uint8Array[] => {
    const total = buffers.reduce((sum, buffer) => sum + buffer.length, 0);
    const allowed = random.chance(0.1) ? 1 : random.int(1, Math.max(1, total));
    return random.chance(0.2) ? buffers : firstBytes(buffers, allowed);
  };
  Object.assign(handles, {
    writev(this: FileHandle, buffers: readonly Uint8Array[], position?: number) {
      return writev.call(this, fewer(buffers), position);
    },
  });
  Object.assign(fs, {
    writevSync: (file: number, buffers: readonly Uint8Array[], position?: number) =>
      writevSync(file, fewer(buffers), position),
  });
  syncBuiltinESMExports();
}

function firstBytes(buffers: readonly Uint8Array[], bytes: number): Uint8Array[] {
  const first: Uint8Array[] = [];
  for (let left = bytes, i = 0; left > 0 && i < buffers.length; i++) {
    const buffer = buffers[i]!.subarray(0, left);
    first.push(buffer);
    left -= buffer.length;
  }
  return first;
}
