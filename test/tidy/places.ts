/** Which files may be under version control: a download or a data directory is committed by one careless `git add`. */
import { extname } from 'node:path';
import type { Violation } from './source.ts';

const TOP_LEVEL: ReadonlySet<string> = new Set([
  '.ci/run',
  '.gitignore',
  '.npmrc',
  'CHANGELOG.md',
  'LICENSE',
  'OPERATING.md',
  'README.md',
  'biome.json',
  'package-lock.json',
  'package.json',
  'tsconfig.json',
  'vitest.config.ts',
]);
const CODE = ['.ts', '.json', '.md'];
/** Golden files of the formats on disk, certificates of the tests, and clients in other languages. */
const TEST = [
  '.yaml',
  '.segment',
  '.footer',
  '.batches',
  '.journal',
  '.key',
  '.crt',
  '.py',
  '.txt',
  '.go',
  '.mod',
  '.sum',
  '.java',
  '.xml',
  '.rs',
  '.toml',
  '.lock',
];
const KINDS: Readonly<Record<string, readonly string[]>> = {
  bench: [...CODE, ...TEST],
  deploy: ['.json', '.md', '.yml', '.yaml'],
  proto: ['.proto', '.md'],
  src: ['.ts', '.json', '.md'],
  test: [...CODE, ...TEST],
};

export function checkPlaces(paths: readonly string[]): Violation[] {
  return paths.flatMap((path) => {
    if (TOP_LEVEL.has(path)) return [];
    const [room = ''] = path.split('/', 1);
    const kinds = path.includes('/') ? KINDS[room] : undefined;
    if (kinds === undefined) return [{ path, line: 1, rule: 'stands in no known place' }];
    return kinds.includes(extname(path)) ? [] : [{ path, line: 1, rule: `is of no kind that belongs in ${room}` }];
  });
}
