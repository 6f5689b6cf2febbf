/**
 * What was asked for and promised in a simulation, and whether the rows that are stored keep the promise: each request
 * that was answered OK is stored once and whole, any other at most once and whole, and nothing else is stored.
 */
import type { SimulatedRequest, StoredRow } from './simulated-rows.ts';

export class Oracle {
  readonly requests = new Map<number, SimulatedRequest>();
  readonly acknowledged = new Set<number>();
  /** Refused, and never sent again: certainly not stored. */
  readonly refused = new Set<number>();

  /** What is wrong with these rows, one sentence each. */
  judge(rows: readonly StoredRow[]): string[] {
    const wrong: string[] = [];
    const stored = new Map<number, Map<number, string[]>>();
    for (const { id, row, batchId } of rows) {
      const ofRequest = stored.get(id) ?? new Map<number, string[]>();
      stored.set(id, ofRequest.set(row, [...(ofRequest.get(row) ?? []), batchId]));
    }
    for (const [id, ofRequest] of stored) {
      const request = this.requests.get(id);
      if (request === undefined) {
        wrong.push(`request ${id} is stored and was never sent`);
        continue;
      }
      if (this.refused.has(id)) wrong.push(`request ${id} is stored and was refused`);
      if (ofRequest.size !== request.rows)
        wrong.push(`request ${id} is stored with ${ofRequest.size} of ${request.rows} rows`);
      const doubled = [...ofRequest].find(([, batchIds]) => batchIds.length > 1);
      if (doubled !== undefined) wrong.push(`row ${doubled[0]} of request ${id} is stored in batches ${doubled[1]}`);
    }
    for (const id of this.acknowledged) if (!stored.has(id)) wrong.push(`acknowledged request ${id} is lost`);
    return wrong;
  }
}
