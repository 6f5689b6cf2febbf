/** Files of src/ that nothing reaches from main.ts: by import, dynamic import, or the path of a process that is forked. */
import { posix } from 'node:path';
import ts from 'typescript';
import { importsOf, nodesOf, parse, type SourceFile, type Violation } from './source.ts';

export function findDeadFiles(files: readonly SourceFile[], root = 'src/main.ts'): Violation[] {
  const sources = new Map(files.filter((file) => file.path.startsWith('src/')).map((file) => [file.path, file]));
  const reached = new Set<string>();
  const waiting = [root];
  for (let path = waiting.pop(); path !== undefined; path = waiting.pop()) {
    const file = sources.get(path);
    if (file === undefined || reached.has(path)) continue;
    reached.add(path);
    waiting.push(...importsOf(file).flatMap((one) => one.target ?? []), ...mentionedFiles(file));
  }
  return [...sources.keys()]
    .filter((path) => !reached.has(path))
    .map((path) => ({ path, line: 1, rule: `is not reached from ${root}` }));
}

/** Strings that name a file beside this one or in src/: what is forked or loaded by path. */
function mentionedFiles(file: SourceFile): string[] {
  return [...nodesOf(parse(file))]
    .filter((node) => ts.isStringLiteralLike(node))
    .map((node) => node.text)
    .filter((text) => /^[\w./-]+\.ts$/.test(text))
    .flatMap((text) => [posix.join(posix.dirname(file.path), text), posix.join('src', text)]);
}
