/**
 * F34: peers that break HTTP/2, gRPC and HTTP/1.1: by the book, in floods, and by frames mutated at random. Bad HTTP/2 ends
 * its own connection, a bad gRPC message only its call; no request is smuggled past the reader of HTTP/1.1. No process
 * ends, memory stays flat, and well-behaved clients are served all the time.
 */
import net from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import { seededRandom } from '../corpus/seeded-random.ts';
import { RawHttp } from '../ingest/accept/peers.ts';
import { headerBlock, RawH2 } from '../ingest/accept/raw-h2.ts';
import type { TestService } from '../support/service.ts';
import type { Fault, FaultOptions } from './fault.ts';
import { GoodClients } from './support/good-clients.ts';
import { brokenRequests, manyHeaders, SMUGGLED } from './support/h1-violations.ts';
import { mutatedConversation, mutatedFramesRead } from './support/h2-frames.ts';
import {
  callHeaders,
  isServed,
  lastCall,
  type Violation,
  violations as violationsOf,
} from './support/h2-violations.ts';
import { resetRssPeak, rssBytes, rssPeakBytes } from './support/process-figures.ts';
import { mib, underService, type Watched } from './support/under-service.ts';

const MUTATED_FRAMES = { ci: 10_000, full: 1_000_000 };
const CONVERSATIONS_AT_ONCE = 32;
const CONVERSATION_MS_MAX = 5_000;
const PATIENCE_MS = 5_000;
/** What garbage that is not collected yet may add, after the first tenth of the mutated frames. */
const RSS_GROWN_MIB_MAX = 64;

export const f34: Fault = {
  id: 'F34',
  title: 'malformed HTTP/2, gRPC and HTTP/1.1',
  run: (options) => underService({}, (watched) => inject(watched, options)),
};

async function inject(watched: Watched, options: FaultOptions): Promise<Record<string, number | string>> {
  const { service, ingest, violations } = watched;
  const good = new GoodClients(service, { clients: ['grpc', 'http'], everyMs: 20 });
  good.start();
  const byTheBook = await breakHttp2(service, violations);
  const smuggling = await breakHttp1(service, violations);
  options.say(`${byTheBook} ways to break HTTP/2 and ${smuggling} to break HTTP/1.1: ${JSON.stringify(violations)}`);
  const mutated = await mutate(service, ingest, options);
  const { requests, failed, p99Ms, maxMs } = good.takePhase();
  await good.stop();
  if (failed > 0) violations.push(`${failed} of ${requests} good requests were not answered OK`);
  if (requests < 50) violations.push(`well-behaved clients had ${requests} answers in all`);
  if (options.size === 'full' && mutated.rssGrownMib > RSS_GROWN_MIB_MAX) {
    violations.push(`the ingest process grew by ${mutated.rssGrownMib} MiB from the first tenth to the end`);
  }
  const smuggled = await service.query(`SELECT 1 FROM otel_logs WHERE startsWith(Body, '${SMUGGLED}')`);
  if (smuggled.length > 0) violations.push(`${smuggled.length} smuggled requests were stored`);
  violations.push(...(await good.judgeRows()));
  return { byTheBook, smuggling, ...mutated, goodRequests: requests, goodFailed: failed, p99Ms, maxMs };
}

async function breakHttp2(service: TestService, violations: string[]): Promise<number> {
  const all = violationsOf(service.token);
  for (const one of all) {
    const outcome = await breakOnce(service, one);
    const right = one.expected === 'either' ? outcome !== 'neither' : outcome === one.expected;
    if (!right) violations.push(`${one.name}: the connection ${outcome} instead of ${one.expected}`);
  }
  return all.length;
}

async function breakOnce(
  { ports, token }: TestService,
  violation: Violation,
): Promise<'closed' | 'serves' | 'neither'> {
  const client = new RawH2(ports.grpc);
  try {
    for (let i = violation.times ?? 1; i > 0 && !client.closed; i--) {
      client.socket.write(violation.bytes);
      // Fewer at a time than what nghttp2 closes a connection for by itself.
      if (violation.times !== undefined) await delay(2);
    }
    if (violation.expected !== 'closed') lastCall(client, headerBlock(callHeaders(token)));
    const endMs = performance.now() + PATIENCE_MS;
    while (performance.now() < endMs) {
      if (client.closed) return 'closed';
      if (isServed(client)) return 'serves';
      await delay(5);
    }
    return 'neither';
  } finally {
    client.close();
  }
}

async function breakHttp1({ ports, token }: TestService, violations: string[]): Promise<number> {
  const all = brokenRequests(token);
  for (const { name, bytes } of all) {
    const client = new RawHttp(ports.http);
    client.write(bytes);
    const endMs = performance.now() + PATIENCE_MS;
    // The client's own side stays open: it is the service that has to end it.
    while (!client.ended && performance.now() < endMs) await delay(5);
    const received = client.received.toString('latin1');
    client.close();
    const statuses = [...received.matchAll(/^HTTP\/1\.1 (\d+)/gm)].map(([, status]) => status);
    if (statuses.join() !== '400') violations.push(`${name}: answered ${statuses.join() || 'nothing'} instead of 400`);
    else if (!/\r\nConnection: close\r\n/i.test(received)) violations.push(`${name}: the answer does not say close`);
  }
  const client = new RawHttp(ports.http);
  client.write(manyHeaders(token));
  const answer = await client.response().catch(() => undefined);
  client.close();
  if (answer === undefined || answer.status >= 500) violations.push(`3,000 headers: ${answer?.status ?? 'no answer'}`);
  return all.length + 1;
}

async function mutate(service: TestService, ingest: readonly number[], { size, seed, say }: FaultOptions) {
  const random = seededRandom(seed);
  const wanted = MUTATED_FRAMES[size];
  const startedMs = performance.now();
  const state = { sent: 0, read: 0, conversations: 0, unfinished: 0, rssEarly: 0 };
  const converse = async (): Promise<void> => {
    while (state.read < wanted) {
      const { bytes, mutatedFrames } = mutatedConversation(random, service.token);
      const { received, finished } = await exchange(service.ports.grpc, bytes);
      state.sent += mutatedFrames;
      state.read += Math.min(mutatedFrames, mutatedFramesRead(received));
      if (!finished) state.unfinished++;
      // Throws when the process has ended: without it nothing would be read, for ever.
      if (state.conversations % 100 === 0) rssBytes(ingest);
      if (++state.conversations % 20_000 === 0) say(`${state.read} mutated frames were read`);
      if (state.rssEarly === 0 && state.read >= wanted / 10) {
        state.rssEarly = rssBytes(ingest);
        resetRssPeak(ingest);
      }
    }
  };
  await Promise.all(Array.from({ length: CONVERSATIONS_AT_ONCE }, converse));
  return {
    mutatedFramesSent: state.sent,
    mutatedFramesRead: state.read,
    conversations: state.conversations,
    unfinished: state.unfinished,
    seconds: Math.round((performance.now() - startedMs) / 1_000),
    rssGrownMib: mib(rssPeakBytes(ingest) - state.rssEarly),
  };
}

/** Says all of it, ends its side, and hears out the service; unfinished: the service had to be cut off. */
function exchange(port: number, bytes: Buffer): Promise<{ received: Buffer; finished: boolean }> {
  const { promise, resolve } = Promise.withResolvers<{ received: Buffer; finished: boolean }>();
  const chunks: Buffer[] = [];
  let finished = true;
  const socket = net.connect(port, '127.0.0.1', () => socket.end(bytes));
  socket.on('error', () => {});
  socket.on('data', (chunk: Buffer) => void chunks.push(chunk));
  socket.on('close', () => resolve({ received: Buffer.concat(chunks), finished }));
  socket.setTimeout(CONVERSATION_MS_MAX, () => {
    finished = false;
    socket.resetAndDestroy();
  });
  return promise;
}
