/** What every table must be set to (architecture section 5), each with its reason. */

/** Settings by name, as ClickHouse prints them. */
export type TableSettings = Readonly<Record<string, string>>;

export function tableSettings(options: { readonly embedded: boolean }): TableSettings {
  return options.embedded ? { ...EVERYWHERE, ...EMBEDDED } : EVERYWHERE;
}

const EVERYWHERE: TableSettings = {
  index_granularity: '8192',
  // Expiry drops whole parts; it never rewrites one.
  ttl_only_drop_parts: '1',
  // Two equal batches are two batches; a window would swallow the second one.
  non_replicated_deduplication_window: '0',
};

const EMBEDDED: TableSettings = {
  // A segment of the spool is removed when its rows are stored, so what is stored must be on the disk, …
  fsync_after_insert: '1',
  fsync_part_directory: '1',
  // … and a merge must not undo that.
  min_rows_to_fsync_after_merge: '1',
  // Deleted bytes are gone in about a minute.
  old_parts_lifetime: '30',
  cleanup_delay_period: '10',
  max_cleanup_delay_period: '20',
};
