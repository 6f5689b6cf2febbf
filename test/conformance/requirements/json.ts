/** OTLP/JSON: lines J1–J24 of the checklist. */
import type { Requirement } from '../requirement.ts';

export const JSON_RULES: readonly Requirement[] = [
  { id: 'J1', level: 'rec', text: 'Keys are lowerCamelCase; the original snake_case names are taken too.' },
  { id: 'J2', level: 'must', text: 'Unknown keys are ignored at any depth, whatever stands under them.' },
  { id: 'J3', level: 'peer', text: 'A schemaUrl inside of resource is such a key; the one beside it counts.' },
  { id: 'J4', level: 'must', text: 'Ids are hex of either case, wherever one stands.' },
  {
    id: 'J5',
    level: 'rec',
    text: 'An empty id is absent; one that is no hex is a wrong value, with a hint, in log records too.',
  },
  { id: 'J6', level: 'rec', text: 'Other bytes are base64, either alphabet, padded or not.' },
  { id: 'J7', level: 'must', text: '64-bit integers are decimal strings or numbers.' },
  { id: 'J8', level: 'must', text: 'No integer is rounded.' },
  {
    id: 'J9',
    level: 'rec',
    text: 'Integers may have an exponent or a fraction of zeros; an intValue that is no int64 is kept as a double, any other field refuses it.',
  },
  { id: 'J10', level: 'must', text: '32-bit integers may be strings.' },
  { id: 'J11', level: 'rec', text: 'Enums are integers; known names are taken, unknown ones are wrong values.' },
  { id: 'J12', level: 'must', text: 'Doubles are numbers, numeric strings, NaN, Infinity or -Infinity.' },
  { id: 'J13', level: 'rec', text: 'null is an unset field: an AnyValue is then empty, a number point has no value.' },
  { id: 'J14', level: 'must', text: 'An AnyValue that is {} or missing is the empty value.' },
  { id: 'J15', level: 'must', text: 'An explicit default is as an absent field, but optional ones keep presence.' },
  { id: 'J16', level: 'rec', text: 'Of two members of a oneof, and of two equal keys, the later counts.' },
  { id: 'J17', level: 'must', text: 'Attributes are arrays of key and value; kvlists and arrays hold `values`.' },
  { id: 'J18', level: 'must', text: 'Bucket counts are strings or numbers, bounds are doubles.' },
  { id: 'J19', level: 'rec', text: 'Lone surrogates and invalid UTF-8 become U+FFFD and are warned of.' },
  {
    id: 'J20',
    level: 'rec',
    text: 'The top level is an object; a wrong value inside an item rejects the item, one outside refuses the request; a request without items that is not empty is warned of.',
    departure:
      'Where the reader of JSON leaves out an item and the converter finds fault with a later one of the same list, the path in the second sentence counts without the item left out: the first sentence always has the right one.',
  },
  {
    id: 'J21',
    level: 'must',
    text: 'In answers int64 is a string; partialSuccess is left out when there is nothing to tell.',
  },
  { id: 'J22', level: 'must', text: 'An error is a Status in JSON: details by `@type`, a Duration as `5s`.' },
  { id: 'J23', level: 'rec', text: 'NDJSON is answered with 415.' },
  { id: 'J24', level: 'rec', text: 'Our equivalents of the example files give 200 and exact rows.' },
];
