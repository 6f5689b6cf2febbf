import { defineConfig } from 'vitest/config';
import { CoverageReporter } from './test/conformance/coverage-reporter.ts';

// .ci/run counts the tests of `npm test` from this file; the tidy test that `npm run check` runs before is not among them.
const report = process.env['npm_lifecycle_event'] === 'test' ? process.env['VITEST_JSON_REPORT'] : undefined;

// Tests start real processes, engines and sockets: forks keep them apart, and two at a time is what two cores carry.
export default defineConfig({
  test: {
    include: ['test/**/*.test.ts'],
    pool: 'forks',
    maxWorkers: 2,
    testTimeout: 30_000,
    hookTimeout: 60_000,
    reporters:
      report === undefined
        ? ['default', new CoverageReporter()]
        : ['default', new CoverageReporter(), ['json', { outputFile: report }]],
  },
});
