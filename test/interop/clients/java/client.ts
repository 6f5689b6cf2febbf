/** OpenTelemetry Java: a Maven project, its versions pinned by the BOM; run from its classes and the copied jars. */
import { cpSync, existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Client } from '../../client.ts';
import { findTool, runTool } from '../../toolchain.ts';

const SOURCES = import.meta.dirname;
/** The program uses records and switch expressions. */
const JAVA_RELEASE_MIN = 17;

export const client: Client = {
  name: 'Java',
  transports: (['grpc', 'http/protobuf'] as const).flatMap((protocol) =>
    (['none', 'gzip'] as const).map((compression) => ({ protocol, compression })),
  ),
  retriesByDefault: { grpc: true, 'http/protobuf': true },
  outageSeconds: 3,
  exponentialHistogram: true,
  exceptions: [
    {
      rows: ['log.info'],
      column: 'LogAttributesTypes',
      value: 'sibd',
      reason: 'it sorts the attributes of a log record by key (those of a span stay in order)',
    },
  ],
  async toolchain() {
    if ((await findTool(['mvn'])) === undefined) return 'mvn is not installed';
    if ((await findTool(['javac'])) === undefined) return 'no JDK is installed';
    const release = Number((await javaVersion()).split('.')[0]);
    return release < JAVA_RELEASE_MIN ? `Java ${release}; the program needs ${JAVA_RELEASE_MIN}` : undefined;
  },
  async build(cacheDir) {
    const stamp = join(cacheDir, 'built.txt');
    const wanted = sources();
    if (existsSync(stamp) && readFileSync(stamp, 'utf8') === wanted) return;
    // Maven builds a copy, so that nothing is written beside the sources.
    const project = join(cacheDir, 'project');
    cpSync(join(SOURCES, 'pom.xml'), join(project, 'pom.xml'), { recursive: true });
    cpSync(join(SOURCES, 'src'), join(project, 'src'), { recursive: true });
    await runTool('mvn', ['--batch-mode', '--quiet', 'compile'], { cwd: project });
    writeFileSync(stamp, wanted);
  },
  async versions(cacheDir) {
    const jars = readdirSync(join(cacheDir, 'project/target/lib'));
    const found = (name: string) =>
      jars.map((jar) => new RegExp(`^${name}-(\\d.*)\\.jar$`).exec(jar)?.[1]).find(Boolean);
    const names = ['opentelemetry-sdk', 'opentelemetry-exporter-otlp', 'okhttp-jvm'];
    return { java: await javaVersion(), ...Object.fromEntries(names.map((name) => [name, found(name) ?? 'unknown'])) };
  },
  command: (cacheDir) => ({
    file: 'java',
    args: [
      '-XX:+UseSerialGC',
      '-cp',
      `${join(cacheDir, 'project/target/classes')}:${join(cacheDir, 'project/target/lib')}/*`,
      'interop.Main',
    ],
  }),
};

async function javaVersion(): Promise<string> {
  return (await runTool('javac', ['--version'])).trim().replace(/^javac /, '');
}

/** All that the build depends on, one text. */
function sources(): string {
  const files = readdirSync(SOURCES, { recursive: true, encoding: 'utf8' }).filter((file) =>
    /\.(java|xml)$/.test(file),
  );
  return files
    .sort()
    .map((file) => `${file}\n${readFileSync(join(SOURCES, file), 'utf8')}`)
    .join('\n');
}
