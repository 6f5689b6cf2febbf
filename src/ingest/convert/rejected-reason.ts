/**
 * Why items were rejected, as one word of a fixed list, from the text that the client is told: for counting, where a text
 * would be a label without bound. Asked only of requests with rejected items.
 */

export type RejectedReason = 'time' | 'id' | 'size' | 'value';

/** On the rule alone, which stands between the count and the path of the first offender. Whatever else is a wrong value. */
const RULES: readonly (readonly [RegExp, RejectedReason])[] = [
  [/ rejected: (a time is above|a data point has no time)/, 'time'],
  [/ rejected: a (trace|span|parent_span)_id /, 'id'],
  [/ rejected: [^(]*are over [\d,]+ bytes/, 'size'],
];

/** `message` of a ConvertResult or ExportAnswer whose `rejected` is not 0. */
export function rejectedReason(message: string): RejectedReason {
  return RULES.find(([rule]) => rule.test(message))?.[1] ?? 'value';
}
