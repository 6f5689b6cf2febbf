/** What a fault test is: something broken on purpose, and what must hold all the same. */
export interface Fault {
  /** As in the list of faults: `F22`. */
  readonly id: string;
  /** What is broken, in a few words. */
  readonly title: string;
  /**
   * Injects it and judges. Everything random comes from `seed`. Stops what it starts, and rejects only when the test
   * itself is broken: a broken promise is a violation.
   */
  run(options: FaultOptions): Promise<FaultReport>;
}

export interface FaultOptions {
  /** `ci`: seconds, judges outcomes and counts, never times. `full`: the pass figures too. */
  readonly size: 'ci' | 'full';
  readonly seed: number;
  /** For how long, where a fault is a matter of time; each has its own default. */
  readonly minutes?: number;
  /** A line of progress. */
  say(line: string): void;
}

export interface FaultReport {
  /** What was counted and measured, units in the names. */
  readonly figures: Readonly<Record<string, number | string>>;
  /** Promises that did not hold, one sentence each. */
  readonly violations: readonly string[];
  /** Why this machine cannot run it (a tool or limit that is missing). Never counted as passed. */
  readonly notRun?: string;
}
