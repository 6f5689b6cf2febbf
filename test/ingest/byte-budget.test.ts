import { describe, expect, it } from 'vitest';
import { SLOW_BODY_MS } from '../../src/base/limits.ts';
import { ByteBudget } from '../../src/ingest/byte-budget.ts';

function budgetOf(bytes: number): { budget: ByteBudget; pass(ms: number): void } {
  let nowMs = 1_000;
  const pass = (ms: number) => {
    nowMs += ms;
  };
  return { budget: new ByteBudget(bytes, () => nowMs), pass };
}

describe('the budget of bytes in flight', () => {
  it('refuses what does not fit now, and has it again when a request ends', () => {
    const { budget } = budgetOf(100);
    const first = budget.open(60);
    expect(() => budget.open(41)).toThrow(expect.objectContaining({ code: 'overloaded', retryable: true }));
    budget.close(first);
    budget.open(100);
  });

  it('refuses for good what can never fit, opened or grown', () => {
    const { budget } = budgetOf(100);
    expect(() => budget.open(101)).toThrow(expect.objectContaining({ code: 'too-large' }));
    const request = budget.open(1);
    expect(() => budget.hold(request, 101)).toThrow(expect.objectContaining({ code: 'too-large' }));
  });

  it('counts a request that grew by what it holds, once', () => {
    const { budget } = budgetOf(100);
    const request = budget.open(10);
    budget.hold(request, 70);
    budget.hold(request, 30);
    expect(() => budget.open(31)).toThrow();
    budget.open(30);
    budget.close(request);
    budget.open(70);
  });

  it('takes back from slow bodies what they do not hold, when it is needed, and no sooner', () => {
    const { budget, pass } = budgetOf(100);
    const slow = budget.open(90);
    budget.hold(slow, 20);
    pass(SLOW_BODY_MS - 1);
    expect(() => budget.open(80)).toThrow();
    pass(1);
    const other = budget.open(80);
    expect(() => budget.hold(slow, 21)).toThrow(expect.objectContaining({ code: 'overloaded' }));
    budget.close(other);
    budget.hold(slow, 100);
    budget.close(slow);
    budget.open(100);
  });
});
