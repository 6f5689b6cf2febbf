/**
 * F9: a client loses its connection after its request is on the disk and sends it again over another one: (a) before the
 * answer was written, (b) after it was written, with the setting that stores identical requests once. To either of two
 * workers, over both protocols, of all signals; some across a restart of the whole service between the two.
 */
import { SIGNALS } from '../../src/ingest/messages.ts';
import { encodeIds, grpcSender, httpSender } from '../support/load.ts';
import { type Ports, startService, type TestService, temporaryDirectory } from '../support/service.ts';
import type { Fault, FaultOptions, FaultReport } from './fault.ts';
import { AnswerGate } from './support/answer-gate.ts';
import { CutRequest } from './support/cut-client.ts';
import { judgeStored, linesWith, TWO_WORKERS } from './support/spool-service.ts';

/** Cut and sent again, of these across a restart, and how many restarts they share. */
const SIZES = {
  ci: { resends: 24, acrossRestart: 6, restarts: 1 },
  full: { resends: 1_000, acrossRestart: 100, restarts: 5 },
} as const;
const IDS_PER_REQUEST = 5;

type Cut = 'before-answer' | 'after-answer';

export const f09: Fault = {
  id: 'F9',
  title: 'the connection is lost after the sync, and the client sends again',
  async run(options: FaultOptions): Promise<FaultReport> {
    const figures: Record<string, number> = {};
    const violations: string[] = [];
    const cuts = ['before-answer', 'after-answer'] as const;
    // Two services at once: both wait more than they work.
    const reports = await Promise.all(cuts.map((cut) => new LostAnswers(cut, options).run()));
    for (const [index, cut] of cuts.entries()) {
      const report = reports[index]!;
      for (const [name, value] of Object.entries(report.figures)) figures[`${cut} ${name}`] = value;
      violations.push(...report.violations.map((violation) => `${cut}: ${violation}`));
    }
    return { figures, violations };
  },
};

class LostAnswers {
  readonly #cut: Cut;
  readonly #options: FaultOptions;
  readonly #gate = new AnswerGate();
  readonly #dataDir = temporaryDirectory();
  readonly #ids = new Set<string>();
  #service!: TestService;
  #token = '';
  #ports: Ports | undefined;
  #turn = 0;
  #refused = 0;
  /** Counted from the log of each start. */
  #leftOut = 0;

  constructor(cut: Cut, options: FaultOptions) {
    this.#cut = cut;
    this.#options = options;
  }

  async run(): Promise<{ figures: Record<string, number>; violations: string[] }> {
    const { resends, acrossRestart, restarts } = SIZES[this.#options.size];
    await this.#start();
    try {
      for (let round = 0; round < restarts; round++) {
        const cut: Sent[] = [];
        for (let i = 0; i < acrossRestart / restarts; i++) cut.push(await this.#cutOne());
        this.#countLeftOut();
        await this.#service.killAll();
        await this.#start();
        for (const sent of cut) await this.#sendAgain(sent);
        this.#options.say(`F9 ${this.#cut}: restart ${round + 1} of ${restarts}`);
      }
      for (let i = acrossRestart; i < resends; i++) {
        await this.#sendAgain(await this.#cutOne());
        if (i % 100 === 99) this.#options.say(`F9 ${this.#cut}: ${i + 1} of ${resends} sent again`);
      }
      return await this.#judge(resends, restarts);
    } finally {
      await this.#service.stopAndRemove();
      this.#gate.remove();
    }
  }

  async #start(): Promise<void> {
    const always = this.#cut === 'after-answer' ? { BACKWORK_IDENTICAL_ONCE: '1' } : {};
    const env = { ...TWO_WORKERS, ...this.#gate.env, ...always, BACKWORK_SEGMENT_MS: '200' };
    const ports = this.#ports === undefined ? {} : { ports: this.#ports };
    this.#service = await startService({ dataDir: this.#dataDir, env, ...ports });
    this.#ports = this.#service.ports;
    if (this.#token === '') this.#token = this.#service.token;
  }

  /** A request of its own ids, whose record is synced and whose client is gone. */
  async #cutOne(): Promise<Sent> {
    const turn = this.#turn++;
    const ids = Array.from({ length: IDS_PER_REQUEST }, (_, i) => `s${this.#options.seed}-${turn}-${i}`);
    for (const id of ids) this.#ids.add(id);
    const signal = SIGNALS[turn % SIGNALS.length]!;
    const protocol = turn % 2 === 0 ? 'http' : 'grpc';
    const body = encodeIds(ids, signal);
    const port = this.#service.ports[protocol];
    if (this.#cut === 'before-answer') this.#gate.arm();
    const request = new CutRequest({ protocol, port, token: this.#token, signal, body });
    if (this.#cut === 'before-answer') {
      await this.#gate.due();
      await request.cut();
      await this.#gate.open();
    } else {
      await request.answered();
      await request.cut();
    }
    return { body, signal, protocol };
  }

  /** A connection of its own goes to either worker. */
  async #sendAgain({ body, signal, protocol }: Sent): Promise<void> {
    const { ports } = this.#service;
    const sender = protocol === 'http' ? httpSender(ports.http, this.#token) : grpcSender(ports.grpc, this.#token);
    const accepted = await sender.send(body, signal);
    sender.close();
    if (!accepted) this.#refused++;
  }

  #countLeftOut(): void {
    for (const line of linesWith(this.#service, 'left out requests that were sent again'))
      this.#leftOut += (JSON.parse(line) as { requests: number }).requests;
  }

  async #judge(resends: number, restarts: number): Promise<{ figures: Record<string, number>; violations: string[] }> {
    const { figures, violations } = await judgeStored(this.#service, { acknowledged: this.#ids, issued: this.#ids });
    this.#countLeftOut();
    if (this.#refused > 0) violations.push(`${this.#refused} of ${resends} requests were refused when sent again`);
    // A line may be lost with the process that a restart kills: its segment's, at most.
    const linesLost = restarts * SIZES[this.#options.size].acrossRestart;
    if (this.#leftOut < resends - linesLost) violations.push(`only ${this.#leftOut} of ${resends} were left out`);
    const { doubled, lost } = figures;
    return { figures: { resends, restarts, leftOut: this.#leftOut, doubled, lost }, violations };
  }
}

interface Sent {
  readonly body: Buffer;
  readonly signal: (typeof SIGNALS)[number];
  readonly protocol: 'http' | 'grpc';
}
