/**
 * Every fixed bound of the data plane, with the reason for its value. What an operator may change is a setting
 * (settings/settings.ts); what stands here changes formats, memory or the meaning of an answer.
 */
import assert from 'node:assert';

export const KIB = 1024;
export const MIB = 1024 * KIB;

// --- what a client may send (OTLP 1.11; reference otlp.md G7, H11, E11) ---

/** Largest body, as sent and as inflated: the specification's recommendation, and the default of BACKWORK_BODY_MIB. */
export const BODY_BYTES_MAX = 64 * MIB;
/** What that setting may be at most: half of what a spool record can hold (ingest/spool/format.ts). */
export const BODY_BYTES_MAX_SETTABLE = 2 * BODY_BYTES_MAX;
/** Reserved for a body of unknown length; the reservation grows as the body is read and inflated. */
export const BODY_BYTES_UNKNOWN = MIB;
/** A body that is not whole by then gives back what it reserved and does not hold, when others need it: most take 1 ms. */
export const SLOW_BODY_MS = 500;
/** Unless it comes at this pace or faster: the largest are whole just within BODY_DEADLINE_MS. */
export const SLOW_BODY_BYTES_PER_MS = KIB;
/** A refused client may go on sending this much before its connection is closed: it must see the refusal first. */
export const REFUSED_BODY_DRAIN_BYTES_MAX = 2 * BODY_BYTES_MAX;
export const REFUSED_BODY_DRAIN_MS_MAX = 10_000;
/** Partial success and error texts; keeps every response far below the 4 MiB that clients accept. */
export const ERROR_MESSAGE_BYTES_MAX = 1_024;
/** Arrays and kvlists inside this many others become a marker: libraries of clients stop near 50. */
export const VALUE_DEPTH_MAX = 32;
/** Unknown protobuf groups nested deeper make the request malformed. */
export const GROUP_DEPTH_MAX = 100;
/** Entries kept of each attribute list; the rest is dropped and counted. */
export const ATTRIBUTES_PER_LIST_MAX = 1_024;
export const ATTRIBUTE_KEY_BYTES_MAX = 4 * KIB;
export const ATTRIBUTE_VALUE_BYTES_MAX = MIB;
/** What is repeated in each row (resource, scope, metric), as stored: the largest attributes go first. */
export const REPEATED_BYTES_MAX = 64 * KIB;
/** All rows of one request, as column data: items beyond are rejected with that reason. */
export const REQUEST_ROW_BYTES_MAX = 256 * MIB;

// --- how work is cut so that nothing holds the event loop over 50 ms ---

/** Bodies above are converted, hashed and compressed in slices, into builders of their own. */
export const SLICED_BODY_BYTES = MIB;
/** A smaller body whose rows grow beyond this is rolled back and converted in slices after all. */
export const UNSLICED_ROW_BYTES_MAX = 8 * MIB;
/** Input bytes, and bytes of rows, between two turns of the event loop. */
export const SLICE_BYTES = MIB / 2;
export const SLICE_ROW_BYTES = 4 * MIB;
/** Bytes of a block, or of a checksum, between two turns: a request beside them waits for three or four turns until its answer. */
export const SLICE_BLOCK_BYTES = MIB / 2;
/** Items between two turns: the smallest cost 2.7 µs each, so 6 ms. */
export const SLICE_ITEMS = 2_048;

// --- segments and batches (architecture section 3.6, 3.7) ---

/** Bodies from here up are stored as zstd level 1: below, the frame costs more than it saves. */
export const COMPRESS_BODY_BYTES_MIN = 4 * KIB;
/** One batch: an INSERT of 124 MiB peaked at 1.08 GB in the embedded engine, hence this. */
export const BATCH_BYTES_MAX = 32 * MIB;
export const BATCH_ROWS_MAX = 250_000;
/** A segment is sealed at this much column data, at the latest (memory-plan.ts). */
export const SEGMENT_ROW_BYTES_MAX = 64 * MIB;
/** One INSERT into the embedded engine, and into a server. */
export const INSERT_BYTES_MAX_EMBEDDED = 32 * MIB;
export const INSERT_ROWS_MAX_EMBEDDED = 250_000;
export const INSERT_BYTES_MAX_SERVER = 128 * MIB;
export const INSERT_ROWS_MAX_SERVER = 500_000;
/** INSERTs at once. */
export const INSERTS_AT_ONCE = 2;
/** An INSERT is worth its 31 ms of engine CPU from here on; below, the oldest batch's age decides. */
export const INSERT_ROWS_WORTHWHILE = 50_000;
/** Longest a body may take to arrive whole, and headers (reference F22). */
export const BODY_DEADLINE_MS = 60_000;
export const HEADERS_DEADLINE_MS = 10_000;

// --- connections of exporters (reference otlp.md G26–G28, H28, H29, 1.3; reliability-security.md F22, F34) ---

/** Calls at once on one HTTP/2 connection. */
export const GRPC_STREAMS_MAX = 1_000;
/** Receive windows: what a peer may send unread. 64 KiB, the default, is slow for batches of MiBs. */
export const GRPC_STREAM_WINDOW_BYTES = MIB;
export const GRPC_CONNECTION_WINDOW_BYTES = 8 * MIB;
/** A health request names a service; those of one connection that are watched at once. */
export const HEALTH_REQUEST_BYTES_MAX = 4 * KIB;
export const HEALTH_WATCHES_MAX = 16;
/** PING and SETTINGS frames of one connection, at once and then a second; a client needs a few, a flood has more. */
export const GRPC_CONTROL_FRAMES_PER_SECOND_MAX = 500;
/** A gRPC connection without a call is closed after this. */
export const GRPC_IDLE_MS = 300_000;
/** Connections end at this age ± the jitter, so that clients spread over workers and nodes again. */
export const CONNECTION_AGE_MS = 600_000;
export const CONNECTION_AGE_JITTER = 0.1;
/** Calls that run when an aged gRPC connection says GOAWAY may go on this long. */
export const CONNECTION_GRACE_MS = 30_000;
/** Above the 60 s that load balancers keep connections, far above the 5 s between exports. */
export const HTTP_KEEP_ALIVE_MS = 75_000;
/** A client that does not take its answer within this loses the connection (HTTP) or the stream (gRPC). */
export const ANSWER_DEADLINE_MS = 30_000;
/** What runs when the process is told to stop may go on this long. */
export const DRAIN_MS = 10_000;
/** Bodies inflated on the thread pool at once, for each port: `fdatasync` needs threads of the same pool. */
export const INFLATES_AT_ONCE = 4;
/** Compressed bodies up to this, inflating to at most that, cost less on the event loop (0.1 ms) than a turn of the pool. */
export const INFLATE_NOW_WIRE_BYTES_MAX = 8 * KIB;
export const INFLATE_NOW_BYTES_MAX = 64 * KIB;

// --- organizations beside each other (reference R13) ---

/** A rate may be used up to this far ahead: exporters send every 5 s by default, and one that keeps to its rate must fit. */
export const LIMIT_BURST_MS = 5_000;
/** The ingest processes tell each other what organizations used this often: a limit holds over all of them. */
export const LIMIT_EXCHANGE_MS = 1_000;
/** What another process said is believed this long: it says it again every LIMIT_EXCHANGE_MS while it lives. */
export const LIMIT_EXCHANGE_STALE_MS = 5_000;
/** An organization that sent nothing for this long takes no part in any share. */
export const ORGANIZATION_IDLE_MS = 600_000;
export const ORGANIZATION_WEIGHT = 10;
export const ORGANIZATION_WEIGHT_MAX = 100;
/**
 * Of the bytes in flight an organization of weight 10 may hold 4 times what is still free: alone at most 80 % (256 MiB leave
 * 51 MiB to others), two 44 % each. The one that holds most is refused first, and nobody has to know how many there are.
 */
export const IN_FLIGHT_SHARE = 4;

assert(LIMIT_EXCHANGE_MS < LIMIT_BURST_MS, 'what another process used is known before the burst is over');
assert(BODY_BYTES_UNKNOWN <= BODY_BYTES_MAX);
assert(SLICED_BODY_BYTES <= BODY_BYTES_MAX && SLICE_BYTES <= SLICED_BODY_BYTES);
assert(UNSLICED_ROW_BYTES_MAX < BATCH_BYTES_MAX, 'a request converted in one go fits a batch');
assert(BATCH_BYTES_MAX <= INSERT_BYTES_MAX_EMBEDDED && BATCH_BYTES_MAX <= INSERT_BYTES_MAX_SERVER);
assert(BATCH_ROWS_MAX <= INSERT_ROWS_MAX_EMBEDDED && BATCH_ROWS_MAX <= INSERT_ROWS_MAX_SERVER);
