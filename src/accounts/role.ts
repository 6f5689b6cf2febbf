/** What a member of an organization may do there. Each role may all that the ones after it may. */
export const ROLES = ['owner', 'admin', 'member', 'viewer'] as const;
export type Role = (typeof ROLES)[number];

export function isRole(text: string): text is Role {
  return (ROLES as readonly string[]).includes(text);
}

/** Whether `role` may what `needed` may. */
export function mayAs(role: Role, needed: Role): boolean {
  return ROLES.indexOf(role) <= ROLES.indexOf(needed);
}

/** Nobody gives more than they have, and only owners make or change owners. */
export function mayGive(actor: Role, given: Role): boolean {
  return mayAs(actor, 'admin') && mayAs(actor, given);
}
