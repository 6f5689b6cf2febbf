/** What a test asks of the engine behind its door, whoever started it. */
import http from 'node:http';
import type { IncomingMessage } from 'node:http';
import { buffer, text } from 'node:stream/consumers';

/** Where the door is now, and who may come in; the port is asked at each call, for engines come and go. */
export interface Door {
  readonly port: () => number;
  readonly user: string;
  readonly password: string;
}

/** The result as it comes, tab separated; throws with ClickHouse's text when it is refused. */
export async function streamRows(door: Door, sql: string, format = 'TSV'): Promise<IncomingMessage> {
  const answer = await ask(door, `/?default_format=${format}`, sql);
  if (answer.statusCode === 200) return answer;
  throw new Error(`${answer.statusCode}: ${await text(answer)}`);
}

/** Rows as objects. */
export async function queryRows<Row = Record<string, string>>(door: Door, sql: string): Promise<Row[]> {
  const lines = (await text(await streamRows(door, sql, 'JSONEachRow'))).split('\n');
  return lines.filter((line) => line !== '').map((line) => JSON.parse(line) as Row);
}

/** The result in any format, whole. */
export async function queryBytes(door: Door, sql: string, format: string): Promise<Buffer> {
  return buffer(await streamRows(door, sql, format));
}

/** Ids of queries that wait or run; undefined when the door does not answer. */
export async function runningQueries(door: Door): Promise<string[] | undefined> {
  try {
    const answer = await ask(door, '/running');
    return answer.statusCode === 200 ? (JSON.parse(await text(answer)) as string[]) : undefined;
  } catch {
    return undefined;
  }
}

function ask({ port, user, password }: Door, path: string, body?: string): Promise<IncomingMessage> {
  return new Promise((resolve, reject) => {
    const options = {
      host: '127.0.0.1',
      port: port(),
      path,
      method: body === undefined ? 'GET' : 'POST',
      headers: { 'x-clickhouse-user': user, 'x-clickhouse-key': password },
      agent: false as const,
    };
    http.request(options, resolve).on('error', reject).end(body);
  });
}
