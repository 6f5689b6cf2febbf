/** Every fault test, in the order of the list. */
import { f22 } from './f22-slow-senders.ts';
import { f23 } from './f23-idle-connections.ts';
import { f24 } from './f24-oversized-bodies.ts';
import { f25 } from './f25-bombs.ts';
import { f28 } from './f28-huge-requests.ts';
import { f29 } from './f29-deep-values.ts';
import { f30 } from './f30-bad-text.ts';
import { f31 } from './f31-odd-times.ts';
import { f34 } from './f34-malformed-http.ts';
import { f35 } from './f35-revoked-mid-stream.ts';
import type { Fault } from './fault.ts';

export const FAULTS: readonly Fault[] = [f22, f23, f24, f25, f28, f29, f30, f31, f34, f35];
