/** A fault against the whole service: started, watched for processes that end, stopped. */
import { startService, type TestService } from '../../support/service.ts';
import type { FaultReport } from '../fault.ts';

export interface Watched {
  readonly service: TestService;
  /** The ingest process: these faults are about one, so there is one. */
  readonly ingest: readonly number[];
  /** Promises that did not hold; a fault adds to it. */
  readonly violations: string[];
}

type Figures = Record<string, number | string>;

/** Runs `inject` against a service with one ingest process; a process that was replaced or ended meanwhile is a violation. */
export async function underService(
  env: Readonly<Record<string, string>>,
  inject: (watched: Watched) => Promise<Figures>,
): Promise<FaultReport> {
  const service = await startService({ env: { BACKWORK_WORKERS: '1', ...env } });
  try {
    const before = processes(service);
    const violations: string[] = [];
    const watched = { service, ingest: service.children('ingest'), violations };
    let figures: Figures = {};
    let thrown: unknown;
    try {
      figures = await inject(watched);
    } catch (error) {
      thrown = error;
    }
    const exits = before.filter((pid) => !processes(service).includes(pid)).length;
    // What a process that has ended makes fail in the test is no fault of the test.
    if (thrown !== undefined && exits === 0) throw thrown;
    if (exits > 0) violations.push(`${exits} processes of the service ended:\n${service.stderr.slice(-2_000)}`);
    return { figures: { ...figures, exits }, violations };
  } finally {
    await service.stopAndRemove();
  }
}

function processes(service: TestService): number[] {
  return [...service.children('ingest'), ...service.children('store'), ...service.children('engine')];
}

export function mib(bytes: number): number {
  return Math.round(bytes / 1_024 / 1_024);
}
