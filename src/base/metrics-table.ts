/**
 * Every metric of /metrics, once: name, type, help, labels, buckets. What is asked of a metric elsewhere (the values of
 * the processes, the page for operators, alert rules, dashboard) is held against this table by tests.
 *
 * Labels are bounded: each takes its values from a fixed list (signals, protocols, error codes, tables, processes), from
 * the number of workers, or from the organizations that BACKWORK_METRICS_ORGANIZATIONS names (the others are `other`).
 * No id is ever a label.
 */

export interface MetricDefinition {
  readonly type: 'counter' | 'gauge' | 'histogram';
  readonly help: string;
  readonly labels: readonly string[];
  /** Upper bounds of a histogram, ascending, without +Inf. */
  readonly buckets?: readonly number[];
}

/** From the sync of a fast disk (0.3 ms) to a disk that hangs. */
const SECONDS_OF_A_COMMIT = [0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10];
/** From a small INSERT to its time limit of 180 s. */
const SECONDS_OF_AN_INSERT = [0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 180];
/** From segments that are stored as they are sealed to a backlog of two days. */
const SECONDS_UNTIL_STORED = [1, 2, 3, 5, 10, 30, 60, 300, 1_800, 7_200, 43_200, 172_800];
/** Around the 50 ms that nothing may hold an event loop. */
const SECONDS_OF_LAG = [0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5];

const PROCESS = ['process', 'worker'] as const;

export const METRICS = {
  // --- what clients sent (ingest; summed over workers)
  backwork_requests_accepted_total: {
    type: 'counter',
    help: 'Requests that were answered OK, with or without rejected items.',
    labels: ['signal', 'protocol', 'organization'],
  },
  backwork_items_accepted_total: {
    type: 'counter',
    help: 'Log records, spans and data points in requests that were answered OK and that made a row.',
    labels: ['signal', 'organization'],
  },
  backwork_bytes_accepted_total: {
    type: 'counter',
    help: 'Bytes of the bodies of requests that were answered OK, inflated.',
    labels: ['signal', 'organization'],
  },
  backwork_items_rejected_total: {
    type: 'counter',
    help: 'Items of accepted requests that cannot be stored (partial_success tells the client); reason: time, id, size, value.',
    labels: ['signal', 'organization', 'reason'],
  },
  backwork_requests_refused_total: {
    type: 'counter',
    help: 'Requests that were refused; reason is the error code. Organization none: before the token was known.',
    labels: ['signal', 'protocol', 'organization', 'reason'],
  },
  backwork_bytes_refused_total: {
    type: 'counter',
    help: 'Bytes of refused requests that had been read by then.',
    labels: ['signal', 'reason'],
  },

  backwork_in_flight_bytes: {
    type: 'gauge',
    help: 'Reserved for bodies of requests that are being received or worked on.',
    labels: ['worker'],
  },
  backwork_ingest_memory_ceiling_bytes: {
    type: 'gauge',
    help: 'What an ingest process may use (BACKWORK_INGEST_MEMORY_MIB); what has no room is refused.',
    labels: ['worker'],
  },

  // --- the spool
  backwork_commit_duration_seconds: {
    type: 'histogram',
    help: 'A group commit: from the first record that waited to the end of the sync.',
    labels: [],
    buckets: SECONDS_OF_A_COMMIT,
  },
  backwork_commit_records_total: { type: 'counter', help: 'Records made durable.', labels: [] },
  backwork_commit_bytes_total: { type: 'counter', help: 'Bytes of records made durable, as stored.', labels: [] },
  backwork_seal_duration_seconds: {
    type: 'histogram',
    help: 'Sealing a segment: batches encoded, footer durable.',
    labels: [],
    buckets: SECONDS_OF_AN_INSERT,
  },
  backwork_spool_bytes: {
    type: 'gauge',
    help: 'Bytes of all files of a spool: what is answered for and not stored yet, and its batches.',
    labels: ['worker'],
  },
  backwork_spool_segments: { type: 'gauge', help: 'Segments in a spool, the open one included.', labels: ['worker'] },
  backwork_spool_oldest_record_age_seconds: {
    type: 'gauge',
    help: 'How long the oldest record in any spool waits to be stored; 0 when none does.',
    labels: [],
  },
  backwork_quarantine_bytes: { type: 'gauge', help: 'Bytes of what is in quarantine.', labels: [] },

  // --- the store
  backwork_store_reachable: {
    type: 'gauge',
    help: '1: the telemetry store answered last time it was asked; 0: it did not, and the spool takes what comes.',
    labels: [],
  },
  backwork_store_segments_waiting: {
    type: 'gauge',
    help: 'Sealed segments that are not stored and removed yet, those that were set aside included.',
    labels: [],
  },
  backwork_store_segments_set_aside: {
    type: 'gauge',
    help: 'Segments that cannot be stored now for a reason of their own; they stay in the spool and are tried again.',
    labels: [],
  },
  backwork_inserts_total: {
    type: 'counter',
    help: 'INSERTs that ended; outcome is stored or the error code.',
    labels: ['table', 'outcome'],
  },
  backwork_insert_retries_total: {
    type: 'counter',
    help: 'INSERTs among them that held a batch which had been sent before.',
    labels: ['table'],
  },
  backwork_insert_rows_total: { type: 'counter', help: 'Rows stored.', labels: ['table'] },
  backwork_insert_bytes_total: { type: 'counter', help: 'Bytes of the Native blocks stored.', labels: ['table'] },
  backwork_insert_duration_seconds: {
    type: 'histogram',
    help: 'An INSERT: bytes loaded, sent, answered.',
    labels: [],
    buckets: SECONDS_OF_AN_INSERT,
  },
  backwork_batches_asked_total: {
    type: 'counter',
    help: 'Batches of unknown outcome that the table was asked about.',
    labels: [],
  },
  backwork_batches_found_total: { type: 'counter', help: 'Those among them that were stored.', labels: [] },
  backwork_batches_converted_again_total: {
    type: 'counter',
    help: 'Batches made from the records, because the batch file was missing, damaged, or to be changed.',
    labels: [],
  },
  backwork_time_to_store_seconds: {
    type: 'histogram',
    help: 'From the receipt of the oldest request of a segment to its removal, when all of it is stored.',
    labels: [],
    buckets: SECONDS_UNTIL_STORED,
  },
  backwork_retries_suppressed_total: {
    type: 'counter',
    help: 'Requests that clients had sent again and that were left out, because the first one is stored.',
    labels: ['signal', 'organization'],
  },
  backwork_items_suppressed_total: {
    type: 'counter',
    help: 'Items of those requests.',
    labels: ['signal', 'organization'],
  },
  backwork_records_quarantined_total: {
    type: 'counter',
    help: 'Records that went to quarantine: refused by ClickHouse for good, or damaged on the disk.',
    labels: ['organization', 'reason'],
  },
  backwork_rows_expired_total: {
    type: 'counter',
    help: 'Rows whose retention was over before they could be stored; they were not stored.',
    labels: ['table'],
  },
  backwork_segment_gaps_total: {
    type: 'counter',
    help: 'Segments that were there and are gone without a note that they were stored: acknowledged data may be lost.',
    labels: [],
  },

  // --- the service
  backwork_ready: { type: 'gauge', help: '1 while at least one ingest process accepts, as /readyz.', labels: [] },
  backwork_accepting: { type: 'gauge', help: '1 while this ingest process accepts.', labels: ['worker'] },
  backwork_retention_behind_seconds: {
    type: 'gauge',
    help: 'How long ago the stored partition that is most overdue should have been dropped; 0 when none is.',
    labels: [],
  },
  backwork_retention_dropped_rows_total: {
    type: 'counter',
    help: 'Rows in partitions that were dropped because their retention was over.',
    labels: [],
  },
  backwork_disk_free_bytes: { type: 'gauge', help: 'Left on the disk of the data directory.', labels: [] },
  backwork_disk_size_bytes: { type: 'gauge', help: 'Size of that disk.', labels: [] },
  backwork_disk_reserve_bytes: { type: 'gauge', help: 'Below this much left, ingest refuses.', labels: [] },
  backwork_disk_fill_bytes_per_second: {
    type: 'gauge',
    help: 'How fast the disk filled over the last 10 minutes at most; negative when it emptied.',
    labels: [],
  },
  backwork_process_up: {
    type: 'gauge',
    help: '1: the process answered when it was asked for its metrics; 0: it did not within a second.',
    labels: PROCESS,
  },
  backwork_process_restarts_total: {
    type: 'counter',
    help: 'Ends of a process that nobody had asked for.',
    labels: PROCESS,
  },
  backwork_process_start_time_seconds: { type: 'gauge', help: 'Unix time at which it began.', labels: PROCESS },
  backwork_process_resident_memory_bytes: { type: 'gauge', help: 'Resident memory.', labels: PROCESS },
  backwork_process_heap_used_bytes: { type: 'gauge', help: 'JavaScript heap in use.', labels: PROCESS },
  backwork_process_buffers_bytes: { type: 'gauge', help: 'Memory of buffers, outside of that heap.', labels: PROCESS },
  backwork_process_cpu_seconds_total: { type: 'counter', help: 'CPU time, user and system.', labels: PROCESS },
  backwork_event_loop_busy_seconds_total: {
    type: 'counter',
    help: 'Time in which the event loop did not wait.',
    labels: PROCESS,
  },
  backwork_event_loop_lag_seconds: {
    type: 'histogram',
    help: 'By how much a timer of 100 ms was late.',
    labels: PROCESS,
    buckets: SECONDS_OF_LAG,
  },
  backwork_build_info: { type: 'gauge', help: '1, with the versions as labels.', labels: ['version', 'node'] },
} as const satisfies Record<string, MetricDefinition>;

export type MetricName = keyof typeof METRICS;
