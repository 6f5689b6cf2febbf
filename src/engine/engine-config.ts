/**
 * The engine's server configuration (`--config-file`). The caches are bounds, not reservations: the defaults are made
 * for a machine of its own (5 GiB of marks, 2 GiB of text index postings), and would let one large scan grow the
 * process far beyond what the ingest beside it leaves.
 */
import { KIB, MIB } from '../base/limits.ts';

export interface EngineConfig {
  /** All memory of the engine, checked by itself at each allocation. */
  readonly memoryMib: number;
  /** The only directory that `BACKUP … TO File('…')` may write to. */
  readonly backupDir: string;
}

/** The file's text. */
export function engineConfigXml(config: EngineConfig): string {
  const cacheBytes = Math.min(64 * MIB, Math.floor((config.memoryMib * MIB) / 16));
  const settings: Record<string, string | number> = {
    max_server_memory_usage: config.memoryMib * MIB,
    timezone: 'UTC',
    mark_cache_size: cacheBytes,
    primary_index_cache_size: cacheBytes,
    index_mark_cache_size: 8 * MIB,
    uncompressed_cache_size: 0,
    index_uncompressed_cache_size: 0,
    text_index_tokens_cache_size: 16 * MIB,
    text_index_header_cache_size: 16 * MIB,
    text_index_postings_cache_size: 32 * MIB,
    vector_similarity_index_cache_size: 0,
    unique_key_index_cache_size_bytes: 0,
    parquet_metadata_cache_size: 8 * MIB,
    iceberg_metadata_files_cache_size: 0,
    query_condition_cache_size: 8 * MIB,
    compiled_expression_cache_size: 8 * MIB,
    mmap_cache_size: 16,
    // Idle threads end instead of keeping their stacks and caches.
    max_thread_pool_free_size: 0,
    max_thread_pool_size: 1_000,
    thread_pool_queue_size: 1_000,
    background_pool_size: 2,
    background_schedule_pool_size: 2,
    background_common_pool_size: 2,
  };
  const lines = Object.entries(settings).map(([name, value]) => `  <${name}>${value}</${name}>`);
  return [
    '<clickhouse>',
    ...lines,
    `  <query_cache><max_size_in_bytes>0</max_size_in_bytes><max_entry_size_in_bytes>${KIB}</max_entry_size_in_bytes></query_cache>`,
    `  <backups><allowed_path>${escapeXml(config.backupDir)}</allowed_path></backups>`,
    '</clickhouse>',
    '',
  ].join('\n');
}

function escapeXml(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;');
}
