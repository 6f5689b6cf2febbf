/**
 * What a conversion has to tell the client: how many items were rejected and why, and what was changed on the way in.
 * The first offender of each kind is named by its path, in OTLP/JSON names; values of the user never appear.
 */
import { ERROR_MESSAGE_BYTES_MAX } from '../../base/limits.ts';

/** What can be warned of; the text is the rule (reference otlp.md section 1.5). */
const WARNINGS = {
  utf8: 'strings were not valid UTF-8: U+FFFD stands for each ill-formed part',
  dropped: 'attributes were over a limit (1,024 in a list, key 4,096 bytes, value 1,048,576 bytes) and were dropped',
  repeatedDropped:
    'attributes that repeat in each row (of resource, scope and metric) were dropped, largest first: together they may hold 65,536 bytes',
  nested: 'arrays or lists were nested deeper than 32 and were replaced by a marker',
  idLength: 'ids had a wrong length (trace_id has 16 bytes, span_id 8) and were left empty',
  endBeforeStart: 'spans ended before they started: their Duration is 0, their EndTimestamp as sent',
  exemplarValue: 'exemplars had no value and were left out',
  strindex: 'string indexes have a meaning in profiles only: they were read as empty',
} as const;
export type Warning = keyof typeof WARNINGS;

export interface PathNames {
  /** `resourceLogs`, `scopeLogs`, `logRecords`, and what one item is called in a sentence: `log record`. */
  readonly resource: string;
  readonly scope: string;
  readonly item: string;
  readonly itemNoun: string;
}

export class Notes {
  rejected = 0;
  /** Where the converter is; −1 above that level. */
  resource = -1;
  scope = -1;
  item = -1;
  /** Of a metric's data points: the member of `data` that holds them, and which one it is; −1 outside of them. */
  part = '';
  point = -1;
  /** Which element of a list inside the item (event, link, exemplar) stands for `[]` in a field's name. */
  element = 0;
  /** While something is only measured, nothing is warned of. */
  quiet = false;
  readonly #names: PathNames;
  #rejectedReason = '';
  #counts = new Map<Warning, number>();
  #firstPaths = new Map<Warning, string>();

  constructor(names: PathNames) {
    this.#names = names;
  }

  /** Before the next request. */
  reset(): void {
    this.rejected = 0;
    this.resource = this.scope = this.item = this.point = -1;
    this.quiet = false;
    this.#rejectedReason = '';
    this.#counts.clear();
    this.#firstPaths.clear();
  }

  warn(warning: Warning, field: string, count = 1): void {
    if (this.quiet) return;
    const before = this.#counts.get(warning) ?? 0;
    this.#counts.set(warning, before + count);
    if (before === 0) this.#firstPaths.set(warning, this.path(field));
  }

  /** `count` items are rejected; the first reason is the one that is told. */
  reject(reason: string, field: string, count = 1): void {
    if (this.rejected === 0) this.#rejectedReason = `${reason} (first: ${this.path(field)})`;
    this.rejected += count;
  }

  /** Runs `work` as for the resource or the scope, whatever item is read now: what it warns of is not the item's. */
  above(level: 'resource' | 'scope', work: () => void): void {
    const { scope, item } = this;
    if (level === 'resource') this.scope = -1;
    this.item = -1;
    work();
    this.scope = scope;
    this.item = item;
  }

  /** Where the converter is, in OTLP/JSON names; `[]` in `field` is the element's index. */
  path(field: string): string {
    const { resource, scope, item } = this.#names;
    let path = this.resource < 0 ? '' : `${resource}[${this.resource}]`;
    if (this.scope >= 0) path += `.${scope}[${this.scope}]`;
    if (this.item >= 0) path += `.${item}[${this.item}]`;
    if (this.item >= 0 && this.point >= 0) path += `.${this.part}.dataPoints[${this.point}]`;
    if (field === '') return path;
    const named = field.replace('[]', `[${this.element}]`);
    return path === '' ? named : `${path}.${named}`;
  }

  /** At most ERROR_MESSAGE_BYTES_MAX bytes; '' when there is nothing to tell. `empty`: a body that holds no items. */
  message(empty: boolean): string {
    const parts: string[] = [];
    const noun = this.#names.itemNoun;
    if (this.rejected > 0) parts.push(rejectedText(this.rejected, noun, this.#rejectedReason));
    for (const [warning, count] of this.#counts) {
      parts.push(warningText(count, WARNINGS[warning], this.#firstPaths.get(warning) ?? ''));
    }
    if (empty) parts.push(noItemsText(noun));
    return truncate(parts.join('; '));
  }
}

/** `reason` names rule and path. */
export function rejectedText(count: number, noun: string, reason: string): string {
  return `${count} ${count === 1 ? noun : `${noun}s`} rejected: ${reason}`;
}

export function warningText(count: number, rule: string, firstPath: string): string {
  return `warning, ${count} ${count === 1 ? 'time' : 'times'}: ${rule} (first: ${firstPath})`;
}

export function noItemsText(noun: string): string {
  return `warning: the body is not empty, but no ${noun} was found in it`;
}

function truncate(text: string): string {
  // The texts are ASCII, so characters are bytes.
  return text.length <= ERROR_MESSAGE_BYTES_MAX ? text : `${text.slice(0, ERROR_MESSAGE_BYTES_MAX - 3)}...`;
}
