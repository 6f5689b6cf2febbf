import type { Log } from '../../../src/base/log.ts';

export interface Line {
  readonly level: string;
  readonly fields: Readonly<Record<string, unknown>>;
  readonly message: string;
}

/** A log that keeps its lines for the test to read. */
export function recordingLog() {
  const lines: Line[] = [];
  const at = (level: string) => (fields: object, message: string) => {
    lines.push({ level, fields: fields as Record<string, unknown>, message });
  };
  return {
    lines,
    /** Messages of one level, in order. */
    messages: (level: string) => lines.filter((line) => line.level === level).map((line) => line.message),
    debug: at('debug'),
    info: at('info'),
    warn: at('warn'),
    error: at('error'),
  } satisfies Log & { lines: Line[]; messages: (level: string) => string[] };
}
