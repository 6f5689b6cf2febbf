/**
 * An HTTP request as ClickHouse's HTTP interface reads it: query, parameters and settings from the URL, from headers,
 * or from a multipart form; the statement's end and the data's beginning when both stand in the body.
 */
import type { IncomingMessage } from 'node:http';
import { MIB } from '../base/limits.ts';
import { exception } from './exception.ts';
import type { RequestBody } from './request-body.ts';
import { parseStatement, quote, type Statement } from './sql-statement.ts';

export interface DoorRequest {
  readonly statement: Statement;
  /** Behind the statement of an INSERT, decompressed. Empty for everything else. */
  readonly data: RequestBody;
  readonly queryId: string | undefined;
  readonly database: string | undefined;
  readonly defaultFormat: string;
  /** `SET` statements that give the session its database, settings and parameters. */
  readonly prelude: readonly string[];
  /** The whole result is held until the query has ended, so that its status is true. */
  readonly waitEndOfQuery: boolean;
  /** Held before the first byte is sent, when not waiting for the end. */
  readonly bufferBytes: number;
  readonly compressResponse: boolean;
  /** `client_protocol_version`; 0 when there is none. Of use to door-greeting alone: the engine writes revision 0. */
  readonly clientRevision: number;
}

/** A statement without data; what ClickHouse's max_query_size would have to be raised for anyway. */
const QUERY_BYTES_MAX = 16 * MIB;
/** Where an INSERT's data begins must show in this much of a body. */
const HEAD_BYTES_MAX = MIB;
/** A server's own default (`http_response_buffer_size` when unset). */
const BUFFER_BYTES_DEFAULT = MIB;
const BUFFER_BYTES_MAX = 16 * MIB;

/** URL parameters that are not settings. Those of sessions mean nothing here: each query has a session of its own. */
const NOT_SETTINGS: ReadonlySet<string> = new Set([
  ...['query', 'query_id', 'database', 'default_format', 'user', 'password', 'quota_key', 'stacktrace', 'log_comment'],
  ...['session_id', 'session_timeout', 'session_check', 'close_session', 'client_protocol_version'],
  ...['buffer_size', 'wait_end_of_query', 'compress', 'decompress', 'role', 'enable_http_compression'],
]);

/** Reads the request as far as its statement. Throws ClickHouse's exceptions. */
export async function readDoorRequest(request: IncomingMessage, body: RequestBody): Promise<DoorRequest> {
  const url = new URL(`http://door${request.url ?? '/'}`);
  const form = await readForm(request, body);
  const parameters = [...url.searchParams, ...form];
  const named = new Map(parameters);
  refuseUnsupported(named);
  const urlQuery = named.get('query') ?? '';
  const { statement, data } = await splitStatement(urlQuery, form.length > 0 ? body.rest(Buffer.alloc(0)) : body);
  if (request.method === 'GET' && !['read', 'small-read'].includes(statement.kind)) {
    const message = 'Cannot execute query in readonly mode. For queries over HTTP, method GET implies readonly';
    throw exception('READONLY', message);
  }
  const header = (name: string) => request.headers[name]?.toString();
  const database = named.get('database') ?? header('x-clickhouse-database');
  return {
    statement,
    data,
    queryId: named.get('query_id') || undefined,
    database: database || undefined,
    defaultFormat: formatName(named.get('default_format') ?? header('x-clickhouse-format') ?? 'TabSeparated'),
    prelude: prelude(parameters, database || undefined),
    waitEndOfQuery: flag(named.get('wait_end_of_query')),
    bufferBytes: Math.min(Number(named.get('buffer_size')) || BUFFER_BYTES_DEFAULT, BUFFER_BYTES_MAX),
    compressResponse: flag(named.get('enable_http_compression')),
    clientRevision: Math.max(Number(named.get('client_protocol_version')) || 0, 0),
  };
}

function refuseUnsupported(named: ReadonlyMap<string, string>): void {
  if (flag(named.get('compress')) || flag(named.get('decompress'))) {
    const message = 'the embedded engine has no compress=1 or decompress=1: use Content-Encoding and Accept-Encoding';
    throw exception('NOT_IMPLEMENTED', message);
  }
  const role = named.get('role');
  if (role) throw exception('UNKNOWN_ROLE', `There is no role ${quote(role)}: the embedded engine has no roles`);
}

function flag(value: string | undefined): boolean {
  return value !== undefined && value !== '' && value !== '0' && value.toLowerCase() !== 'false';
}

function formatName(name: string): string {
  if (!/^\w+$/.test(name)) throw exception('BAD_ARGUMENTS', 'a format is a word');
  return name;
}

/** Parts of a multipart form: `query` and `param_…` may be sent so, instead of in a long URL. */
async function readForm(request: IncomingMessage, body: RequestBody): Promise<Array<[string, string]>> {
  const type = request.headers['content-type'] ?? '';
  if (!type.startsWith('multipart/form-data')) return [];
  const bytes = await body.collect(QUERY_BYTES_MAX);
  const form = await new Response(new Uint8Array(bytes), { headers: { 'content-type': type } })
    .formData()
    .catch((error: unknown) => {
      throw exception('BAD_ARGUMENTS', `the multipart form cannot be read: ${String(error)}`);
    });
  return [...form].map(([name, value]) => {
    if (typeof value === 'string') return [name, value];
    throw exception('NOT_IMPLEMENTED', 'the embedded engine takes no external data tables');
  });
}

/** URL and body are one text with a line break between them; of an INSERT, the end of it is data. */
async function splitStatement(
  urlQuery: string,
  body: RequestBody,
): Promise<{ statement: Statement; data: RequestBody }> {
  if (urlQuery.trim() !== '') {
    const text = `${urlQuery}\n`;
    const statement = insertOf(text);
    if (statement !== undefined) return { statement, data: body.rest(Buffer.from(text.slice(statement.dataFrom))) };
  }
  const prefix = Buffer.from(urlQuery === '' ? '' : `${urlQuery}\n`);
  const head = Buffer.concat([prefix, await body.take(HEAD_BYTES_MAX)]);
  // One character a byte: data need not be UTF-8, and offsets count bytes.
  const found = insertOf(head.toString('latin1'));
  if (found !== undefined) {
    const statement = parseStatement(head.toString('utf8', 0, found.dataFrom));
    return { statement, data: body.rest(head.subarray(found.dataFrom)) };
  }
  const text = Buffer.concat([head, await body.collect(QUERY_BYTES_MAX)]).toString('utf8');
  return { statement: parseStatement(text), data: body };
}

function insertOf(text: string): (Statement & { kind: 'insert' }) | undefined {
  if (!/^\s*(?:insert|--|#|\/\*)/i.test(text)) return undefined;
  const statement = parseStatement(text);
  return statement.kind === 'insert' ? statement : undefined;
}

function prelude(parameters: ReadonlyArray<readonly [string, string]>, database: string | undefined): string[] {
  const sets: string[] = [];
  let readonly: string | undefined;
  for (const [name, value] of parameters) {
    if (NOT_SETTINGS.has(name)) continue;
    if (!/^\w+$/.test(name)) throw exception('UNKNOWN_SETTING', `Unknown setting ${quote(name)}`);
    if (name === 'readonly') readonly = value;
    else sets.push(`${name} = ${quote(value)}`);
  }
  const statements: string[] = [];
  if (database !== undefined) statements.push(`USE \`${database.replace(/[\\`]/g, '\\$&')}\``);
  if (sets.length > 0) statements.push(`SET ${sets.join(', ')}`);
  // Last: nothing can be set behind it.
  if (readonly !== undefined) statements.push(`SET readonly = ${quote(readonly)}`);
  return statements;
}
