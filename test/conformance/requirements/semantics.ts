/** What telemetry means where the specification leaves it to the receiver: lines E1–E11 of the checklist. */
import type { Requirement } from '../requirement.ts';

export const SEMANTICS: readonly Requirement[] = [
  {
    id: 'E1',
    level: 'rec',
    text: 'A span without valid ids is rejected alone; an invalid id of a link, record or exemplar is stored empty, a wrong length warned; hex is lower case.',
  },
  {
    id: 'E2',
    level: 'rec',
    text: 'Points without a time, number points without a value, and histograms whose buckets do not fit their bounds are rejected; an exemplar without a value is left out.',
  },
  {
    id: 'E3',
    level: 'rec',
    text: 'A request is answered as soon as it is durable; sent again because its answer was lost, it gets the same answer and no second row.',
  },
  { id: 'E4', level: 'rec', text: 'A string index outside of profiles is read as empty and warned of.' },
  { id: 'E5', level: 'rec', text: 'Attribute values may be anything, and equal keys are all kept in their places.' },
  { id: 'E6', level: 'rec', text: 'Flags are stored whole, reserved bits too.' },
  {
    id: 'E7',
    level: 'rec',
    text: 'A record has its own time, else the time it was observed, else the time of receipt.',
  },
  { id: 'E8', level: 'rec', text: 'Numbers of enums that are not known are kept.' },
  {
    id: 'E9',
    level: 'rec',
    text: 'A time above 2^63-1 ns rejects its item, any other age is kept; a span that ends before it starts has Duration 0 and is warned of.',
  },
  {
    id: 'E10',
    level: 'rec',
    text: 'Invalid UTF-8 becomes U+FFFD where TextDecoder puts it, the item is kept and warned of; NUL is a character.',
  },
  {
    id: 'E11',
    level: 'rec',
    text: 'Nesting, attributes, repeated bytes and the rows of a request have bounds; what is over is replaced, dropped and counted, or rejected, and told.',
  },
];
