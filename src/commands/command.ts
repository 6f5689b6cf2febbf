/**
 * What every command of the command line is: a file of this folder with `run`. main.ts loads the one that was asked for
 * and nothing else, because an idle service is measured by what it has loaded.
 */
import type { Readable, Writable } from 'node:stream';
import { parseArgs } from 'node:util';
import { BackworkError, messageOf } from '../base/errors.ts';
import type { Settings } from '../settings/settings.ts';

export interface CommandContext {
  readonly settings: Settings;
  /** Writes as it is, without a line end of its own. */
  readonly stdout: (text: string) => void;
  readonly stderr: (text: string) => void;
  /** Stdout as a stream, for bytes of any length and form; `stdout` is the same for text. */
  readonly output?: Writable;
  /** Stdin, when it is not the process's own. */
  readonly input?: Readable;
  readonly env: NodeJS.ProcessEnv;
}

/** Runs the command and resolves to the exit code. A BackworkError becomes one line on stderr and exit code 1. */
export type Run = (args: readonly string[], context: CommandContext) => Promise<number>;

/** The command line was used wrongly: its message, the usage line and exit code 2. */
export class UsageError extends BackworkError {
  readonly usage: string;
  constructor(message: string, usage: string) {
    super('invalid-input', message);
    this.usage = usage;
  }
}

export interface OptionKinds {
  readonly [name: string]: 'text' | 'flag';
}
export interface Arguments {
  /** Words that belong to no option, in order. */
  readonly words: readonly string[];
  readonly text: Readonly<Record<string, string | undefined>>;
  readonly flags: ReadonlySet<string>;
}

/**
 * Splits a command's arguments into words and `--name value`, `--name=value` or `--flag`. Unknown options, a missing
 * value and a number of words outside [wordsMin, wordsMax] throw UsageError.
 */
export function readArguments(
  args: readonly string[],
  kinds: OptionKinds,
  usage: string,
  wordsMin = 0,
  wordsMax = wordsMin,
): Arguments {
  const options = Object.fromEntries(
    Object.entries(kinds).map(([name, kind]) => [name, { type: kind === 'flag' ? 'boolean' : 'string' } as const]),
  );
  const { values, positionals } = parse(args, options, usage);
  if (positionals.length < wordsMin || positionals.length > wordsMax) {
    throw new UsageError(`${positionals.length} arguments given, ${wordsText(wordsMin, wordsMax)} expected`, usage);
  }
  const text: Record<string, string | undefined> = {};
  const flags = new Set<string>();
  for (const [name, value] of Object.entries(values)) {
    if (typeof value === 'string') text[name] = value;
    else if (value === true) flags.add(name);
  }
  return { words: positionals, text, flags };
}

type ParseOptions = Record<string, { readonly type: 'boolean' | 'string' }>;

function parse(args: readonly string[], options: ParseOptions, usage: string) {
  try {
    return parseArgs({ args: [...args], options, allowPositionals: true, strict: true });
  } catch (error) {
    // Node's message may run over several sentences of advice; the first says what is wrong.
    throw new UsageError(messageOf(error).split('. ')[0] ?? 'unreadable arguments', usage);
  }
}

function wordsText(min: number, max: number): string {
  return min === max ? `${min}` : `${min} to ${max}`;
}
