/** One numbered line of the OTLP checklist: what it asks of a server, in our words, and how it stands with us. */
export interface Requirement {
  /** `G` gRPC, `H` HTTP, `A` authentication, `C` CORS, `T… (TLS)`, `E` semantics, `J` JSON, `T… (tests)` the interop plan. */
  readonly id: string;
  /** The specification's word; `rec`: it is silent and the rule is ours; the last four describe others. */
  readonly level: 'must' | 'should' | 'may' | 'rec' | 'peer' | 'fact' | 'default' | 'client';
  /** What the server does. */
  readonly text: string;
  /** Why there is no test: the line binds no server. */
  readonly unbound?: string;
  /** What we do otherwise than the line says, and why. Tested all the same: the test holds what we do. */
  readonly departure?: string;
}
