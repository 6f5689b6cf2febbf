/** Tells what is counted of a request that is refused, by the code of the answer it gets. */
import { BackworkError } from '../../base/errors.ts';
import type { IngestEvents } from '../messages.ts';
import type { Route } from './request-head.ts';

/** What a port knows of a request by then. */
export interface RefusedRequest {
  readonly route: Route | undefined;
  readonly orgId: string | undefined;
  readonly bytes: number;
}

/** `thrown`: whatever the request is refused for; what is no BackworkError is a fault of ours. */
export function countRefusal(
  events: Pick<IngestEvents, 'refused'> | undefined,
  protocol: 'grpc' | 'http',
  { route, orgId, bytes }: RefusedRequest,
  thrown: unknown,
): void {
  const known = thrown instanceof BackworkError ? thrown : undefined;
  const reason = known?.code ?? 'internal';
  events?.refused({ orgId: orgId ?? known?.orgId, signal: route?.signal, protocol, reason, bytes });
}
