/**
 * What passes between the rooms of the data plane: plain readonly objects, and the narrow interfaces through which one
 * room is handed another's work. Nothing here does anything.
 */

export type Signal = 'logs' | 'metrics' | 'traces';
export const SIGNALS: readonly Signal[] = ['logs', 'metrics', 'traces'];

// ---------------------------------------------------------------- authenticate → pipeline

/** Whose data it is and what its plan gives it: the answer of the token table, complete, without a query. */
export interface Tenant {
  /** `org_` and 16 base32 characters. */
  readonly orgId: string;
  /** Public id of the token (12 base62 characters); safe to log. */
  readonly tokenId: string;
  /** Own placement (the organization's id) or `shared-<k>`. */
  readonly placement: string;
  readonly retentionDays: Readonly<Record<Signal, number>>;
  readonly scopes: ReadonlySet<Signal>;
  readonly limits: OrganizationLimits;
}

/** What an organization may use, over all ingest processes of the service. 0: no limit. */
export interface OrganizationLimits {
  /** Of bodies as inflated. */
  readonly bytesPerSecond: number;
  /** Log records, spans and data points; those that are rejected count too. */
  readonly itemsPerSecond: number;
  readonly requestsAtOnce: number;
  /** Records in the spools that wait for the store. */
  readonly spoolBytes: number;
  /** 1 to 100: what is short is shared in proportion to it. */
  readonly weight: number;
}

// ---------------------------------------------------------------- accept → pipeline → accept

/** What is known of a request when its headers have arrived and nothing of its body was read. */
export interface RequestHead {
  readonly signal: Signal;
  readonly protocol: 'grpc' | 'http';
  /** First value of `authorization`, or of `x-api-key` as `Bearer <value>`; undefined when there is neither. */
  readonly authorization: string | undefined;
  /** From Content-Length, when the client sent one: bytes on the wire, before inflating. */
  readonly bodyBytesDeclared: number | undefined;
}

/** The path of a request as accept sees it; `ingest/pipeline.ts` is it. */
export interface RequestPath {
  /**
   * Authenticates and admits. Nothing of the body was read yet. Throws (or rejects with) a BackworkError: the answer.
   * After it returned, the caller calls `release` exactly once, whatever happens.
   */
  open(head: RequestHead): Admission | Promise<Admission>;
}

export interface Admission {
  readonly tenant: Tenant;
  /**
   * The body says that it will grow to `bytes` (a length prefix, a gzip trailer): throws `overloaded` now, when there is no
   * room for it, rather than when most of it was read. What it says may not be true.
   */
  expect(bytes: number): void;
  /**
   * The body has grown to `bytes` in memory, counted on the wire and inflated together. Throws `overloaded` when the
   * budget of bytes in flight has no room for it.
   */
  reserve(bytes: number): void;
  /**
   * Converts the inflated body and makes it durable. Resolves once, and only if, its record is synced.
   * `body` belongs to the path from here until `release`; the caller must not write to it.
   */
  submit(body: Buffer, encoding: BodyEncoding): Promise<ExportAnswer>;
  /** `answerSent`: the kernel took the last byte of a positive answer on an open connection. */
  release(answerSent: boolean): void;
}

export type BodyEncoding = 'protobuf' | 'json';

/** A positive answer. `rejected = 0` and `message = ''` is full success; a message alone is a warning. */
export interface ExportAnswer {
  readonly rejected: number;
  /** English, at most ERROR_MESSAGE_BYTES_MAX bytes: the rule and the path of the first offender. */
  readonly message: string;
}

// ---------------------------------------------------------------- convert

/** What rows get besides the request's own fields. Conversion is a pure function of (origin, body). */
export interface RowOrigin {
  readonly orgId: string;
  readonly receivedAtMs: number;
  readonly placement: string;
  readonly retentionDays: number;
  /** Days since 1970-01-01 (UTC): the day on which the row's partition is dropped. */
  readonly expiresOnDay: number;
}

export interface ConvertResult {
  /** Items that made a row. */
  readonly accepted: number;
  /** Items that left no row, counted as OTLP's `rejected_*` counts. */
  readonly rejected: number;
  /** As ExportAnswer.message. */
  readonly message: string;
}

/** The partition of a row: the table's PARTITION BY tuple. */
export interface Partition {
  readonly placement: string;
  readonly retentionDays: number;
  readonly expiresOnDay: number;
}

/** One Native block, ready for `INSERT … FORMAT Native`: rows of one (table, partition). */
export interface EncodedBatch {
  readonly table: string;
  readonly partition: Partition;
  /** 32 bits of Unix seconds above 32 random bits, as 16 hex digits; a column of every row. */
  readonly batchId: string;
  /** Requests of the segment whose rows these are: all from first to last that belong to this (table, partition). */
  readonly firstRequest: number;
  readonly lastRequest: number;
  /** Row range inside one request that is larger than a batch alone; `rowFrom = 0` and all rows otherwise. */
  readonly rowFrom: number;
  readonly rowCount: number;
  /** Valid until the next batch is asked for: the encoder reuses its memory. */
  readonly bytes: Uint8Array;
}

/** The rows of a segment that is not sealed yet, or of one large request; `convert/builders.ts` is it. */
export interface SegmentRows {
  /** Column data and dictionaries held, in bytes; 0 for rows that wait on the disk. */
  readonly bytes: number;
  /** True when a builder reached BATCH_BYTES_MAX or BATCH_ROWS_MAX: time to seal. */
  readonly full: boolean;
  /**
   * The rows written since the last call belong to this request of the segment (its index, from 0). Called once for
   * each record, in the order of the records, when the record is appended.
   */
  assign(requestIndex: number): void;
  /**
   * Encodes each (table, partition) into batches, one a step, with steps of `undefined` in between within a large one: at
   * each step the caller may let the event loop turn.
   */
  encodeInSteps(newBatchId: () => string): Iterable<EncodedBatch | undefined> | AsyncIterable<EncodedBatch | undefined>;
  /** Nobody encodes them any more: what they hold can go. */
  release?(): Promise<void>;
}

// ---------------------------------------------------------------- spool

/** The header of a record: what conversion, metering and R4 need of a request. */
export interface RecordHeader extends RowOrigin {
  readonly tokenId: string;
  readonly signal: Signal;
  readonly itemsAccepted: number;
  readonly itemsRejected: number;
  /** Bytes of the body on the wire, as the client sent it. */
  readonly bytesReceived: number;
  /** 16 bytes of a hash over the inflated protobuf body: the same request sent again has the same. */
  readonly fingerprint: Uint8Array;
  /** The request's rows are in batches of its own, not in those of the segment. */
  readonly ownBatches: boolean;
}

/** A record as read back. `body` is inflated protobuf. */
export interface SpoolRecord {
  readonly header: RecordHeader;
  readonly body: Buffer;
}

/** What the footer says of one request. */
export interface FooterRequest {
  readonly orgId: string;
  readonly tokenId: string;
  readonly signal: Signal;
  readonly receivedAtMs: number;
  readonly itemsAccepted: number;
  readonly itemsRejected: number;
  readonly bytesReceived: number;
  readonly fingerprint: Uint8Array;
  readonly answerSent: boolean;
  readonly ownBatches: boolean;
}

/** What the footer says of one batch: everything of EncodedBatch but the bytes, and where they are. */
export interface FooterBatch extends Omit<EncodedBatch, 'bytes'> {
  /** In the batch file beside the segment; `length = 0` when the batch file was not written. */
  readonly offset: number;
  readonly length: number;
  /** CRC-32 of those bytes. */
  readonly crc: number;
}

export interface SegmentFooter {
  readonly spoolId: string;
  /** Sequence number of the segment in its spool. */
  readonly sequence: number;
  readonly converterVersion: number;
  readonly requests: readonly FooterRequest[];
  readonly batches: readonly FooterBatch[];
}

// ---------------------------------------------------------------- what is counted, for the metrics

/** Told by accept and the pipeline; cheap: at most a few calls a request. */
export interface IngestEvents {
  /** A request was answered OK. Bytes of its body, inflated. `rejectedReason` is a word of a fixed list; '' when none was. */
  accepted(request: {
    readonly orgId: string;
    readonly signal: Signal;
    readonly protocol: 'grpc' | 'http';
    readonly items: number;
    readonly rejected: number;
    readonly rejectedReason: string;
    readonly bytes: number;
  }): void;
  /**
   * A request was refused. `reason` is the ErrorCode of the answer; `orgId` is undefined before it was authenticated,
   * `signal` for an unknown path; `bytes` of its body had been read by then.
   */
  refused(refusal: {
    readonly orgId: string | undefined;
    readonly signal: Signal | undefined;
    readonly protocol: 'grpc' | 'http';
    readonly reason: string;
    readonly bytes: number;
  }): void;
  /** A group commit: from the first record that waited to the sync's end. */
  committed(commit: { readonly ms: number; readonly records: number; readonly bytes: number }): void;
  /** A segment has its footer. */
  sealed(segment: { readonly ms: number; readonly requests: number; readonly bytes: number }): void;
}

/** Told by the store. */
export interface StoreEvents {
  /** An INSERT ended: `outcome` is 'stored' or the ErrorCode. `sentBefore` of its batches were in an earlier INSERT. */
  inserted(insert: {
    readonly table: string;
    readonly outcome: string;
    readonly batches: number;
    readonly sentBefore: number;
    readonly rows: number;
    readonly bytes: number;
    readonly ms: number;
  }): void;
  /** The table was asked about batches of unknown outcome. */
  asked(question: { readonly batches: number; readonly found: number }): void;
  /** A request that was sent again was left out (R4). */
  retrySuppressed(retry: { readonly orgId: string; readonly signal: Signal; readonly items: number }): void;
  /** A record went to quarantine: `reason` is 'refused' (by ClickHouse) or 'damaged'. */
  quarantined(record: { readonly orgId: string; readonly reason: 'refused' | 'damaged'; readonly bytes: number }): void;
  /** Rows whose retention was over before they were stored. */
  expired(rows: { readonly table: string; readonly rows: number }): void;
  /** A segment that was there is gone without a note. */
  gap(segment: { readonly spool: string; readonly sequence: number }): void;
  /** A batch was converted again from its records. */
  convertedAgain(batch: { readonly rows: number }): void;
  /** All of a segment is stored, and its files are gone. `ageMs` since its first request was received. */
  removed(segment: { readonly requests: number; readonly ageMs: number }): void;
  /** Why the telemetry store cannot be reached, in a sentence; undefined: it answers again. */
  reachable(reason: string | undefined): void;
}
