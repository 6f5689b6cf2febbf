/** OTLP/gRPC: transport, answers and connections (lines G1 to G32 of the checklist). */
import type { Requirement } from '../requirement.ts';

export const GRPC: readonly Requirement[] = [
  {
    id: 'G1',
    level: 'must',
    text: 'Export of the trace, metrics and logs services, under their full names, is served.',
  },
  { id: 'G2', level: 'may', text: 'Profiles are not received: UNIMPLEMENTED with a message that says so.' },
  { id: 'G3', level: 'default', text: 'The port is 4317 and the address 127.0.0.1 unless settings say otherwise.' },
  { id: 'G4', level: 'must', text: 'Messages are taken uncompressed and in gzip.' },
  {
    id: 'G5',
    level: 'peer',
    text: 'zstd and snappy, which a Collector may send, are refused as G6 says.',
  },
  {
    id: 'G6',
    level: 'peer',
    text: 'Any coding but identity and gzip is UNIMPLEMENTED, named with the codings served in grpc-accept-encoding; answers are never compressed.',
    departure:
      'Codings that are known to exist are named; any other text in the header is not repeated, since no text of a client stands in an answer.',
  },
  { id: 'G7', level: 'must', text: 'A message may have 64 MiB, on the wire and inflated; one setting for both ports.' },
  {
    id: 'G8',
    level: 'must',
    text: 'Over the limit is RESOURCE_EXHAUSTED without RetryInfo, with the limit and, where known, the size.',
  },
  {
    id: 'G9',
    level: 'peer',
    text: 'The limit is held against the length prefix before the message is read, and against what is inflated while it is inflated.',
  },
  {
    id: 'G10',
    level: 'must',
    text: 'An answer stays far below 4 MiB: error_message has at most 1,024 bytes.',
  },
  { id: 'G11', level: 'must', text: 'Full success is OK with a message of zero bytes: partial_success is unset.' },
  {
    id: 'G12',
    level: 'must',
    text: 'Partial success is OK with the rejected count and a message with the rule and the path of the first offender.',
  },
  { id: 'G13', level: 'may', text: 'A warning is OK with a rejected count of 0 and a message.' },
  {
    id: 'G14',
    level: 'client',
    text: 'A partial success is never the answer to what should be sent again: everything that clears by itself is an error.',
  },
  { id: 'G15', level: 'should', text: 'A request without items is a success.' },
  { id: 'G16', level: 'may', text: 'Resources without scopes and scopes without items are left out of account.' },
  { id: 'G17', level: 'should', text: 'A temporary failure is UNAVAILABLE with RetryInfo.' },
  {
    id: 'G18',
    level: 'should',
    text: 'Bad data is INVALID_ARGUMENT with BadRequest, which has the path of the field.',
  },
  { id: 'G19', level: 'should', text: 'Every retryable refusal, rate limits too, is UNAVAILABLE with RetryInfo.' },
  {
    id: 'G20',
    level: 'rec',
    text: 'RetryInfo stands in grpc-status-details-bin and in google.rpc.retryinfo-bin, with the same delay of 1 to 5 whole seconds.',
  },
  { id: 'G21', level: 'rec', text: 'An error is one HEADERS frame that ends the stream, with everything in it.' },
  {
    id: 'G22',
    level: 'rec',
    text: 'Bad protobuf, broken or cut-off gzip, a wrong compressed flag, and no, a cut-off or a second message are INVALID_ARGUMENT.',
  },
  { id: 'G23', level: 'rec', text: 'A malformed gzip message ends its own call and neither connection nor process.' },
  { id: 'G24', level: 'peer', text: 'A message marked compressed with a length of 0 is cut-off gzip.' },
  {
    id: 'G25',
    level: 'rec',
    text: 'grpc-message is percent-encoded UTF-8, well-formed whatever was thrown, and repeats no text of the client.',
  },
  {
    id: 'G26',
    level: 'should',
    text: '1,000 calls run at once on a connection; bytes in flight over all connections have a budget, beyond which a call is UNAVAILABLE.',
  },
  { id: 'G27', level: 'peer', text: 'Every ping is answered, and a flood of control frames closes the connection.' },
  {
    id: 'G28',
    level: 'rec',
    text: 'A connection says GOAWAY at 10 min ± 10 % and has 30 s grace, or after 5 min without a call; receive windows are of MiBs.',
  },
  {
    id: 'G29',
    level: 'peer',
    text: 'The token is judged when HEADERS arrive, and a refusal goes out before the body.',
  },
  {
    id: 'G30',
    level: 'may',
    text: 'gRPC and HTTP have a port each; HTTP/1.x on the gRPC port is told so in HTTP/1.1, and TLS on it likewise.',
  },
  {
    id: 'G31',
    level: 'fact',
    text: 'A content type other than application/grpc is HTTP 415, a method that is not served UNIMPLEMENTED.',
  },
  {
    id: 'G32',
    level: 'must',
    text: 'Unknown fields of any wire type are ignored at every level, field 1000 too; a group without end or groups over 100 deep are malformed.',
  },
];
