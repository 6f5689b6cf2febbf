/**
 * Memory at the start, when a tenth and half of the cases are done, and at the end: what grows with the number of inputs
 * leaks. Each is taken after a full collection, so that garbage which merely waits is not counted. What is alive is judged
 * from the tenth on. What the process holds goes up and down by 80 MiB with the allocator and reaches its size only after
 * some 100,000 cases, so its end is judged by the larger of the two samples between.
 */
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';

const MIB = 1024 * 1024;
/** The allocator's and the collector's own ups and downs. */
const GROWTH_BYTES_MAX = 64 * MIB;
/** Scratch memory that grows to the largest input so far. */
const LIVE_GROWTH_BYTES_MAX = 16 * MIB;

interface Sample {
  readonly rssBytes: number;
  /** Objects and buffers that something still refers to. */
  readonly liveBytes: number;
}

export class MemoryWatch {
  readonly #start = sample();
  #tenth: Sample | undefined;
  #half: Sample | undefined;
  #end: Sample | undefined;

  /** After each case; `of` is the number of cases to come in all. */
  caseDone(cases: number, of: number): void {
    if (cases === Math.floor(of / 10)) this.#tenth = sample();
    if (cases === Math.floor(of / 2)) this.#half = sample();
  }

  end(): void {
    this.#end = sample();
  }

  get told(): string {
    const samples = [this.#start, this.#tenth, this.#half, this.#end].filter((one) => one !== undefined);
    const list = (bytes: (one: Sample) => number) => samples.map((one) => Math.round(bytes(one) / MIB)).join(' → ');
    return `RSS ${list((one) => one.rssBytes)} MiB, live ${list((one) => one.liveBytes)} MiB`;
  }

  get violations(): string[] {
    if (this.#tenth === undefined || this.#half === undefined || this.#end === undefined) return [];
    const rssGrowthBytes = this.#end.rssBytes - Math.max(this.#tenth.rssBytes, this.#half.rssBytes);
    const liveGrowthBytes = this.#end.liveBytes - this.#tenth.liveBytes;
    const violations: string[] = [];
    if (rssGrowthBytes > GROWTH_BYTES_MAX)
      violations.push(`the process grew by ${Math.round(rssGrowthBytes / MIB)} MiB`);
    if (liveGrowthBytes > LIVE_GROWTH_BYTES_MAX) {
      violations.push(`what is alive grew by ${Math.round(liveGrowthBytes / MIB)} MiB`);
    }
    return violations;
  }
}

function sample(): Sample {
  setFlagsFromString('--expose-gc');
  (runInNewContext('gc') as () => void)();
  const { rss, heapUsed, arrayBuffers } = process.memoryUsage();
  return { rssBytes: rss, liveBytes: heapUsed + arrayBuffers };
}
