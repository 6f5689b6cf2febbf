/** Authentication: lines A1–A6 of the checklist, for both transports. */
import type { Requirement } from '../requirement.ts';

export const AUTH: readonly Requirement[] = [
  { id: 'A1', level: 'peer', text: 'The token is a bearer token; the first authorization counts, others are ignored.' },
  {
    id: 'A2',
    level: 'rec',
    text: 'Any case of the scheme, blanks around, a literal Bearer%20; x-api-key when there is no authorization.',
  },
  {
    id: 'A3',
    level: 'peer',
    text: 'CORS, path and method, token, content type and coding, declared size, admission; only then the body is read.',
  },
  { id: 'A4', level: 'must', text: 'A presented token is in no answer and in no log.' },
  { id: 'A5', level: 'peer', text: '401 with a Status over HTTP; UNAUTHENTICATED over gRPC, without metadata too.' },
  { id: 'A6', level: 'rec', text: 'Cookies and query strings are no credentials.' },
];
