/** A request whose answer is lost and that is sent again (reference otlp.md 1.5, E3; 1.1, G; reliability R4). */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { SIGNALS } from '../../src/ingest/messages.ts';
import { AnswerGate } from '../faults/support/answer-gate.ts';
import { CutRequest } from '../faults/support/cut-client.ts';
import { encodeIds, grpcSender, httpSender, STORED_IDS, type StoredRow } from '../support/load.ts';
import { startService, type TestService } from '../support/service.ts';

const gate = new AnswerGate();
let service: TestService;

beforeAll(async () => {
  service = await startService({ env: { ...gate.env, BACKWORK_WORKERS: '2', BACKWORK_SEGMENT_MS: '200' } });
});
afterAll(async () => {
  await service.stopAndRemove();
  gate.remove();
});

describe('retries', () => {
  it('E3: a request that is sent again because its answer was lost gets the same answer and no second row', async () => {
    const { ports, token } = service;
    const all: string[] = [];
    for (const protocol of ['http', 'grpc'] as const) {
      const sender = protocol === 'http' ? httpSender(ports.http, token) : grpcSender(ports.grpc, token);
      for (const signal of SIGNALS) {
        const ids = Array.from({ length: 5 }, (_, i) => `${protocol}-${signal}-${i}`);
        const body = encodeIds(ids, signal);
        all.push(...ids);
        gate.arm();
        const lost = new CutRequest({ protocol, port: ports[protocol], token, signal, body });
        await gate.due();
        await lost.cut();
        await gate.open();
        expect(await sender.send(body, signal)).toBe(true);
      }
      sender.close();
    }
    await expect.poll(() => service.waitingSegments(), { timeout: 20_000 }).toBe(0);
    const rows = await service.queryUntil<StoredRow>(STORED_IDS, (found) => found.length >= all.length);
    expect(rows.map(({ id, n }) => `${id} ${n}`).sort()).toEqual(all.map((id) => `${id} 1`).sort());
  });
});
