/**
 * Prints after a run how much of the OTLP checklist the passed tests have shown, and fails the run when all conformance
 * tests ran and a line that binds us was not shown. `npm run conformance` prints every line.
 */
import { readdirSync } from 'node:fs';
import { relative } from 'node:path';
import type { Reporter, TestModule } from 'vitest/node';
import { coverageLines, coverageOf } from './coverage.ts';
import { REQUIREMENTS } from './requirements.ts';

export class CoverageReporter implements Reporter {
  onTestRunEnd(modules: readonly TestModule[]): void {
    const conformance = modules.filter(
      ({ moduleId }) => relative(import.meta.dirname, moduleId).startsWith('..') === false,
    );
    if (conformance.length === 0) return;
    const passed = conformance.flatMap((module) => [...module.children.allTests('passed')].map(({ name }) => name));
    const skipped = conformance.some((module) => [...module.children.allTests('skipped')].length > 0);
    const coverage = coverageOf(REQUIREMENTS, passed);
    const all = process.env['npm_lifecycle_event'] === 'conformance';
    // A run of some files or of some titles shows what it shows, and is not judged.
    const whole = !skipped && conformance.length === testFiles();
    if (whole || all) console.log(`\n${coverageLines(REQUIREMENTS, coverage, all).join('\n')}`);
    if (whole && coverage.missing.length + coverage.mistakes.length > 0) process.exitCode = 1;
  }
}

function testFiles(): number {
  const files = readdirSync(import.meta.dirname, { recursive: true, encoding: 'utf8' });
  return files.filter((file) => file.endsWith('.test.ts')).length;
}
