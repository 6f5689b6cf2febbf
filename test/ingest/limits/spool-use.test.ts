import { describe, expect, it } from 'vitest';
import { OrganizationUse } from '../../../src/ingest/limits/organization-use.ts';
import { SpoolUse } from '../../../src/ingest/limits/spool-use.ts';

const LIMITS = { bytesPerSecond: 0, itemsPerSecond: 0, requestsAtOnce: 0, spoolBytes: 0, weight: 10 };

function ledger() {
  const state = { nowMs: 0, standing: new Set<number>(), fails: false };
  const uses = new Map<string, OrganizationUse>();
  const use = (orgId: string): OrganizationUse => {
    const found = uses.get(orgId) ?? new OrganizationUse(orgId, LIMITS);
    uses.set(orgId, found);
    return found;
  };
  const listSegments = async () => {
    if (state.fails) throw new Error('the disk does not answer');
    return new Set(state.standing);
  };
  const spoolUse = new SpoolUse({ listSegments, use, nowMs: () => state.nowMs });
  const look = (): Promise<void> => {
    state.nowMs += 1_000;
    return spoolUse.look();
  };
  return { state, spoolUse, use, look, bytes: () => [use('a').spoolBytes, use('b').spoolBytes] };
}

describe('what waits in the spool', () => {
  it('is counted for each organization until its segment is gone', async () => {
    const { state, spoolUse, use, look, bytes } = ledger();
    spoolUse.appended(7, use('a'), 100);
    spoolUse.appended(7, use('b'), 10);
    spoolUse.appended(8, use('a'), 1);
    state.standing = new Set([7, 8]);
    await look();
    expect(bytes()).toEqual([101, 10]);
    state.standing = new Set([8]);
    await look();
    expect(bytes()).toEqual([1, 0]);
    state.standing = new Set();
    await look();
    expect(bytes()).toEqual([0, 0]);
  });

  it('stays counted while its file is not written yet', async () => {
    const { state, spoolUse, use, look, bytes } = ledger();
    spoolUse.appended(7, use('a'), 100);
    await look();
    await look();
    expect(bytes()).toEqual([100, 0]);
    state.standing = new Set([7]);
    await look();
    state.standing = new Set();
    await look();
    expect(bytes()).toEqual([0, 0]);
  });

  it('stays counted while the directory cannot be listed', async () => {
    const { state, spoolUse, use, look, bytes } = ledger();
    spoolUse.appended(7, use('a'), 100);
    state.standing = new Set([7]);
    await look();
    state.fails = true;
    await look();
    expect(bytes()).toEqual([100, 0]);
    Object.assign(state, { fails: false, standing: new Set() });
    await look();
    expect(bytes()).toEqual([0, 0]);
  });

  it('from an earlier run is divided by what the requests had received', async () => {
    const { state, spoolUse, look, bytes } = ledger();
    const requests = [
      { orgId: 'a', bytesReceived: 600 },
      { orgId: 'b', bytesReceived: 300 },
      { orgId: 'a', bytesReceived: 100 },
      { orgId: '', bytesReceived: 0 },
    ];
    spoolUse.found({ sequence: 3, bytes: 500, requests });
    expect(bytes()).toEqual([350, 150]);
    state.standing = new Set();
    await look();
    expect(bytes()).toEqual([0, 0]);
  });
});
