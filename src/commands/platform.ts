/** What backwork runs on. Said in one line, instead of by whatever would fail first. */
import { BackworkError } from '../base/errors.ts';

export interface Platform {
  /** As process.platform: linux, darwin, win32 … */
  readonly system: string;
  readonly arch: string;
  /** As process.versions.node. */
  readonly node: string;
  /** undefined on Linux means another C library: musl, as on Alpine. */
  readonly glibc: string | undefined;
}

export const NODE_MAJOR_MIN = 26;
/** For these there is a build of chDB, the embedded engine. */
const ENGINE_TARGETS = ['linux x64', 'linux arm64', 'darwin x64', 'darwin arm64'];

export function thisPlatform(): Platform {
  return { system: process.platform, arch: process.arch, node: process.versions.node, glibc: glibcVersion() };
}

/** undefined, or why this platform cannot run the service and what to do. Pure. */
export function platformProblem(platform: Platform, embedded: boolean): string | undefined {
  const { system, arch, node, glibc } = platform;
  if (Number.parseInt(node, 10) < NODE_MAJOR_MIN) {
    return `Node ${node} is too old, ${NODE_MAJOR_MIN} or newer is needed; "npm start" and "npm run backwork" bring their own`;
  }
  if (system === 'win32') return 'Windows is not supported; use WSL 2 or a container with Debian or Ubuntu';
  if (!embedded) return undefined;
  const server = 'or set BACKWORK_CLICKHOUSE_URL to a ClickHouse server';
  if (system === 'linux' && glibc === undefined) {
    return `the embedded engine (chDB) needs glibc, and this system has another C library (musl, as on Alpine); use a glibc distribution such as Debian, ${server}`;
  }
  if (!ENGINE_TARGETS.includes(`${system} ${arch}`)) {
    return `the embedded engine (chDB) has no build for ${system} ${arch}, only for ${ENGINE_TARGETS.join(', ')}; use one of these, ${server}`;
  }
  return undefined;
}

/** Throws `unsupported-platform` with that line. `embedded`: the embedded engine is wanted too. */
export function requirePlatform(embedded: boolean): void {
  refuse(platformProblem(thisPlatform(), embedded));
}

/** As requirePlatform, for what needs neither engine nor service: Node's version alone. */
export function requireNode(): void {
  refuse(platformProblem({ system: '', arch: '', node: process.versions.node, glibc: undefined }, false));
}

function refuse(problem: string | undefined): void {
  if (problem !== undefined) throw new BackworkError('unsupported-platform', problem);
}

function glibcVersion(): string | undefined {
  // The report would look up the names of open connections; only its header is wanted.
  Object.assign(process.report, { excludeNetwork: true });
  const { header } = process.report.getReport() as { header?: { glibcVersionRuntime?: string } };
  return header?.glibcVersionRuntime;
}
