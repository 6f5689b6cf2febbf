/**
 * The child processes of the service: which file, which environment. All get the operator's environment, so each loads
 * the same settings; what main has decided or learned (ports, number of workers) replaces what the operator wrote.
 */
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Settings } from '../settings/settings.ts';
import type { ChildSpec } from '../supervisor.ts';
import { engineLoginPath } from './data-directory.ts';
import { compileCachePath } from './idle-memory.ts';

/** The files that are run; tests hand over scripts of their own. */
export interface ChildFiles {
  readonly engine: string;
  readonly store: string;
  readonly ingest: string;
}

export const CHILD_FILES: ChildFiles = {
  engine: fileURLToPath(new URL('../engine-process.ts', import.meta.url)),
  store: fileURLToPath(new URL('../store-process.ts', import.meta.url)),
  ingest: fileURLToPath(new URL('../ingest-process.ts', import.meta.url)),
};

/** What else is run as a program, by threads of the children. */
export const THREAD_FILES: readonly string[] = [
  fileURLToPath(new URL('../ingest/large/large-thread.ts', import.meta.url)),
];

/** For `doctor` and for a client's shell; no setting, hence unknown to the children's check of their environment. */
export const TOKEN_VARIABLE = 'BACKWORK_TOKEN';

/** Chosen so that chDB's queries, fdatasync, inflating and argon2 do not queue for each other (architecture section 2). */
const ENGINE_THREADS = '32';
const INGEST_THREADS = '16';
/**
 * Bodies are memory outside V8's heap. By default each 64 MiB of them that come and go start a collection of the whole heap: 7 in
 * 100 requests of 222 KB, a fifth of the CPU of an ingest process. Counted with the heap they start 2, *measured*; the
 * process is 54 MB larger under full load.
 */
const INGEST_NODE_OPTIONS = ['--external-memory-accounted-in-global-limit'];

export interface ChildContext {
  readonly settings: Settings;
  /** Absolute. */
  readonly dataDir: string;
  readonly env: NodeJS.ProcessEnv;
  readonly files: ChildFiles;
  /** Organizations that metrics name, as organization-names.ts writes them. */
  readonly organizationNames?: string;
}

type Start = Pick<ChildSpec, 'name' | 'file' | 'env' | 'nodeOptions'>;

/** chDB behind its door; UTC, because dates in partitions and TTL are days of UTC. `port` as known before each start. */
export function engineChild(context: ChildContext, port: () => number): Start {
  return {
    name: 'engine',
    file: context.files.engine,
    env: () => ({
      ...operatorEnv(context),
      UV_THREADPOOL_SIZE: ENGINE_THREADS,
      TZ: 'UTC',
      BACKWORK_ENGINE_DIR: join(context.dataDir, 'engine'),
      BACKWORK_ENGINE_PORT: String(port()),
      BACKWORK_ENGINE_FILE: engineLoginPath(context.dataDir),
      BACKWORK_ENGINE_MEMORY_MIB: String(context.settings.engineMemoryMib),
    }),
  };
}

export function storeChild(context: ChildContext, enginePort: () => number, workers: number): Start {
  return {
    name: 'store',
    file: context.files.store,
    env: () => ({
      ...operatorEnv(context),
      BACKWORK_WORKERS: String(workers),
      BACKWORK_ENGINE_PORT: String(enginePort()),
    }),
  };
}

/** Worker `index` from 0. Ports that were 0 are the first worker's from its first start on. */
export function ingestChild(
  context: ChildContext,
  index: number,
  workers: number,
  ports: () => { readonly grpc: number; readonly http: number },
): Start {
  return {
    name: `ingest ${index}`,
    file: context.files.ingest,
    nodeOptions: INGEST_NODE_OPTIONS,
    env: () => ({
      ...operatorEnv(context),
      UV_THREADPOOL_SIZE: INGEST_THREADS,
      BACKWORK_WORKERS: String(workers),
      BACKWORK_WORKER_INDEX: String(index),
      BACKWORK_OTLP_GRPC_PORT: String(ports().grpc),
      BACKWORK_OTLP_HTTP_PORT: String(ports().http),
    }),
  };
}

function operatorEnv({ env, dataDir, organizationNames = '' }: ChildContext): NodeJS.ProcessEnv {
  const { [TOKEN_VARIABLE]: _, ...rest } = env;
  return {
    NODE_COMPILE_CACHE: compileCachePath(dataDir),
    ...rest,
    BACKWORK_DATA_DIR: dataDir,
    BACKWORK_ORGANIZATION_NAMES: organizationNames,
  };
}
