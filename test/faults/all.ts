/** Every fault test, in the order of the list. */
import { f01 } from './f01-kills.ts';
import { f02 } from './f02-power-cuts.ts';
import { f03 } from './f03-engine-down.ts';
import { f04 } from './f04-three-days.ts';
import { f05 } from './f05-slow-engine.ts';
import { f06 } from './f06-cut-replies.ts';
import { f07 } from './f07-false-success.ts';
import { f08 } from './f08-engine-kills.ts';
import { f09 } from './f09-lost-answers.ts';
import { f10 } from './f10-equal-batches.ts';
import { f11 } from './f11-full-disks.ts';
import { f12 } from './f12-full-while-sealing.ts';
import { f13 } from './f13-failing-calls.ts';
import { f14 } from './f14-short-writes.ts';
import { f15 } from './f15-torn-files.ts';
import { f16 } from './f16-flipped-bits.ts';
import { f17 } from './f17-forged-lengths.ts';
import { f18 } from './f18-missing-and-foreign.ts';
import { f19 } from './f19-unusable-spools.ts';
import { f20 } from './f20-clock-jumps.ts';
import { f21 } from './f21-stops.ts';
import { f22 } from './f22-slow-senders.ts';
import { f23 } from './f23-idle-connections.ts';
import { f24 } from './f24-oversized-bodies.ts';
import { f25 } from './f25-bombs.ts';
import { f26 } from './f26-many-large-bodies.ts';
import { f27 } from './f27-overload.ts';
import { f28 } from './f28-huge-requests.ts';
import { f29 } from './f29-deep-values.ts';
import { f30 } from './f30-bad-text.ts';
import { f31 } from './f31-odd-times.ts';
import { f32 } from './f32-backdated.ts';
import { f33 } from './f33-poison.ts';
import { f34 } from './f34-malformed-http.ts';
import { f35 } from './f35-revoked-mid-stream.ts';
import { f36 } from './f36-accounts-away.ts';
import { f37 } from './f37-noisy-neighbour.ts';
import { f39 } from './f39-formats.ts';
import { f40 } from './f40-soak.ts';
import type { Fault } from './fault.ts';

export const FAULTS: readonly Fault[] = [
  f01,
  f02,
  f03,
  f04,
  f05,
  f06,
  f07,
  f08,
  f09,
  f10,
  f11,
  f12,
  f13,
  f14,
  f15,
  f16,
  f17,
  f18,
  f19,
  f20,
  f21,
  f22,
  f23,
  f24,
  f25,
  f26,
  f27,
  f28,
  f29,
  f30,
  f31,
  f32,
  f33,
  f34,
  f35,
  f36,
  f37,
  f39,
  f40,
];
