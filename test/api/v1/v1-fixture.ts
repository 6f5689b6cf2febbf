/**
 * The API without its server, over a real accounts database: people with cookie jars, scripts with keys, and a clock that the
 * test moves. Passwords are hashed with few passes, because a test hashes many.
 */
import { onTestFinished } from 'vitest';
import { bootstrap } from '../../../src/accounts/bootstrap.ts';
import { type ControlPlane, openControlPlane } from '../../../src/accounts/control-plane.ts';
import { loadPepper } from '../../../src/accounts/key-file.ts';
import type { Role } from '../../../src/accounts/role.ts';
import { openAccounts } from '../../../src/accounts/store/accounts-database.ts';
import type { RequestNote } from '../../../src/api/v1/endpoint.ts';
import { createV1, type Telemetry, type V1App } from '../../../src/api/v1/v1.ts';
import { createLog } from '../../../src/base/log.ts';
import { connectClickHouse } from '../../../src/engine/clickhouse.ts';
import { NOON_MS, temporaryDir } from '../../accounts/accounts-fixture.ts';

export const ORIGIN = 'http://127.0.0.1:8080';
export const PASSWORD = 'correct horse 27 staple';
export const FEW_PASSES = { memoryKib: 64, passes: 1, lanes: 1 };

export interface Answer {
  readonly status: number;
  readonly headers: Headers;
  // biome-ignore lint/suspicious/noExplicitAny: a test looks at whatever came
  readonly body: any;
  readonly note: RequestNote;
}

export interface CallOptions {
  readonly body?: unknown;
  readonly headers?: Readonly<Record<string, string>>;
  /** Without the Origin of our own pages. */
  readonly bare?: true;
}

export interface TestApi {
  readonly plane: ControlPlane;
  readonly app: V1App;
  readonly dataDir: string;
  /** Organization `default`. */
  readonly orgId: string;
  /** Milliseconds since 1970; moved by the test. */
  clock: { nowMs: number };
  /** Address of the sender. */
  client: { address: string; secure: boolean };
  /** A caller with a cookie jar of its own. */
  caller(): Caller;
  /** A caller that is logged in as a new user with a verified address. */
  user(email: string): Promise<Caller>;
  member(orgId: string, role: Role, email: string): Promise<Caller>;
  key(orgId: string, scopes: readonly string[]): Promise<Caller>;
}

export class Caller {
  readonly #app: V1App;
  cookie: string | undefined;
  bearer: string | undefined;
  userId = '';

  constructor(app: V1App) {
    this.#app = app;
  }

  async call(method: string, path: string, { body, headers = {}, bare }: CallOptions = {}): Promise<Answer> {
    const sent: Record<string, string> = { ...(bare === true ? {} : { origin: ORIGIN }), ...headers };
    if (this.cookie !== undefined) sent['cookie'] = this.cookie;
    if (this.bearer !== undefined) sent['authorization'] = `Bearer ${this.bearer}`;
    const init: RequestInit = { method, headers: sent };
    if (body !== undefined) {
      sent['content-type'] ??= 'application/json';
      const text = typeof body === 'string' ? body : JSON.stringify(body);
      init.body = text;
      // As every server is told by a real client; a Request that was only made has none.
      sent['content-length'] ??= String(Buffer.byteLength(text));
    }
    const note: RequestNote = { requestId: 'request', route: '', orgId: undefined };
    const response = await this.#app.fetch(new Request(`${ORIGIN}/api/v1${path}`, init), {}, note);
    const given = response.headers.get('set-cookie');
    if (given !== null) this.cookie = /Max-Age=0/.test(given) ? undefined : given.split(';')[0];
    const text = await response.text();
    const isJson = /json/.test(response.headers.get('content-type') ?? '');
    return { status: response.status, headers: response.headers, body: isJson ? JSON.parse(text) : text, note };
  }

  get(path: string, options?: CallOptions): Promise<Answer> {
    return this.call('GET', path, options);
  }

  post(path: string, body: unknown = {}, options: CallOptions = {}): Promise<Answer> {
    return this.call('POST', path, { body, ...options });
  }

  /** Gives the password once more. */
  confirm(): Promise<Answer> {
    return this.post('/session/confirmation', { password: PASSWORD });
  }
}

/** For tests that ask nothing of what is stored: the store is away. */
const STORE_AWAY: Telemetry = {
  tables: ['otel_logs'],
  clickhouse: async () =>
    connectClickHouse({ url: 'http://127.0.0.1:1', user: 'x', password: 'x', database: 'default' }),
};

export async function openTestApi(
  settings: { signUp?: string } = {},
  telemetry: Telemetry = STORE_AWAY,
): Promise<TestApi> {
  const dataDir = temporaryDir();
  const clock = { nowMs: NOON_MS };
  const client = { address: '127.0.0.1', secure: true };
  const all = {
    signUp: 'open',
    publicUrl: ORIGIN,
    plansFile: '',
    retentionDays: 30,
    ownPlacementsMax: 8,
    clickhouseUrl: '',
    ...settings,
  };
  const accounts = await openAccounts({ dataDir });
  const { orgId } = await bootstrap(accounts, all, loadPepper(dataDir, { create: true }), () => clock.nowMs);
  await accounts.close();
  const plane = await openControlPlane({ dataDir, settings: all, nowMs: () => clock.nowMs, argon2: FEW_PASSES });
  onTestFinished(() => plane.close());
  const app = createV1({
    plane,
    log: createLog('main', 'fatal'),
    addressOf: () => client.address,
    isSecure: () => client.secure,
    telemetry,
    originOf: () => ORIGIN,
  });
  const caller = () => new Caller(app);
  const user = async (email: string) => {
    const one = caller();
    const hashed = await passwordHash(plane);
    const times = { ageConfirmedAtMs: clock.nowMs, createdAtMs: clock.nowMs };
    const made = await plane.accounts.users.create({ email, name: 'Ada', password: hashed, ...times });
    await plane.accounts.users.setEmailVerified(made.id, clock.nowMs);
    one.userId = made.id;
    const login = await one.post('/session', { email, password: PASSWORD });
    if (login.status !== 200) throw new Error(`login: ${login.status} ${JSON.stringify(login.body)}`);
    return one;
  };
  return {
    ...{ plane, app, dataDir, orgId, clock, client, caller, user },
    async member(org, role, email) {
      const one = await user(email);
      await plane.accounts.users.setMembership(one.userId, org, role, clock.nowMs);
      return one;
    },
    async key(org, scopes) {
      const { token, stored } = plane.newToken('api');
      const rest = { orgId: org, name: 'ci', createdBy: 'usr_x', createdAtMs: clock.nowMs, expiresAtMs: undefined };
      await plane.accounts.apiKeys.create({ ...stored, ...rest, scopes: scopes as never });
      const one = caller();
      one.bearer = token;
      return one;
    },
  };
}

const hashes = new WeakMap<ControlPlane, Promise<string>>();

/** Of PASSWORD, once a test. */
function passwordHash(plane: ControlPlane): Promise<string> {
  let hash = hashes.get(plane);
  if (hash === undefined) {
    hash = import('../../../src/accounts/password.ts').then(({ createPasswords }) =>
      createPasswords({ atOnceMax: 1, parameters: FEW_PASSES }).hash(PASSWORD),
    );
    hashes.set(plane, hash);
  }
  return hash;
}

/** The secret of the last mail of a kind. */
export async function mailedLink(plane: ControlPlane, kind: string): Promise<string> {
  const mail = (await plane.outbox.list()).filter((one) => one.kind === kind).at(-1);
  const [, secret = ''] = /#([\w-]+)/.exec(mail?.text ?? '') ?? [];
  return secret;
}
