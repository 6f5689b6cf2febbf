/**
 * Every setting, once: the environment variable, its type, default, unit, meaning, and whether it is a secret. The
 * `Settings` type, the check, `--help` and the table in the README come from this list (architecture section 8).
 */
import { BODY_BYTES_MAX, BODY_BYTES_MAX_SETTABLE, MIB } from '../base/limits.ts';

interface Described {
  /** Environment variable. */
  readonly env: string;
  /** One sentence for `--help` and the README. */
  readonly meaning: string;
  /** Never printed or logged. */
  readonly secret?: true;
}
export interface TextSetting extends Described {
  readonly type: 'text';
  readonly default: string;
  /** A value must match; the meaning says the form in words. */
  readonly pattern?: RegExp;
}
export interface NumberSetting extends Described {
  readonly type: 'number';
  /** `auto`: computed from the machine in load-settings.ts, as the meaning says. */
  readonly default: number | 'auto';
  readonly min: number;
  readonly max: number;
  readonly unit?: string;
  /** The value must be one of these. */
  readonly oneOf?: readonly number[];
}
export interface FlagSetting extends Described {
  readonly type: 'flag';
  readonly default: boolean;
}
export type Setting = TextSetting | NumberSetting | FlagSetting;

const PORT = { type: 'number', min: 0, max: 65_535 } as const;

export const SETTINGS = {
  dataDir: {
    env: 'BACKWORK_DATA_DIR',
    type: 'text',
    default: './data',
    meaning: 'Directory of everything that is kept: accounts, keys, spools, the embedded engine.',
  },
  otlpHost: {
    env: 'BACKWORK_OTLP_HOST',
    type: 'text',
    default: '127.0.0.1',
    meaning: 'Address on which OTLP is received; 0.0.0.0 or :: for all.',
  },
  otlpGrpcPort: { ...PORT, env: 'BACKWORK_OTLP_GRPC_PORT', default: 4317, meaning: 'Port of OTLP/gRPC.' },
  otlpHttpPort: { ...PORT, env: 'BACKWORK_OTLP_HTTP_PORT', default: 4318, meaning: 'Port of OTLP/HTTP.' },
  otlpTlsCertFile: {
    env: 'BACKWORK_OTLP_TLS_CERT_FILE',
    type: 'text',
    default: '',
    meaning:
      'PEM file of the certificate (and its chain) of both OTLP ports, which then speak TLS 1.2 or 1.3 only; a changed file is taken over without a restart. Empty is plain text.',
  },
  otlpTlsKeyFile: {
    env: 'BACKWORK_OTLP_TLS_KEY_FILE',
    type: 'text',
    default: '',
    meaning: 'PEM file of the private key that belongs to the certificate, not encrypted.',
  },
  otlpTlsClientCaFile: {
    env: 'BACKWORK_OTLP_TLS_CLIENT_CA_FILE',
    type: 'text',
    default: '',
    meaning:
      'PEM file of certificate authorities; when set, a client of OTLP must show a certificate that one of them signed (mutual TLS).',
  },
  corsOrigins: {
    env: 'BACKWORK_CORS_ORIGINS',
    type: 'text',
    default: '',
    meaning:
      'Origins whose web pages may send OTLP/HTTP, separated by commas: https://app.example.com, https://*.example.com for all below it, or * for any. Empty: none.',
  },
  apiHost: {
    env: 'BACKWORK_API_HOST',
    type: 'text',
    default: '127.0.0.1',
    meaning: 'Address of the API, /healthz, /readyz and /metrics.',
  },
  apiPort: {
    ...PORT,
    env: 'BACKWORK_API_PORT',
    default: 8080,
    meaning: 'Port of the API, /healthz, /readyz and /metrics.',
  },
  publicUrl: {
    env: 'BACKWORK_PUBLIC_URL',
    type: 'text',
    default: '',
    pattern: /^(https?:\/\/[^\s/?#]+)?$/,
    meaning:
      'Address under which people reach the API and the console, https://backwork.example.com, without a path: links in mails are made of it, and pages of other origins are refused. Empty: the machine itself, on the port of the API.',
  },
  trustedProxies: {
    env: 'BACKWORK_TRUSTED_PROXIES',
    type: 'text',
    default: '',
    meaning:
      'Addresses and networks of proxies in front of the API, separated by commas, 10.0.0.0/8: what they say in X-Forwarded-For and X-Forwarded-Proto is believed. Empty: nobody.',
  },
  signUp: {
    env: 'BACKWORK_SIGN_UP',
    type: 'text',
    default: 'invitation',
    pattern: /^(open|invitation|closed)$/,
    meaning:
      'Who may make an account: open (everybody), invitation (who was invited, and the very first one) or closed (nobody over the API).',
  },
  smtpUrl: {
    env: 'BACKWORK_SMTP_URL',
    type: 'text',
    default: '',
    secret: true,
    pattern: /^(smtps?:\/\/[^\s]+)?$/,
    meaning:
      'smtp://user:password@host:587, or smtps:// for TLS from the first byte, of the server that sends mail to people. Empty: none is sent, and `mail list` shows what waits.',
  },
  mailFrom: {
    env: 'BACKWORK_MAIL_FROM',
    type: 'text',
    default: '',
    pattern: /^([^\s<>@,;:"]+@[^\s<>@,;:"]+)?$/,
    meaning: 'Address that mail is sent from; needed with BACKWORK_SMTP_URL.',
  },
  enginePort: {
    ...PORT,
    env: 'BACKWORK_ENGINE_PORT',
    default: 8123,
    meaning: 'Port on 127.0.0.1 of the embedded engine (ClickHouse HTTP interface).',
  },
  engineMemoryMib: {
    env: 'BACKWORK_ENGINE_MEMORY_MIB',
    type: 'number',
    default: 'auto',
    min: 512,
    max: 1_048_576,
    unit: 'MiB',
    meaning: 'Memory that the embedded engine may use; by default half of the machine or its cgroup.',
  },
  workers: {
    env: 'BACKWORK_WORKERS',
    type: 'number',
    default: 'auto',
    min: 1,
    max: 64,
    meaning: 'Ingest processes; by default cores − 1, at least 1 and at most 4.',
  },
  retentionDays: {
    env: 'BACKWORK_RETENTION_DAYS',
    type: 'number',
    default: 30,
    min: 1,
    max: 730,
    unit: 'days',
    oneOf: [1, 3, 7, 14, 30, 60, 90, 180, 365, 730],
    meaning:
      'Retention of the plan self-hosted, for each signal: of organizations whose owners have not chosen another.',
  },
  plansFile: {
    env: 'BACKWORK_PLANS_FILE',
    type: 'text',
    default: '',
    meaning:
      'Catalogue of plans (JSON); by default self-hosted, which limits nothing, and free, team and business as examples.',
  },
  ownPlacementsMax: {
    env: 'BACKWORK_OWN_PLACEMENTS_MAX',
    type: 'number',
    default: 'auto',
    min: 0,
    max: 10_000,
    meaning: 'Organizations that get partitions of their own; by default 8 embedded, 100 with a server.',
  },
  bodyMib: {
    env: 'BACKWORK_BODY_MIB',
    type: 'number',
    default: BODY_BYTES_MAX / MIB,
    min: 1,
    max: BODY_BYTES_MAX_SETTABLE / MIB,
    unit: 'MiB',
    meaning: 'Largest body of a request, as sent and as inflated, over gRPC and HTTP; more is refused for good.',
  },
  ingestMemoryMib: {
    env: 'BACKWORK_INGEST_MEMORY_MIB',
    type: 'number',
    default: 'auto',
    min: 320,
    max: 65_536,
    unit: 'MiB',
    meaning:
      'Memory that one ingest process may use; what has no room is refused with a retryable answer. By default a quarter of the machine or its cgroup for all ingest processes together, each 512 to 1,024 MiB and more for larger bodies.',
  },
  inFlightMib: {
    env: 'BACKWORK_IN_FLIGHT_MIB',
    type: 'number',
    default: 'auto',
    min: 16,
    max: 65_536,
    unit: 'MiB',
    meaning:
      'Bodies in memory in one ingest process, within BACKWORK_INGEST_MEMORY_MIB; more is refused with a retryable answer. By default 256 MiB or two thirds of what that leaves, whichever is less, and room for two of the largest.',
  },
  ingestBytesPerSecond: {
    env: 'BACKWORK_INGEST_BYTES_PER_SECOND',
    type: 'number',
    default: 0,
    min: 0,
    max: 1_000_000_000_000,
    unit: 'bytes',
    meaning:
      'Bytes of inflated bodies that one ingest process takes in a second, for a machine that has other work too; 0 is no limit. More is refused with a retryable answer.',
  },
  orgBytesPerSecond: {
    env: 'BACKWORK_ORG_BYTES_PER_SECOND',
    type: 'number',
    default: 0,
    min: 0,
    max: 1_000_000_000_000,
    unit: 'bytes',
    meaning:
      'Bytes of inflated bodies that an organization may send in a second, unless `org limits` gives it its own; 0 is no limit. More is refused with a retryable answer.',
  },
  orgItemsPerSecond: {
    env: 'BACKWORK_ORG_ITEMS_PER_SECOND',
    type: 'number',
    default: 0,
    min: 0,
    max: 1_000_000_000,
    meaning: 'The same for log records, spans and data points in a second.',
  },
  orgRequestsAtOnce: {
    env: 'BACKWORK_ORG_REQUESTS_AT_ONCE',
    type: 'number',
    default: 0,
    min: 0,
    max: 1_000_000,
    meaning: 'The same for requests that run at the same time.',
  },
  orgSpoolMib: {
    env: 'BACKWORK_ORG_SPOOL_MIB',
    type: 'number',
    default: 0,
    min: 0,
    max: 1_048_576,
    unit: 'MiB',
    meaning:
      'The same for records in the spools that wait for the telemetry store; whatever it says, no organization fills more than its share of the disk.',
  },
  segmentMib: {
    env: 'BACKWORK_SEGMENT_MIB',
    type: 'number',
    default: 64,
    min: 1,
    max: 64,
    unit: 'MiB',
    meaning: 'A spool segment is sealed at this size.',
  },
  segmentMs: {
    env: 'BACKWORK_SEGMENT_MS',
    type: 'number',
    default: 1_000,
    min: 50,
    max: 60_000,
    unit: 'ms',
    meaning: 'A spool segment is sealed at this age.',
  },
  spoolReserveMib: {
    env: 'BACKWORK_SPOOL_RESERVE_MIB',
    type: 'number',
    default: 'auto',
    min: 1,
    max: 1_048_576,
    unit: 'MiB',
    meaning: 'Free disk below which ingest refuses; by default max(2 segments a worker, min(5 % of the disk, 2 GiB)).',
  },
  identicalOnce: {
    env: 'BACKWORK_IDENTICAL_ONCE',
    type: 'flag',
    default: false,
    meaning:
      'Store requests with the same body from the same organization once in ten minutes, even when the first was answered; without it only those whose earlier answer is not known to have been sent.',
  },
  quarantineMib: {
    env: 'BACKWORK_QUARANTINE_MIB',
    type: 'number',
    default: 256,
    min: 1,
    max: 1_048_576,
    unit: 'MiB',
    meaning:
      'Requests of one organization that ClickHouse refuses for good, kept in quarantine at most; what is refused beyond it stays in the spool.',
  },
  clickhouseUrl: {
    env: 'BACKWORK_CLICKHOUSE_URL',
    type: 'text',
    default: '',
    secret: true,
    pattern: /^(https?:\/\/[^\s]+)?$/,
    meaning: 'http(s)://user:password@host:port/database of a ClickHouse server; empty for the embedded engine.',
  },
  accountsUrl: {
    env: 'BACKWORK_ACCOUNTS_URL',
    type: 'text',
    default: '',
    secret: true,
    meaning: 'postgres://… for accounts; empty for SQLite in the data directory (the only one there is yet).',
  },
  requireTls: {
    env: 'BACKWORK_REQUIRE_TLS',
    type: 'flag',
    default: false,
    meaning: 'Refuse to start when OTLP or the API would be plain text on an address other than loopback.',
  },
  metricsOrganizations: {
    env: 'BACKWORK_METRICS_ORGANIZATIONS',
    type: 'text',
    default: 'default',
    pattern: /^$|^[a-z0-9][a-z0-9-]{0,62}(,[a-z0-9][a-z0-9-]{0,62}){0,19}$/,
    meaning:
      'Organizations (slugs, at most 20, separated by commas) that /metrics shows by name; all others together are `other`. One that is made later is named from the next start on.',
  },
  logLevel: {
    env: 'BACKWORK_LOG_LEVEL',
    type: 'text',
    default: 'info',
    pattern: /^(debug|info|warn|error)$/,
    meaning: 'debug, info, warn or error; debug logs each request (allow-listed fields only).',
  },
} as const satisfies Record<string, Setting>;

type ValueOf<S extends Setting> = S extends TextSetting ? string : S extends NumberSetting ? number : boolean;

/** The settings in force; `auto` defaults are filled in. */
export type Settings = { readonly [Name in keyof typeof SETTINGS]: ValueOf<(typeof SETTINGS)[Name]> };
