/** Connections that do nothing: of HTTP/1.1 after one answered request, of gRPC after both sides' SETTINGS. */
import { setTimeout as delay } from 'node:timers/promises';
import { grpcFrame, httpBytes, RawHttp, until } from '../../ingest/accept/peers.ts';
import { CALL_HEADERS, FLAG, FRAME, frame, headerBlock, RawH2 } from '../../ingest/accept/raw-h2.ts';
import type { TestService } from '../../support/service.ts';

const OPENED_AT_ONCE = 50;
const SETTINGS_ACK = frame(FRAME.SETTINGS, 1, 0);

export interface IdleConnection {
  /** The service has closed it. */
  isClosed(): boolean;
  /** Sends a request without items on it; whether it was answered with OK. */
  serves(): Promise<boolean>;
  close(): void;
}

/** Opens `count`, every other one for gRPC. Those that were not accepted are left out. */
export async function openIdle(service: TestService, count: number): Promise<IdleConnection[]> {
  const opened: IdleConnection[] = [];
  for (let at = 0; at < count; at += OPENED_AT_ONCE) {
    const batch = Array.from({ length: Math.min(OPENED_AT_ONCE, count - at) }, (_, i) =>
      i % 2 === 0 ? openHttp(service) : openGrpc(service),
    );
    for (const one of await Promise.all(batch)) {
      if (one !== undefined) opened.push(one);
    }
    await delay(10);
  }
  return opened;
}

async function openHttp({ ports, token }: TestService): Promise<IdleConnection | undefined> {
  const client = new RawHttp(ports.http);
  const request = httpBytes({ headers: { authorization: `Bearer ${token}` } });
  const serves = async (): Promise<boolean> => {
    client.write(request);
    return (await client.response().catch(() => undefined))?.status === 200;
  };
  if (!(await serves())) return undefined;
  return { isClosed: () => client.ended, serves, close: () => client.close() };
}

async function openGrpc({ ports, token }: TestService): Promise<IdleConnection | undefined> {
  const client = new RawH2(ports.grpc);
  await until(() => client.closed || client.frames.some(({ type, flags }) => type === FRAME.SETTINGS && flags === 1));
  if (client.closed) return undefined;
  client.socket.write(SETTINGS_ACK);
  const headers = headerBlock({ ...CALL_HEADERS, authorization: `Bearer ${token}` });
  const serves = async (): Promise<boolean> => {
    client.socket.write(frame(FRAME.HEADERS, FLAG.END_HEADERS, 1, headers));
    client.socket.write(frame(FRAME.DATA, FLAG.END_STREAM, 1, grpcFrame(Buffer.alloc(0))));
    await until(() => client.closed || client.answered(1));
    // HEADERS, a message, trailers: a refusal is HEADERS alone.
    return client.frames.some(({ type, streamId }) => type === FRAME.DATA && streamId === 1);
  };
  return { isClosed: () => client.closed, serves, close: () => client.close() };
}
