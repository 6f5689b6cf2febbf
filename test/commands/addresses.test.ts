import { createServer, type Server } from 'node:net';
import { afterEach, expect, test } from 'vitest';
import { canSharePorts, localUrl, otlpUrl, requireFree } from '../../src/commands/addresses.ts';
import { loadSettings } from '../../src/settings/load-settings.ts';

const servers: Server[] = [];
afterEach(async () => {
  await Promise.all(servers.splice(0).map((server) => new Promise((resolve) => server.close(resolve))));
});

async function listen(reusePort = false): Promise<{ server: Server; port: number }> {
  const server = createServer();
  servers.push(server);
  await new Promise<void>((resolve) => server.listen({ host: '127.0.0.1', port: 0, reusePort }, resolve));
  return { server, port: (server.address() as { port: number }).port };
}

test('a URL is one that a client on this machine can use', () => {
  expect(localUrl('127.0.0.1', 1)).toBe('http://127.0.0.1:1');
  expect(localUrl('0.0.0.0', 1)).toBe('http://127.0.0.1:1');
  expect(localUrl('::', 1)).toBe('http://[::1]:1');
  expect(localUrl('fe80::1', 1)).toBe('http://[fe80::1]:1');
});

test('an OTLP port with TLS has an https URL', () => {
  expect(otlpUrl(loadSettings({}), 1)).toBe('http://127.0.0.1:1');
  const env = { BACKWORK_OTLP_TLS_CERT_FILE: 'c', BACKWORK_OTLP_TLS_KEY_FILE: 'k', BACKWORK_OTLP_HOST: '0.0.0.0' };
  expect(otlpUrl(loadSettings(env), 1)).toBe('https://127.0.0.1:1');
});

test('a busy port is refused in one line that names port and setting', async () => {
  const { port } = await listen();
  const named = { host: '127.0.0.1', port, setting: 'BACKWORK_OTLP_HTTP_PORT' };
  await expect(requireFree(named, 0)).rejects.toMatchObject({
    code: 'port-busy',
    message: expect.stringMatching(new RegExp(`^BACKWORK_OTLP_HTTP_PORT: port ${port} .*$`)),
  });
});

test('a port that another process shares is busy all the same', async () => {
  const { port } = await listen(true);
  const named = { host: '127.0.0.1', port, setting: 'X' };
  await expect(requireFree(named, 0)).rejects.toMatchObject({ code: 'port-busy' });
});

test('a port is waited for while its holder is still dying', async () => {
  const { server, port } = await listen();
  const free = requireFree({ host: '127.0.0.1', port, setting: 'X' }, 10_000);
  setTimeout(() => server.close(), 50);
  await free;
  servers.length = 0;
});

test('an address that is not ours is said at once', async () => {
  const named = { host: '192.0.2.1', port: 4317, setting: 'BACKWORK_OTLP_GRPC_PORT' };
  await expect(requireFree(named, 10_000)).rejects.toMatchObject({ code: 'bad-setting' });
});

test('Linux shares ports', async () => {
  expect(await canSharePorts('127.0.0.1')).toBe(process.platform === 'linux');
});
