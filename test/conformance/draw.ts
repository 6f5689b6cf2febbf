/**
 * `node test/conformance/draw.ts [--seed S] [--count N]`: draws lines of the checklist that bind us, for the check by hand
 * that each has a test which fails when its behaviour is taken out of src/. Prints the seed.
 */
import { parseArgs } from 'node:util';
import { seededRandom } from '../corpus/seeded-random.ts';
import { REQUIREMENTS } from './requirements.ts';

const { values } = parseArgs({ options: { seed: { type: 'string' }, count: { type: 'string', default: '20' } } });
const seed = Number(values.seed ?? Date.now() % 1_000_000);
const random = seededRandom(seed);
const left = REQUIREMENTS.filter(({ unbound }) => unbound === undefined);
console.log(`seed ${seed}`);
for (let count = Number(values.count); count > 0 && left.length > 0; count--) {
  const [drawn] = left.splice(random.int(0, left.length - 1), 1);
  console.log(`${drawn?.id}: ${drawn?.text}`);
}
