/** The clients of a simulation: when each request is sent, to whom, and what is made of its answer. */
import { type StoredBody, storeBody } from '../../src/ingest/spool/body.ts';
import type { Spool } from '../../src/ingest/spool/writer.ts';
import type { Oracle } from './oracle.ts';
import type { Random } from './random.ts';
import { bodyOf, type SimulatedRequest, SimulatedRows, TABLES } from './simulated-rows.ts';
import type { Owner, VirtualTime } from './virtual-time.ts';

/** A worker that takes requests, as a client sees it. */
export interface Port {
  readonly owner: Owner;
  readonly spool: Spool<SimulatedRows>;
  readonly wallClockMs: () => number;
  /** An answer is about to be written. */
  readonly answerDue: () => void;
}

const ORGS = ['org_aaaabbbbccccdddd', 'org_eeeeffffgggghhhh', 'org_iiiijjjjkkkkllll'];
const SENDS_MAX = 40;
const PATIENCE_MS = 10_000;

export class SimulatedClients {
  /** Requests that nobody has given up or been answered yet. */
  underWay = 0;
  private readonly world: Owner = { name: 'clients', alive: true };
  private readonly time: VirtualTime;
  private readonly random: Random;
  private readonly oracle: Oracle;
  private readonly portOf: (worker: number) => Port | undefined;
  private readonly sentOnce = new Set<number>();
  private nextId = 1;

  constructor(deps: {
    time: VirtualTime;
    random: Random;
    oracle: Oracle;
    portOf: (worker: number) => Port | undefined;
  }) {
    this.time = deps.time;
    this.random = deps.random;
    this.oracle = deps.oracle;
    this.portOf = deps.portOf;
  }

  /**
   * Sends a new request after `delayMs`; the same one again, until it is answered, when there is nobody to take it, it was
   * refused, or the connection breaks.
   */
  sendAfter(delayMs: number, worker: number, patient = false): void {
    const { random } = this;
    const id = this.nextId++;
    const own = random(10) === 0;
    const request: SimulatedRequest = {
      id,
      rows: 1 + random(own ? 8 : 4),
      tables: 1 + random(TABLES.length),
      bytes: random(2) === 0 ? random(4_000) : random(400),
      own,
      partition: { placement: ORGS[random(2)]!, retentionDays: 30, expiresOnDay: 20_850 + random(2) },
    };
    this.oracle.requests.set(id, request);
    this.underWay++;
    // Some give up at the first refusal or broken connection.
    const once = random(6) === 0 && !patient;
    if (once) this.sentOnce.add(id);
    this.later(delayMs, request, worker, once ? 1 : SENDS_MAX);
  }

  private later(delayMs: number, request: SimulatedRequest, worker: number, sendsLeft: number): void {
    if (sendsLeft === 0) this.underWay--;
    else this.time.after(this.world, delayMs, () => this.send(request, worker, sendsLeft - 1));
  }

  private send(request: SimulatedRequest, worker: number, sendsLeft: number): void {
    const again = (): void => this.later(50 + this.random(400), request, worker, sendsLeft);
    const port = this.portOf(worker);
    if (port === undefined || port.spool.refusal(request.bytes) !== undefined) return again();
    const { owner } = port;
    const { durable, answered } = this.time.as(owner, () => append(port, request));
    let open = true;
    const close = (): boolean => {
      const wasOpen = open;
      open = false;
      return wasOpen;
    };
    durable.then(
      () => {
        port.answerDue();
        if (!owner.alive || !close()) return;
        if (!this.oracle.acknowledged.has(request.id)) this.underWay--;
        this.oracle.acknowledged.add(request.id);
        if (this.random(4) > 0) this.time.after(owner, this.random(20), answered);
      },
      () => {
        if (!owner.alive || !close()) return;
        if (this.sentOnce.has(request.id)) this.oracle.refused.add(request.id);
        again();
      },
    );
    this.watch(owner, close, () => this.later(this.random(300), request, this.random(2), sendsLeft));
  }

  /** The connection breaks when the worker dies, or when the client is out of patience: then it sends the same again. */
  private watch(owner: Owner, close: () => boolean, sendAgain: () => void): void {
    const untilMs = this.time.nowMs + (this.random(8) === 0 ? this.random(40) : PATIENCE_MS);
    const look = (): void => {
      if (owner.alive && this.time.nowMs < untilMs)
        this.time.after(this.world, Math.min(untilMs - this.time.nowMs, 200), look);
      else if (close()) sendAgain();
    };
    this.time.after(this.world, this.random(100), look);
  }
}

function append(port: Port, request: SimulatedRequest): ReturnType<Spool<SimulatedRows>['append']> {
  const body = bodyOf(request);
  const stored: StoredBody = storeBody(body);
  const { partition, own, rows } = request;
  const ownRows = own ? new SimulatedRows(true) : undefined;
  (ownRows ?? port.spool.rows).convert(body, partition);
  const header = {
    ...partition,
    orgId: partition.placement,
    tokenId: 'tok123456789',
    signal: 'logs' as const,
    receivedAtMs: port.wallClockMs(),
    itemsAccepted: rows,
    itemsRejected: 0,
    bytesReceived: body.length,
    fingerprint: stored.fingerprint,
    ownBatches: own,
  };
  return port.spool.append(header, stored, ownRows);
}
