/**
 * The audit log's entries: who did what to which object, how it ended, when. Each entry holds the hash of the one before it in
 * its organization, so a changed, missing or inserted entry is found by reading the chain (reference 2.8).
 */
import { createHash } from 'node:crypto';

/** `<room>.<verb>`, a closed list grown by those who need one. */
export type AuditAction = `${string}.${string}`;

export interface AuditEntry {
  /** '' for what concerns the installation and no organization. */
  readonly orgId: string;
  /** From 1 on, without gaps, in each organization. */
  readonly number: number;
  readonly atMs: number;
  /** `usr_…`, `key:<id>` of an API key, `operator` for the command line, or `nobody`. */
  readonly actor: string;
  readonly action: AuditAction;
  /** Id of what it was done to. Never a name or an address: those may have to be forgotten. */
  readonly target: string;
  readonly result: 'done' | 'refused';
  /** 64 hex digits: SHA-256 over the hash before it and these fields. */
  readonly hash: string;
}

export const FIRST_HASH = '0'.repeat(64);

export function auditHash(previous: string, entry: Omit<AuditEntry, 'hash'>): string {
  const { orgId, number, atMs, actor, action, target, result } = entry;
  const fields = JSON.stringify([previous, orgId, number, atMs, actor, action, target, result]);
  return createHash('sha256').update(fields).digest('hex');
}

/** Number of the first entry that does not fit the one before it; undefined when all do. In the order of their numbers. */
export function brokenAt(entries: Iterable<AuditEntry>): number | undefined {
  let [previous, number] = [FIRST_HASH, 0];
  for (const entry of entries) {
    number++;
    if (entry.number !== number || entry.hash !== auditHash(previous, entry)) return number;
    previous = entry.hash;
  }
  return undefined;
}
