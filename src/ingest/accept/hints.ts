/**
 * What peers mix up, told to the operator: a client that speaks TLS to a plain port sees only a closed connection, so
 * the log has to say what to set on either side (reference otlp.md T2). A client that does so tries again for as long as
 * it lives, hence each kind of mistake is said at most once in HINT_INTERVAL_MS.
 */
import type { HintKind } from './accept-server.ts';

export const HINT_INTERVAL_MS = 60_000;

export interface HintDeps {
  /** Milliseconds that only grow. */
  readonly nowMs: () => number;
  /** `unsaid`: how many of this kind there were since it was last said. */
  readonly say: (kind: HintKind, message: string, unsaid: number) => void;
}

/** For AcceptDeps.hint; one for all ports of a process. */
export function createHints(deps: HintDeps): (kind: HintKind, message: string) => void {
  const kinds = new Map<HintKind, { saidMs: number; unsaid: number }>();
  return (kind, message) => {
    const nowMs = deps.nowMs();
    const before = kinds.get(kind);
    if (before !== undefined && nowMs - before.saidMs < HINT_INTERVAL_MS) {
      before.unsaid++;
      return;
    }
    kinds.set(kind, { saidMs: nowMs, unsaid: 0 });
    deps.say(kind, message, before?.unsaid ?? 0);
  };
}

/** `port` is `OTLP/gRPC` or `OTLP/HTTP`. */
export function tlsOnPlainPort(port: string): string {
  return (
    `a client speaks TLS to the ${port} port, which is plain text: set its endpoint to http:// or its exporter to ` +
    'insecure, or give this service a certificate with BACKWORK_OTLP_TLS_CERT_FILE and BACKWORK_OTLP_TLS_KEY_FILE'
  );
}

/** `port` is `OTLP/gRPC` or `OTLP/HTTP`. */
export function plainOnTlsPort(port: string): string {
  return (
    `a client speaks plain text to the ${port} port, which speaks TLS: set its endpoint to https:// and do not set its ` +
    'exporter to insecure'
  );
}
