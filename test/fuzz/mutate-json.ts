/** JSON texts injured with knowledge of their structure: still JSON for the most part, but not what a field takes. */
import type { Random } from '../corpus/seeded-random.ts';

/** A member or element, by what holds it. */
interface Slot {
  readonly holder: object;
  readonly key: string;
}

export interface JsonTree {
  readonly root: unknown;
  /** Every member and element at every depth. */
  readonly slots: readonly Slot[];
}

export function readJson(text: string): JsonTree {
  const root: unknown = JSON.parse(text);
  const slots: Slot[] = [];
  const visit = (holder: unknown): void => {
    if (typeof holder !== 'object' || holder === null) return;
    for (const [key, value] of Object.entries(holder)) {
      slots.push({ holder, key });
      visit(value);
    }
  };
  visit(root);
  return { root, slots };
}

/** Given the member's key, as JSON, and its value's text; gives the members in its place, each as key and value. */
type Edit = (key: string, value: string) => readonly (readonly [string, string])[];

/** One to three injuries at members and elements drawn from all of the tree. */
export function mutateJson(tree: JsonTree, random: Random): string {
  const edits = new Map<object, Map<string, Edit>>();
  for (let count = random.int(1, 3); count > 0 && tree.slots.length > 0; count--) {
    const { holder, key } = random.pick(tree.slots);
    const ofHolder = edits.get(holder) ?? new Map<string, Edit>();
    edits.set(holder, ofHolder);
    ofHolder.set(key, drawEdit(tree, random));
  }
  const write = (value: unknown): string => {
    if (typeof value !== 'object' || value === null) return JSON.stringify(value);
    const members = Object.entries(value).flatMap(([key, inner]) => {
      const edit = edits.get(value)?.get(key);
      const member = [JSON.stringify(key), write(inner)] as const;
      return edit === undefined ? [member] : edit(...member);
    });
    if (Array.isArray(value)) return `[${members.map(([, text]) => text).join(',')}]`;
    return `{${members.map(([key, text]) => `${key}:${text}`).join(',')}}`;
  };
  return write(tree.root);
}

function drawEdit(tree: JsonTree, random: Random): Edit {
  switch (random.int(0, 8)) {
    case 0:
      return () => [];
    case 1:
      return (key, value) => [
        [key, value],
        [key, random.chance(0.5) ? value : edgeText(random)],
      ];
    case 2:
      return (key, value) => [[otherKey(key, tree, random), value]];
    case 3:
      return (key, value) => [[key, `[${value}]`]];
    case 4:
      return (key, value) => [[key, `{${otherKey(key, tree, random)}:${value}}`]];
    case 5:
      return (key, value) => [[key, JSON.stringify(value)]];
    case 6:
      return (key, value) => [
        ['"unknown"', edgeText(random)],
        [key, value],
        ['""', 'null'],
      ];
    default:
      return (key) => [[key, edgeText(random)]];
  }
}

function otherKey(key: string, tree: JsonTree, random: Random): string {
  switch (random.int(0, 3)) {
    case 0:
      return JSON.stringify(random.pick(tree.slots).key);
    case 1:
      return key.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
    case 2:
      return random.chance(0.5) ? key.toUpperCase() : key.toLowerCase();
    default:
      return key.replace(/[a-z]/, (letter) => `\\u00${letter.charCodeAt(0).toString(16)}`);
  }
}

const EDGES = `null true false 0 -0 -1 1.5 1e21 1e+21 1e-400 1e999 -1e999 0.1e1 9007199254740993 9223372036854775807
  9223372036854775808 -9223372036854775808 -9223372036854775809 18446744073709551615 18446744073709551616 1${'0'.repeat(400)}
  "" "0" "-0" "1.0" "1e3" " 1" "0x10" "NaN" "Infinity" "-Infinity" "nan" "18446744073709551615" "18446744073709551616"
  "a" "\\u0000" "\\ud800" "\\udc00\\ud800" "\\ud83d\\ude00" "SPAN_KIND_SERVER" "STATUS_CODE_ERROR" "+/+/" "-_-_" "YQ==" "YQ="
  "0123456789abcdef" "0123456789ABCDEF0123456789abcdef" "0123456789abcde" "AAAAAAAAAAAAAAAAAAAAAA==" {} [] [null] [[]] [{}]
  {"stringValue":"a"} {"intValue":"1","doubleValue":2} {"arrayValue":null} {"kvlistValue":{"values":[{"key":null}]}}`.split(
  /\s+/,
);

function edgeText(random: Random): string {
  if (random.chance(0.9)) return random.pick(EDGES);
  const depth = random.pick([2, 31, 33, 99, 100, 101, 3_000]);
  const [open, close] = random.pick([
    ['[', ']'],
    ['{"arrayValue":{"values":[', ']}}'],
    ['{"kvlistValue":{"values":[{"key":"k","value":', '}]}}'],
  ] as const);
  return `${open.repeat(depth)}${random.chance(0.8) ? random.pick(['{}', '1']) : ''}${close.repeat(depth)}`;
}
