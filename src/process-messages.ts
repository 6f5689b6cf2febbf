/** What the supervisor and its children say to each other over IPC: plain objects, each with a `type`. */

/** Child → supervisor. */
export type ChildMessage =
  /** The child serves. `ports` are the ones it listens on, where a setting said 0. */
  | { readonly type: 'ready'; readonly ports?: Readonly<Record<string, number>> }
  /** The child cannot run, and a restart would not help: one line for the operator. */
  | { readonly type: 'fatal'; readonly message: string }
  /** ingest: this segment of this spool directory is sealed. */
  | { readonly type: 'sealed'; readonly spoolDir: string; readonly sequence: number }
  /** ingest: whether a request sent now would be accepted and made durable, and if not, why. */
  | { readonly type: 'accepting'; readonly accepting: boolean; readonly reason: string };

/** Supervisor → child. */
export type SupervisorMessage =
  /** Finish what runs and exit 0. */
  | { readonly type: 'stop' }
  /** store: look at this segment now instead of at the next round. */
  | { readonly type: 'sealed'; readonly spoolDir: string; readonly sequence: number };
