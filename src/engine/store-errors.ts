/**
 * ClickHouse's error codes, classed once (R11 of the reliability reference). What decides is whether the same INSERT
 * sent later could find better:
 *   permanent  the data or its fit to the table is refused; sent again it is refused again. The store looks for the
 *              request that is the cause, sets it aside, and goes on.
 *   unknown    the INSERT may have been applied all the same; the table is asked (R7).
 *   temporary  everything else, codes of versions to come included: full, busy, unreachable, misconfigured. Setting
 *              aside data because of these would move all of it; so it waits, and an alarm says why.
 */
import type { ErrorCode } from '../base/errors.ts';

/** What a code becomes. */
export type StoreErrorCode = Extract<ErrorCode, 'store-temporary' | 'store-permanent' | 'store-unknown-outcome'>;

const PERMANENT: Readonly<Record<number, string>> = {
  6: 'CANNOT_PARSE_TEXT',
  7: 'INCORRECT_NUMBER_OF_COLUMNS',
  8: 'THERE_IS_NO_COLUMN',
  9: 'SIZES_OF_COLUMNS_DOESNT_MATCH',
  10: 'NOT_FOUND_COLUMN_IN_BLOCK',
  15: 'DUPLICATE_COLUMN',
  16: 'NO_SUCH_COLUMN_IN_TABLE',
  19: 'SIZE_OF_FIXED_STRING_DOESNT_MATCH',
  20: 'NUMBER_OF_COLUMNS_DOESNT_MATCH',
  25: 'CANNOT_PARSE_ESCAPE_SEQUENCE',
  26: 'CANNOT_PARSE_QUOTED_STRING',
  27: 'CANNOT_PARSE_INPUT_ASSERTION_FAILED',
  33: 'CANNOT_READ_ALL_DATA',
  38: 'CANNOT_PARSE_DATE',
  41: 'CANNOT_PARSE_DATETIME',
  43: 'ILLEGAL_TYPE_OF_ARGUMENT',
  44: 'ILLEGAL_COLUMN',
  50: 'UNKNOWN_TYPE',
  53: 'TYPE_MISMATCH',
  69: 'ARGUMENT_OUT_OF_BOUND',
  70: 'CANNOT_CONVERT_TYPE',
  72: 'CANNOT_PARSE_NUMBER',
  117: 'INCORRECT_DATA',
  128: 'TOO_LARGE_ARRAY_SIZE',
  131: 'TOO_LARGE_STRING_SIZE',
  190: 'SIZES_OF_ARRAYS_DOESNT_MATCH',
  248: 'INVALID_PARTITION_VALUE',
  321: 'VALUE_IS_OUT_OF_RANGE_OF_DATA_TYPE',
  349: 'CANNOT_INSERT_NULL_IN_ORDINARY_COLUMN',
  366: 'SIZES_OF_NESTED_COLUMNS_ARE_INCONSISTENT',
  377: 'ILLEGAL_SYNTAX_FOR_DATA_TYPE',
  407: 'DECIMAL_OVERFLOW',
  467: 'CANNOT_PARSE_BOOL',
  469: 'VIOLATED_CONSTRAINT',
};

const UNKNOWN: Readonly<Record<number, string>> = {
  159: 'TIMEOUT_EXCEEDED',
  209: 'SOCKET_TIMEOUT',
  210: 'NETWORK_ERROR',
  236: 'ABORTED',
  286: 'UNSATISFIED_QUORUM_FOR_PREVIOUS_WRITE',
  319: 'UNKNOWN_STATUS_OF_INSERT',
  394: 'QUERY_WAS_CANCELLED',
  999: 'KEEPER_EXCEPTION',
};

/** The class of a ClickHouse error code, as the code of the BackworkError that carries it. */
export function classifyStoreError(storeCode: number): StoreErrorCode {
  if (storeCode in PERMANENT) return 'store-permanent';
  return storeCode in UNKNOWN ? 'store-unknown-outcome' : 'store-temporary';
}
