/** Puts `/api/v1` together for `serve`, when it is first asked for. */
import { clientAddresses } from '../api/client-address.ts';
import type { ControlPlane } from '../accounts/control-plane.ts';
import type { V1App } from '../api/v1/v1.ts';
import type { Log } from '../base/log.ts';
import type { ClickHouse } from '../engine/clickhouse.ts';
import { apiOrigin, trustedProxies } from '../settings/load-settings.ts';
import type { Settings } from '../settings/settings.ts';
import { TABLES } from '../tables/all-tables.ts';

export interface LazyV1Options {
  readonly settings: Settings;
  readonly dataDir: string;
  readonly log: Log;
  /** On which the API listens. */
  readonly port: () => number;
  /** To the telemetry store, where it is now. */
  readonly connect: () => Promise<ClickHouse>;
}

export interface LazyV1 {
  get(): Promise<V1App>;
  close(): Promise<void>;
}

/** What is over is removed this often. */
const SWEEP_MS = 3_600_000;
/** How often the outbox is looked at: who waits for a link looks at their mail at once. */
const MAIL_MS = 2_000;

export function lazyV1(options: LazyV1Options): LazyV1 {
  let opened: ReturnType<typeof open> | undefined;
  return {
    async get() {
      opened ??= open(options);
      try {
        return (await opened).app;
      } catch (error) {
        // Accounts that cannot be opened now may be later.
        opened = undefined;
        throw error;
      }
    },
    async close() {
      const found = await opened?.catch(() => undefined);
      await found?.close();
    },
  };
}

async function open({ settings, dataDir, log, port, connect }: LazyV1Options) {
  const { openControlPlane } = await import('../accounts/control-plane.ts');
  const { createV1 } = await import('../api/v1/v1.ts');
  const origin = apiOrigin(settings, port());
  const plane = await openControlPlane({ dataDir, settings: { ...settings, publicUrl: origin } });
  const timer = setInterval(() => {
    plane.sweep().catch((error: unknown) => log.warn({ error }, 'what is over could not be removed from accounts'));
  }, SWEEP_MS);
  timer.unref();
  const stopMailer = await startMailer(settings, log, plane);
  const { addressOf, isSecure } = clientAddresses(trustedProxies(settings));
  let connected: Promise<ClickHouse> | undefined;
  const clickhouse = () => (connected ??= connect());
  const app = createV1({
    plane,
    log,
    addressOf,
    isSecure,
    telemetry: { clickhouse, tables: TABLES.map(({ name }) => name) },
    originOf: (c) => ownOrigin(settings, c.req.header('host'), origin),
  });
  return {
    app,
    async close() {
      clearInterval(timer);
      stopMailer();
      await (await connected)?.close();
      await plane.close();
    },
  };
}

/** Returns what ends it. Without an SMTP server there is nothing to start. */
async function startMailer(settings: Settings, log: Log, plane: ControlPlane): Promise<() => void> {
  const { smtpUrl, mailFrom: from } = settings;
  if (smtpUrl === '') return () => undefined;
  const { createMailer } = await import('../accounts/mailer.ts');
  const mailer = createMailer({ outbox: plane.outbox, smtpUrl, from, log, nowMs: plane.nowMs });
  const timer = setInterval(() => void mailer.sendDue(), MAIL_MS);
  timer.unref();
  return () => {
    clearInterval(timer);
    mailer.close();
  };
}

/** Without a public address the service is used from its own machine, by any name that it has there. */
function ownOrigin(settings: Settings, host: string | undefined, origin: string): string {
  const isLocal = /^(localhost|127\.0\.0\.1|\[::1\])(:\d+)?$/i.test(host ?? '');
  return settings.publicUrl === '' && isLocal ? `http://${host}` : origin;
}
