/**
 * What the API needs of accounts, put together: the database, keys, and the services over them. Opened when the API is first asked
 * for something of it, because an idle service needs none of its memory.
 */
import { randomBytes } from 'node:crypto';
import { availableParallelism } from 'node:os';
import { type KeyedHash, loadKeyedHash } from '../base/keyed-hash.ts';
import type { AuditAction, AuditEntry } from './audit.ts';
import { createIdentity, type Identity, type SignUpPolicy } from './identity.ts';
import { loadPepper, type Pepper } from './key-file.ts';
import { type KeyRing, loadKeyRing } from './key-ring.ts';
import { DEFAULT_SLUG, type PlacementRules, placementRules } from './organization.ts';
import { createOutbox, type Outbox } from './outbox.ts';
import { loadPlanCatalogue, type PlanCatalogue } from './plan-catalogue.ts';
import { type Argon2Parameters, createPasswords, type Passwords } from './password.ts';
import { createSecondFactors, type SecondFactors } from './second-factor.ts';
import { loadSecretBox, type SecretBox } from './secret-box.ts';
import { createSessions, type Sessions } from './sessions.ts';
import { type AccountsDatabase, openAccounts } from './store/accounts-database.ts';
import { newTokenSecret, type TokenSecret } from './token.ts';

export interface ControlPlaneOptions {
  readonly dataDir: string;
  readonly settings: {
    readonly signUp: string;
    readonly publicUrl: string;
    readonly retentionDays: number;
    readonly plansFile: string;
    readonly ownPlacementsMax: number;
    readonly clickhouseUrl: string;
  };
  readonly nowMs?: () => number;
  /** Of passwords; for tests, whose machines have other things to do. */
  readonly argon2?: Argon2Parameters;
}

export interface ControlPlane {
  readonly accounts: AccountsDatabase;
  readonly identity: Identity;
  readonly sessions: Sessions;
  readonly secondFactors: SecondFactors;
  readonly outbox: Outbox;
  readonly placementRules: PlacementRules;
  readonly plans: PlanCatalogue;
  readonly publicUrl: string;
  readonly nowMs: () => number;
  newSecret(): { readonly secret: string; readonly digest: string };
  /** Keyed hash as 64 hex digits. */
  digestOf(secret: string): string;
  /** Answers that are kept to be given again: sealed, because they may name people. Throws as SecretBox does. */
  readonly keptAnswers: {
    seal(digest: string, body: string): string;
    open(digest: string, sealed: string): string;
  };
  newToken(kind: 'ing' | 'api'): { readonly token: string; readonly stored: TokenSecret };
  /** Writes what was done, or refused, into the audit log of an organization ('' for the installation's own). */
  audit(
    orgId: string,
    actor: string,
    action: AuditAction,
    target: string,
    result?: AuditEntry['result'],
  ): Promise<void>;
  /** Removes what is over from the tables; returns how many rows. */
  sweep(): Promise<number>;
  close(): Promise<void>;
}

const SECRET_BYTES = 32;

/** Throws as openAccounts, loadPepper and loadKeyRing do. */
export async function openControlPlane(options: ControlPlaneOptions): Promise<ControlPlane> {
  const { dataDir, settings } = options;
  const nowMs = options.nowMs ?? Date.now;
  const pepper = loadPepper(dataDir, { create: true });
  const sessionKeys = loadKeyRing(dataDir, 'session', { create: true });
  const secretKeys = loadKeyRing(dataDir, 'secrets', { create: true });
  const [hash, box, accounts] = await Promise.all([
    loadKeyedHash(),
    loadSecretBox(randomBytes),
    openAccounts({ dataDir }),
  ]);
  const secrets = createSecrets(pepper, hash);
  const passwords = passwordsOf(options);
  const outbox = createOutbox(accounts.mails, box, secretKeys);
  const { digestOf, newSecret } = secrets;
  const store = accounts.secondFactors;
  const secondFactors = createSecondFactors({ store, box, keys: secretKeys, random: randomBytes, digestOf, nowMs });
  const firstOrgId =
    (await accounts.organizations.find(DEFAULT_SLUG))?.id ?? (await accounts.organizations.list())[0]?.id;
  const identity = createIdentity({
    ...{ accounts, passwords, secondFactors, outbox, newSecret, digestOf, nowMs },
    publicUrl: settings.publicUrl,
    signUpPolicy: settings.signUp as SignUpPolicy,
    firstOrgId: firstOrgId ?? '',
  });
  return {
    ...{ accounts, identity, secondFactors, outbox, nowMs, digestOf, newSecret },
    sessions: sessionsOf(accounts, sessionKeys, secrets, nowMs),
    placementRules: placementRules(settings),
    plans: loadPlanCatalogue(settings),
    publicUrl: settings.publicUrl,
    keptAnswers: keptAnswers(box, secretKeys),
    newToken: (kind) => newTokenSecret(kind, { pepper, hash, random: randomBytes }),
    async audit(orgId, actor, action, target, result = 'done') {
      await accounts.audit.append({ orgId, atMs: nowMs(), actor, action, target, result });
    },
    sweep: () => sweep(accounts, outbox, nowMs()),
    close: () => accounts.close(),
  };
}

function keptAnswers(box: SecretBox, keys: KeyRing): ControlPlane['keptAnswers'] {
  const placeOf = (digest: string) => ({ table: 'idempotency', column: 'body', row: digest, orgId: '' });
  return {
    seal: (digest, body) => box.seal(Buffer.from(body), placeOf(digest), keys.current),
    open: (digest, sealed) => box.open(sealed, placeOf(digest), (id) => keys.find(id)).toString(),
  };
}

function passwordsOf({ argon2 }: ControlPlaneOptions): Passwords {
  const atOnceMax = Math.max(1, availableParallelism() - 1);
  return createPasswords(argon2 === undefined ? { atOnceMax } : { atOnceMax, parameters: argon2 });
}

function sessionsOf(
  accounts: AccountsDatabase,
  keys: KeyRing,
  secrets: Pick<ControlPlane, 'newSecret' | 'digestOf'>,
  nowMs: () => number,
): Sessions {
  return createSessions({ store: accounts.sessions, keys: () => keys, ...secrets, nowMs });
}

function createSecrets(pepper: Pepper, hash: KeyedHash): Pick<ControlPlane, 'newSecret' | 'digestOf'> {
  const digestOf = (secret: string): string => Buffer.from(hash(pepper.key, Buffer.from(secret))).toString('hex');
  return {
    digestOf,
    newSecret() {
      const secret = randomBytes(SECRET_BYTES).toString('base64url');
      return { secret, digest: digestOf(secret) };
    },
  };
}

async function sweep(accounts: AccountsDatabase, outbox: Outbox, nowMs: number): Promise<number> {
  const counts = [
    await accounts.sessions.sweep(nowMs),
    await accounts.links.sweep(nowMs),
    await accounts.invitations.sweep(nowMs),
    await accounts.idempotency.sweep(nowMs),
    await outbox.sweep(nowMs),
  ];
  return counts.reduce((sum, count) => sum + count, 0);
}
