/**
 * F22: clients that send one byte now and then. Late headers are closed without an answer, a late body is refused so that
 * the client tries again, and everybody else is served as before.
 *
 * Full: 2,000 sockets at a byte each 10 s against the service, for as long as a body may take. CI: 64 sockets against the
 * two ports alone, with deadlines of less than a second, since the service's are no setting.
 */
import http2 from 'node:http2';
import { setTimeout as delay } from 'node:timers/promises';
import { createGrpcServer } from '../../src/ingest/accept/grpc-server.ts';
import { createHttpServer } from '../../src/ingest/accept/http-server.ts';
import {
  BODY_DEADLINE_MS,
  HEADERS_DEADLINE_MS,
  REFUSED_BODY_DRAIN_MS_MAX,
  SLOW_BODY_MS,
} from '../../src/base/limits.ts';
import { callOnce, grpcFrame, httpOnce, QUICK, startCall, TOKEN, until, watchedPath } from '../ingest/accept/peers.ts';
import type { Fault, FaultOptions, FaultReport } from './fault.ts';
import { GoodClients } from './support/good-clients.ts';
import { resetRssPeak, rssBytes, rssPeakBytes } from './support/process-figures.ts';
import { SLOW_KINDS, type SlowKind, type SlowTarget } from './support/slow-senders.ts';
import { besiege, type Ended } from './support/slow-siege.ts';
import { mib, underService, type Watched } from './support/under-service.ts';

const SOCKETS = 2_000;
const SOCKETS_CI = 64;
const SHORT_MS_MAX = 8_000;
/** More than a budget of 64 MiB, at the 1 MiB that a body of unknown length reserves. */
const SLOW_BODIES_CI = 100;
/** The sweep looks once a second, Node's own one for headers too, and the machine is shared. */
const LATE_MS = 3_000;
const BASELINE_MS = 20_000;
const P99_RATIO_MAX = 1.5;

export const f22: Fault = {
  id: 'F22',
  title: 'clients that send one byte now and then',
  async run(options) {
    if (options.size === 'full') return runFull(options);
    const short = await runShort();
    const { figures, violations } = await underService({ BACKWORK_IN_FLIGHT_MIB: '64' }, besideSlowBodies);
    return { figures: { ...short.figures, ...figures }, violations: [...short.violations, ...violations] };
  },
};

async function runShort(): Promise<FaultReport> {
  const { seen, deps } = watchedPath();
  const limits = { ...QUICK, headersDeadlineMs: 400, bodyDeadlineMs: 800, refusedDrainMs: 300, drainMs: 500 };
  const grpc = createGrpcServer({ ...deps, limits });
  const http = createHttpServer({ ...deps, limits });
  const address = { host: '127.0.0.1', port: 0, reusePort: false };
  const target = {
    grpcPort: await grpc.listen(address),
    httpPort: await http.listen(address),
    token: TOKEN,
    everyMs: 100,
  };
  try {
    const done: Ended[] = [];
    const slow = Array.from({ length: SOCKETS_CI }, async (_, i) => {
      const one = await runOne(SLOW_KINDS[i % SLOW_KINDS.length]!, target);
      done.push(one);
      return one;
    });
    const all = Promise.all(slow);
    let served = 0;
    const endMs = performance.now() + SHORT_MS_MAX;
    for (let open = true; open && performance.now() < endMs; ) {
      const call = await callOnce(target.grpcPort, { body: grpcFrame(Buffer.alloc(9)) });
      const request = await httpOnce(target.httpPort, { body: Buffer.alloc(9) });
      if (call.trailers['grpc-status'] !== '0' || request.status !== 200) break;
      served += 2;
      open = await Promise.race([all.then(() => false), delay(50, true)]);
    }
    // Those that the service leaves open are missing from their kind, or wrong.
    const ended = await Promise.race([all, delay(SHORT_MS_MAX).then(() => done)]);
    const violations = judgeOutcomes(ended);
    if (ended.length < SOCKETS_CI) violations.push(`${ended.length} of ${SOCKETS_CI} slow connections have ended`);
    if (seen.log.some(({ status }) => status === 'INTERNAL' || status === 500)) violations.push('a fault of ours');
    if (served < 10) violations.push(`a well-behaved client was answered ${served} times`);
    await until(() => seen.released.length === seen.heads.length);
    return { figures: { sockets: ended.length, served, ...outcomes(ended) }, violations };
  } finally {
    await Promise.all([grpc.drain(), http.drain()]);
  }
}

/** Bodies that do not come reserve more than there is: well-behaved clients get it all the same. */
async function besideSlowBodies({ service, violations }: Watched): Promise<Record<string, number>> {
  const session = http2.connect(`http://127.0.0.1:${service.ports.grpc}`);
  session.on('error', () => {});
  try {
    const headers = { authorization: `Bearer ${service.token}` };
    const body = grpcFrame(Buffer.alloc(1_000)).subarray(0, 10);
    for (let i = 0; i < SLOW_BODIES_CI; i++) startCall(session, { headers, body, end: false });
    await delay(2 * SLOW_BODY_MS);
    const good = new GoodClients(service);
    good.start();
    const { requests, failed } = await good.measure(500);
    await good.stop();
    if (failed > 0) violations.push(`${failed} good requests beside slow bodies were not answered OK`);
    if (requests < 4) violations.push(`well-behaved clients had ${requests} answers beside slow bodies`);
    return { besideSlowBodies: requests, besideSlowBodiesFailed: failed };
  } finally {
    session.destroy();
  }
}

function runFull({ say }: FaultOptions): Promise<FaultReport> {
  return underService({}, async ({ service, ingest, violations }) => {
    const good = new GoodClients(service);
    good.start();
    await delay(3_000);
    const baseline = await good.measure(BASELINE_MS);
    say(`without: ${JSON.stringify(baseline)}`);
    const { ports, token } = service;
    const target = { grpcPort: ports.grpc, httpPort: ports.http, token, everyMs: 10_000 };
    const rssBefore = rssBytes(ingest);
    resetRssPeak(ingest);
    say(
      `${SOCKETS} slow senders for ${(HEADERS_DEADLINE_MS + BODY_DEADLINE_MS) / 1_000} s and the deadline of the last`,
    );
    const ended = await besiege({
      target,
      sockets: SOCKETS,
      openedOverMs: HEADERS_DEADLINE_MS,
      untilMs: HEADERS_DEADLINE_MS + BODY_DEADLINE_MS,
      giveUpMs: HEADERS_DEADLINE_MS + 2 * BODY_DEADLINE_MS + REFUSED_BODY_DRAIN_MS_MAX + 30_000,
    });
    const under = good.takePhase();
    say(`under: ${JSON.stringify(under)}`);
    await good.stop();
    const ratio = under.p99Ms / baseline.p99Ms;
    violations.push(...judgeOutcomes(ended), ...judgeTimes(ended), ...(await good.judgeRows()));
    if (under.failed > 0) violations.push(`${under.failed} of ${under.requests} good requests were not answered OK`);
    if (ratio > P99_RATIO_MAX) violations.push(`good clients' p99 is ${ratio.toFixed(2)} × that without slow senders`);
    return {
      sockets: SOCKETS,
      connections: ended.length,
      ...outcomes(ended),
      ...times(ended),
      goodRequests: under.requests,
      goodFailed: under.failed,
      p99BaselineMs: baseline.p99Ms,
      p99Ms: under.p99Ms,
      p99Ratio: Math.round(ratio * 100) / 100,
      rssGrownMib: mib(rssPeakBytes(ingest) - rssBefore),
    };
  });
}

async function runOne(kind: SlowKind, target: SlowTarget): Promise<Ended> {
  return { kind: kind.name, ...(await kind.run(target)) };
}

function judgeOutcomes(ended: readonly Ended[]): string[] {
  return SLOW_KINDS.flatMap((kind) => {
    const own = ended.filter((one) => one.kind === kind.name);
    const wrong = own.find(({ outcome }) => outcome !== kind.expected);
    if (own.length === 0) return [`${kind.name}: none has ended`];
    return wrong === undefined ? [] : [`${kind.name}: ${wrong.outcome} instead of ${kind.expected}`];
  });
}

function judgeTimes(ended: readonly Ended[]): string[] {
  return ended.flatMap(({ kind, afterMs }) => {
    const deadlineMs = isSlowIn(kind, 'headers') ? HEADERS_DEADLINE_MS : BODY_DEADLINE_MS;
    const kept = afterMs > deadlineMs - 500 && afterMs < deadlineMs + LATE_MS;
    return kept ? [] : [`${kind}: ended after ${Math.round(afterMs)} ms instead of ${deadlineMs}`];
  });
}

function outcomes(ended: readonly Ended[]): Record<string, number> {
  const of = (wanted: string) => ended.filter(({ outcome }) => outcome === wanted).length;
  return { closedSilently: of('silence'), answered503: of('503'), answeredUnavailable: of('UNAVAILABLE') };
}

function times(ended: readonly Ended[]): Record<string, number> {
  const longest = (slow: SlowKind['slow']) =>
    Math.round(Math.max(...ended.map((one) => (isSlowIn(one.kind, slow) ? one.afterMs : 0))));
  return { headersEndedWithinMs: longest('headers'), bodiesEndedWithinMs: longest('body') };
}

function isSlowIn(name: string, part: SlowKind['slow']): boolean {
  return SLOW_KINDS.some((kind) => kind.name === name && kind.slow === part);
}
