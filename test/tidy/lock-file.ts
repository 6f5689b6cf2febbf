/** package-lock.json and package.json: complete for every platform, from the public registry, pinned. */
import type { Violation } from './source.ts';

interface LockedPackage {
  readonly version?: string;
  readonly resolved?: string;
  readonly link?: boolean;
  readonly dependencies?: Record<string, string>;
  readonly devDependencies?: Record<string, string>;
  readonly optionalDependencies?: Record<string, string>;
  readonly peerDependencies?: Record<string, string>;
  readonly peerDependenciesMeta?: Record<string, { readonly optional?: boolean }>;
}

export interface LockFile {
  readonly packages: Readonly<Record<string, LockedPackage>>;
}

export interface PackageFile {
  readonly engines?: { readonly node?: string };
  readonly dependencies?: Record<string, string>;
  readonly devDependencies?: Record<string, string>;
  readonly optionalDependencies?: Record<string, string>;
}

const REGISTRY = 'https://registry.npmjs.org/';

/** The text is for line numbers: each package's key stands on a line of its own. */
export function checkLockFile(lock: LockFile, text: string): Violation[] {
  const violations: Violation[] = [];
  for (const [path, locked] of Object.entries(lock.packages)) {
    const say = (rule: string) => violations.push({ path: 'package-lock.json', line: lineOfKey(text, path), rule });
    for (const name of declaredBy(locked)) {
      // npm ci refuses a lock file that lacks a package, those of other platforms included.
      if (!isLocked(lock, path, name))
        say(`${path === '' ? 'package.json' : path} declares ${name}, which has no entry`);
    }
    if (locked.resolved !== undefined && !locked.resolved.startsWith(REGISTRY))
      say(`${path} comes from elsewhere than ${REGISTRY}`);
  }
  return violations;
}

function declaredBy(locked: LockedPackage): string[] {
  const peers = Object.keys(locked.peerDependencies ?? {}).filter(
    (name) => !locked.peerDependenciesMeta?.[name]?.optional,
  );
  const lists = [locked.dependencies, locked.devDependencies, locked.optionalDependencies];
  return [...new Set([...lists.flatMap((list) => Object.keys(list ?? {})), ...peers])];
}

/** As Node resolves: in the package's own node_modules, then in those of the folders above. */
function isLocked(lock: LockFile, path: string, name: string): boolean {
  for (let folder = path; ; folder = folder.slice(0, Math.max(0, folder.lastIndexOf('node_modules/') - 1))) {
    if (lock.packages[`${folder === '' ? '' : `${folder}/`}node_modules/${name}`] !== undefined) return true;
    if (folder === '') return false;
  }
}

export function checkPins(packageFile: PackageFile, lock: LockFile, text: string): Violation[] {
  const violations: Violation[] = [];
  const say = (key: string, rule: string) =>
    violations.push({ path: 'package.json', line: lineOfKey(text, key), rule });
  const nodes = Object.entries(packageFile.optionalDependencies ?? {}).filter(([name]) => /^node-/.test(name));
  if (nodes.length !== 4) say('optionalDependencies', `${nodes.length} packages hold Node's binary, not 4`);
  for (const [name, version] of nodes) {
    if (version !== nodes[0]?.[1]) say(name, `${name} is ${version}, ${nodes[0]?.[0]} is ${nodes[0]?.[1]}`);
  }
  const major = /^(\d+)\./.exec(nodes[0]?.[1] ?? '')?.[1];
  if (packageFile.engines?.node !== `>=${major}.0.0`) say('engines', `engines.node is not >=${major}.0.0`);
  for (const kind of ['dependencies', 'devDependencies', 'optionalDependencies'] as const) {
    for (const [name, version] of Object.entries(packageFile[kind] ?? {})) {
      if (!/^\d+\.\d+\.\d+(-[\w.]+)?$/.test(version)) say(name, `${name} is not pinned to one version`);
      if (lock.packages['']?.[kind]?.[name] !== version)
        say(name, `${name} ${version} is not what package-lock.json says`);
    }
  }
  return violations;
}

function lineOfKey(text: string, key: string): number {
  const index = text.indexOf(`${JSON.stringify(key)}:`);
  return index < 0 ? 1 : text.slice(0, index).split('\n').length;
}
