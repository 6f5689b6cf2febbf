/** Raw HTTP against a ClickHouse interface: what the client library hides must be seen too. */
import { type ClientRequest, type IncomingHttpHeaders, request as httpRequest } from 'node:http';

export interface Target {
  readonly url: string;
  readonly user: string;
  readonly password: string;
}

export interface RawAnswer {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly body: Buffer;
  readonly text: string;
  /** The connection broke before the last chunk. */
  readonly broken: boolean;
}

export interface RawRequest {
  readonly method?: string;
  readonly path?: string;
  /** URL parameters. */
  readonly params?: Readonly<Record<string, string | number>>;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string | Uint8Array;
  /** undefined: no credentials. */
  readonly auth?: string | undefined;
}

/** The request, begun; its answer comes by `answerOf`. The body is left to the caller when there is none. */
export function begin(target: Target, raw: RawRequest): ClientRequest {
  const url = new URL(raw.path ?? '/', target.url);
  for (const [name, value] of Object.entries(raw.params ?? {})) url.searchParams.set(name, String(value));
  const auth = 'auth' in raw ? raw.auth : `${target.user}:${target.password}`;
  const request = httpRequest(url, {
    method: raw.method ?? 'POST',
    agent: false,
    headers: {
      ...(auth === undefined ? {} : { authorization: `Basic ${Buffer.from(auth).toString('base64')}` }),
      ...raw.headers,
    },
  });
  // Reported by answerOf, or of no interest after the test has destroyed the request.
  request.on('error', () => undefined);
  return request;
}

export async function answerOf(request: ClientRequest): Promise<RawAnswer> {
  return await new Promise((resolve, reject) => {
    request.on('error', reject);
    request.on('response', (response) => {
      const chunks: Buffer[] = [];
      const finish = (broken: boolean) => {
        const body = Buffer.concat(chunks);
        const { headers, statusCode: status = 0 } = response;
        resolve({ status, headers, body, text: body.toString(), broken });
      };
      response.on('data', (chunk: Buffer) => chunks.push(chunk));
      response.on('end', () => finish(false));
      response.on('error', () => finish(true));
    });
  });
}

/** One whole request. */
export async function send(target: Target, raw: RawRequest): Promise<RawAnswer> {
  const request = begin(target, raw);
  const answer = answerOf(request);
  request.end(raw.body);
  return await answer;
}

/** Text of a query's answer; fails with the answer's text when the status is not 200. */
export async function run(target: Target, sql: string, params: RawRequest['params'] = {}): Promise<string> {
  const answer = await send(target, { body: sql, params });
  if (answer.status !== 200) throw new Error(answer.text);
  return answer.text;
}

/** Asks until the condition holds; the test's own time limit is the bound. */
export async function until(condition: () => Promise<boolean>): Promise<void> {
  while (!(await condition())) await new Promise((resolve) => setTimeout(resolve, 20));
}
