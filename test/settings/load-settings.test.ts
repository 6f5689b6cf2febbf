import { describe, expect, it } from 'vitest';
import { BackworkError } from '../../src/base/errors.ts';
import {
  corsOrigins,
  loadSettings,
  otlpTlsPaths,
  settingsHelp,
  settingsMarkdown,
  spoolReserveBytes,
} from '../../src/settings/load-settings.ts';
import { SETTINGS } from '../../src/settings/settings.ts';

const MACHINE = { cores: 2, memoryMib: 4_096 };
const GIB = 1_073_741_824;

/** The lines of the one error, without the first, which counts them. */
function problems(env: Record<string, string>): string[] {
  try {
    loadSettings(env, MACHINE);
  } catch (error) {
    expect(error).toBeInstanceOf(BackworkError);
    expect((error as BackworkError).code).toBe('bad-setting');
    return (error as BackworkError).message.split('\n').slice(1);
  }
  return [];
}

describe('settings', () => {
  it('have the defaults of the table in an empty environment', () => {
    expect(loadSettings({ PATH: '/bin' }, MACHINE)).toEqual({
      dataDir: './data',
      otlpHost: '127.0.0.1',
      otlpGrpcPort: 4317,
      otlpHttpPort: 4318,
      otlpTlsCertFile: '',
      otlpTlsKeyFile: '',
      otlpTlsClientCaFile: '',
      corsOrigins: '',
      apiHost: '127.0.0.1',
      apiPort: 8080,
      publicUrl: '',
      trustedProxies: '',
      signUp: 'invitation',
      smtpUrl: '',
      mailFrom: '',
      enginePort: 8123,
      engineMemoryMib: 2_048,
      workers: 1,
      retentionDays: 30,
      plansFile: '',
      ownPlacementsMax: 8,
      bodyMib: 64,
      ingestMemoryMib: 1_024,
      inFlightMib: 256,
      ingestBytesPerSecond: 0,
      orgBytesPerSecond: 0,
      orgItemsPerSecond: 0,
      orgRequestsAtOnce: 0,
      orgSpoolMib: 0,
      segmentMib: 64,
      segmentMs: 1_000,
      spoolReserveMib: 0,
      clickhouseUrl: '',
      accountsUrl: '',
      requireTls: false,
      logLevel: 'info',
      quarantineMib: 256,
      metricsOrganizations: 'default',
      identicalOnce: false,
    });
  });

  it.each([
    // cores, MiB of memory → workers, MiB of the engine
    [1, 1_024, 1, 512],
    [2, 4_096, 1, 2_048],
    [3, 4_097, 2, 2_048],
    [5, 65_536, 4, 32_768],
    [64, 600, 4, 512], // half would be below what the engine needs
  ])('compute auto values of %d cores and %d MiB', (cores, memoryMib, workers, engineMemoryMib) => {
    expect(loadSettings({}, { cores, memoryMib })).toMatchObject({ workers, engineMemoryMib });
  });

  it('compute auto values of this machine when none is given', () => {
    const settings = loadSettings({});
    expect(settings.workers).toBeGreaterThanOrEqual(1);
    expect(settings.engineMemoryMib).toBeGreaterThanOrEqual(512);
    expect(settings.engineMemoryMib).toBeLessThan(1_048_576);
  });

  it('give 100 own placements with a server, unless told otherwise', () => {
    const server = { BACKWORK_CLICKHOUSE_URL: 'http://u:p@db:8123/otel' };
    expect(loadSettings(server, MACHINE).ownPlacementsMax).toBe(100);
    expect(loadSettings({ ...server, BACKWORK_OWN_PLACEMENTS_MAX: '3' }, MACHINE).ownPlacementsMax).toBe(3);
  });

  it('take what is set, auto where it is a default, and nothing for not set', () => {
    const env = {
      BACKWORK_OTLP_HOST: '::',
      BACKWORK_WORKERS: 'auto',
      BACKWORK_REQUIRE_TLS: '0',
      BACKWORK_LOG_LEVEL: 'debug',
      BACKWORK_DATA_DIR: '',
      BACKWORK_API_PORT: '0',
    };
    expect(loadSettings(env, MACHINE)).toMatchObject({
      otlpHost: '::',
      workers: 1,
      requireTls: false,
      logLevel: 'debug',
      dataDir: './data',
      apiPort: 0,
    });
  });

  it.each<[string, Record<string, string>, RegExp]>([
    ['a word for a number', { BACKWORK_API_PORT: 'http' }, /^ {2}BACKWORK_API_PORT=http: .*0 to 65535/],
    ['a port beyond the last', { BACKWORK_OTLP_GRPC_PORT: '65536' }, /^ {2}BACKWORK_OTLP_GRPC_PORT=65536: /],
    ['a negative number', { BACKWORK_WORKERS: '-1' }, /^ {2}BACKWORK_WORKERS=-1: .*1 to 64, or auto/],
    ['a fraction', { BACKWORK_SEGMENT_MS: '1.5' }, /50 to 60000 ms/],
    ['auto where it is no default', { BACKWORK_SEGMENT_MIB: 'auto' }, /1 to 64 MiB$/],
    ['a retention outside the list', { BACKWORK_RETENTION_DAYS: '31' }, /one of 1, 3, 7, 14, 30, .* days/],
    ['a flag of another kind', { BACKWORK_REQUIRE_TLS: 'yes' }, /BACKWORK_REQUIRE_TLS=yes: must be 0 or 1/],
    ['an unknown log level', { BACKWORK_LOG_LEVEL: 'trace' }, /debug, info, warn or error/],
    ['a host with a port', { BACKWORK_OTLP_HOST: '0.0.0.0:4317' }, /BACKWORK_OTLP_HOST=0\.0\.0\.0:4317: .*without/],
    ['a host in brackets', { BACKWORK_API_HOST: '[::1]' }, /BACKWORK_API_HOST=\[::1\]: /],
    ['another scheme for ClickHouse', { BACKWORK_CLICKHOUSE_URL: 'tcp://db:9000' }, /BACKWORK_CLICKHOUSE_URL \(its/],
    ['an unreadable URL', { BACKWORK_CLICKHOUSE_URL: 'http://[db' }, /BACKWORK_CLICKHOUSE_URL \(its value is secret\)/],
    ['PostgreSQL for accounts', { BACKWORK_ACCOUNTS_URL: 'postgres://db' }, /PostgreSQL for accounts does not exist/],
    ['two equal ports', { BACKWORK_OTLP_HTTP_PORT: '4317' }, /must differ from BACKWORK_OTLP_GRPC_PORT/],
    ["the engine's port taken", { BACKWORK_API_PORT: '8123' }, /ENGINE_PORT=8123: must differ from BACKWORK_API_PORT/],
    [
      'a plain address where TLS is required',
      { BACKWORK_REQUIRE_TLS: '1', BACKWORK_OTLP_HOST: '0.0.0.0' },
      /^ {2}BACKWORK_OTLP_HOST=0\.0\.0\.0: .*set BACKWORK_OTLP_TLS_CERT_FILE and BACKWORK_OTLP_TLS_KEY_FILE/,
    ],
    [
      'a plain API where TLS is required, though OTLP has it',
      {
        BACKWORK_REQUIRE_TLS: '1',
        BACKWORK_OTLP_HOST: '::',
        BACKWORK_API_HOST: '::',
        BACKWORK_OTLP_TLS_CERT_FILE: 'c',
        BACKWORK_OTLP_TLS_KEY_FILE: 'k',
      },
      /^ {2}BACKWORK_API_HOST=::: .*the API has no TLS yet/,
    ],
    ['a certificate without a key', { BACKWORK_OTLP_TLS_CERT_FILE: 'c' }, /CERT_FILE=c: needs BACKWORK_OTLP_TLS_KEY/],
    ['a key without a certificate', { BACKWORK_OTLP_TLS_KEY_FILE: 'k' }, /KEY_FILE=k: needs BACKWORK_OTLP_TLS_CERT/],
    ['a client CA without TLS', { BACKWORK_OTLP_TLS_CLIENT_CA_FILE: 'a' }, /CA_FILE=a: needs BACKWORK_OTLP_TLS_CERT/],
    [
      'a body that does not fit what may be in flight',
      { BACKWORK_BODY_MIB: '65', BACKWORK_IN_FLIGHT_MIB: '64' },
      /^ {2}BACKWORK_BODY_MIB=65: must be at most BACKWORK_IN_FLIGHT_MIB \(64 MiB\)/,
    ],
    ['a body of nothing', { BACKWORK_BODY_MIB: '0' }, /1 to 128 MiB$/],
    ...[
      'https://a.example/',
      'a.example',
      'https://A.example',
      'https://a.*.example',
      'https://a.example:443',
      'null',
    ].map((origin): [string, Record<string, string>, RegExp] => [
      `the origin ${origin}`,
      { BACKWORK_CORS_ORIGINS: `https://good.example, ${origin}` },
      /^ {2}BACKWORK_CORS_ORIGINS=(?!https:\/\/good).*must be an origin as browsers send it/,
    ]),
    ['a typo', { BACKWORK_WORKER: '2' }, /^ {2}BACKWORK_WORKER: unknown .* BACKWORK_WORKERS$/],
    ['a typo far from all', { BACKWORK_DATA: 'x' }, /BACKWORK_DATA: unknown .* BACKWORK_DATA_DIR$/],
  ])('refuse %s', (_what, env, line) => {
    const found = problems(env);
    expect(found).toHaveLength(1);
    expect(found[0]).toMatch(line);
  });

  it('accept loopback where TLS is required, equal ports of 0, and the engine port of a server', () => {
    const loopback = { BACKWORK_REQUIRE_TLS: '1', BACKWORK_OTLP_HOST: '127.9.9.9', BACKWORK_API_HOST: '::1' };
    expect(problems(loopback)).toEqual([]);
    expect(problems({ BACKWORK_OTLP_GRPC_PORT: '0', BACKWORK_OTLP_HTTP_PORT: '0' })).toEqual([]);
    expect(problems({ BACKWORK_CLICKHOUSE_URL: 'http://db:8123', BACKWORK_API_PORT: '8123' })).toEqual([]);
  });

  it('accept origins exact, as a pattern, with a port, of an app, and any', () => {
    const origins =
      'https://a.example, http://localhost:3000,https://*.example.com,capacitor://localhost,http://[::1]:1,*';
    const settings = loadSettings({ BACKWORK_CORS_ORIGINS: origins }, MACHINE);
    expect(corsOrigins(settings)).toEqual(origins.split(',').map((origin) => origin.trim()));
    expect(corsOrigins(loadSettings({}, MACHINE))).toEqual([]);
  });

  it('give the paths of TLS, or none', () => {
    expect(otlpTlsPaths(loadSettings({}, MACHINE))).toBeUndefined();
    const env = { BACKWORK_OTLP_TLS_CERT_FILE: 'c', BACKWORK_OTLP_TLS_KEY_FILE: 'k' };
    const paths = { certFile: 'c', keyFile: 'k' };
    expect(otlpTlsPaths(loadSettings(env, MACHINE))).toEqual({ ...paths, clientCaFile: undefined });
    const mutual = loadSettings({ ...env, BACKWORK_OTLP_TLS_CLIENT_CA_FILE: 'a' }, MACHINE);
    expect(otlpTlsPaths(mutual)).toEqual({ ...paths, clientCaFile: 'a' });
  });

  it('report every problem at once, and no relation of a value that is refused anyway', () => {
    const env = {
      BACKWORK_OTLP_GRPC_PORT: 'x', // its default, 4317, must not clash with the next line
      BACKWORK_OTLP_HTTP_PORT: '4317',
      BACKWORK_RETENTION_DAYS: '2',
      BACKWORK_ACCOUNTS_URL: 'postgres://db',
      BACKWORK_OTLP_GRPC: '1',
    };
    expect(problems(env).map((line) => /BACKWORK_\w+/.exec(line)?.[0])).toEqual([
      'BACKWORK_OTLP_GRPC_PORT',
      'BACKWORK_RETENTION_DAYS',
      'BACKWORK_ACCOUNTS_URL',
      'BACKWORK_OTLP_GRPC',
    ]);
  });

  it('ignore what main and the tests set for themselves', () => {
    const env = {
      BACKWORK_WORKER_INDEX: '0',
      BACKWORK_STORE_JOURNAL: 'x',
      BACKWORK_ENGINE_DIR: 'x',
      BACKWORK_ENGINE_FILE: 'x',
      BACKWORK_TEST_SEED: '7',
    };
    expect(problems(env)).toEqual([]);
  });

  it('never print a secret', () => {
    const secret = 'hunter2secret';
    const env = { BACKWORK_CLICKHOUSE_URL: `tcp://u:${secret}@db`, BACKWORK_ACCOUNTS_URL: `postgres://u:${secret}@db` };
    expect(problems(env)).toHaveLength(2);
    expect(problems(env).join('\n')).not.toContain(secret);
    expect(problems({ BACKWORK_CLICKHOUSE_PASSWORD: secret }).join('\n')).not.toContain(secret);
  });

  it('have every variable in the help text and in the table for the README', () => {
    for (const { env, meaning } of Object.values(SETTINGS)) {
      expect(settingsHelp()).toContain(`  ${env} (`);
      expect(settingsMarkdown()).toContain(`| \`${env}\` | `);
      expect(settingsMarkdown()).toContain(meaning.replaceAll('|', '\\|'));
    }
    expect(settingsMarkdown().trim().split('\n')).toHaveLength(Object.keys(SETTINGS).length + 2);
    expect(settingsMarkdown()).toContain(
      '| `BACKWORK_SEGMENT_MS` | 1000 ms | A spool segment is sealed at this age. |',
    );
  });
});

describe('spool reserve', () => {
  it.each([
    // reserve MiB (0 = auto), workers, disk → bytes
    [0, 1, 10 * GIB, 0.5 * GIB], // 5 % of a small disk
    [0, 1, 1_000 * GIB, 2 * GIB], // at most 2 GiB of a large one
    [0, 4, 1 * GIB, 0.5 * GIB], // at least two segments a worker
    [1, 4, 1_000 * GIB, GIB / 1_024], // what the operator says
  ])('of %d MiB, %d workers and a disk of %d bytes is %d bytes', (spoolReserveMib, workers, disk, reserve) => {
    expect(spoolReserveBytes({ spoolReserveMib, segmentMib: 64, workers }, disk)).toBe(reserve);
  });
});
