/**
 * What the door must know of a statement before it hands it to chDB: whether it reads or writes, in which format, and
 * where data begins. ClickHouse's lexical rules, none of its grammar: the engine parses, and says what is wrong.
 *
 *   SELECT … [FORMAT f] [SETTINGS …]       → …  INTO OUTFILE '<fifo>' TRUNCATE FORMAT f [SETTINGS …]
 *   INSERT INTO t (…) [SETTINGS …] FORMAT f ⏎ <data>
 *                                          → INSERT INTO t (…) FROM INFILE '<fifo>' [SETTINGS …] FORMAT f
 */
import { exception } from './exception.ts';

export type Statement =
  /** A SELECT: any size of result, streamed. */
  | { readonly kind: 'read'; readonly sql: string; readonly format: string | undefined; readonly formatAt: number }
  /** SHOW, DESCRIBE, EXPLAIN, …: a small result. */
  | { readonly kind: 'small-read'; readonly sql: string; readonly format: string | undefined }
  /** CREATE, ALTER, SYSTEM, BACKUP, …: a small result or none. */
  | { readonly kind: 'command'; readonly sql: string; readonly format: string | undefined }
  /** INSERT … SELECT: all its data comes from the engine. */
  | { readonly kind: 'insert-select'; readonly sql: string }
  /** INSERT whose rows follow the statement. `dataFrom` is where they begin in the text that was given. */
  | { readonly kind: 'insert'; readonly format: string; readonly dataFrom: number; readonly parts: InsertParts }
  /** KILL QUERY WHERE query_id = '…' */
  | { readonly kind: 'kill'; readonly queryId: string; readonly format: string | undefined };

interface InsertParts {
  /** `INSERT INTO t (a, b)` */
  readonly target: string;
  /** `SETTINGS a = 1`, or nothing. */
  readonly settings: string;
}

interface Token {
  readonly type: 'word' | 'string' | 'other';
  readonly text: string;
  readonly upper: string;
  readonly start: number;
  readonly end: number;
  /** Brackets around it. */
  readonly depth: number;
}

/** Classes the statement in `text`. Throws ClickHouse's exception for what no HTTP interface accepts. */
export function parseStatement(text: string): Statement {
  const tokens = new Tokens(text);
  const first = tokens.at(0);
  if (first === undefined) throw exception('SYNTAX_ERROR', 'Empty query');
  if (first.upper === 'INSERT') {
    const insert = parseInsert(text, tokens);
    if (insert !== undefined) return insert;
  }
  const all = tokens.rest();
  const last = endOfStatement(all);
  const sql = text.slice(0, last.end);
  const top = all.filter((token) => token.depth === 0 && token.end <= last.end);
  refuseOutfile(top);
  const format = trailingFormat(top);
  const name = format?.name;
  if (isKillQuery(top)) return parseKill(all, name);
  if (SMALL_READS.has(first.upper)) return { kind: 'small-read', sql, format: name };
  const reads = first.text === '(' || READS.has(first.upper);
  const inserts = first.upper === 'INSERT' || (first.upper === 'WITH' && top.some((token) => token.upper === 'INSERT'));
  if (inserts) return { kind: 'insert-select', sql };
  if (!reads) return { kind: 'command', sql, format: name };
  return { kind: 'read', sql, format: name, formatAt: format?.at ?? sql.length };
}

/** The clause that makes a read write its result into `path`. */
export function outfileClause(path: string): string {
  return `INTO OUTFILE ${quote(path)} TRUNCATE`;
}

/** The read with its result going to `path`, in the query's own format or in `defaultFormat`. */
export function readInto(statement: Statement & { kind: 'read' }, path: string, defaultFormat: string): string {
  const before = statement.sql.slice(0, statement.formatAt);
  const format = statement.format === undefined ? `FORMAT ${defaultFormat}` : statement.sql.slice(statement.formatAt);
  return `${before}\n${outfileClause(path)} ${format}`;
}

/** The clause that makes an INSERT read its rows from `path`. */
export function infileClause(path: string): string {
  return `FROM INFILE ${quote(path)}`;
}

export function insertFrom(statement: Statement & { kind: 'insert' }, path: string): string {
  const { target, settings } = statement.parts;
  return `${target}\n${infileClause(path)} ${settings} FORMAT ${statement.format}`;
}

/** A string literal. */
export function quote(value: string): string {
  return `'${value.replaceAll('\\', '\\\\').replaceAll("'", "\\'")}'`;
}

const READS: ReadonlySet<string> = new Set(['SELECT', 'WITH', 'FROM']);
const SMALL_READS: ReadonlySet<string> = new Set(['SHOW', 'DESC', 'DESCRIBE', 'EXPLAIN', 'EXISTS', 'CHECK']);

/** undefined: an INSERT without data of its own (INSERT … SELECT). */
function parseInsert(text: string, tokens: Tokens): Statement | undefined {
  let settingsAt: number | undefined;
  let select = false;
  let input = false;
  // A table may be called `format` or `values`: the clauses are looked for behind its name.
  for (let i = tokens.afterTableName(); ; i++) {
    const token = tokens.at(i);
    if (token === undefined) return undefined;
    if (select && token.upper === 'INPUT' && tokens.at(i + 1)?.text === '(') input = true;
    if (token.depth > 0 || token.type !== 'word') continue;
    if (token.upper === 'FROM' && tokens.at(i + 1)?.upper === 'INFILE') {
      throw exception('NOT_IMPLEMENTED', 'INSERT … FROM INFILE is not allowed over HTTP: send the data in the body');
    }
    if (token.upper === 'SELECT' || token.upper === 'WITH') select = true;
    if (token.upper === 'SETTINGS' && !select) settingsAt ??= token.start;
    const format = token.upper === 'FORMAT' ? tokens.at(i + 1) : undefined;
    if (select) {
      if (input && format !== undefined) {
        throw exception('NOT_IMPLEMENTED', 'the embedded engine cannot INSERT … SELECT … FROM input()');
      }
      continue;
    }
    if (token.upper !== 'VALUES' && format?.type !== 'word') continue;
    return {
      kind: 'insert',
      format: format?.text ?? 'Values',
      dataFrom: dataStart(text, format?.end ?? token.end),
      parts: {
        target: text.slice(0, settingsAt ?? token.start).trim(),
        settings: settingsAt === undefined ? '' : text.slice(settingsAt, token.start).trim(),
      },
    };
  }
}

/** ClickHouse's rule: spaces behind the format's name, then at most one line break. */
function dataStart(text: string, from: number): number {
  let at = from;
  while (text[at] === ' ' || text[at] === '\t' || text[at] === '\f') at++;
  if (text[at] === '\r') at++;
  if (text[at] === '\n') at++;
  return at;
}

/** The last token before the closing semicolon. */
function endOfStatement(tokens: readonly Token[]): Token {
  let end = tokens.length;
  while (end > 0 && tokens[end - 1]?.text === ';') end--;
  const last = tokens[end - 1];
  if (last === undefined) throw exception('SYNTAX_ERROR', 'Empty query');
  if (tokens.slice(0, end).some((token) => token.text === ';' && token.depth === 0)) {
    throw exception('SYNTAX_ERROR', 'Syntax error (Multi-statements are not allowed)');
  }
  return last;
}

function refuseOutfile(top: readonly Token[]): void {
  if (top.some((token, i) => token.upper === 'INTO' && top[i + 1]?.upper === 'OUTFILE')) {
    throw exception('INTO_OUTFILE_NOT_ALLOWED', 'INTO OUTFILE is not allowed');
  }
}

/** `FORMAT name` at the end, or with only SETTINGS behind it. */
function trailingFormat(top: readonly Token[]): { name: string; at: number } | undefined {
  for (let i = top.length - 2; i > 0; i--) {
    const token = top[i];
    const name = top[i + 1];
    const next = top[i + 2];
    if (token?.upper !== 'FORMAT' || name?.type !== 'word') continue;
    if (next === undefined || next.upper === 'SETTINGS') return { name: name.text, at: token.start };
  }
  return undefined;
}

function isKillQuery(top: readonly Token[]): boolean {
  return top[0]?.upper === 'KILL' && top[1]?.upper === 'QUERY';
}

/** chDB knows none of the ids that clients give, so only this one question can be answered (from the door's list). */
function parseKill(tokens: readonly Token[], format: string | undefined): Statement {
  const [, , where, column, equals, id] = tokens;
  if (where?.upper !== 'WHERE' || column?.upper !== 'QUERY_ID' || equals?.text !== '=' || id?.type !== 'string') {
    throw exception('NOT_IMPLEMENTED', "the embedded engine knows only KILL QUERY WHERE query_id = '…'");
  }
  const queryId = id.text.slice(1, -1).replace(/\\(.)|''/g, (found, escaped) => escaped ?? found[0]);
  return { kind: 'kill', queryId, format };
}

/** One alternative each: space, comment, string, quoted name, heredoc, word, number, anything else. */
const LEXEME =
  /(\s+|--[^\n]*|#[ !][^\n]*|\/\*[\s\S]*?\*\/)|('(?:[^'\\]+|\\[\s\S]|'')*'|\$(\w*)\$[\s\S]*?\$\3\$)|([A-Za-z_]\w*)|`(?:[^`\\]+|\\[\s\S]|``)*`|"(?:[^"\\]+|\\[\s\S]|"")*"|\d\w*|[\s\S]/y;

/** Tokens, found as they are asked for: what follows an INSERT may be megabytes of binary data. */
class Tokens {
  readonly #text: string;
  readonly #tokens: Token[] = [];
  #at = 0;
  #depth = 0;

  constructor(text: string) {
    this.#text = text;
  }

  at(index: number): Token | undefined {
    while (this.#tokens.length <= index) {
      if (!this.#next()) return undefined;
    }
    return this.#tokens[index];
  }

  rest(): readonly Token[] {
    while (this.#next());
    return this.#tokens;
  }

  /** Index of the first token behind `INSERT [INTO] [TABLE|FUNCTION] [database.]table`. */
  afterTableName(): number {
    let i = 1;
    while (['INTO', 'TABLE', 'FUNCTION'].includes(this.at(i)?.upper ?? '')) i++;
    i++;
    return this.at(i)?.text === '.' ? i + 2 : i;
  }

  #next(): boolean {
    while (this.#at < this.#text.length) {
      LEXEME.lastIndex = this.#at;
      const match = LEXEME.exec(this.#text);
      if (match === null) return false;
      const start = this.#at;
      this.#at = LEXEME.lastIndex;
      if (match[1] !== undefined) continue;
      this.#push(match, start);
      return true;
    }
    return false;
  }

  #push(match: RegExpExecArray, start: number): void {
    const text = match[0];
    if (text === ')' || text === ']' || text === '}') this.#depth = Math.max(0, this.#depth - 1);
    const type = match[2] !== undefined ? 'string' : match[4] !== undefined ? 'word' : 'other';
    const upper = type === 'word' ? text.toUpperCase() : '';
    this.#tokens.push({ type, text, upper, start, end: this.#at, depth: this.#depth });
    if (text === '(' || text === '[' || text === '{') this.#depth++;
  }
}
