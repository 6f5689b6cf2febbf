/**
 * Accounts of people: sign-up, login, links, passwords. What an unknown address gets is what a known one gets, in answer, in work
 * and in mails queued (reference 2.3): nobody learns from here who has an account.
 *
 *   sign-up ──► mail with a link ──► address verified ──► login ──► session (sessions.ts)
 */
import { BackworkError } from '../base/errors.ts';
import { FailedLogins } from './attempts.ts';
import { commonPasswordReason } from './common-passwords.ts';
import {
  accountExistsMail,
  changeEmailMail,
  emailChangedMail,
  type LinkBase,
  noAccountMail,
  passwordChangedMail,
  resetPasswordMail,
  verifyEmailMail,
} from './mail-texts.ts';
import type { Outbox } from './outbox.ts';
import { checkPasswordLength, type Passwords } from './password.ts';
import type { SecondFactors } from './second-factor.ts';
import type { AccountsDatabase } from './store/accounts-database.ts';
import type { Credentials } from './store/user-store.ts';
import { checkEmail, emailKey, type User } from './user.ts';

export type SignUpPolicy = 'open' | 'invitation' | 'closed';

export interface IdentityDeps extends LinkBase {
  readonly accounts: AccountsDatabase;
  readonly passwords: Passwords;
  readonly secondFactors: SecondFactors;
  readonly outbox: Outbox;
  readonly signUpPolicy: SignUpPolicy;
  /** Whose owner the first account of an empty installation becomes. */
  readonly firstOrgId: string;
  /** A new secret for a link, and the digest that is stored of it. */
  readonly newSecret: () => { readonly secret: string; readonly digest: string };
  readonly digestOf: (secret: string) => string;
  readonly nowMs: () => number;
}

export interface SignUp {
  readonly email: string;
  readonly name: string;
  readonly password: string;
  /** That its owner is 16 or older (privacy promise P11). */
  readonly ageConfirmed: boolean;
  /** What the link of an invitation holds. */
  readonly invitation?: string;
}

export interface Login {
  readonly email: string;
  readonly password: string;
  /** Of the second factor, or a recovery code. */
  readonly code?: string;
}

export interface Identity {
  /**
   * `ready`: the user may log in now. `check-mail`: a mail tells how to go on, whoever the address belongs to. Throws
   * `invalid-input` (address, name, password, age), `forbidden` (not open), `overloaded`.
   */
  signUp(input: SignUp): Promise<{ outcome: 'ready' | 'check-mail'; user?: User }>;
  /**
   * Throws `unauthenticated` (address or password wrong, disabled), `second-factor-needed`, `email-not-verified` (both only
   * after the right password), `rate-limited`, `overloaded`.
   */
  login(input: Login): Promise<User>;
  /** The password once more, and the second factor where there is one. Throws as `login` does. */
  confirm(user: User, password: string, code?: string): Promise<void>;
  /** Mails a link, or that there is no account. Never tells which. */
  askForReset(email: string): Promise<void>;
  /** Ends every session. Throws `not-found` (no such link, or used, or over) and `invalid-input`. */
  resetPassword(secret: string, password: string): Promise<User>;
  /** Ends every session. Throws `invalid-input`. */
  changePassword(user: User, password: string): Promise<void>;
  /** Mails a link to the new address, or that it has an account. Never tells which. Throws `invalid-input`. */
  askForEmailChange(user: User, email: string): Promise<void>;
  /** Ends every session. Throws `not-found` (no such link, or used, or over) and `conflict` (somebody has the address by now). */
  changeEmail(secret: string): Promise<User>;
  /** Throws `not-found`. */
  verifyEmail(secret: string): Promise<User>;
  /** Mails another link to one whose password is right and whose address is not verified yet. Throws as `login` does. */
  mailVerification(input: Login): Promise<void>;
}

export function createIdentity(deps: IdentityDeps): Identity {
  return new People(deps);
}

class People implements Identity {
  readonly #deps: IdentityDeps;
  readonly #failed = new FailedLogins();

  constructor(deps: IdentityDeps) {
    this.#deps = deps;
  }

  async signUp(input: SignUp): Promise<{ outcome: 'ready' | 'check-mail'; user?: User }> {
    const { accounts, passwords, signUpPolicy, firstOrgId, nowMs } = this.#deps;
    const email = checkEmail(input.email);
    if (!input.ageConfirmed)
      throw new BackworkError('invalid-input', 'backwork is not for people under 16: confirm that you are 16 or older');
    checkPassword(input.password, [email, input.name]);
    const atMs = nowMs();
    const isFirst = await accounts.users.isEmpty();
    const digest = input.invitation === undefined ? undefined : this.#deps.digestOf(input.invitation);
    const invitation = digest === undefined ? undefined : await accounts.invitations.byDigest(digest, atMs);
    const invited = invitation !== undefined && emailKey(invitation.email) === emailKey(email);
    this.#requireAllowed(signUpPolicy, isFirst, invited, input.invitation !== undefined);
    // For an address that has an account too: it costs the same.
    const password = await passwords.hash(input.password);
    const row = { email, name: input.name, password, ageConfirmedAtMs: atMs, createdAtMs: atMs };
    if (isFirst) {
      const user = await accounts.users.createFirst(row, firstOrgId);
      if (user !== undefined) return { outcome: 'ready', user };
    }
    if (invited && digest !== undefined)
      return { outcome: 'ready', user: await this.#signUpInvited(row, digest, atMs) };
    return { outcome: 'check-mail', ...(await this.#signUpByMail(row)) };
  }

  async login(input: Login): Promise<User> {
    const credentials = await this.#checkPassword(input.email, input.password);
    await this.#checkSecondFactor(credentials, input.code);
    const { user } = credentials;
    if (user.emailVerifiedAtMs === undefined)
      throw new BackworkError(
        'email-not-verified',
        'the address is not confirmed yet: open the link that was mailed there',
      );
    this.#failed.succeeded(emailKey(user.email));
    return user;
  }

  async confirm(user: User, password: string, code?: string): Promise<void> {
    const credentials = await this.#checkPassword(user.email, password);
    await this.#checkSecondFactor(credentials, code);
    this.#failed.succeeded(emailKey(user.email));
  }

  async askForReset(text: string): Promise<void> {
    const { accounts, outbox, newSecret, nowMs } = this.#deps;
    const email = checkEmail(text);
    const { secret, digest } = newSecret();
    const found = await accounts.users.credentialsOf(email);
    const user = found?.user.disabledAtMs === undefined ? found?.user : undefined;
    const mail =
      user === undefined ? noAccountMail(this.#deps, email) : resetPasswordMail(this.#deps, user.email, secret);
    // A row for nobody is a row that no link finds: the same writes for both.
    await accounts.links.create(digest, 'reset-password', user?.id ?? '', emailKey(email), nowMs());
    await outbox.queue('reset-password', user?.id ?? '', mail, nowMs());
  }

  async resetPassword(secret: string, password: string): Promise<User> {
    const { accounts, digestOf, nowMs } = this.#deps;
    // Looked at before the link is used up by a password that is refused.
    checkPassword(password, []);
    const userId = await accounts.links.use(digestOf(secret), 'reset-password', nowMs());
    const user = userId === undefined ? undefined : await accounts.users.find(userId);
    if (user === undefined || user.disabledAtMs !== undefined) throw noLink();
    await this.changePassword(user, password);
    // Whoever read the mail has the address.
    return user.emailVerifiedAtMs === undefined ? accounts.users.setEmailVerified(user.id, nowMs()) : user;
  }

  async changePassword(user: User, password: string): Promise<void> {
    const { accounts, passwords, outbox, nowMs } = this.#deps;
    checkPassword(password, [user.email, user.name]);
    await accounts.users.setPassword(user.id, await passwords.hash(password));
    await outbox.queue('password-changed', user.id, passwordChangedMail(this.#deps, user.email), nowMs());
  }

  async askForEmailChange(user: User, text: string): Promise<void> {
    const { accounts, outbox, newSecret, nowMs } = this.#deps;
    const email = checkEmail(text);
    const { secret, digest } = newSecret();
    const isTaken = (await accounts.users.credentialsOf(email)) !== undefined;
    // A row for nobody is a row that no link finds: the same writes for both.
    await accounts.links.createChange(digest, isTaken ? '' : user.id, email, nowMs());
    const mail = isTaken ? accountExistsMail(this.#deps, email) : changeEmailMail(this.#deps, email, secret);
    await outbox.queue('change-email', isTaken ? '' : user.id, mail, nowMs());
  }

  async changeEmail(secret: string): Promise<User> {
    const { accounts, outbox, digestOf, nowMs } = this.#deps;
    const change = await accounts.links.useChange(digestOf(secret), nowMs());
    const before = change === undefined ? undefined : await accounts.users.find(change.userId);
    if (change === undefined || before === undefined || before.disabledAtMs !== undefined) throw noLink();
    const user = await accounts.users.setEmail(before.id, change.email, nowMs());
    await outbox.queue('email-changed', user.id, emailChangedMail(this.#deps, before.email), nowMs());
    return user;
  }

  async verifyEmail(secret: string): Promise<User> {
    const { accounts, digestOf, nowMs } = this.#deps;
    const userId = await accounts.links.use(digestOf(secret), 'verify-email', nowMs());
    if (userId === undefined) throw noLink();
    return accounts.users.setEmailVerified(userId, nowMs());
  }

  async mailVerification(input: Login): Promise<void> {
    const { user } = await this.#checkPassword(input.email, input.password);
    if (user.emailVerifiedAtMs === undefined) await this.#mailVerification(user);
  }

  #requireAllowed(policy: SignUpPolicy, isFirst: boolean, invited: boolean, hasInvitation: boolean): void {
    if (policy === 'closed') throw new BackworkError('forbidden', 'accounts are made by the operator here');
    if (isFirst || invited) return;
    if (hasInvitation)
      throw new BackworkError('forbidden', 'the invitation is over, was used, or is for another address');
    if (policy === 'invitation') throw new BackworkError('forbidden', 'an account needs an invitation here');
  }

  /** The link was mailed to the address, so it is verified. */
  async #signUpInvited(row: Parameters<AccountsDatabase['users']['create']>[0], digest: string, atMs: number) {
    const { accounts } = this.#deps;
    const { id } = await accounts.users.create(row);
    const user = await accounts.users.setEmailVerified(id, atMs);
    await accounts.invitations.accept(digest, id, atMs);
    return user;
  }

  async #signUpByMail(row: Parameters<AccountsDatabase['users']['create']>[0]): Promise<{ user?: User }> {
    const { accounts, outbox, newSecret, nowMs } = this.#deps;
    try {
      const user = await accounts.users.create(row);
      await this.#mailVerification(user);
      return { user };
    } catch (error) {
      if (!(error instanceof BackworkError && error.code === 'conflict')) throw error;
      // The link opens nothing: it is made so that both cases do the same.
      await accounts.links.create(newSecret().digest, 'verify-email', '', emailKey(row.email), nowMs());
      await outbox.queue('account-exists', '', accountExistsMail(this.#deps, row.email), nowMs());
      return {};
    }
  }

  async #mailVerification(user: User): Promise<void> {
    const { accounts, outbox, newSecret, nowMs } = this.#deps;
    const { secret, digest } = newSecret();
    await accounts.links.create(digest, 'verify-email', user.id, emailKey(user.email), nowMs());
    await outbox.queue('verify-email', user.id, verifyEmailMail(this.#deps, user.email, secret), nowMs());
  }

  async #checkPassword(email: string, password: string): Promise<Credentials> {
    const { accounts, passwords, nowMs } = this.#deps;
    const key = emailKey(email);
    this.#failed.check(key, nowMs());
    const credentials = await accounts.users.credentialsOf(email);
    const right = await passwords.verify(password, credentials?.password);
    if (!right || credentials === undefined || credentials.user.disabledAtMs !== undefined) {
      this.#failed.failed(key, nowMs());
      throw new BackworkError('unauthenticated', 'address or password is wrong');
    }
    if (passwords.isOutdated(credentials.password))
      await accounts.users.rehash(credentials.user.id, credentials.password, await passwords.hash(password));
    return credentials;
  }

  async #checkSecondFactor(credentials: Credentials, code: string | undefined): Promise<void> {
    if (credentials.totpSeed === undefined) return;
    if (code === undefined) throw new BackworkError('second-factor-needed', 'a code of the second factor is needed');
    if (await this.#deps.secondFactors.accept(credentials, code)) return;
    this.#failed.failed(emailKey(credentials.user.email), this.#deps.nowMs());
    throw new BackworkError('unauthenticated', 'the code is wrong, or was used');
  }
}

/** Throws `invalid-input`. `known`: what an attacker knows of the person. */
function checkPassword(password: string, known: readonly string[]): void {
  checkPasswordLength(password);
  const reason = commonPasswordReason(password, known);
  if (reason !== undefined)
    throw new BackworkError('invalid-input', `choose another password: ${reason}`, { field: 'password' });
}

function noLink(): BackworkError {
  return new BackworkError('not-found', 'the link is over or was used: ask for another one');
}
