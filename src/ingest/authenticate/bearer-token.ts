/**
 * From the value of an `authorization` header to a token; pure (reference otlp.md A2). The scheme's case does not
 * matter, blanks around scheme and token do not, and `Bearer%20<token>` is read as it was meant: header values in
 * environment variables are percent-encoded, and not every SDK decodes them.
 */
import { type ParsedToken, parseToken, TOKEN_LENGTH } from '../../base/token-format.ts';

const SCHEME = /^[ \t]*bearer(?:%20|[ \t])/i;
/** A header longer than any token with its blanks is refused before it is searched. */
const HEADER_LENGTH_MAX = TOKEN_LENGTH + 256;

/** The token, its form and CRC checked; undefined for anything else. Nothing was looked up or hashed. */
export function readBearerToken(authorization: string): ParsedToken | undefined {
  if (authorization.length > HEADER_LENGTH_MAX) return undefined;
  const scheme = SCHEME.exec(authorization);
  if (scheme === null) return undefined;
  return parseToken(authorization.slice(scheme[0].length).trim());
}
