/** How a request is refused now, over both protocols: the form that makes a client come back. */
import grpc from '@grpc/grpc-js';
import type { TestService } from '../../support/service.ts';

const PATH = '/opentelemetry.proto.collector.logs.v1.LogsService/Export';
const RETRY_INFO = 'google.rpc.RetryInfo';

/** What is wrong with the two refusals; a request that is not refused is wrong too. `body` makes one that nobody sent. */
export async function retryableRefusals(service: TestService, token: string, body: () => Buffer): Promise<string[]> {
  return [...(await overHttp(service, token, body())), ...(await overGrpc(service, token, body()))];
}

async function overHttp(service: TestService, token: string, body: Buffer): Promise<string[]> {
  const answer = await fetch(`http://127.0.0.1:${service.ports.http}/v1/logs`, {
    method: 'POST',
    headers: { authorization: `Bearer ${token}`, 'content-type': 'application/x-protobuf' },
    body: new Uint8Array(body),
  });
  await answer.arrayBuffer();
  const retryAfter = answer.headers.get('retry-after');
  if (answer.status === 503 && Number(retryAfter) > 0) return [];
  return [`HTTP was answered ${answer.status}, Retry-After ${retryAfter}`];
}

async function overGrpc(service: TestService, token: string, body: Buffer): Promise<string[]> {
  const client = new grpc.Client(`127.0.0.1:${service.ports.grpc}`, grpc.credentials.createInsecure(), {
    'grpc.use_local_subchannel_pool': 1,
  });
  const metadata = new grpc.Metadata();
  metadata.set('authorization', `Bearer ${token}`);
  const same = (bytes: Buffer) => bytes;
  const error = await new Promise<grpc.ServiceError | null>((resolve) => {
    client.makeUnaryRequest(PATH, same, same, body, metadata, { deadline: Date.now() + 5_000 }, resolve);
  });
  client.close();
  const details = error?.metadata?.get('grpc-status-details-bin')[0];
  const names = Buffer.isBuffer(details) && details.includes(RETRY_INFO);
  if (error?.code === grpc.status.UNAVAILABLE && names) return [];
  return [`gRPC was answered ${error?.code ?? 0}, RetryInfo ${names}`];
}
