/**
 * What keeps the idle service small. Node runs our TypeScript as it stands, and to strip types a process loads a
 * WebAssembly compiler that it never gives back: 20 MB in each of four processes, *measured*. With Node's compile cache
 * the stripped text is read instead, and the compiler is not loaded. The cache is filled when processes end, which is
 * too late for a first start, so its files are compiled once beforehand, by a process that links them and cannot run them.
 *
 *   <dataDir>/cache/           Node's compile cache (0700: what stands in it is run)
 *   <dataDir>/cache/made-for   the versions it was made for; anything else there is removed with it
 */
import { spawn } from 'node:child_process';
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { enableCompileCache } from 'node:module';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { backworkVersion } from './version.ts';

/** Compiling takes 0.5 s of CPU; longer only when something is wrong, and then the start does not wait for it. */
const COMPILE_MS_MAX = 10_000;

export function compileCachePath(dataDir: string): string {
  return join(dataDir, 'cache');
}

/**
 * Makes this process use the cache from here on, and fills it for the given entry files when it was made for another
 * version. Never fails: without the cache everything works and takes more memory.
 */
export async function prepareCompileCache(dataDir: string, entries: readonly string[]): Promise<void> {
  const path = compileCachePath(dataDir);
  const marker = join(path, 'made-for');
  const version = `node ${process.versions.node} backwork ${backworkVersion()}\n`;
  try {
    if (readMarker(marker) !== version) {
      rmSync(path, { recursive: true, force: true });
      mkdirSync(path, { mode: 0o700 });
      await compile(path, entries);
      writeFileSync(marker, version, { mode: 0o600 });
    }
    enableCompileCache(path);
  } catch {
    // A full or odd disk is for the checks that need it to work; this one does not.
  }
}

/**
 * Gives memory back that starting has used and running does not need: 20 MB of the supervisor's heap, *measured*. V8
 * would keep it for as long as the process is idle, because idle processes do not collect garbage.
 */
export function releaseStartupMemory(): void {
  setFlagsFromString('--expose-gc');
  const gc: (options: object) => void = runInNewContext('gc');
  setFlagsFromString('--no-expose-gc');
  gc({ type: 'major', execution: 'sync', flavor: 'last-resort' });
}

function readMarker(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return undefined;
  }
}

/**
 * Imports a name from each entry that none exports. Modules are read, stripped, compiled and cached before they are
 * linked; linking then fails, so not a line of them runs.
 */
async function compile(path: string, entries: readonly string[]): Promise<void> {
  const imports = entries.map((file, index) => `import { nothing as n${index} } from '${pathToFileURL(file).href}';`);
  const { promise, resolve } = Promise.withResolvers<void>();
  const compiler = spawn(process.execPath, ['--input-type=module', '-e', imports.join('\n')], {
    env: { ...process.env, NODE_COMPILE_CACHE: path },
    stdio: 'ignore',
    timeout: COMPILE_MS_MAX,
    killSignal: 'SIGKILL',
  });
  compiler.once('exit', () => resolve());
  compiler.once('error', () => resolve());
  await promise;
}
