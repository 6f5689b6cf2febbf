import { expect, it } from 'vitest';
import { createHints, HINT_INTERVAL_MS } from '../../../src/ingest/accept/hints.ts';

it('a kind of hint is said once a minute, with how many were not, and no kind silences another', () => {
  let nowMs = 5;
  const said: unknown[] = [];
  const hint = createHints({ nowMs: () => nowMs, say: (...all) => void said.push(all) });
  hint('tls-on-plain-port', 'a');
  hint('tls-on-plain-port', 'b');
  hint('plain-on-tls-port', 'c');
  nowMs += HINT_INTERVAL_MS - 1;
  hint('tls-on-plain-port', 'd');
  nowMs += 1;
  hint('tls-on-plain-port', 'e');
  expect(said).toEqual([
    ['tls-on-plain-port', 'a', 0],
    ['plain-on-tls-port', 'c', 0],
    ['tls-on-plain-port', 'e', 2],
  ]);
});
