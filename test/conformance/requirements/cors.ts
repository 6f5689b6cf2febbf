/** CORS: lines C1–C3 of the checklist. */
import type { Requirement } from '../requirement.ts';

export const CORS: readonly Requirement[] = [
  { id: 'C1', level: 'peer', text: 'Off unless origins are configured.' },
  {
    id: 'C2',
    level: 'rec',
    text: 'A preflight is 204 with methods, headers and max-age; the origin is echoed with Vary on every answer, errors too; Retry-After is exposed; no credentials mode.',
  },
  {
    id: 'C3',
    level: 'fact',
    text: 'What the JS exporter does in a browser works: preflight, JSON, Retry-After read by the page.',
  },
];
