import { describe, expect, it } from 'vitest';
import { insertFrom, parseStatement, quote, readInto } from '../../src/engine/sql-statement.ts';

describe('a statement', () => {
  it.each([
    ['SELECT 1', 'read'],
    ['  -- comment\n select 1', 'read'],
    ['(SELECT 1) UNION ALL (SELECT 2)', 'read'],
    ['WITH 1 AS x SELECT x', 'read'],
    ['FROM t SELECT a', 'read'],
    ['SELECT insert FROM t', 'read'],
    ['SHOW TABLES', 'small-read'],
    ['EXPLAIN SELECT 1', 'small-read'],
    ['CREATE TABLE t (a UInt8) ENGINE = Memory', 'command'],
    ['ALTER TABLE t DROP PARTITION 1', 'command'],
    ['INSERT INTO t SELECT 1', 'insert-select'],
    ['WITH 1 AS x INSERT INTO t SELECT x', 'insert-select'],
    ['INSERT INTO t FORMAT TSV', 'insert'],
    ["KILL QUERY WHERE query_id = 'a'", 'kill'],
    ["KILL MUTATION WHERE table = 't'", 'command'],
  ])('%s is a %s', (sql, kind) => {
    expect(parseStatement(sql).kind).toBe(kind);
  });

  it.each([
    // FORMAT in the query stays, and what stands behind it.
    ['SELECT 1 FORMAT CSV', "SELECT 1 \nINTO OUTFILE '/p' TRUNCATE FORMAT CSV"],
    ['SELECT 1 FORMAT CSV SETTINGS a = 1;', "SELECT 1 \nINTO OUTFILE '/p' TRUNCATE FORMAT CSV SETTINGS a = 1"],
    ['SELECT 1 SETTINGS a = 1', "SELECT 1 SETTINGS a = 1\nINTO OUTFILE '/p' TRUNCATE FORMAT JSON"],
    // Not a format: an alias, a string, a comment, a name in quotes, something in brackets.
    ['SELECT 1 AS format', "SELECT 1 AS format\nINTO OUTFILE '/p' TRUNCATE FORMAT JSON"],
    ["SELECT ' FORMAT CSV'", "SELECT ' FORMAT CSV'\nINTO OUTFILE '/p' TRUNCATE FORMAT JSON"],
    ['SELECT 1 -- FORMAT CSV', "SELECT 1\nINTO OUTFILE '/p' TRUNCATE FORMAT JSON"],
    ['SELECT `FORMAT CSV`', "SELECT `FORMAT CSV`\nINTO OUTFILE '/p' TRUNCATE FORMAT JSON"],
    ['SELECT (SELECT 1 FORMAT CSV)', "SELECT (SELECT 1 FORMAT CSV)\nINTO OUTFILE '/p' TRUNCATE FORMAT JSON"],
    ["SELECT 'it\\'s; ''' ;; ", "SELECT 'it\\'s; '''\nINTO OUTFILE '/p' TRUNCATE FORMAT JSON"],
    ['SELECT $x$ FORMAT ; CSV $x$', "SELECT $x$ FORMAT ; CSV $x$\nINTO OUTFILE '/p' TRUNCATE FORMAT JSON"],
  ])('%s writes its result into the pipe', (sql, expected) => {
    const statement = parseStatement(sql);
    if (statement.kind !== 'read') throw new Error(statement.kind);
    expect(readInto(statement, '/p', 'JSON')).toBe(expected);
  });

  it.each([
    ['INSERT INTO t FORMAT CSV\n1,2', "INSERT INTO t\nFROM INFILE '/p'  FORMAT CSV", '1,2'],
    ['INSERT INTO t FORMAT CSV 1,2', "INSERT INTO t\nFROM INFILE '/p'  FORMAT CSV", '1,2'],
    ['INSERT INTO t FORMAT TSV  \r\n\n1', "INSERT INTO t\nFROM INFILE '/p'  FORMAT TSV", '\n1'],
    ["INSERT INTO t (a) VALUES ('FORMAT x')", "INSERT INTO t (a)\nFROM INFILE '/p'  FORMAT Values", "('FORMAT x')"],
    ['INSERT INTO format.values VALUES (1)', "INSERT INTO format.values\nFROM INFILE '/p'  FORMAT Values", '(1)'],
    [
      'insert into table t settings a = 1, b = 2 format Native\n\x02\x00;',
      "insert into table t\nFROM INFILE '/p' settings a = 1, b = 2 FORMAT Native",
      '\x02\x00;',
    ],
    [
      "INSERT INTO FUNCTION file('x') (a) FORMAT CSV\n1",
      "INSERT INTO FUNCTION file('x') (a)\nFROM INFILE '/p'  FORMAT CSV",
      '1',
    ],
  ])('%j reads its data from the pipe', (text, expected, data) => {
    const statement = parseStatement(text);
    if (statement.kind !== 'insert') throw new Error(statement.kind);
    expect(insertFrom(statement, '/p')).toBe(expected);
    expect(text.slice(statement.dataFrom)).toBe(data);
  });

  it('gives the id that KILL QUERY names', () => {
    expect(parseStatement("KILL QUERY WHERE query_id = 'it\\'s' ASYNC FORMAT CSV")).toEqual({
      kind: 'kill',
      queryId: "it's",
      format: 'CSV',
    });
  });

  it.each([
    ['', 62],
    [' ; -- nothing', 62],
    ['SELECT 1; SELECT 2', 62],
    ["SELECT 1 INTO OUTFILE 'x'", 358],
    ["INSERT INTO t FROM INFILE '/etc/passwd' FORMAT TSV", 48],
    ["INSERT INTO t SELECT a FROM input('a UInt8') FORMAT TSV", 48],
    ["KILL QUERY WHERE user = 'x'", 48],
  ])('%j is refused with code %d', (sql, storeCode) => {
    expect(() => parseStatement(sql)).toThrow(expect.objectContaining({ storeCode }));
  });

  it('finds the data behind a long statement without reading the data', () => {
    const columns = Array.from({ length: 5_000 }, (_, i) => `column_${i}`).join(', ');
    const head = `INSERT INTO t (${columns}) FORMAT Native\n`;
    const statement = parseStatement(head + "'`$$((".repeat(100_000));
    expect(statement).toMatchObject({ kind: 'insert', dataFrom: head.length });
  });
});

describe('quote', () => {
  it('escapes quotes and backslashes', () => {
    expect(quote("a'b\\c\n")).toBe("'a\\'b\\\\c\n'");
  });
});
