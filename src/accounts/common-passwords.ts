/**
 * Passwords that are tried first by those who guess (ASVS 6.2.4, 6.2.11). At 12 characters and more the common ones are
 * made of few things: a word everybody knows with digits around it, one piece over and over, a run over the keyboard or the
 * alphabet, or what the attacker knows already: the service's name and the person's own. So they are told by how they are
 * made, which covers every suffix of a list and those it forgot.
 */

/** What remains of a common password without its digits and signs. In lower case, letters only. */
const WORDS: ReadonlySet<string> = new Set(
  `password passwort passwd pass pwd login logon welcome admin administrator root superuser master manager user guest
   default changeme changeit letmein secret secure security access system server service support test testing tester
   demo example sample public private internet computer network database cloud office company business enterprise
   monkey dragon shadow sunshine princess football baseball basketball soccer hockey superman batman spiderman starwars
   pokemon naruto whatever trustno iloveyou loveyou lovely forever freedom michael jennifer jessica charlie jordan
   daniel thomas andrew joshua matthew anthony robert william george ashley nicole hannah amanda summer winter spring
   autumn monday friday january february october november december chocolate cookie banana orange purple yellow silver
   golden diamond flower butterfly tigger ginger pepper buster hunter ranger harley mustang ferrari porsche corvette
   mercedes yamaha samsung google facebook twitter linkedin amazon microsoft windows android apple iphone hello hallo
   bonjour hola ciao temp temporary initial first change new my your the qwerty qwertz azerty asdf zxcv abc abcd telemetry
   opentelemetry otel collector clickhouse backwork grafana prometheus observability`
    .split(/\s+/)
    .filter((word) => word !== ''),
);
/** Rows of keyboards, the alphabet and the digits, twice over, so that a run may go on from the end. */
const RUNS = [
  'abcdefghijklmnopqrstuvwxyz',
  '1234567890',
  'qwertyuiop',
  'qwertzuiop',
  'azertyuiop',
  'asdfghjkl',
  'zxcvbnm',
]
  .concat('qazwsxedcrfvtgbyhnujmikolp', '1q2w3e4r5t6y7u8i9o0p', '1qaz2wsx3edc4rfv5tgb6yhn7ujm', '!@#$%^&*()')
  .flatMap((run) => [run + run, [...(run + run)].reverse().join('')]);
const RUN_LENGTH_MIN = 3;
const PERIOD_MAX = 6;
const DISTINCT_MIN = 5;
const SUBSTITUTES: Readonly<Record<string, string>> = {
  '0': 'o',
  '1': 'i',
  '3': 'e',
  '4': 'a',
  '5': 's',
  '7': 't',
  '@': 'a',
  $: 's',
  '!': 'i',
};
const WORDS_IN_A_ROW_MAX = 4;

/**
 * Why this password is one that is guessed soon, as the end of a sentence; undefined when it is none of those. `known`:
 * the person's address and name and the like.
 */
export function commonPasswordReason(password: string, known: readonly string[] = []): string | undefined {
  const text = password.normalize('NFKC').toLowerCase();
  if (new Set(text).size < DISTINCT_MIN) return `it has fewer than ${DISTINCT_MIN} different characters`;
  if (isPeriodic(text)) return 'it is one short piece again and again';
  if (isOfRuns(text)) return 'it runs over the keyboard, the alphabet or the digits';
  const words = new Set(WORDS);
  for (const one of known) for (const piece of lettersOf(one.toLowerCase())) words.add(piece);
  if (candidates(text).some((letters) => isOfWords(letters, words, WORDS_IN_A_ROW_MAX)))
    return 'it is a common word, or one of yours, with signs around it';
  return undefined;
}

/** With digits and signs taken for the letters they look like, and with them left out. */
function candidates(text: string): string[] {
  const trimmed = text.replace(/^[^a-z]+|[^a-z]+$/g, '');
  const read = [text, trimmed].map((one) => [...one].map((sign) => SUBSTITUTES[sign] ?? sign).join(''));
  return [...read, text].map((one) => one.replaceAll(/[^a-z]/g, '')).filter((letters) => letters !== '');
}

function isOfWords(letters: string, words: ReadonlySet<string>, most: number): boolean {
  if (words.has(letters)) return true;
  if (most === 1) return false;
  for (let end = 2; end < letters.length - 1; end++)
    if (words.has(letters.slice(0, end)) && isOfWords(letters.slice(end), words, most - 1)) return true;
  return false;
}

/** Letters of three or more in a row: the parts of an address or of a name. */
function lettersOf(text: string): string[] {
  return text.match(/[a-z]{3,}/g) ?? [];
}

function isPeriodic(text: string): boolean {
  for (let period = 1; period <= Math.min(PERIOD_MAX, text.length / 2); period++)
    if (text.slice(period) === text.slice(0, -period)) return true;
  return false;
}

/** The whole of it, in pieces of RUN_LENGTH_MIN or more. */
function isOfRuns(text: string): boolean {
  for (let at = 0; at < text.length; ) {
    let end = Math.min(at + RUN_LENGTH_MIN, text.length);
    const isRun = () => RUNS.some((run) => run.includes(text.slice(at, end)));
    if (end - at < RUN_LENGTH_MIN && at > 0) return true;
    if (!isRun()) return false;
    while (end < text.length) {
      end++;
      if (isRun()) continue;
      end--;
      break;
    }
    at = end;
  }
  return true;
}
