/**
 * The whole service under injured requests: six handlers (two protocols, three signals) at once, while a well-behaved
 * client of each protocol goes on. Every answer is the one that the decoders give in this process; the well-behaved
 * clients are always answered; no process ends; and what is stored is exactly what was accepted.
 */
import { readFileSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import type protobuf from 'protobufjs';
import { type Signal, SIGNALS } from '../../src/ingest/messages.ts';
import { TABLES } from '../../src/tables/all-tables.ts';
import { seededRandom } from '../corpus/seeded-random.ts';
import { loadProto } from '../proto/load-proto.ts';
import { encodeIds, grpcSender, httpSender } from '../support/load.ts';
import { startService, type TestService } from '../support/service.ts';
import { type Fuzzer, type FuzzFigures, type FuzzOptions, FuzzViolation, JUDGED_CASES_MIN } from './fuzzer.ts';
import { GrpcClient, type HandlerClient, HttpClient, type ReceivedAnswer } from './handler-clients.ts';
import { AnswerJudge, handlerRequests, type HandlerRequest, type Protocol } from './handler-requests.ts';
import { DERIVED_TABLE } from './judge-rows.ts';

const PROTOCOLS: readonly Protocol[] = ['http', 'grpc'];
const HANDLERS = PROTOCOLS.length * SIGNALS.length;
/** Requests of one handler on their way at once; over HTTP they share a connection, pipelined. */
const AT_ONCE = 16;
const GOOD_EVERY_MS = 100;
const STORED_WITHIN_MS = 300_000;
const MIB = 1024 * 1024;
/** Of the ingest process, from a tenth of the requests on: what it holds does not follow the number of requests. */
const GROWTH_BYTES_MAX = 64 * MIB;

export function handlersFuzzer(): Fuzzer {
  return {
    name: 'handlers',
    async run(options) {
      const service = await startService();
      try {
        return await new HandlersRun(service, options).run();
      } finally {
        await service.stopAndRemove();
      }
    },
  };
}

class HandlersRun {
  readonly #service: TestService;
  readonly #options: FuzzOptions;
  readonly #root = loadProto();
  readonly #violations: string[] = [];
  readonly #goodMs: number[] = [];
  #cases = 0;
  #taken = 0;
  #accepted = 0;
  /** Items of requests whose answer did not come: stored or not. */
  #unknown = 0;
  #unanswered = 0;
  #cutOff = 0;
  #rssBytes: number | undefined;

  constructor(service: TestService, options: FuzzOptions) {
    this.#service = service;
    this.#options = options;
  }

  async run(): Promise<FuzzFigures> {
    const before = this.#processes();
    const handlers = PROTOCOLS.flatMap((protocol) => SIGNALS.map((signal) => this.#makeHandler(protocol, signal)));
    const stop = new AbortController();
    const good = PROTOCOLS.map((protocol) => this.#behaveWell(protocol, stop.signal));
    const startMs = Date.now();
    await Promise.all(handlers.map((handle) => handle()));
    const seconds = (Date.now() - startMs) / 1_000;
    stop.abort();
    await Promise.all(good);
    const rssBytes = this.#ingestBytes();
    const stored = await this.#stored();
    const after = this.#processes();
    if (before !== after) this.#violations.push(`processes ${before} are now ${after}`);
    if (stored < this.#accepted || stored > this.#accepted + this.#unknown) {
      this.#violations.push(`${stored} rows stored, ${this.#accepted} accepted, ${this.#unknown} without an answer`);
    }
    const growthBytes = rssBytes - (this.#rssBytes ?? rssBytes);
    if (this.#cases >= JUDGED_CASES_MIN && growthBytes > GROWTH_BYTES_MAX) {
      this.#violations.push(`the ingest process grew by ${Math.round(growthBytes / MIB)} MiB`);
    }
    const good99 = this.#goodMs.sort((a, b) => a - b)[Math.floor(this.#goodMs.length * 0.99)] ?? 0;
    const told = [
      `${Math.round(this.#cases / seconds)} requests/s`,
      `${this.#accepted} items accepted, ${stored} rows stored, ${this.#unknown} of unknown fate`,
      `${this.#cutOff} cut off, ${this.#unanswered} unanswered`,
      `well-behaved: ${this.#goodMs.length} requests, p99 ${good99.toFixed(0)} ms, longest ${this.#goodMs.at(-1)?.toFixed(0)} ms`,
      `ingest RSS ${Math.round((this.#rssBytes ?? 0) / MIB)} → ${Math.round(rssBytes / MIB)} MiB`,
      `processes ${after}`,
    ];
    return { cases: this.#cases, taken: this.#taken, told, violations: this.#violations };
  }

  /** Everything that takes long is made here, before anyone waits for an answer of this process. */
  #makeHandler(protocol: Protocol, signal: Signal): () => Promise<void> {
    const { ports, token } = this.#service;
    const draw = handlerRequests(protocol, signal, token);
    const judge = new AnswerJudge(protocol, signal);
    const responses = responseType(this.#root, signal);
    const newClient = (): HandlerClient =>
      protocol === 'http' ? new HttpClient(ports.http) : new GrpcClient(ports.grpc);
    const { cases, deadlineMs, seed } = this.#options;
    return async () => {
      const shared = newClient();
      let next = 0;
      const mayGoOn = () => (cases === undefined ? Date.now() < deadlineMs : next < cases);
      const work = async (): Promise<void> => {
        const own = newClient();
        while (mayGoOn() && this.#violations.length === 0) {
          const index = next++;
          const request = draw(seededRandom(seed + index));
          const answer = await (request.alone ? own : shared).exchange(request);
          await this.#judge(judge, request, answer, responses).catch((error: unknown) => {
            const again = `npm run fuzz -- --only handlers --seed ${seed + index} --cases 1`;
            this.#violations.push(`${protocol}-${signal}, seed ${seed + index} (again: ${again}): ${error}`);
          });
          const tenth = Math.floor(((cases ?? 0) * HANDLERS) / 10);
          if (++this.#cases === tenth) this.#rssBytes = this.#ingestBytes();
        }
        own.close();
      };
      await Promise.all(Array.from({ length: AT_ONCE }, work));
      shared.close();
    };
  }

  async #judge(
    judge: AnswerJudge,
    request: HandlerRequest,
    answer: ReceivedAnswer | undefined,
    responses: protobuf.Type,
  ): Promise<void> {
    if (request.cutAt !== undefined) {
      this.#cutOff++;
      return;
    }
    const expected = await judge.expected(request);
    if (answer === undefined) {
      this.#unanswered++;
      this.#unknown += expected.accepted;
      return;
    }
    if (answer.status !== expected.status) {
      throw new FuzzViolation(`answered ${answer.status}, not ${expected.status}`);
    }
    if (answer.status !== 0 && answer.status !== 200) return;
    const rejected = rejectedOf(answer.body, request, responses);
    if (rejected !== expected.rejected) throw new FuzzViolation(`${rejected} rejected, not ${expected.rejected}`);
    this.#taken++;
    this.#accepted += expected.accepted;
  }

  /** One known log record every 100 ms, each answered before the next is due or not. */
  async #behaveWell(protocol: Protocol, stop: AbortSignal): Promise<void> {
    const { ports, token } = this.#service;
    const sender = protocol === 'http' ? httpSender(ports.http, token) : grpcSender(ports.grpc, token);
    for (let n = 0; !stop.aborted; n++) {
      const startMs = performance.now();
      if (await sender.send(encodeIds([`good-${protocol}-${n}`]))) this.#accepted++;
      else this.#violations.push(`the well-behaved ${protocol} client was refused`);
      const ms = performance.now() - startMs;
      this.#goodMs.push(ms);
      await delay(Math.max(0, GOOD_EVERY_MS - ms));
    }
    sender.close();
  }

  #processes(): string {
    const children = (['ingest', 'store', 'engine'] as const).map((name) => this.#service.children(name).join('+'));
    return [this.#service.pid, ...children].join(', ');
  }

  #ingestBytes(): number {
    return this.#service.children('ingest').reduce((sum, pid) => {
      const kib = /VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1];
      return sum + Number(kib) * 1_024;
    }, 0);
  }

  /** Rows of all tables of items, once no segment waits. */
  async #stored(): Promise<number> {
    const deadlineMs = Date.now() + STORED_WITHIN_MS;
    while (this.#service.waitingSegments() > 0 && Date.now() < deadlineMs) await delay(100);
    const counts = TABLES.filter(({ name }) => name !== DERIVED_TABLE).map(
      ({ name }) => `(SELECT count() FROM ${name})`,
    );
    const sql = `SELECT toString(${counts.join(' + ')}) AS n`;
    // A segment that is still open seals by its age.
    const enough = (rows: { n: string }[]) => Number(rows[0]?.n) >= this.#accepted;
    const rows = await this.#service.queryUntil<{ n: string }>(sql, enough, 20_000).catch(() => undefined);
    const [last] = rows ?? (await this.#service.query<{ n: string }>(sql));
    return Number(last?.n);
  }
}

function responseType(root: protobuf.Root, signal: Signal): protobuf.Type {
  const [folder, name] = signal === 'traces' ? ['trace', 'Trace'] : [signal, signal === 'logs' ? 'Logs' : 'Metrics'];
  return root.lookupType(`opentelemetry.proto.collector.${folder}.v1.Export${name}ServiceResponse`);
}

function rejectedOf(body: Buffer, request: HandlerRequest, responses: protobuf.Type): number {
  const response =
    request.encoding === 'json'
      ? (JSON.parse(body.toString()) as object)
      : responses.toObject(responses.decode(body), { longs: Number });
  const partial = (response as { partialSuccess?: Record<string, unknown> }).partialSuccess ?? {};
  return Number(Object.entries(partial).find(([name]) => name.startsWith('rejected'))?.[1] ?? 0);
}
