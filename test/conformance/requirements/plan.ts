/** The interop test plan: lines T1–T12 of the checklist's list of tests. */
import type { Requirement } from '../requirement.ts';

export const PLAN: readonly Requirement[] = [
  {
    id: 'T1 (tests)',
    level: 'rec',
    text: 'The JS exporters of every protocol, coding and signal against the live service, rows compared; other clients: `npm run test:interop`.',
  },
  {
    id: 'T2 (tests)',
    level: 'rec',
    text: 'The raw wire corpus: examples, unknown fields, field 1000, packed, empty, truncated, deep.',
  },
  {
    id: 'T3 (tests)',
    level: 'rec',
    text: 'Broken, bombing and unknown codings on both transports, each with its answer; the process survives.',
  },
  {
    id: 'T4 (tests)',
    level: 'rec',
    text: 'The limit passes and one byte more does not; a client that writes first sees the refusal.',
  },
  { id: 'T5 (tests)', level: 'rec', text: 'Every row of the outcome map on the wire, with all of its headers.' },
  {
    id: 'T6 (tests)',
    level: 'rec',
    text: 'Without its engine the service answers 200 while there is room, then 503, never 500, and loses nothing; stopped under clients: `npm run test:interop`.',
  },
  { id: 'T7 (tests)', level: 'rec', text: 'The edge cases of OTLP/JSON, one by one.' },
  {
    id: 'T8 (tests)',
    level: 'rec',
    text: 'A preflight needs no token; answers to POST, 401 and 503 carry the headers of CORS.',
  },
  {
    id: 'T9 (tests)',
    level: 'rec',
    text: 'Partial success counts items, for every rule that rejects; warnings have rejected 0.',
  },
  {
    id: 'T10 (tests)',
    level: 'rec',
    text: 'Tokens missing, wrong, revoked, in every form and twice; never shown; refused before the body.',
  },
  {
    id: 'T11 (tests)',
    level: 'rec',
    text: 'Chunked and slow bodies, half-closed sockets, reuse after 4.9 and 5.1 s idle, 1,000 streams.',
  },
  {
    id: 'T12 (tests)',
    level: 'rec',
    text: 'Draining: what runs is answered, what is new is refused retryably, GOAWAY.',
  },
];
