/**
 * F35: a token is revoked while a gRPC connection that uses it is open and busy. Within a second the next call on that
 * connection is UNAUTHENTICATED; what was acknowledged before stands, stored once; other tokens go on.
 */
import { setTimeout as delay } from 'node:timers/promises';
import grpc from '@grpc/grpc-js';
import { encodeIds, judge, STORED_IDS, type StoredRow } from '../support/load.ts';
import { startService, type TestService } from '../support/service.ts';
import type { Fault, FaultOptions, FaultReport } from './fault.ts';

const PATH = '/opentelemetry.proto.collector.logs.v1.LogsService/Export';
const ROWS_PER_CALL = 20;
/** The revocation's figure: from the end of the command that revokes to the first refusal, on every connection. */
const REVOKED_WITHIN_MS = 1_000;
/** After this a connection that is still served has missed the revocation. */
const GIVE_UP_MS = 5_000;

export const f35: Fault = {
  id: 'F35',
  title: 'a token is revoked while its gRPC connections are open and busy',
  async run(options: FaultOptions): Promise<FaultReport> {
    const service = await startService({ env: { BACKWORK_WORKERS: '2' } });
    try {
      return await revokeUnder(service, options);
    } finally {
      await service.stopAndRemove();
    }
  },
};

interface Caller {
  readonly acknowledged: Set<string>;
  readonly issued: Set<string>;
  /** Code of the first refusal, and when it came. */
  refused: { readonly code: number; readonly atMs: number } | undefined;
  /** Acknowledged after the first refusal: must stay 0. */
  acknowledgedAfter: number;
  stopped: boolean;
  readonly done: Promise<void>;
}

async function revokeUnder(service: TestService, { size, say }: FaultOptions): Promise<FaultReport> {
  const rounds = size === 'full' ? 20 : 2;
  const violations: string[] = [];
  const latenciesMs: number[] = [];
  const bystander = startCaller(service, service.token, 'bystander');
  const callers: Caller[] = [];
  for (let round = 0; round < rounds; round++) {
    const made = await service.command('token', 'create', '--org', 'default', '--name', `round ${round}`);
    const token = made.stdout.trim();
    const own = Array.from({ length: 3 }, (_, i) => startCaller(service, token, `r${round}c${i}`));
    await delay(300);
    if (own.some((caller) => caller.acknowledged.size === 0)) violations.push('a new token was not served at once');
    await service.command('token', 'revoke', token.split('_')[2] ?? '');
    const revokedMs = performance.now();
    const giveUpMs = revokedMs + GIVE_UP_MS;
    while (own.some((caller) => caller.refused === undefined) && performance.now() < giveUpMs) await delay(10);
    await delay(200);
    for (const caller of own) {
      caller.stopped = true;
      await caller.done;
      latenciesMs.push(caller.refused === undefined ? GIVE_UP_MS : Math.max(0, caller.refused.atMs - revokedMs));
      if (caller.refused?.code !== grpc.status.UNAUTHENTICATED)
        violations.push(`round ${round}: refused with ${caller.refused?.code ?? 'nothing'}, not UNAUTHENTICATED`);
      if (caller.acknowledgedAfter > 0) violations.push(`round ${round}: served again after the refusal`);
      callers.push(caller);
    }
    say(`round ${round}: refused after at most ${Math.max(...latenciesMs.slice(-3)).toFixed(0)} ms`);
  }
  bystander.stopped = true;
  await bystander.done;
  if (bystander.refused !== undefined) violations.push('a caller with another token was refused');
  callers.push(bystander);
  const latest = Math.max(...latenciesMs);
  if (size === 'full' && latest > REVOKED_WITHIN_MS) violations.push(`served ${latest.toFixed(0)} ms after revocation`);

  const acknowledged = new Set(callers.flatMap((caller) => [...caller.acknowledged]));
  const issued = new Set(callers.flatMap((caller) => [...caller.issued]));
  const rows = await service.queryUntil<StoredRow>(STORED_IDS, (found) => found.length >= acknowledged.size);
  const judged = judge(acknowledged, issued, rows);
  for (const [name, ids] of Object.entries(judged)) if (ids.length > 0) violations.push(`${ids.length} items ${name}`);
  return {
    figures: {
      revocations: rounds,
      connections: latenciesMs.length,
      refusedAfterMsMax: Math.round(latest),
      acknowledged: acknowledged.size,
      lost: judged.lost.length,
      doubled: judged.doubled.length,
    },
    violations,
  };
}

/** A connection that calls again and again until it is stopped. */
function startCaller(service: TestService, token: string, prefix: string): Caller {
  const client = new grpc.Client(`127.0.0.1:${service.ports.grpc}`, grpc.credentials.createInsecure(), {
    'grpc.use_local_subchannel_pool': 1,
  });
  const metadata = new grpc.Metadata();
  metadata.set('authorization', `Bearer ${token}`);
  const same = (bytes: Buffer) => bytes;
  const call = (body: Buffer): Promise<number> =>
    new Promise((resolve) => {
      client.makeUnaryRequest(PATH, same, same, body, metadata, (error) => resolve(error?.code ?? 0));
    });
  const run = async (): Promise<void> => {
    for (let n = 0; !caller.stopped; n++) {
      const ids = Array.from({ length: ROWS_PER_CALL }, (_, i) => `${prefix}-${n}-${i}`);
      for (const id of ids) caller.issued.add(id);
      const code = await call(encodeIds(ids));
      if (code === 0) {
        for (const id of ids) caller.acknowledged.add(id);
        if (caller.refused !== undefined) caller.acknowledgedAfter++;
      } else {
        caller.refused ??= { code, atMs: performance.now() };
        await delay(5);
      }
    }
    client.close();
  };
  const caller: Caller = {
    acknowledged: new Set(),
    issued: new Set(),
    refused: undefined,
    acknowledgedAfter: 0,
    stopped: false,
    done: Promise.resolve(),
  };
  return Object.assign(caller, { done: run() });
}
