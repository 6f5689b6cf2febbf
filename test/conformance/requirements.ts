/** Every numbered line of the OTLP checklist, area by area. `npm run conformance` holds the tests that ran against it. */
import type { Requirement } from './requirement.ts';
import { AUTH } from './requirements/auth.ts';
import { CORS } from './requirements/cors.ts';
import { GRPC } from './requirements/grpc.ts';
import { HTTP } from './requirements/http.ts';
import { JSON_RULES } from './requirements/json.ts';
import { PLAN } from './requirements/plan.ts';
import { SEMANTICS } from './requirements/semantics.ts';
import { TLS } from './requirements/tls.ts';

export const REQUIREMENTS: readonly Requirement[] = [
  ...GRPC,
  ...HTTP,
  ...AUTH,
  ...CORS,
  ...TLS,
  ...SEMANTICS,
  ...JSON_RULES,
  ...PLAN,
];
