/** A notice of the operator to everybody with an account: what changes, and from when on (privacy promise P12). Pure. */
import { BackworkError } from '../base/errors.ts';

export interface Notice {
  /** `ntc_` and 16 base32 characters. */
  readonly id: string;
  readonly title: string;
  /** Plain text. */
  readonly body: string;
  readonly effectiveAtMs: number;
  readonly publishedAtMs: number;
}

const TITLE_CHARACTERS_MAX = 200;
const BODY_CHARACTERS_MAX = 20_000;

/** Throws `invalid-input`. */
export function checkNotice({ title, body }: Pick<Notice, 'title' | 'body'>): void {
  if (title.trim() === '' || title.length > TITLE_CHARACTERS_MAX || /\p{Cc}/u.test(title))
    throw new BackworkError('invalid-input', `a title has 1 to ${TITLE_CHARACTERS_MAX} printable characters`);
  if (body.trim() === '' || body.length > BODY_CHARACTERS_MAX)
    throw new BackworkError('invalid-input', `a notice says something, in at most ${BODY_CHARACTERS_MAX} characters`);
}
