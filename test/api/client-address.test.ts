import { createAdaptorServer } from '@hono/node-server';
import { Hono } from 'hono';
import { request } from 'node:http';
import type { AddressInfo } from 'node:net';
import { describe, expect, it, onTestFinished } from 'vitest';
import { clientAddresses } from '../../src/api/client-address.ts';

/** What a server with these trusted proxies says of a request from 127.0.0.1. */
async function seen(proxies: readonly string[], headers: Readonly<Record<string, string>>) {
  const { addressOf, isSecure } = clientAddresses(proxies);
  const app = new Hono().get('/', (c) => c.json({ address: addressOf(c), secure: isSecure(c) }));
  const server = createAdaptorServer({ fetch: app.fetch });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  onTestFinished(() => void server.close());
  const { port } = server.address() as AddressInfo;
  const text = await new Promise<string>((resolve, reject) => {
    const sent = request({ host: '127.0.0.1', port, headers, agent: false }, (answer) => {
      let body = '';
      answer.on('data', (chunk) => (body += chunk));
      answer.on('end', () => resolve(body));
    });
    sent.on('error', reject).end();
  });
  return JSON.parse(text) as { address: string; secure: boolean };
}

const FORWARDED = { 'x-forwarded-for': '203.0.113.9, 198.51.100.7, 10.0.0.5', 'x-forwarded-proto': 'https' };

describe('who sends a request', () => {
  it('is who is at the socket, whatever the headers say, where no proxy is trusted', async () => {
    expect(await seen([], FORWARDED)).toMatchObject({ address: '127.0.0.1' });
  });

  it('is the rightmost address that is no trusted proxy', async () => {
    expect(await seen(['127.0.0.0/8'], FORWARDED)).toMatchObject({ address: '10.0.0.5' });
    expect(await seen(['127.0.0.1', '10.0.0.0/8'], FORWARDED)).toMatchObject({ address: '198.51.100.7' });
    const all = ['127.0.0.1', '0.0.0.0/0'];
    expect(await seen(all, FORWARDED)).toMatchObject({ address: '127.0.0.1' });
  });

  it('is the proxy where what it forwards is no address', async () => {
    for (const text of ['', 'unknown', '203.0.113.9, evil', '203.0.113.9,'])
      expect(await seen(['127.0.0.1'], { 'x-forwarded-for': text })).toMatchObject({ address: '127.0.0.1' });
  });

  it('came safely over TLS to a trusted proxy, or from this machine to this machine by its own name', async () => {
    expect((await seen(['127.0.0.1'], FORWARDED)).secure).toBe(true);
    expect((await seen(['127.0.0.1'], { ...FORWARDED, 'x-forwarded-proto': 'https, http' })).secure).toBe(false);
    expect((await seen(['127.0.0.1'], {})).secure).toBe(false);
    expect((await seen([], {})).secure).toBe(true);
    expect((await seen([], { ...FORWARDED, host: 'backwork.example.com' })).secure).toBe(false);
    expect((await seen([], { host: 'localhost:8080' })).secure).toBe(true);
  });

  it('is not told by what is no address and no network', () => {
    for (const proxy of ['10.0.0.0/33', '10.0.0/8', '::/129', 'proxy.example.com', '10.0.0.0/8/8', '10.0.0.0/'])
      expect(() => clientAddresses([proxy]), proxy).toThrow(/no address or network/);
    expect(() => clientAddresses(['10.0.0.0/8', '2001:db8::/32', '::1'])).not.toThrow();
  });
});
