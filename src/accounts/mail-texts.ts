/** What our mails say. Links are built from the configured address, never from what a request says its host is. */
import type { Mail } from './outbox.ts';

export interface LinkBase {
  /** Without a slash at its end: `https://backwork.example.com`. */
  readonly publicUrl: string;
}

/** Behind `#`, so that the secret is in no request line, log or Referer: the page posts it when its reader says so. */
function link({ publicUrl }: LinkBase, page: string, secret: string): string {
  return `${publicUrl}/${page}#${secret}`;
}

export function verifyEmailMail(base: LinkBase, to: string, secret: string): Mail {
  return {
    to,
    subject: 'Confirm your address',
    text: `Somebody, probably you, made a backwork account with this address. To confirm it, open\n\n  ${link(base, 'verify-email', secret)}\n\nwithin 30 minutes. If it was not you, do nothing: without this the account stays closed.\n`,
  };
}

export function accountExistsMail(base: LinkBase, to: string): Mail {
  return {
    to,
    subject: 'You have an account already',
    text: `Somebody, probably you, wanted to make a backwork account with this address. There is one already: log in at\n\n  ${base.publicUrl}/\n\nor ask for a new password there. If it was not you, nothing has changed.\n`,
  };
}

export function resetPasswordMail(base: LinkBase, to: string, secret: string): Mail {
  return {
    to,
    subject: 'Set a new password',
    text: `Somebody, probably you, asked for a new password of your backwork account. To set one, open\n\n  ${link(base, 'reset-password', secret)}\n\nwithin 30 minutes. If it was not you, do nothing: your password stays as it is.\n`,
  };
}

/** Nobody has an account with this address: the same work as for somebody who has one. */
export function noAccountMail(base: LinkBase, to: string): Mail {
  return {
    to,
    subject: 'There is no account with this address',
    text: `Somebody, probably you, asked for a new password of a backwork account with this address at ${base.publicUrl}. There is none. If it was not you, nothing has changed.\n`,
  };
}

export function passwordChangedMail(base: LinkBase, to: string): Mail {
  return {
    to,
    subject: 'Your password was changed',
    text: `The password of your backwork account at ${base.publicUrl} was changed, and all its sessions have ended. If it was not you, ask for a new password there now.\n`,
  };
}

export function changeEmailMail(base: LinkBase, to: string, secret: string): Mail {
  return {
    to,
    subject: 'Confirm your new address',
    text: `Somebody, probably you, wants to use this address for a backwork account. To take it, open\n\n  ${link(base, 'change-email', secret)}\n\nwithin 30 minutes. If it was not you, do nothing.\n`,
  };
}

/** To the old address, without the new one: whoever reads it may be somebody else by now. */
export function emailChangedMail(base: LinkBase, to: string): Mail {
  return {
    to,
    subject: 'Your address was changed',
    text: `Your backwork account at ${base.publicUrl} has another address now, and all its sessions have ended. If it was not you, tell whoever operates that service at once.\n`,
  };
}

/** `organization` is what its admins call it: in the text, never in the subject. */
export function invitationMail(base: LinkBase, to: string, organization: string, secret: string): Mail {
  return {
    to,
    subject: 'You are invited',
    text: `You are invited to the organization ${JSON.stringify(organization)} on backwork. To accept, open\n\n  ${link(base, 'invitation', secret)}\n\nwithin 7 days, and log in or make an account with this address.\n`,
  };
}
