/** What the supervisor and its children say to each other over IPC: plain objects, each with a `type`. */

/** Child → supervisor. */
export type ChildMessage =
  /** The child serves. `ports` are the ones it listens on, where a setting said 0. */
  | { readonly type: 'ready'; readonly ports?: Readonly<Record<string, number>> }
  /** The child cannot run, and a restart would not help: one line for the operator. */
  | { readonly type: 'fatal'; readonly message: string }
  /** ingest: this segment of this spool directory is sealed. */
  | { readonly type: 'sealed'; readonly spoolDir: string; readonly sequence: number }
  /** ingest: whether a request sent now would be accepted and made durable, and if not, why. Four times a second. */
  | { readonly type: 'accepting'; readonly accepting: boolean; readonly reason: string }
  /** ingest: what organizations used since the last one (ingest/limits/organization-use.ts has them). Once a second. */
  | { readonly type: 'use'; readonly organizations: readonly object[] }
  /** store: why the telemetry store cannot be reached; '' when it can, or nothing had to be sent. Once a second. */
  | { readonly type: 'storing'; readonly reason: string }
  /** engine: its event loop turns. Once a second. */
  | { readonly type: 'alive' }
  /** All: the answer to the question of that number. Samples by metric, as base/metrics.ts has them. */
  | {
      readonly type: 'metrics';
      readonly question: number;
      readonly values: Readonly<Record<string, readonly object[]>>;
    };

/** Supervisor → child. */
export type SupervisorMessage =
  /** Finish what runs and exit 0. */
  | { readonly type: 'stop' }
  /** ingest: what organizations used in this other worker. */
  | { readonly type: 'use'; readonly worker: number; readonly organizations: readonly object[] }
  /** All: say `metrics` with this number. */
  | { readonly type: 'metrics'; readonly question: number }
  /** store: look at this segment now instead of at the next round. */
  | { readonly type: 'sealed'; readonly spoolDir: string; readonly sequence: number };
