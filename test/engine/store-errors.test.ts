import { describe, expect, it } from 'vitest';
import { classifyStoreError } from '../../src/engine/store-errors.ts';

describe('an error code of ClickHouse', () => {
  it.each([
    [469, 'store-permanent'], // VIOLATED_CONSTRAINT
    [16, 'store-permanent'], // NO_SUCH_COLUMN_IN_TABLE
    [33, 'store-permanent'], // CANNOT_READ_ALL_DATA
    [241, 'store-temporary'], // MEMORY_LIMIT_EXCEEDED
    [252, 'store-temporary'], // TOO_MANY_PARTS
    [60, 'store-temporary'], // UNKNOWN_TABLE: the operator's to mend
    [516, 'store-temporary'], // AUTHENTICATION_FAILED
    [243, 'store-temporary'], // NOT_ENOUGH_SPACE
    [9_999, 'store-temporary'], // of a version to come
    [159, 'store-unknown-outcome'], // TIMEOUT_EXCEEDED
    [319, 'store-unknown-outcome'], // UNKNOWN_STATUS_OF_INSERT
  ] as const)('%d is %s', (storeCode, code) => {
    expect(classifyStoreError(storeCode)).toBe(code);
  });
});
