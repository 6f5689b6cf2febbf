/**
 * Who sends a request, and how it came: from the socket, or from what a proxy says that the operator trusts. Of X-Forwarded-For the
 * rightmost address that is not a trusted proxy counts: what stands left of it was written by the client.
 */
import { BlockList, isIP } from 'node:net';
import { getConnInfo } from '@hono/node-server/conninfo';
import type { Context } from 'hono';
import { BackworkError } from '../base/errors.ts';

export interface ClientAddresses {
  addressOf(c: Context): string;
  /** Came over TLS to a trusted proxy, or from this machine to this machine. */
  isSecure(c: Context): boolean;
}

const LOOPBACK_HOST = /^(localhost|127\.0\.0\.1|\[::1\])(:\d+)?$/i;
const UNKNOWN = '-';

/** `proxies`: addresses and networks, `10.0.0.0/8`. Throws `bad-setting`. */
export function clientAddresses(proxies: readonly string[]): ClientAddresses {
  const trusted = networks(proxies);
  const isTrusted = (address: string): boolean => contains(trusted, address);
  const peerOf = (c: Context): string => plain(socketAddress(c));
  return {
    addressOf(c) {
      const peer = peerOf(c);
      if (!isTrusted(peer)) return peer;
      const hops = (c.req.header('x-forwarded-for') ?? '').split(',').map((hop) => plain(hop.trim()));
      for (const hop of hops.reverse()) {
        if (isIP(hop) === 0) return peer;
        if (!isTrusted(hop)) return hop;
      }
      return peer;
    },
    isSecure(c) {
      const peer = peerOf(c);
      if (isTrusted(peer)) return lastOf(c.req.header('x-forwarded-proto')) === 'https';
      return isLoopbackAddress(peer) && LOOPBACK_HOST.test(c.req.header('host') ?? '');
    },
  };
}

function networks(texts: readonly string[]): BlockList {
  const list = new BlockList();
  for (const text of texts) {
    const [address = '', prefix, ...rest] = text.split('/');
    const version = isIP(address);
    const bitsMax = version === 4 ? 32 : 128;
    // An address alone is that one host: never a network that nobody wrote (reference 2.1, Grafana's IPv6 without a mask).
    const bits = prefix === undefined ? bitsMax : /^\d{1,3}$/.test(prefix) ? Number(prefix) : -1;
    if (version === 0 || rest.length > 0 || bits < 0 || bits > bitsMax)
      throw new BackworkError('bad-setting', `${JSON.stringify(text)} is no address or network like 10.0.0.0/8`);
    list.addSubnet(address, bits, version === 4 ? 'ipv4' : 'ipv6');
  }
  return list;
}

function contains(list: BlockList, address: string): boolean {
  const version = isIP(address);
  return version !== 0 && list.check(address, version === 4 ? 'ipv4' : 'ipv6');
}

/** An app that is called without a server (tests) has no socket. */
function socketAddress(c: Context): string {
  try {
    return getConnInfo(c).remote.address ?? UNKNOWN;
  } catch {
    return UNKNOWN;
  }
}

function plain(address: string): string {
  return address.replace(/^::ffff:(?=\d+\.)/i, '');
}

function isLoopbackAddress(address: string): boolean {
  return address === '::1' || /^127\.\d+\.\d+\.\d+$/.test(address) || address === UNKNOWN;
}

function lastOf(header: string | undefined): string | undefined {
  return header?.split(',').at(-1)?.trim().toLowerCase();
}
