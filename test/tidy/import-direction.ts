/** Who may import whom in src/: the table of the house's layout, and the check of it. */
import { importsOf, type SourceFile, type Violation } from './source.ts';

interface Room {
  /** Files whose path starts so (or is it). The first room that fits counts. */
  readonly files: RegExp;
  /** What it may import besides itself; `type:` in front: types only. */
  readonly mayImport: readonly string[];
  /** Packages and node modules; undefined: any. */
  readonly modules?: RegExp;
}

const PROCESSES = /^src\/(main|supervisor|[a-z-]+-process)\.ts$/;
const CLICKHOUSE = 'type:src/engine/clickhouse.ts';
const DATA_PLANE = ['src/base/', 'src/ingest/messages.ts'];

const ROOMS: readonly Room[] = [
  { files: /^src\/process-messages\.ts$/, mayImport: [] },
  { files: PROCESSES, mayImport: ['src/'] },
  { files: /^src\/commands\//, mayImport: ['src/'] },
  { files: /^src\/base\//, mayImport: [], modules: /^(node:.*|pino|prom-client|libsodium-wrappers)$/ },
  { files: /^src\/(tables|settings)\//, mayImport: ['src/base/'] },
  { files: /^src\/ingest\/messages\.ts$/, mayImport: ['src/base/'], modules: /^$/ },
  { files: /^src\/ingest\/byte-budget\.ts$/, mayImport: ['src/base/'], modules: /^$/ },
  {
    files: /^src\/ingest\/pipeline\.ts$/,
    mayImport: [
      ...DATA_PLANE,
      'src/tables/',
      'src/ingest/byte-budget.ts',
      'src/ingest/authenticate/',
      'src/ingest/convert/',
      'src/ingest/large/',
      'src/ingest/limits/',
      'src/ingest/spool/',
    ],
  },
  { files: /^src\/ingest\/(accept|authenticate|limits|metrics|spool)\//, mayImport: DATA_PLANE },
  // Conversion is a pure function: nothing that reads a clock, a disk or a network.
  {
    files: /^src\/ingest\/convert\//,
    mayImport: [...DATA_PLANE, 'src/tables/'],
    // Letting the event loop turn between slices is no I/O.
    modules: /^node:(assert|buffer|util|timers\/promises)$/,
  },
  { files: /^src\/ingest\/large\//, mayImport: [...DATA_PLANE, 'src/ingest/convert/', 'src/ingest/spool/'] },
  { files: /^src\/ingest\/quarantine\//, mayImport: [...DATA_PLANE, CLICKHOUSE, 'src/ingest/spool/'] },
  {
    files: /^src\/ingest\/store\//,
    mayImport: [...DATA_PLANE, 'src/tables/', CLICKHOUSE, 'type:src/ingest/spool/', 'type:src/ingest/quarantine/'],
  },
  { files: /^src\/engine\//, mayImport: ['src/base/', 'src/tables/'] },
  {
    files: /^src\/(accounts|alerts|housekeeping)\//,
    // The interfaces through which the data plane asks for accounts are declared where they are asked for.
    mayImport: [
      'src/base/',
      CLICKHOUSE,
      'type:src/settings/settings.ts',
      'type:src/ingest/messages.ts',
      'type:src/ingest/authenticate/token-table.ts',
    ],
  },
  {
    files: /^src\/api\//,
    mayImport: ['src/base/', 'src/accounts/', 'src/alerts/', 'src/housekeeping/', CLICKHOUSE],
  },
  { files: /^src\/console\//, mayImport: ['src/base/'] },
];

export function checkImportDirection(files: readonly SourceFile[]): Violation[] {
  return files.filter((file) => file.path.startsWith('src/')).flatMap(checkFile);
}

function checkFile(file: SourceFile): Violation[] {
  const room = ROOMS.find((one) => one.files.test(file.path));
  if (room === undefined) return [{ path: file.path, line: 1, rule: 'stands in no room of the layout' }];
  return importsOf(file).flatMap((one) => {
    const violation = (rule: string) => [{ path: file.path, line: one.line, rule }];
    if (one.target === undefined) {
      const allowed = room.modules === undefined || room.modules.test(one.specifier);
      return allowed ? [] : violation(`${one.specifier} may not be imported here`);
    }
    if (!one.target.endsWith('.ts')) return violation(`${one.specifier} does not end in .ts`);
    // Compositions are started, not imported; commands and the supervisor are main's.
    if (PROCESSES.test(one.target) && !/^src\/(main\.ts|supervisor\.ts|commands\/)/.test(file.path)) {
      return violation(`${one.target} is imported by nobody but main`);
    }
    if (isOwn(room, file.path, one.target)) return [];
    const allowed = room.mayImport.some((target) =>
      target.startsWith('type:')
        ? one.typeOnly && one.target?.startsWith(target.slice(5))
        : one.target?.startsWith(target),
    );
    return allowed
      ? []
      : violation(`${one.target} may not be imported here${one.typeOnly ? ', not even its types' : ''}`);
  });
}

/** The same room: the same folder, for rooms whose pattern covers several. */
function isOwn(room: Room, path: string, target: string): boolean {
  if (!room.files.test(target)) return false;
  const folder = room.files.exec(path)?.[0];
  return folder === undefined || !folder.endsWith('/') || target.startsWith(folder);
}
