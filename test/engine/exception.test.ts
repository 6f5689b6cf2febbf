import { describe, expect, it } from 'vitest';
import { engineException, exception, exceptionCode, exceptionStatus } from '../../src/engine/exception.ts';

describe('what the engine threw', () => {
  it('keeps code and text', () => {
    const text = "Code: 60. DB::Exception: Unknown table 'x'. (UNKNOWN_TABLE) []";
    const error = engineException(new Error(text));
    expect(error.message).toBe("Code: 60. DB::Exception: Unknown table 'x'. (UNKNOWN_TABLE)");
    expect(exceptionStatus(exceptionCode(error))).toBe(404);
  });

  it('shows the inner exception of an INSERT, without the clause that the door added', () => {
    const text =
      "Code: 27. DB::Exception: Code: 27. DB::Exception: Cannot parse FROM INFILE '/p' input: (at row 1): data for INSERT was parsed from file. (CANNOT_PARSE_INPUT_ASSERTION_FAILED) (version 26.7.2.1). (CANNOT_PARSE_INPUT_ASSERTION_FAILED)";
    const error = engineException(new Error(text), ["FROM INFILE '/p' "]);
    expect(error.message).toBe(
      'Code: 27. DB::Exception: Cannot parse input: (at row 1). (CANNOT_PARSE_INPUT_ASSERTION_FAILED)',
    );
    expect(error.storeCode).toBe(27);
  });

  it('has code 1002 when the engine named none', () => {
    expect(exceptionCode(engineException(new TypeError('x is not a function')))).toBe(1002);
    expect(exceptionCode(new Error('x'))).toBe(1002);
  });
});

describe('an exception of the door', () => {
  it.each([
    ['REQUIRED_PASSWORD', 194, 401],
    ['AUTHENTICATION_FAILED', 516, 403],
    ['SYNTAX_ERROR', 62, 400],
    ['UNKNOWN_SETTING', 115, 404],
    ['QUERY_IS_TOO_LARGE', 229, 413],
    ['UNKNOWN_COMPRESSION_METHOD', 89, 415],
    ['NOT_IMPLEMENTED', 48, 501],
    ['TOO_MANY_SIMULTANEOUS_QUERIES', 202, 500],
  ] as const)('%s has code %d and status %d', (name, code, status) => {
    const error = exception(name, 'text');
    expect(error.message).toBe(`Code: ${code}. DB::Exception: text. (${name})`);
    expect([exceptionCode(error), exceptionStatus(code)]).toEqual([code, status]);
  });
});
