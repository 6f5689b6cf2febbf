/**
 * ClickHouse exceptions as the door passes them on: number, name, text, and the HTTP status a server gives them. Only
 * the codes that the door itself raises are named here; all others come from the engine with their own text.
 */
import { BackworkError } from '../base/errors.ts';

export type ExceptionName = keyof typeof CODES;

/** Codes of ClickHouse's ErrorCodes.cpp that the door raises by itself. */
const CODES = {
  BAD_ARGUMENTS: 36,
  NOT_IMPLEMENTED: 48,
  SYNTAX_ERROR: 62,
  UNKNOWN_COMPRESSION_METHOD: 89,
  UNKNOWN_SETTING: 115,
  READONLY: 164,
  REQUIRED_PASSWORD: 194,
  TOO_MANY_SIMULTANEOUS_QUERIES: 202,
  QUERY_WITH_SAME_ID_IS_ALREADY_RUNNING: 216,
  QUERY_IS_TOO_LARGE: 229,
  ABORTED: 236,
  CANNOT_DECOMPRESS: 271,
  INTO_OUTFILE_NOT_ALLOWED: 358,
  QUERY_WAS_CANCELLED: 394,
  TOO_MANY_ROWS_OR_BYTES: 396,
  UNKNOWN_ROLE: 511,
  AUTHENTICATION_FAILED: 516,
  UNKNOWN_EXCEPTION: 1002,
} as const;

/** Statuses of ClickHouse's exceptionCodeToHTTPStatus.cpp; everything else is 500. */
const STATUSES: ReadonlyArray<readonly [status: number, codes: readonly number[]]> = [
  [401, [194]],
  [403, [192, 193, 497, 512, 516]],
  [400, [6, 8, 15, 25, 26, 27, 36, 37, 38, 41, 44, 53, 62, 72, 117, 123, 167, 168, 223, 321, 376, 427, 441, 675, 676]],
  [404, [46, 47, 50, 56, 60, 63, 73, 78, 81, 115, 152, 336, 511]],
  [408, [159]],
  [411, [381]],
  [413, [229]],
  [415, [89]],
  [501, [48]],
  [503, [76, 209, 439]],
];

/** An exception of the door's own, in the form of ClickHouse's. `storeCode` carries the number. */
export function exception(name: ExceptionName, message: string): BackworkError {
  const code = CODES[name];
  return new BackworkError('store-permanent', `Code: ${code}. DB::Exception: ${message}. (${name})`, {
    storeCode: code,
  });
}

/**
 * What chDB threw, as the exception a server would report. `hidden` are the clauses that the door added to the query:
 * they are cut out of the text.
 */
export function engineException(thrown: unknown, hidden: readonly string[] = []): BackworkError {
  if (thrown instanceof BackworkError) return thrown;
  let text = thrown instanceof Error ? thrown.message : String(thrown);
  for (const clause of hidden) text = text.replaceAll(clause, '');
  const nested = NESTED.exec(text);
  if (nested !== null) text = `Code: ${nested[1]}. DB::Exception: ${nested[2]}. (${nested[3]})`;
  const code = Number(/^Code: (\d+)/.exec(text)?.[1] ?? CODES.UNKNOWN_EXCEPTION);
  if (!text.startsWith('Code: ')) text = `Code: ${code}. DB::Exception: ${text}. (UNKNOWN_EXCEPTION)`;
  return new BackworkError('store-permanent', text.trimEnd().replace(/ \[\]$/, ''), { storeCode: code, cause: thrown });
}

/** `INSERT … FROM INFILE` reports an exception inside an exception; the inner one is what a server would say. */
const NESTED =
  /^Code: (\d+)\. DB::Exception: Code: \1\. DB::Exception: ([\s\S]*?)(?:: data for INSERT was parsed from file)?\. \(([A-Z0-9_]+)\) \(version [^)]*\)[\s\S]*$/;

/** ClickHouse's number of what was thrown; 1002 (UNKNOWN_EXCEPTION) for what has none. */
export function exceptionCode(error: unknown): number {
  return (error instanceof BackworkError ? error.storeCode : undefined) ?? CODES.UNKNOWN_EXCEPTION;
}

/** The HTTP status a ClickHouse server gives an exception with this number. */
export function exceptionStatus(code: number): number {
  return STATUSES.find(([, codes]) => codes.includes(code))?.[0] ?? 500;
}
