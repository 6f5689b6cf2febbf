/**
 * What the orchestrator asks of a client: how it is built, how its program is started, what it can do, and where its
 * library differs from the known set. README.md has the contract of the program itself.
 */

export type InteropProtocol = 'grpc' | 'http/protobuf' | 'http/json';
export type InteropCompression = 'none' | 'gzip' | 'deflate' | 'zstd';

/** One way of sending; each is run once with the known set. */
export interface Transport {
  readonly protocol: InteropProtocol;
  readonly compression: InteropCompression;
  /** What else tells this way from the others, such as 'persistent queue'; handed on as INTEROP_VARIANT. */
  readonly variant?: string;
}

/** A program and its arguments; the orchestrator adds the INTEROP_ variables to `env` and starts it. */
export interface Command {
  readonly file: string;
  readonly args: readonly string[];
  readonly cwd?: string;
  readonly env?: Readonly<Record<string, string>>;
}

/** Names of the known set's rows. */
export type KnownRow =
  | 'span.root'
  | 'span.child'
  | 'log.info'
  | 'log.error'
  | 'metric.orders'
  | 'metric.queue'
  | 'metric.load'
  | 'metric.latency'
  | 'metric.payload';

/**
 * One column in which a library cannot send what the set says. The stored value must be `value` instead; a client whose
 * rows hold what the set says all the same fails too, so that no exception outlives its reason.
 */
export interface Exception {
  readonly rows: readonly KnownRow[];
  readonly column: string;
  /** As the column is printed by JSONEachRow with 64-bit integers as text. */
  readonly value: unknown;
  /** Left out: all of them. */
  readonly protocols?: readonly InteropProtocol[];
  readonly reason: string;
}

/** Rows by the name of their table without `otel_`, as JSONEachRow prints them, 64-bit integers as text. */
export interface StoredRows {
  readonly [table: string]: readonly Readonly<Record<string, unknown>>[];
}

/** The clients that cannot send the known set or number their items (load generators) bring their own judgement. */
export interface OwnJudgement {
  /** How many rows a run of 'once' leaves in each table, by name without `otel_`; the orchestrator waits for them. */
  readonly rowsExpected: (transport: Transport) => Readonly<Record<string, number>>;
  /** What is wrong with them, one sentence each; none when all is well. */
  readonly compare: (rows: StoredRows, transport: Transport) => string[];
}

export interface Client {
  /** As the table prints it: 'Python'. */
  readonly name: string;
  readonly transports: readonly Transport[];
  /** Does the library send again by itself what was answered UNAVAILABLE, or by nobody, with its default settings? */
  readonly retriesByDefault: Partial<Record<InteropProtocol, boolean>>;
  /**
   * Instead of an outage, for protocols that do not retry, or not for that long: what the table says about them, such as
   * 'retries 3 times within 1 s'. Left out: 'no retry by default'.
   */
  readonly outageNotes?: Partial<Record<InteropProtocol, string>>;
  /**
   * Protocols whose library may give up an export during the outage, and by which rule of its own. Only there may the
   * losses be those that the program's report shows as `givenUp`.
   */
  readonly givesUp?: Partial<Record<InteropProtocol, string>>;
  /** How long the service stays away under it: 3 for SDKs, 20 for Collectors. */
  readonly outageSeconds: number;
  /** The ways of sending that the outage is run with; left out: the first of each protocol that retries by default. */
  readonly outageTransports?: readonly Transport[];
  /** The row `metric.payload` is expected. */
  readonly exponentialHistogram: boolean;
  readonly exceptions: readonly Exception[];
  /** Replaces the comparison with the known set. Steady items are then judged by their count alone. */
  readonly own?: OwnJudgement;
  /** Why it cannot be built or run here ('go is not installed'); undefined when it can. */
  toolchain(): Promise<string | undefined>;
  /** Builds into `cacheDir` (`.tmp/interop/<directory's name>`), quickly when it was built already; throws what went wrong. */
  build(cacheDir: string): Promise<void>;
  /** After `build`: what ran, such as { python: '3.14.0', 'opentelemetry-sdk': '1.40.0' }. */
  versions(cacheDir: string): Promise<Record<string, string>>;
  command(cacheDir: string, transport: Transport): Command;
}
