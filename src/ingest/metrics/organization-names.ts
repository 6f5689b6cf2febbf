/**
 * Organizations as labels: those that a setting names, and `other` for all else, so that the number of series is known
 * however many organizations there are (privacy promise: no id in a label). Which id belongs to a name is found out once,
 * by the supervisor, and handed to the processes in their environment.
 */

/** Of a request that was refused before its token was known. */
export const NO_ORGANIZATION = 'none';
const OTHER = 'other';

export class OrganizationNames {
  /** All labels there are, in a fixed order; a place in it is what is counted by. */
  readonly labels: readonly string[];
  readonly #places: ReadonlyMap<string, number>;

  /** Names by id. */
  constructor(names: ReadonlyMap<string, string>) {
    this.labels = [NO_ORGANIZATION, OTHER, ...new Set(names.values())];
    this.#places = new Map([...names].map(([id, name]) => [id, this.labels.indexOf(name)]));
  }

  /** Its place among the labels. */
  placeOf(orgId: string | undefined): number {
    return orgId === undefined ? 0 : (this.#places.get(orgId) ?? 1);
  }

  labelOf(orgId: string | undefined): string {
    return this.labels[this.placeOf(orgId)] ?? OTHER;
  }
}

/** As the supervisor writes it into BACKWORK_ORGANIZATION_NAMES: `<id>=<name>`, separated by commas. */
export function encodeNames(names: ReadonlyMap<string, string>): string {
  return [...names].map(([id, name]) => `${id}=${name}`).join(',');
}

export function decodeNames(text: string | undefined): Map<string, string> {
  const pairs = (text ?? '').split(',').filter((pair) => pair.includes('='));
  return new Map(pairs.map((pair) => pair.split('=') as [string, string]));
}
