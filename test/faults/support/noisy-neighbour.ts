/** An organization beside the others, with limits and a token of its own, and its noise (noisy-thread.ts). */
import { setTimeout as delay } from 'node:timers/promises';
import { Worker } from 'node:worker_threads';
import type { TestService } from '../../support/service.ts';
import type { NoisyOptions, NoisyResult } from './noisy-thread.ts';

/** Makes it; resolves to a token. `limits` are the options of `org limits`. */
export async function makeOrganization(
  service: TestService,
  slug: string,
  limits: Readonly<Record<string, number>>,
): Promise<string> {
  await mustRun(service, 'org', 'create', '--name', slug, '--slug', slug);
  await limitOrganization(service, slug, limits);
  return mustRun(service, 'token', 'create', '--org', slug, '--name', slug);
}

export async function limitOrganization(
  service: TestService,
  slug: string,
  limits: Readonly<Record<string, number | 'default'>>,
): Promise<void> {
  const options = Object.entries(limits).flatMap(([name, value]) => [`--${name}`, String(value)]);
  await mustRun(service, 'org', 'limits', slug, ...options);
}

export interface Noise {
  /** Resolves when an answer of each form has come: true; false when it was waited for long enough. */
  heard(answers: readonly RegExp[], withinMs?: number): Promise<boolean>;
  /** Ends it, and tells what came of it. */
  stop(): Promise<NoisyResult>;
}

export function startNoise(options: NoisyOptions): Noise {
  const thread = new Worker(new URL('./noisy-thread.ts', import.meta.url), { workerData: options });
  const answers: string[] = [];
  const result = new Promise<NoisyResult>((resolve, reject) => {
    thread.on('message', (message: { answer?: string; result?: NoisyResult }) => {
      if (message.answer !== undefined) answers.push(message.answer);
      if (message.result !== undefined) resolve(message.result);
    });
    thread.once('error', reject);
  });
  // It is awaited when the noise is stopped.
  result.catch(() => undefined);
  return {
    async heard(wanted, withinMs = 30_000) {
      const deadline = performance.now() + withinMs;
      const isMissing = (one: RegExp): boolean => !answers.some((answer) => one.test(answer));
      while (wanted.some(isMissing) && performance.now() < deadline) await delay(20);
      return !wanted.some(isMissing);
    },
    stop() {
      thread.postMessage('stop');
      return result;
    },
  };
}

async function mustRun(service: TestService, ...args: string[]): Promise<string> {
  const { code, stdout, stderr } = await service.command(...args);
  if (code !== 0) throw new Error(`${args.join(' ')}: ${stderr}`);
  return stdout.trim();
}
