/** Teams: named groups of an organization's members. What a member may do is decided by the organization's role alone. */
export interface Team {
  /** `team_` and 16 base32 digits. */
  readonly id: string;
  readonly orgId: string;
  readonly name: string;
  readonly createdAtMs: number;
  readonly revision: number;
}

/** A lead may change the team's name and members; an organization's admins and owners may too. */
export const TEAM_ROLES = ['lead', 'member'] as const;
export type TeamRole = (typeof TEAM_ROLES)[number];

export interface TeamMember {
  readonly teamId: string;
  readonly userId: string;
  readonly role: TeamRole;
}
