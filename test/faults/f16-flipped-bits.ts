/**
 * F16: single bits that are not what was written. Every bit of one record, before it was sealed and after (its batch file
 * gone, so that the record is needed); every bit of one copy of a footer; and a body that holds a well-formed record of
 * another organization. A flipped record costs that one request, which is counted; a flipped copy of a footer costs
 * nothing; a body is never read as records.
 */
import { randomBytes } from 'node:crypto';
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { decodeFooter } from '../../src/ingest/spool/footer.ts';
import { type Random, seededRandom } from '../corpus/seeded-random.ts';
import { encodeIds } from '../support/load.ts';
import { startService, type TestService, temporaryDirectory } from '../support/service.ts';
import type { Fault, FaultOptions, FaultReport } from './fault.ts';
import { FIRST_ORPHAN, made, makeSpool, recordBytes, sealSpool } from './support/made-spool.ts';
import { judgeStored, linesWith, restarts, TWO_WORKERS } from './support/spool-service.ts';

const BITS_PER_BYTE = 8;
const DAMAGED = 1;

export const f16: Fault = {
  id: 'F16',
  title: 'each bit of a record and of a footer is flipped; a body looks like a record',
  async run(options: FaultOptions): Promise<FaultReport> {
    const random = seededRandom(options.seed);
    const dataDir = temporaryDirectory();
    const plan = new Plan(join(dataDir, 'spool'));
    await plan.flippedRecords(options.size, random);
    const footerBits = await plan.flippedFooters(options.size, random);
    await plan.recordsInBodies();
    options.say(`${plan.damaged} damaged records in ${plan.spools} spools, under one service`);
    const service = await startService({ dataDir, env: TWO_WORKERS });
    try {
      return await judgePlan(service, plan, footerBits, options);
    } finally {
      await service.stopAndRemove();
    }
  },
};

async function judgePlan(
  service: TestService,
  plan: Plan,
  footerBits: number,
  { size }: FaultOptions,
): Promise<FaultReport> {
  const { acknowledged } = plan;
  const { figures, violations } = await judgeStored(
    service,
    { acknowledged, issued: acknowledged },
    { withinMs: 180_000 },
  );
  const ended = restarts(service);
  if (ended.length > 0) violations.push(`${ended.length} processes ended: ${ended[0]}`);
  if (plan.unread.length > 0) violations.push(`${plan.unread.length} flipped footers not read: ${plan.unread[0]}`);
  const counted = linesWith(service, 'a corrupt record was passed over').length;
  // The log is kept to its last 200,000 characters: of a full run only the last ones are in it.
  if (size === 'ci' && counted !== plan.damaged)
    violations.push(`${counted} of ${plan.damaged} damaged records were reported`);
  return {
    figures: { damagedRecords: plan.damaged, reported: counted, footerBits, restarts: ended.length, ...figures },
    violations,
  };
}

class Plan {
  readonly acknowledged = new Set<string>();
  /** Records that are not what was written: each is one request lost. */
  damaged = 0;
  spools = 0;
  readonly unread: string[] = [];
  private readonly root: string;

  constructor(root: string) {
    this.root = root;
    mkdirSync(root, { recursive: true });
  }

  /** The middle one of three records, once as a kill leaves it and once sealed. */
  async flippedRecords(size: 'ci' | 'full', random: Random): Promise<void> {
    const { records } = makeSpool(this.next(), requestsOf(this.spools));
    const bits = records[DAMAGED]!.bytes * BITS_PER_BYTE;
    this.keep(this.spools, [0, 1, 2]);
    for (let bit = 0; bit < bits; bit++) {
      for (const sealed of [false, true]) {
        if (size === 'ci' && !random.chance(30 / bits)) continue;
        const dir = this.next();
        const segment = makeSpool(dir, requestsOf(this.spools));
        if (sealed) {
          await sealSpool(dir);
          rmSync(made(segment, 'batches'));
        }
        const { offset } = segment.records[DAMAGED]!;
        writeFileSync(segment.path, flipped(segment.bytes, offset * BITS_PER_BYTE + bit));
        this.keep(this.spools, [0, 2]);
        this.damaged++;
      }
    }
  }

  /** Each bit of each copy is read from the other; some under the service, where the store reads them. */
  async flippedFooters(size: 'ci' | 'full', random: Random): Promise<number> {
    const dir = this.next();
    const segment = makeSpool(dir, requestsOf(this.spools));
    await sealSpool(dir);
    this.keep(this.spools, [0, 1, 2]);
    const whole = readFileSync(made(segment, 'footer'));
    const expected = JSON.stringify(decodeFooter(whole));
    let tried = 0;
    for (let bit = 0; bit < whole.length * BITS_PER_BYTE; bit += size === 'full' ? 1 : random.int(1, 40), tried++) {
      const read = attempt(() => JSON.stringify(decodeFooter(flipped(whole, bit))));
      if (read !== expected) this.unread.push(`bit ${bit} of a footer: ${read}`);
    }
    for (let i = 0; i < 20; i++) {
      const own = this.next();
      const one = makeSpool(own, requestsOf(this.spools));
      await sealSpool(own);
      const footer = readFileSync(made(one, 'footer'));
      const half = (footer.length / 2) * BITS_PER_BYTE;
      // The bytes that say something come first in each copy.
      const bit = random.int(0, 400 * BITS_PER_BYTE) + (i % 2) * half;
      writeFileSync(made(one, 'footer'), flipped(footer, bit));
      this.keep(this.spools, [0, 1, 2]);
    }
    return tried;
  }

  /** Bodies that hold a record of somebody else: of another segment's mark, as any client can send one. */
  async recordsInBodies(): Promise<void> {
    for (const damage of ['none', 'header', 'body'] as const) {
      for (const sealed of [false, true]) {
        const dir = this.next();
        const own = idsOf(this.spools);
        const foreign = recordBytes(randomBytes(16), 7, {
          ids: [`foreign-${this.spools}`],
          header: { orgId: 'org_zzzzyyyyxxxxwwww' },
        });
        const body = Buffer.concat([encodeIds([own[1]!]), withBytes(foreign)]);
        const segment = makeSpool(dir, [{ ids: [own[0]!] }, { ids: [own[1]!], body }, { ids: [own[2]!] }]);
        if (sealed) {
          await sealSpool(dir);
          rmSync(made(segment, 'batches'));
        }
        const record = segment.records[1]!;
        const at = damage === 'header' ? record.offset + 18 : record.offset + record.headBytes + 2;
        if (damage !== 'none') writeFileSync(segment.path, flipped(segment.bytes, at * BITS_PER_BYTE));
        this.keep(this.spools, damage === 'none' ? [0, 1, 2] : [0, 2]);
        if (damage !== 'none') this.damaged++;
      }
    }
  }

  private next(): string {
    this.spools++;
    return join(this.root, String(FIRST_ORPHAN + this.spools));
  }

  private keep(spool: number, indexes: readonly number[]): void {
    for (const index of indexes) this.acknowledged.add(idsOf(spool)[index]!);
  }
}

function idsOf(spool: number): string[] {
  return [0, 1, 2].map((index) => `flip${String(spool).padStart(6, '0')}-${index}`);
}

function requestsOf(spool: number) {
  return idsOf(spool).map((id) => ({ ids: [id] }));
}

/** An unknown field of the request: length-delimited, number 2,000. Readers pass over it. */
function withBytes(bytes: Buffer): Buffer {
  const tag = [0x82, 0x7d];
  const length = [(bytes.length & 127) | 128, bytes.length >> 7];
  return Buffer.concat([Buffer.from([...tag, ...length]), bytes]);
}

function flipped(bytes: Buffer, bit: number): Buffer {
  const copy = Buffer.from(bytes);
  const at = Math.floor(bit / BITS_PER_BYTE);
  copy[at] = copy[at]! ^ (1 << (bit % BITS_PER_BYTE));
  return copy;
}

function attempt(what: () => string): string {
  try {
    return what();
  } catch (error) {
    return String(error);
  }
}
