import { afterAll, beforeAll, expect, it } from 'vitest';
import { judge, Load, STORED_IDS, type StoredRow } from '../support/load.ts';
import { startService, type TestService } from '../support/service.ts';

let service: TestService;

beforeAll(async () => {
  service = await startService({ env: { BACKWORK_SEGMENT_MS: '200' } });
});
afterAll(() => service.stopAndRemove());

it('without its engine the service stays up, answers OK, and catches up when the engine is back', async () => {
  const { grpc: grpcPort, http: httpPort } = service.ports;
  const load = new Load({ grpcPort, httpPort, token: service.token, clients: ['grpc', 'http'], rowsPerRequest: 20 });
  load.start();
  await acknowledged(load, 500);
  // Stopped, not killed: the supervisor would start a killed one again within a second.
  const [engine] = service.children('engine');
  process.kill(engine!, 'SIGSTOP');
  const before = load.acknowledged.size;
  await acknowledged(load, before + 3_000);
  expect(load.refused).toBe(0);
  expect((await fetch(`http://127.0.0.1:${service.ports.api}/readyz`)).status).toBe(200);
  expect(service.waitingSegments()).toBeGreaterThan(0);
  process.kill(engine!, 'SIGKILL');
  await load.stop();

  const rows = await service.queryUntil<StoredRow>(
    STORED_IDS,
    (found) => found.length >= load.acknowledged.size,
    60_000,
  );
  expect(judge(load.acknowledged, load.issued, rows)).toEqual({ lost: [], doubled: [], damaged: [], neverIssued: [] });
}, 120_000);

async function acknowledged(load: Load, rows: number): Promise<void> {
  while (load.acknowledged.size < rows) await new Promise((resolve) => setTimeout(resolve, 10));
}
