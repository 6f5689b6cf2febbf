/** The authorization header: a token is read in every spelling, one with a changed character in none. */
import { makeToken } from '../../src/base/token-format.ts';
import { readBearerToken } from '../../src/ingest/authenticate/bearer-token.ts';
import { type Fuzzer, fuzzer, promise } from './fuzzer.ts';
import { mutate } from './mutate-bytes.ts';

export function bearerTokenFuzzer(): Fuzzer {
  return fuzzer('bearer-token', ({ random, time }) => {
    if (random.chance(0.2)) {
      const noise = random.bytes(random.int(0, 400)).toString('latin1');
      promise(readBearerToken(random.chance(0.5) ? `Bearer ${noise}` : noise) === undefined, 'took noise for a token');
      return false;
    }
    const made = makeToken(random.pick(['ing', 'api', 'cli'] as const), (count) => random.bytes(count));
    const scheme = random.pick(['Bearer ', 'bearer ', 'BEARER\t', 'Bearer%20', '  Bearer   ']);
    const read = readBearerToken(`${scheme}${made.token}${random.pick(['', ' ', '\t '])}`);
    promise(read?.token === made.token && read.id === made.id, 'did not read the token');
    const header = `Bearer ${made.token}`;
    const changed = mutate(Buffer.from(header), random).toString('latin1');
    const taken = time(() => readBearerToken(changed));
    promise(taken === undefined || taken.token === made.token, 'took a changed token');
    return taken !== undefined;
  });
}
