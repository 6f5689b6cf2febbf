/** Checks of one file's text and syntax: lengths, exports, erasable syntax, leftovers, index marks. */
import ts from 'typescript';
import { importsOf, lineOf, nodesOf, parse, type SourceFile, type Violation } from './source.ts';

export const FILE_LINES_MAX = 400;
export const FUNCTION_LINES_MAX = 70;

/** Column tables may be as long as their columns. */
export function checkFileLength(file: SourceFile): Violation[] {
  const lines = file.text.trimEnd().split('\n').length;
  if (lines <= FILE_LINES_MAX || file.path.startsWith('src/tables/')) return [];
  return [{ path: file.path, line: FILE_LINES_MAX + 1, rule: `${lines} lines, at most ${FILE_LINES_MAX}` }];
}

export function checkFunctionLength(file: SourceFile): Violation[] {
  const tree = parse(file);
  const violations: Violation[] = [];
  for (const node of nodesOf(tree)) {
    if (!ts.isFunctionLike(node) || !('body' in node) || node.body === undefined) continue;
    const first = lineOf(tree, node);
    const last = tree.getLineAndCharacterOfPosition(node.end).line + 1;
    const lines = last - first + 1;
    if (lines > FUNCTION_LINES_MAX) {
      violations.push({
        path: file.path,
        line: first,
        rule: `a function of ${lines} lines, at most ${FUNCTION_LINES_MAX}`,
      });
    }
  }
  return violations;
}

export function checkExports(file: SourceFile): Violation[] {
  const tree = parse(file);
  const violations: Violation[] = importsOf(file)
    .filter((one) => one.reExport)
    .map((one) => ({
      path: file.path,
      line: one.line,
      rule: 're-exports another file: import the name from where it is defined',
    }));
  for (const node of nodesOf(tree)) {
    const modifiers = ts.canHaveModifiers(node) ? (ts.getModifiers(node) ?? []) : [];
    const isDefault = ts.isExportAssignment(node) || modifiers.some((one) => one.kind === ts.SyntaxKind.DefaultKeyword);
    if (isDefault && file.path !== 'vitest.config.ts') {
      violations.push({ path: file.path, line: lineOf(tree, node), rule: 'has a default export' });
    }
  }
  return violations;
}

/** Node strips types and does not transform: only syntax that leaves nothing behind runs. */
export function checkErasable(file: SourceFile): Violation[] {
  const tree = parse(file);
  const violations: Violation[] = [];
  for (const node of nodesOf(tree)) {
    const what = notErasable(node);
    if (what !== undefined)
      violations.push({ path: file.path, line: lineOf(tree, node), rule: `${what} is not erasable` });
  }
  return violations;
}

function notErasable(node: ts.Node): string | undefined {
  const modifiers = ts.canHaveModifiers(node) ? (ts.getModifiers(node) ?? []) : [];
  const isDeclared = modifiers.some((one) => one.kind === ts.SyntaxKind.DeclareKeyword);
  if (ts.isEnumDeclaration(node) && !isDeclared) return 'an enum';
  if (ts.isModuleDeclaration(node) && !isDeclared) return 'a namespace';
  if (ts.isParameter(node) && modifiers.length > 0) return 'a parameter property';
  if (ts.isImportEqualsDeclaration(node)) return 'import =';
  if (ts.isExportAssignment(node) && node.isExportEquals) return 'export =';
  if (ts.isTypeAssertionExpression(node)) return 'a <type> assertion';
  return undefined;
}

export function checkLeftovers(file: SourceFile): Violation[] {
  return file.text.split('\n').flatMap((line, index) => {
    const word = /\b(FIX[M]E|TO[D]O|X[X]X|HAC[K])\b/.exec(line)?.[0];
    return word === undefined ? [] : [{ path: file.path, line: index + 1, rule: `leftover ${word}` }];
  });
}

/** `x!` is for loops over bytes: the rooms of the data plane, and base. */
export function checkIndexMarks(file: SourceFile): Violation[] {
  if (!file.path.startsWith('src/') || /^src\/(ingest|base)\//.test(file.path)) return [];
  const tree = parse(file);
  return [...nodesOf(tree)]
    .filter((node) => ts.isNonNullExpression(node))
    .map((node) => ({ path: file.path, line: lineOf(tree, node), rule: 'a ! mark outside ingest and base' }));
}

/** Conversion is a pure function of header, body and schema. */
export function checkPure(file: SourceFile): Violation[] {
  if (!file.path.startsWith('src/ingest/convert/')) return [];
  const tree = parse(file);
  return [...nodesOf(tree)].flatMap((node) => {
    const text = ts.isPropertyAccessExpression(node) ? node.getText(tree) : '';
    const impure = /^(process\.|Date\.now|Math\.random|performance\.|globalThis\.)/.exec(text)?.[0];
    const isClock = ts.isNewExpression(node) && node.expression.getText(tree) === 'Date' && !node.arguments?.length;
    if (impure === undefined && !isClock) return [];
    return [{ path: file.path, line: lineOf(tree, node), rule: `${impure ?? 'new Date()'} in convert, which is pure` }];
  });
}
