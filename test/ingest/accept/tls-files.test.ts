/** The files of TLS, as certbot, Kubernetes and operators replace them. */
import {
  copyFileSync,
  mkdirSync,
  mkdtempSync,
  renameSync,
  rmSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { readTlsFiles, TlsFiles } from '../../../src/ingest/accept/tls-files.ts';
import { CA, type CertificateName, certificatePath, keyPath, pair } from '../../support/certificates.ts';
import { until } from './peers.ts';

const EXPIRES_MS = Date.UTC(2120, 0, 1);
const DAY_MS = 86_400_000;

let dir: string;
let paths: { certFile: string; keyFile: string; clientCaFile: string | undefined };
let opened: TlsFiles | undefined;
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'backwork-tls-'));
  paths = { certFile: join(dir, 'tls.crt'), keyFile: join(dir, 'tls.key'), clientCaFile: undefined };
});
afterEach(() => {
  opened?.close();
  opened = undefined;
  rmSync(dir, { recursive: true });
});

function put(name: CertificateName, folder = dir): void {
  mkdirSync(folder, { recursive: true });
  copyFileSync(certificatePath(name), join(folder, 'tls.crt'));
  copyFileSync(keyPath(name), join(folder, 'tls.key'));
}

async function open(nowMs: () => number = Date.now, warnsOfExpiry = true) {
  const lines: string[] = [];
  const write = (level: string) => (fields: object, message: string) =>
    void lines.push(`${level} ${message} ${JSON.stringify(fields)}`);
  const log = { info: write('info'), warn: write('warn'), error: write('error') };
  opened = await TlsFiles.open({ paths, log, nowMs, warnsOfExpiry });
  const taken: Buffer[] = [];
  opened.onChange(({ cert }) => void taken.push(cert));
  return { files: opened, lines, taken };
}

describe('files that have changed', () => {
  it('are served when they were replaced in place, and the log says until when', async () => {
    put('server-1');
    const { files, lines, taken } = await open();
    put('server-2');
    await until(() => lines.length > 0);
    expect(files.current()).toMatchObject(pair('server-2'));
    expect(taken).toEqual([pair('server-2').cert]);
    expect(lines).toEqual([expect.stringMatching(/^info the TLS files have changed .*"expires":"2120-01-01"/)]);
  });

  it('are served when a link to their folder was replaced, as Kubernetes does', async () => {
    put('server-1', join(dir, 'one'));
    put('server-2', join(dir, 'two'));
    symlinkSync('one', join(dir, '..data'));
    for (const name of ['tls.crt', 'tls.key']) symlinkSync(join('..data', name), join(dir, name));
    const { files, lines } = await open();
    symlinkSync('two', join(dir, '..data_tmp'));
    renameSync(join(dir, '..data_tmp'), join(dir, '..data'));
    await until(() => lines.length > 0);
    expect(files.current()).toMatchObject(pair('server-2'));
  });

  it('are not read while they still change', async () => {
    put('server-1');
    const { lines, taken } = await open();
    copyFileSync(certificatePath('server-2'), paths.certFile);
    // The key comes later, as from a tool that writes one after the other.
    for (let change = 0; change < 50; change++) {
      utimesSync(paths.certFile, change, change);
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
    copyFileSync(keyPath('server-2'), paths.keyFile);
    await until(() => lines.length > 0);
    expect([lines, taken]).toEqual([[expect.stringMatching(/^info /)], [pair('server-2').cert]]);
  });

  it('and cannot be served are one error, and what was served before goes on', async () => {
    put('server-1');
    const { files, lines, taken } = await open();
    copyFileSync(keyPath('server-2'), paths.keyFile);
    await until(() => lines.length > 0);
    expect(lines).toEqual([
      expect.stringMatching(/^error the changed TLS files cannot be served.*tls\.key: is not the key/),
    ]);
    rmSync(paths.certFile);
    await until(() => lines.length > 1);
    expect(lines[1]).toMatch(/tls\.crt: cannot be read: ENOENT/);
    expect([files.current(), taken]).toEqual([expect.objectContaining(pair('server-1')), []]);
    put('server-2');
    await until(() => taken.length > 0);
    expect(taken).toEqual([pair('server-2').cert]);
  });
});

describe('a certificate that expires in less than 14 days', () => {
  it.each([
    [14 * DAY_MS, []],
    [14 * DAY_MS - 1, [expect.stringMatching(/^warn the TLS certificate expires soon .*"daysLeft":13/)]],
    [-1, [expect.stringMatching(/^warn the TLS certificate has expired .*"daysLeft":-1/)]],
  ])('%d ms before its end: a line at the start', async (leftMs, expected) => {
    put('server-1');
    const { lines } = await open(() => EXPIRES_MS - leftMs);
    expect(lines).toEqual(expected);
  });

  it('is warned of again a day later, and not by a process that was told not to', async () => {
    put('server-1');
    let nowMs = EXPIRES_MS - DAY_MS;
    const quiet = await open(() => nowMs, false);
    opened?.close();
    const { lines } = await open(() => nowMs);
    expect(lines).toHaveLength(1);
    nowMs += DAY_MS;
    await until(() => lines.length > 1);
    expect(lines[1]).toMatch(/"daysLeft":0/);
    expect(quiet.lines).toEqual([]);
  });
});

describe('files that cannot be served', () => {
  it.each<[string, () => void, RegExp]>([
    ['no certificate file', () => rmSync(paths.certFile), /^TLS certificate file .*tls\.crt: cannot be read: ENOENT$/],
    ['a certificate that is none', () => writeFileSync(paths.certFile, 'SECRET'), /tls\.crt: holds no PEM certificate/],
    ['a key that is none', () => writeFileSync(paths.keyFile, 'SECRET'), /tls\.key: holds no PEM private key/],
    [
      'the key of another certificate',
      () => copyFileSync(keyPath('client'), paths.keyFile),
      /tls\.key: is not the key/,
    ],
    [
      'a client CA that is none',
      () => {
        paths = { ...paths, clientCaFile: join(dir, 'ca.crt') };
        writeFileSync(join(dir, 'ca.crt'), 'SECRET');
      },
      /^TLS client CA file .*ca\.crt: holds no PEM certificate/,
    ],
  ])('%s: an error that names the file and holds nothing of it', (_what, breakIt, message) => {
    put('server-1');
    breakIt();
    let thrown: unknown;
    try {
      readTlsFiles(paths);
    } catch (error) {
      thrown = error;
    }
    expect(thrown).toMatchObject({ code: 'bad-setting', message: expect.stringMatching(message) });
    expect(String(thrown)).not.toContain('SECRET');
  });

  it('are none when all is well, the client CA with them', () => {
    put('server-1');
    const material = readTlsFiles({ ...paths, clientCaFile: certificatePath('ca') });
    expect(material).toEqual({ ...pair('server-1'), clientCa: CA, expiresMs: EXPIRES_MS });
  });
});
