/** Every fault test, in the order of the list. */
import { f28 } from './f28-huge-requests.ts';
import { f29 } from './f29-deep-values.ts';
import { f30 } from './f30-bad-text.ts';
import { f31 } from './f31-odd-times.ts';
import { f35 } from './f35-revoked-mid-stream.ts';
import type { Fault } from './fault.ts';

export const FAULTS: readonly Fault[] = [f28, f29, f30, f31, f35];
