/** The test's side of fault-agent.ts: where the processes of a service die, which mistakes they make, what time it is. */
import { existsSync, mkdtempSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { pathToFileURL } from 'node:url';
import type { PlantedBug } from '../../../src/base/fault-points.ts';
import type { Arm, Hit, Role } from './fault-agent.ts';

const AGENT = pathToFileURL(join(import.meta.dirname, 'fault-agent.ts')).href;
const POLL_MS = 5;

export class FaultControl {
  readonly dir = mkdtempSync(join(tmpdir(), 'backwork-faults-'));
  /** For the environment of the service. */
  readonly env: Readonly<Record<string, string>> = {
    NODE_OPTIONS: `${process.env['NODE_OPTIONS'] ?? ''} --import=${AGENT}`.trim(),
    FAULT_AGENT: this.dir,
  };
  #armed = 0;

  /** Arms one kill; takes back an earlier one that was not set off. Returns its id. */
  arm(arm: Omit<Arm, 'id'>): string {
    const id = String(++this.#armed);
    this.#write('arm.json', { id, ...arm });
    return id;
  }

  disarm(): void {
    this.#write('arm.json', {});
  }

  /** What was set off, or undefined when nothing was. */
  hit(id: string): Hit | undefined {
    try {
      const text = readFileSync(join(this.dir, `hit-${id}`), 'utf8');
      return text === '' ? undefined : (JSON.parse(text) as Hit);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
      throw error;
    }
  }

  /** Waits for it; undefined, and disarmed, when it does not come within `withinMs`. */
  async waitForHit(id: string, withinMs: number): Promise<Hit | undefined> {
    const deadline = performance.now() + withinMs;
    for (;;) {
      const hit = this.hit(id);
      if (hit !== undefined) return hit;
      if (performance.now() > deadline) break;
      await delay(POLL_MS);
    }
    this.disarm();
    return this.hit(id);
  }

  /** These mistakes, each so many times in all processes together; -1 is always. */
  plant(bugs: Partial<Record<PlantedBug, number>>): void {
    this.#write('plant.json', bugs);
  }

  /** How often the mistake was made; 1 when it is always made. */
  planted(bug: PlantedBug): number {
    return readdirSync(this.dir).filter((file) => file.startsWith(`planted-${bug}-`)).length;
  }

  /** Moves the wall clock of all processes but the engine's own threads. */
  shiftClock(offsetMs: number): void {
    this.#write('clock.json', { offsetMs });
  }

  /** Process ids that have said `ready`. */
  ready(role: Role): number[] {
    const path = join(this.dir, 'ready.log');
    if (!existsSync(path)) return [];
    const lines = readFileSync(path, 'utf8').split('\n');
    return lines.filter((line) => line.startsWith(`${role} `)).map((line) => Number(line.split(' ')[1]));
  }

  remove(): void {
    rmSync(this.dir, { recursive: true, force: true });
  }

  /** Whole or not at all, so that no process reads half of it. */
  #write(name: string, value: object): void {
    writeFileSync(join(this.dir, `.${name}`), JSON.stringify(value));
    renameSync(join(this.dir, `.${name}`), join(this.dir, name));
  }
}
