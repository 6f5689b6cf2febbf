/**
 * CORS for exporters in browsers (reference otlp.md C1–C3): off unless origins are configured. Never with credentials:
 * the token is a header of the request, not a cookie.
 */
import type { IncomingMessage } from 'node:http';

export interface Cors {
  /** The question of a browser whether a page of an allowed origin may send a request. */
  isPreflight(request: IncomingMessage): boolean;
  /** Headers for any answer, errors included. */
  answerHeaders(origin: string | undefined): Readonly<Record<string, string>>;
  /** Headers for the answer to OPTIONS, besides those. */
  preflightHeaders(origin: string | undefined): Readonly<Record<string, string>>;
}

const PREFLIGHT_SECONDS = 7_200;
const NONE: Readonly<Record<string, string>> = {};

export function createCors(origins: readonly string[]): Cors {
  const allowed = new Set(origins);
  const patterns = origins.filter((origin) => origin.includes('://*.')).map(subdomains);
  const allows = (origin: string | undefined): origin is string =>
    origin !== undefined &&
    (allowed.has(origin) || allowed.has('*') || patterns.some((pattern) => pattern.test(origin)));
  return {
    isPreflight({ method, headers }) {
      return method === 'OPTIONS' && headers['access-control-request-method'] !== undefined && allows(headers.origin);
    },
    answerHeaders(origin) {
      if (allowed.size === 0) return NONE;
      // The answer depends on Origin even when it is refused, or a cache would mix the two.
      if (!allows(origin)) return { Vary: 'Origin' };
      return {
        'Access-Control-Allow-Origin': origin,
        'Access-Control-Expose-Headers': 'Retry-After',
        Vary: 'Origin',
      };
    },
    preflightHeaders(origin) {
      if (!allows(origin)) return NONE;
      return {
        'Access-Control-Allow-Methods': 'POST',
        'Access-Control-Allow-Headers': 'content-type, content-encoding, authorization, x-api-key',
        'Access-Control-Max-Age': String(PREFLIGHT_SECONDS),
      };
    },
  };
}

/** `https://*.example.com`: one label or more in the star's place, so neither example.com itself nor badexample.com. */
function subdomains(pattern: string): RegExp {
  const [scheme = '', rest = ''] = pattern.split('*.', 2).map((part) => part.replace(/[.+]/g, '\\$&'));
  return new RegExp(`^${scheme}([a-z0-9_-]+\\.)+${rest}$`);
}
