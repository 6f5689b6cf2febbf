import { afterAll, beforeAll, expect, it } from 'vitest';
import { judge, Load, type StoredRow } from '../support/load.ts';
import { startService, type TestService } from '../support/service.ts';

let service: TestService;

beforeAll(async () => {
  service = await startService({ env: { BACKWORK_WORKERS: '2', BACKWORK_SEGMENT_MS: '200' } });
});
afterAll(() => service.stopAndRemove());

it('rows of two organizations sent at once never share a partition and never carry a wrong OrgId', async () => {
  const loads: { orgId: string; load: Load }[] = [];
  for (const name of ['alpha', 'beta']) {
    const org = await service.command('org', 'create', '--name', name);
    expect(org.code, org.stderr).toBe(0);
    const orgId = /org_[a-z2-7]{16}/.exec(org.stdout)?.[0] ?? '';
    const token = (await service.command('token', 'create', '--org', name, '--name', 'test')).stdout.trim();
    const { grpc: grpcPort, http: httpPort } = service.ports;
    loads.push({
      orgId,
      load: new Load({ grpcPort, httpPort, token, clients: ['grpc', 'http'], rowsPerRequest: 10, prefix: orgId }),
    });
  }
  for (const { load } of loads) load.start();
  while (loads.some(({ load }) => load.acknowledged.size < 3_000))
    await new Promise((resolve) => setTimeout(resolve, 20));
  await Promise.all(loads.map(({ load }) => load.stop()));

  const acknowledged = new Set(loads.flatMap(({ load }) => [...load.acknowledged]));
  const issued = new Set(loads.flatMap(({ load }) => [...load.issued]));
  const sql =
    "SELECT Body AS id, toString(count()) AS n, any(LogAttributes['check']) AS check FROM otel_logs GROUP BY Body";
  const rows = await service.queryUntil<StoredRow>(sql, (found) => found.length >= acknowledged.size);
  expect(judge(acknowledged, issued, rows)).toEqual({ lost: [], doubled: [], damaged: [], neverIssued: [] });

  const wrong = await service.query(
    "SELECT toString(count()) AS n FROM otel_logs WHERE NOT startsWith(Body, OrgId || '-') OR Placement != OrgId",
  );
  expect(wrong).toEqual([{ n: '0' }]);
  const shared = await service.query(
    'SELECT _partition_id FROM otel_logs GROUP BY _partition_id HAVING uniqExact(OrgId) > 1',
  );
  expect(shared).toEqual([]);
  const partitions = await service.query<{ orgs: string }>('SELECT toString(uniqExact(OrgId)) AS orgs FROM otel_logs');
  expect(partitions).toEqual([{ orgs: '2' }]);
}, 60_000);
