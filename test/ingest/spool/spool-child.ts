/** Appends requests to the spool of its argument until it is killed, and tells its parent which were acknowledged. */
import { openSpool } from '../../../src/ingest/spool/writer.ts';
import { collectLog, depsFor, send } from './fixtures.ts';

const deps = depsFor(process.argv[2] as string, { log: collectLog(), sealed: [], fatal: [] });
const spool = await openSpool({ ...deps, segmentBytesMax: 60_000, onFatal: () => process.exit(1) });
let next = 0;

async function client(): Promise<void> {
  for (;;) {
    const id = next++;
    if (spool.refusal(0) === undefined) {
      await send(spool, id, { bytes: 50 + (id % 40) * 100, own: id % 17 === 0 }).durable;
      process.send?.([id]);
    } else await new Promise((resolve) => setTimeout(resolve, 1));
  }
}

await Promise.all(Array.from({ length: 16 }, client));
