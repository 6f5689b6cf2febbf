import { defineConfig } from 'vitest/config';

// Tests start real processes, engines and sockets: forks keep them apart, and two at a time is what two cores carry.
export default defineConfig({
  test: {
    include: ['test/**/*.test.ts'],
    pool: 'forks',
    maxWorkers: 2,
    testTimeout: 30_000,
    hookTimeout: 60_000,
    reporters: ['default'],
  },
});
