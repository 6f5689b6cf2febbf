/** Section 1.4 of the checklist, the lines about TLS. */
import type { Requirement } from '../requirement.ts';

export const TLS: readonly Requirement[] = [
  {
    id: 'T1 (TLS)',
    level: 'peer',
    text: 'TLS is optional; then 1.2 or later on both ports, with client certificates required and verified when a client CA is set; plain text on an address other than loopback is warned of, and refused when TLS is required.',
  },
  {
    id: 'T2 (TLS)',
    level: 'fact',
    text: 'A TLS handshake on a plain port, which exporters of Go begin by default, leaves a line in the log that says what to set on either side.',
  },
];
