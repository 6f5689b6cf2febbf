/** Starts the clients' programs, keeps what they print in files, and takes the last line of stdout as their report. */
import { type ChildProcess, spawn } from 'node:child_process';
import { createWriteStream, mkdirSync } from 'node:fs';
import { dirname } from 'node:path';
import type { Command, Transport } from './client.ts';

export interface Task {
  readonly endpoint: string;
  readonly token: string;
  readonly run: string;
  readonly transport: Transport;
  readonly mode: 'once' | 'steady';
  readonly seconds: number;
}

export interface Ended {
  readonly code: number | null;
  /** The last line of stdout as JSON; undefined when it is none. */
  readonly report: Readonly<Record<string, unknown>> | undefined;
  /** The end of what it printed, for a message. */
  readonly tail: string;
}

const TAIL_CHARACTERS = 2_000;

/** Starts the program, its output goes to `logFile`; it is killed when it runs longer than `withinMs`. */
export function startProgram(
  command: Command,
  task: Task,
  logFile: string,
  withinMs: number,
): { readonly ended: Promise<Ended>; readonly process: ChildProcess } {
  mkdirSync(dirname(logFile), { recursive: true });
  const log = createWriteStream(logFile);
  const child = spawn(command.file, command.args, {
    cwd: command.cwd,
    env: { ...process.env, ...command.env, ...environment(task) },
    stdio: ['ignore', 'pipe', 'pipe'],
    // A group of its own: a program may start others (a Collector), and all must end with it.
    detached: true,
  });
  let stdout = '';
  let tail = '';
  child.stdout.on('data', (chunk: Buffer) => {
    stdout = (stdout + chunk).slice(-TAIL_CHARACTERS);
  });
  for (const stream of [child.stdout, child.stderr]) {
    stream.on('data', (chunk: Buffer) => {
      log.write(chunk);
      tail = (tail + chunk).slice(-TAIL_CHARACTERS);
    });
  }
  const deadline = setTimeout(() => {
    tail += `\nkilled after ${withinMs} ms`;
    killGroup(child);
  }, withinMs);
  const ended = new Promise<Ended>((resolve, reject) => {
    child.once('error', reject);
    child.once('close', (code) => {
      clearTimeout(deadline);
      killGroup(child);
      log.end();
      resolve({ code, report: lastLine(stdout), tail });
    });
  });
  return { ended, process: child };
}

function killGroup(child: ChildProcess): void {
  try {
    if (child.pid !== undefined) process.kill(-child.pid, 'SIGKILL');
  } catch {
    // The group has ended.
  }
}

function environment(task: Task): Record<string, string> {
  return {
    INTEROP_ENDPOINT: task.endpoint,
    INTEROP_PROTOCOL: task.transport.protocol,
    INTEROP_COMPRESSION: task.transport.compression,
    INTEROP_VARIANT: task.transport.variant ?? '',
    INTEROP_TOKEN: task.token,
    INTEROP_RUN: task.run,
    INTEROP_MODE: task.mode,
    INTEROP_SECONDS: String(task.seconds),
  };
}

function lastLine(stdout: string): Readonly<Record<string, unknown>> | undefined {
  const line = stdout.trimEnd().split('\n').at(-1) ?? '';
  try {
    return JSON.parse(line) as Record<string, unknown>;
  } catch {
    return undefined;
  }
}
