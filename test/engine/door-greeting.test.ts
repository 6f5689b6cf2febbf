/** The greeting of drivers that read Native at a protocol revision, byte for byte. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { DOOR_DISPLAY_NAME } from '../../src/engine/door-answer.ts';
import { run, send } from '../contract/http-request.ts';
import { type RunningEngine, startEngine } from './engine-fixture.ts';

const GREETING = 'SELECT displayName(), version(), revision(), timezone()';
const REVISION = 54_460;

let engine: RunningEngine;
let version: string;
beforeAll(async () => {
  engine = await startEngine();
  version = (await run(engine, 'SELECT version()')).trim();
});
afterAll(async () => {
  await engine?.stop();
});

const text = (value: string) => String.fromCharCode(value.length) + value;

/** The answer as a Latin-1 string; `mark` is what follows each type. */
function greeted(mark: string): string {
  const columns = [
    text('displayName()') + text('String') + mark + text(DOOR_DISPLAY_NAME),
    text('version()') + text('String') + mark + text(version),
    `${text('revision()')}${text('UInt32')}${mark}\0\0\0\0`,
    text('timezone()') + text('String') + mark + text('UTC'),
  ];
  return `\x01\0\x02\xff\xff\xff\xff\0\x04\x01${columns.join('')}`;
}

describe('the greeting of a driver that names its revision', () => {
  it.each([
    ['by default_format', GREETING, { default_format: 'Native' }],
    ['by FORMAT', `${GREETING} FORMAT Native`, {}],
    ['over several lines', `\n select displayName(),version(),\n revision(), timezone()\nFORMAT Native;\n`, {}],
  ])('is answered at that revision, saying revision 0: Native %s', async (_, body, params) => {
    const answer = await send(engine, { body, params: { ...params, client_protocol_version: REVISION } });
    expect(answer.status).toBe(200);
    expect(answer.body.toString('latin1')).toBe(greeted('\0'));
    expect(answer.headers).toMatchObject({
      'x-clickhouse-format': 'Native',
      'x-clickhouse-server-display-name': DOOR_DISPLAY_NAME,
      'x-clickhouse-timezone': 'UTC',
    });
  });

  it('is answered by GET, and without the byte behind types that came with revision 54454', async () => {
    const params = { query: GREETING, default_format: 'Native', client_protocol_version: 54_453 };
    const answer = await send(engine, { method: 'GET', params });
    expect(answer.body.toString('latin1')).toBe(greeted(''));
  });

  it('is answered by the engine, at revision 0, when no revision is named or another format is asked for', async () => {
    for (const revision of [{}, { client_protocol_version: 0 }]) {
      const answer = await send(engine, { body: `${GREETING} FORMAT Native`, params: revision });
      expect(answer.status, answer.text).toBe(200);
      expect(answer.body.subarray(0, 23).toString('latin1')).toBe(`\x04\x01${text('displayName()')}${text('String')}`);
    }
    const rows = await run(engine, `${GREETING} FORMAT TSV`, { client_protocol_version: REVISION });
    expect(rows.split('\t')).toHaveLength(4);
    expect(rows.split('\t')[1]).toBe(version);
  });

  it.each([
    ['SELECT version()', `\x01\x01${text('version()')}${text('String')}`],
    [`${GREETING}, 1`, `\x05\x01${text('displayName()')}${text('String')}`],
    ['SELECT toUInt8(7) AS n', '\x01\x01\x01n\x05UInt8\x07'],
  ])('is no other query: %s is answered at revision 0', async (body, start) => {
    const params = { default_format: 'Native', client_protocol_version: REVISION };
    const answer = await send(engine, { body, params });
    expect(answer.body.subarray(0, start.length).toString('latin1')).toBe(start);
  });

  it('is refused with a wrong password, and for a database that does not exist', async () => {
    const params = { default_format: 'Native', client_protocol_version: REVISION };
    const stranger = await send(engine, { body: GREETING, params, auth: `${engine.user}:wrong` });
    const lost = await send(engine, { body: GREETING, params: { ...params, database: 'nowhere' } });
    const codes = [stranger, lost].map((answer) => [answer.status, answer.headers['x-clickhouse-exception-code']]);
    expect(codes).toEqual([
      [403, '516'],
      [404, '81'],
    ]);
  });
});
