/** Records that went to quarantine, by organization and reason: the store sends them there, and recovery in ingest too. */
import { CountedBy, type MetricSheet } from '../../base/metrics.ts';
import type { StoreEvents } from '../messages.ts';
import type { OrganizationNames } from './organization-names.ts';

const REASONS = ['refused', 'damaged'] as const;

export class QuarantineCount implements Pick<StoreEvents, 'quarantined'> {
  readonly #organizations: OrganizationNames;
  readonly #records = new CountedBy('backwork_records_quarantined_total');

  constructor(organizations: OrganizationNames) {
    this.#organizations = organizations;
    // An alarm on the first record needs the zero before it.
    for (const name of organizations.labels.slice(1)) for (const reason of REASONS) this.#records.add(0, name, reason);
  }

  quarantined({ orgId, reason }: Parameters<StoreEvents['quarantined']>[0]): void {
    this.#records.add(1, this.#organizations.labelOf(orgId), reason);
  }

  collect(sheet: MetricSheet): void {
    sheet.addSamples('backwork_records_quarantined_total', this.#records.samples());
  }
}
