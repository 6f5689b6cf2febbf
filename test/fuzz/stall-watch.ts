/**
 * How long a decoder keeps everything else from running. Wall time counts what other processes take of the machine, so
 * a stretch is ranked by the CPU time of its own thread where it is long.
 */
export interface Stretch {
  readonly seed: number;
  readonly ms: number;
  readonly cpuMs: number;
}

/** CPU time is read again only after stretches of this length: the call costs more than most of them. */
const LONG_MS = 2;
const REPEATS = 3;

export class StallWatch {
  #longest: Stretch = { seed: 0, ms: 0, cpuMs: 0 };
  #seed = 0;

  get longest(): Stretch {
    return this.#longest;
  }

  /** What is timed from here on belongs to the case of this seed. */
  begin(seed: number): void {
    this.#seed = seed;
  }

  readonly time = <T>(work: () => T): T => {
    const cpuUs = threadCpuUs();
    const startMs = performance.now();
    try {
      return work();
    } finally {
      const ms = performance.now() - startMs;
      // Shorter than the longest so far on the wall is shorter on the CPU too.
      if (ms > this.#longest.cpuMs) {
        const cpuMs = ms < LONG_MS ? ms : (threadCpuUs() - cpuUs) / 1_000;
        if (cpuMs > this.#longest.cpuMs) this.#longest = { seed: this.#seed, ms, cpuMs };
      }
    }
  };

  /** The shortest of the case's longest stretches when it is tried again, in ms of CPU. */
  async again(seed: number, tryOne: (seed: number) => Promise<unknown>): Promise<number> {
    const kept = this.#longest;
    let shortest = Number.POSITIVE_INFINITY;
    for (let repeat = 0; repeat < REPEATS; repeat++) {
      this.#longest = { seed, ms: 0, cpuMs: 0 };
      await tryOne(seed);
      shortest = Math.min(shortest, this.#longest.cpuMs);
    }
    this.#longest = kept;
    return shortest;
  }
}

function threadCpuUs(): number {
  const { user, system } = process.threadCpuUsage();
  return user + system;
}
