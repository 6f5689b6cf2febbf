/**
 * Whole segments that recovery set aside in `<spool>/quarantine/`: both copies of the footer or of the header damaged, or
 * not of this spool. They are listed and dropped here; nothing puts them back by itself, because what of them is
 * stored cannot be known without their BatchIds (reference R3).
 */
import { join } from 'node:path';
import { QUARANTINE_NAME } from '../spool/format.ts';
import { type SpoolFiles, synced } from '../spool/spool-files.ts';

export interface QuarantinedSegment {
  readonly id: string;
  /** Name of the spool's directory. */
  readonly spool: string;
  readonly sequence: number;
  readonly bytes: number;
  /** When it was set aside. */
  readonly atMs: number;
  readonly paths: readonly string[];
}

const NAME = /^(\d+)-(\d{16})\.(segment|batches|footer)(-\d+)?$/;

/** Of all spools below `spoolRoot`, by id. */
export async function quarantinedSegments(files: SpoolFiles, spoolRoot: string): Promise<QuarantinedSegment[]> {
  const found = new Map<string, QuarantinedSegment>();
  for (const spool of await files.list(spoolRoot)) {
    if (!/^\d+$/.test(spool)) continue;
    const dir = join(spoolRoot, spool, QUARANTINE_NAME);
    for (const name of await files.list(dir)) {
      const match = NAME.exec(name);
      if (match === null) continue;
      const [, atMs, sequence] = match;
      const id = `spool${spool}-${atMs}-${Number(sequence)}`;
      const path = join(dir, name);
      const before = found.get(id) ?? {
        id,
        spool,
        sequence: Number(sequence),
        bytes: 0,
        atMs: Number(atMs),
        paths: [],
      };
      const bytes = before.bytes + (await sizeOf(files, path));
      found.set(id, { ...before, bytes, paths: [...before.paths, path] });
    }
  }
  return [...found.values()].sort((one, other) => (one.id < other.id ? -1 : 1));
}

/** Its files are gone when this has resolved. */
export async function dropSegment(files: SpoolFiles, spoolRoot: string, segment: QuarantinedSegment): Promise<void> {
  for (const path of segment.paths) await files.remove(path);
  const dir = join(spoolRoot, segment.spool, QUARANTINE_NAME);
  await synced(files.syncDirectory(dir), dir);
}

async function sizeOf(files: SpoolFiles, path: string): Promise<number> {
  const file = await files.open(path, 'read');
  try {
    return await file.size();
  } finally {
    await file.close();
  }
}
