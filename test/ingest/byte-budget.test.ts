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

describe('the budget of bytes in flight, where several organizations send', () => {
  const sharedBudget = (isShared = () => true) => new ByteBudget(100, () => 0, isShared);
  const orgLimit = expect.objectContaining({ code: 'org-limit', retryable: true });
  const holderOf = (weight = 10) => ({ weight, inFlightBytes: 0 });

  it('refuses the one that holds more than four times what is free, and lets the others in', () => {
    const budget = sharedBudget();
    const [noisy, quiet] = [holderOf(), holderOf()];
    // 80 held, 20 free: 80 is four times 20.
    for (let n = 0; n < 8; n++) budget.open(10, noisy);
    expect(() => budget.open(1, noisy)).toThrow(orgLimit);
    for (let n = 0; n < 10; n++) budget.open(1, quiet);
    expect(() => budget.open(1, noisy)).toThrow(orgLimit);
    expect([noisy.inFlightBytes, quiet.inFlightBytes]).toEqual([80, 10]);
  });

  it('shares in proportion to the weights', () => {
    const budget = sharedBudget();
    const [light, heavy] = [holderOf(5), holderOf(100)];
    // 2 x what is free.
    for (let n = 0; n < 66; n++) budget.open(1, light);
    expect(() => budget.open(3, light)).toThrow(orgLimit);
    for (let n = 0; n < 30; n++) budget.open(1, heavy);
  });

  it('lets a body that is alone grow as far as there is room, and counts it down when it ends', () => {
    const budget = sharedBudget();
    const holder = holderOf(1);
    const request = budget.open(10, holder);
    budget.hold(request, 100);
    budget.close(request);
    expect(holder.inFlightBytes).toBe(0);
    budget.open(100, holder);
  });

  it('gives the whole budget to an organization that is the only one', () => {
    const budget = sharedBudget(() => false);
    const holder = holderOf();
    for (let n = 0; n < 100; n++) budget.open(1, holder);
    expect(() => budget.open(1, holder)).toThrow(expect.objectContaining({ code: 'overloaded' }));
  });
});
