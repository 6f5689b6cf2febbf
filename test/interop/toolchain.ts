/** Running the tools that build clients: a missing tool is an answer, a failing one is an error with its output. */
import { execFile } from 'node:child_process';

export interface ToolOptions {
  readonly cwd?: string;
  readonly env?: Readonly<Record<string, string>>;
}

/** stdout of a tool; throws with the end of its output when it fails. */
export function runTool(file: string, args: readonly string[], options: ToolOptions = {}): Promise<string> {
  const env = { ...process.env, ...options.env };
  return new Promise((resolve, reject) => {
    execFile(file, args, { env, cwd: options.cwd, maxBuffer: 64 * 1024 * 1024 }, (error, stdout, stderr) => {
      if (error === null) resolve(stdout);
      else
        reject(
          new Error(`${file} ${args.join(' ')}: ${error.message.split('\n')[0]}\n${(stdout + stderr).slice(-4_000)}`),
        );
    });
  });
}

/** The first of these programs that answers `--version` (or `args`) with success; undefined when none does. */
export async function findTool(
  files: readonly string[],
  args: readonly string[] = ['--version'],
): Promise<string | undefined> {
  for (const file of files) {
    const works = await runTool(file, args).then(
      () => true,
      () => false,
    );
    if (works) return file;
  }
  return undefined;
}
