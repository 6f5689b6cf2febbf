import { describe, expect, it } from 'vitest';
import type { BackworkError } from '../../../src/base/errors.ts';
import { LIMIT_EXCHANGE_MS, LIMIT_EXCHANGE_STALE_MS, ORGANIZATION_IDLE_MS } from '../../../src/base/limits.ts';
import { type LimitedRequest, OrganizationLimiter } from '../../../src/ingest/limits/organization-limiter.ts';
import type { OrganizationLimits } from '../../../src/ingest/messages.ts';

const NONE: OrganizationLimits = {
  bytesPerSecond: 0,
  itemsPerSecond: 0,
  requestsAtOnce: 0,
  spoolBytes: 0,
  weight: 10,
};

/** As many limiters as workers, on one clock, with what the tests set: the disk's room and the sealing queue. */
function service(workers = 1) {
  const state = { nowMs: 1_000, roomBytes: 1e12, behind: false };
  const limiters = Array.from(
    { length: workers },
    () =>
      new OrganizationLimiter({
        workers,
        defaults: NONE,
        spoolRoomBytes: () => state.roomBytes,
        sealingIsBehind: () => state.behind,
        nowMs: () => state.nowMs,
      }),
  );
  /** One round of what the supervisor passes on. */
  const exchange = (alive = limiters): void => {
    state.nowMs += LIMIT_EXCHANGE_MS;
    for (const from of alive) {
      const reports = from.report();
      for (const to of limiters) if (to !== from) to.heard(limiters.indexOf(from), reports);
    }
  };
  return { state, limiters, exchange, limiter: limiters[0]! };
}

/** undefined: refused. Every refusal of a limiter must be one that an exporter sends again. */
function admit(limiter: OrganizationLimiter, orgId: string, limits: Partial<OrganizationLimits>, bytes?: number) {
  try {
    return limiter.admit(orgId, { ...NONE, ...limits }, bytes);
  } catch (error) {
    const { code, retryable, retryAfterMs } = error as BackworkError;
    if (code !== 'org-limit' || !retryable || !((retryAfterMs ?? 0) > 0)) throw error;
    return undefined;
  }
}

function send(limiter: OrganizationLimiter, orgId: string, limits: Partial<OrganizationLimits>, bytes: number): number {
  const request = admit(limiter, orgId, limits, bytes);
  request?.received(bytes);
  request?.stored(1);
  request?.ended();
  return request === undefined ? 0 : bytes;
}

describe('the limits of an organization', () => {
  it('let in what has none', () => {
    const { limiter } = service();
    const open = Array.from({ length: 1_000 }, () => admit(limiter, 'a', {}, 1e9));
    expect(open.every((request) => request !== undefined)).toBe(true);
  });

  it('are its own: another organization is let in beside one that used up its rate', () => {
    const { limiter } = service();
    const limits = { bytesPerSecond: 1_000 };
    expect(send(limiter, 'a', limits, 20_000)).toBe(20_000);
    expect(send(limiter, 'a', limits, 1)).toBe(0);
    expect(send(limiter, 'b', limits, 1)).toBe(1);
  });

  it('charge bytes as inflated, not as announced', () => {
    const { limiter, state } = service();
    const limits = { bytesPerSecond: 1_000 };
    const request = admit(limiter, 'a', limits, 10) as LimitedRequest;
    request.received(25_000);
    request.ended();
    expect(admit(limiter, 'a', limits, 1)).toBeUndefined();
    // Five seconds were ahead, twenty are owed.
    state.nowMs += 19_900;
    expect(admit(limiter, 'a', limits, 1)).toBeUndefined();
    state.nowMs += 200;
    expect(admit(limiter, 'a', limits, 1)).toBeDefined();
  });

  it('charge a body of unknown length what the bodies before it had, until it is read', () => {
    const { limiter, state } = service();
    const limits = { bytesPerSecond: 1_000 };
    const first = admit(limiter, 'a', limits) as LimitedRequest;
    first.received(5_000);
    first.ended();
    state.nowMs += 5_000;
    expect(admit(limiter, 'a', limits)).toBeDefined();
    expect(admit(limiter, 'a', limits)).toBeUndefined();
  });

  it('charge items when they are known, and refuse the next until the debt is paid', () => {
    const { limiter, state } = service();
    const limits = { itemsPerSecond: 100 };
    const request = admit(limiter, 'a', limits, 10) as LimitedRequest;
    request.stored(1_500);
    request.ended();
    expect(admit(limiter, 'a', limits, 10)).toBeUndefined();
    state.nowMs += 10_100;
    expect(admit(limiter, 'a', limits, 10)).toBeDefined();
  });

  it('cost nothing for what this process refused after all', () => {
    const { limiter } = service();
    const limits = { bytesPerSecond: 1_000 };
    for (let n = 0; n < 10; n++) {
      const request = admit(limiter, 'a', limits, 50_000) as LimitedRequest;
      request.giveBack();
      request.giveBack();
      request.ended();
    }
    expect(send(limiter, 'a', limits, 1)).toBe(1);
  });

  it('hold for requests at once, and again when one ends', () => {
    const { limiter } = service();
    const open = Array.from({ length: 3 }, () => admit(limiter, 'a', { requestsAtOnce: 3 }, 1));
    expect(open.every((request) => request !== undefined)).toBe(true);
    expect(admit(limiter, 'a', { requestsAtOnce: 3 }, 1)).toBeUndefined();
    open[0]?.ended();
    expect(admit(limiter, 'a', { requestsAtOnce: 3 }, 1)).toBeDefined();
  });

  it('that are changed hold from the next request on', () => {
    const { limiter } = service();
    expect(send(limiter, 'a', { bytesPerSecond: 10 }, 1_000)).toBe(1_000);
    expect(send(limiter, 'a', { bytesPerSecond: 10 }, 1)).toBe(0);
    expect(send(limiter, 'a', { bytesPerSecond: 0 }, 1)).toBe(1);
  });
});

describe('the limits of an organization over several processes', () => {
  const limits = { bytesPerSecond: 10_000 };

  it('let the whole rate through one of them, and no more through all', () => {
    // All connections on the first worker, then spread over three.
    for (const spread of [1, 3]) {
      const { limiters, exchange, state } = service(3);
      let taken = 0;
      const seconds = 100;
      for (let tick = 0; tick < seconds * 10; tick++) {
        for (const limiter of limiters.slice(0, spread)) {
          for (let n = 0; n < 50; n++) taken += send(limiter, 'a', limits, 500);
        }
        state.nowMs += 100;
        if (tick % 10 === 9) {
          state.nowMs -= LIMIT_EXCHANGE_MS;
          exchange();
        }
      }
      expect(taken, `${spread} workers`).toBeGreaterThanOrEqual(10_000 * seconds * 0.99);
      expect(taken, `${spread} workers`).toBeLessThanOrEqual(10_000 * (seconds + 5 * spread) + 500 * spread);
    }
  });

  it('divide requests at once by what came lately, never to more than the limit', () => {
    const { limiters, exchange } = service(2);
    const [one, two] = limiters as [OrganizationLimiter, OrganizationLimiter];
    const atOnce = { requestsAtOnce: 10 };
    const fill = (limiter: OrganizationLimiter, tries: number) => {
      const open: LimitedRequest[] = [];
      for (let n = 0; n < tries; n++) {
        const request = admit(limiter, 'a', atOnce, 1);
        if (request !== undefined) open.push(request);
      }
      const count = open.length;
      for (const request of open) request.ended();
      return count;
    };
    // Nothing is known of the other: it may have all but the one that each other process has.
    expect(fill(one, 90)).toBe(9);
    exchange();
    expect(fill(one, 90) + fill(two, 10)).toBeLessThanOrEqual(10);
    for (let n = 0; n < 8; n++) {
      fill(one, 30);
      fill(two, 90);
      exchange();
    }
    const [first, second] = [fill(one, 30), fill(two, 90)];
    expect(first + second).toBeLessThanOrEqual(10);
    expect(first + second).toBeGreaterThanOrEqual(9);
    expect(second).toBeGreaterThan(first);
  });

  it('forget a process that says nothing any more', () => {
    const { limiters, exchange, state } = service(2);
    const [one, two] = limiters as [OrganizationLimiter, OrganizationLimiter];
    two.use('a').spoolBytes = 900;
    exchange();
    expect(admit(one, 'a', { spoolBytes: 900 }, 1)).toBeUndefined();
    state.nowMs += LIMIT_EXCHANGE_STALE_MS;
    exchange([one]);
    expect(admit(one, 'a', { spoolBytes: 900 }, 1)).toBeDefined();
  });
});

describe('what is short', () => {
  it('in the spools: nobody waits with more than its limit', () => {
    const { limiter } = service();
    limiter.use('a').spoolBytes = 1_000;
    expect(admit(limiter, 'a', { spoolBytes: 1_000 }, 1)).toBeUndefined();
    expect(admit(limiter, 'a', { spoolBytes: 1_001 }, 1)).toBeDefined();
  });

  it('on the disk of the spools: is shared by weight from half on, and not before', () => {
    const { limiter, state, exchange } = service();
    for (const [orgId, weight] of [
      ['a', 10],
      ['b', 30],
    ] as const)
      send(limiter, orgId, { weight }, 1);
    const [a, b] = [limiter.use('a'), limiter.use('b')];
    state.roomBytes = 500;
    a.spoolBytes = 499;
    exchange();
    expect(admit(limiter, 'a', {}, 1)).toBeDefined();
    // 1,020 in all, of which a may have a quarter.
    a.spoolBytes = 500;
    b.spoolBytes = 20;
    exchange();
    expect(admit(limiter, 'a', {}, 1)).toBeUndefined();
    expect(admit(limiter, 'b', { weight: 30 }, 1)).toBeDefined();
    b.spoolBytes = 764;
    expect(admit(limiter, 'b', { weight: 30 }, 1)).toBeDefined();
    b.spoolBytes = 766;
    expect(admit(limiter, 'b', { weight: 30 }, 1)).toBeUndefined();
  });

  it('on the disk: an organization that is the only one has all of it', () => {
    const { limiter, state, exchange } = service();
    send(limiter, 'a', {}, 1);
    limiter.use('a').spoolBytes = 1e9;
    // Without any room left it is the spool that refuses, not the organization's share.
    for (const roomBytes of [1, 0, -1]) {
      state.roomBytes = roomBytes;
      exchange();
      expect(admit(limiter, 'a', {}, 1)).toBeDefined();
    }
  });

  it('when sealing is behind: the one that sent more than its share is refused, the others are not', () => {
    const { limiter, state, exchange } = service();
    for (const orgId of ['a', 'b', 'c']) send(limiter, orgId, {}, 1);
    limiter.appended(limiter.use('a'), 1_000_000);
    for (const orgId of ['b', 'c']) limiter.appended(limiter.use(orgId), 10_000);
    exchange();
    expect(admit(limiter, 'a', {}, 1)).toBeDefined();
    state.behind = true;
    expect(admit(limiter, 'a', {}, 1)).toBeUndefined();
    for (const orgId of ['b', 'c', 'd']) expect(admit(limiter, orgId, {}, 1)).toBeDefined();
  });

  it('when sealing is behind: an organization that is the only one goes on', () => {
    const { limiter, state, exchange } = service();
    send(limiter, 'a', {}, 1);
    limiter.appended(limiter.use('a'), 1_000_000);
    exchange();
    state.behind = true;
    expect(admit(limiter, 'a', {}, 1)).toBeDefined();
  });
});

describe('the table of organizations', () => {
  it('forgets those that are idle, and shares nothing with one', () => {
    const { limiter, state, exchange } = service();
    send(limiter, 'a', {}, 1);
    send(limiter, 'b', {}, 1);
    expect(limiter.isShared).toBe(true);
    const before = limiter.use('b');
    state.nowMs += ORGANIZATION_IDLE_MS;
    send(limiter, 'a', {}, 1);
    for (let n = 0; n < 5; n++) exchange();
    expect(limiter.isShared).toBe(false);
    expect(limiter.use('b')).not.toBe(before);
  });
});
