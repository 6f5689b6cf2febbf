/** OTLP/HTTP: lines H1–H30 of the checklist. */
import type { Requirement } from '../requirement.ts';

export const HTTP: readonly Requirement[] = [
  { id: 'H1', level: 'default', text: 'Port 4318 on 127.0.0.1 unless a setting says otherwise.' },
  {
    id: 'H2',
    level: 'default',
    text: 'POST to /v1/traces, /v1/metrics and /v1/logs; both paths of profiles are 404 with a message.',
  },
  {
    id: 'H3',
    level: 'rec',
    text: 'Paths match exactly or with one trailing slash, nothing is redirected, and a 404 names the right path.',
  },
  {
    id: 'H4',
    level: 'must',
    text: 'Protobuf and JSON on the same port, told apart by the Content-Type of the request.',
  },
  { id: 'H5', level: 'peer', text: 'The media type is compared case-insensitively and its parameters are ignored.' },
  { id: 'H6', level: 'must', text: 'The answer has the content type of the request, bare.' },
  { id: 'H7', level: 'must', text: 'Bodies may be gzip or identity.' },
  {
    id: 'H8',
    level: 'peer',
    text: 'Codings that the Collector takes and we do not (snappy, lz4, zlib by that name) are 415, `identity` is taken.',
  },
  {
    id: 'H9',
    level: 'rec',
    text: 'One coding, in any case: identity, gzip, deflate with or without zlib header, zstd; others and lists are 415, never brotli; members and frames in a row are one body; cut off, or followed by other bytes, is 400.',
  },
  { id: 'H10', level: 'must', text: 'A body needs no Content-Length.' },
  { id: 'H11', level: 'must', text: 'Size is limited on the wire and inflated, 64 MiB by default; over it is 413.' },
  {
    id: 'H12',
    level: 'peer',
    text: 'Above the 20 MiB of the Collector bodies are still taken, and too large is 413, not 400.',
  },
  {
    id: 'H13',
    level: 'rec',
    text: 'A too large Content-Length is refused before reading; bytes are counted while read and inflated; the refusal reaches the client.',
  },
  { id: 'H14', level: 'must', text: 'Full success is 200 without partial_success: zero bytes of protobuf, or {}.' },
  { id: 'H15', level: 'must', text: 'Partial success is 200 with count and message.' },
  {
    id: 'H16',
    level: 'should',
    text: 'An empty request is 200; zero bytes of protobuf are one, zero bytes of JSON are 400.',
  },
  {
    id: 'H17',
    level: 'must',
    text: 'Every 4xx and 5xx has a google.rpc.Status with code and message, in the encoding of the request.',
  },
  {
    id: 'H18',
    level: 'peer',
    text: 'Errors of requests with no known content type are a JSON Status with the true code.',
  },
  { id: 'H19', level: 'fact', text: 'Messages of errors are short: at most 1,024 bytes.' },
  { id: 'H20', level: 'must', text: 'A body that cannot be decoded is 400 with BadRequest.' },
  {
    id: 'H21',
    level: 'should',
    text: 'A rate is refused by 429, everything else that clears by 503, always with Retry-After.',
  },
  { id: 'H22', level: 'rec', text: 'Retry-After is a whole number of seconds from 1 to 5.' },
  { id: 'H23', level: 'peer', text: 'Delays are rounded up to whole seconds, in RetryInfo too.' },
  {
    id: 'H24',
    level: 'rec',
    text: 'Other methods are 405 with Allow, other content types 415, unknown paths 404, each with a Status.',
  },
  { id: 'H25', level: 'may', text: 'Answers are never compressed.' },
  { id: 'H26', level: 'must', text: 'Answers stay far below 4 MiB: their text is cut at 1,024 bytes.' },
  {
    id: 'H27',
    level: 'may',
    text: 'HTTP/1.1 is served; HTTP/2 on this port is answered in HTTP/1.1, and the log says where gRPC is.',
  },
  {
    id: 'H28',
    level: 'client',
    text: 'Idle connections are kept for 75 s; headers have 10 s, bodies 60 s; idle time is no time of headers.',
  },
  { id: 'H29', level: 'peer', text: 'The first answer on a connection of 10 min ± 10 % says Connection: close.' },
  { id: 'H30', level: 'fact', text: 'A positive answer leaves only when the data is durable.' },
];
