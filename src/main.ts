/**
 * The command line: `serve`, which is the service, and the commands around it (architecture section 8).
 *
 * Each command is loaded when it is called and nothing else is, because the memory of an idle service is what its
 * processes have loaded. Settings are read once, when a command first asks for them, so that `version`, `--help` and
 * `doctor` work with wrong ones.
 *
 * What went wrong is said in one line on stderr (a line for each setting that is wrong): exit code 1, or 2 when the
 * command line was not understood. BACKWORK_LOG_LEVEL=debug adds the stack.
 */
import { BackworkError, messageOf } from './base/errors.ts';
import { TOKEN_VARIABLE } from './commands/children.ts';
import { type CommandContext, type Run, UsageError } from './commands/command.ts';
import { requireNode } from './commands/platform.ts';
import { loadSettings } from './settings/load-settings.ts';
import type { Settings } from './settings/settings.ts';

const COMMANDS: Readonly<Record<string, () => Promise<{ readonly run: Run }>>> = {
  serve: () => import('./commands/serve.ts'),
  sql: () => import('./commands/sql.ts'),
  org: () => import('./commands/org.ts'),
  token: () => import('./commands/token.ts'),
  mail: () => import('./commands/mail.ts'),
  notice: () => import('./commands/notice.ts'),
  quarantine: () => import('./commands/quarantine.ts'),
  send: () => import('./commands/send.ts'),
  doctor: () => import('./commands/doctor.ts'),
  version: () => import('./commands/version.ts'),
  help: () => import('./commands/help.ts'),
};
const OTHER_NAMES: Readonly<Record<string, string>> = { '--help': 'help', '-h': 'help', '--version': 'version' };
/** These say something useful on a Node that is too old. */
const ANY_NODE = ['version', 'help', 'doctor'];
const CALL_HELP = 'npm run -s backwork -- --help lists the commands';

// A reader that has seen enough (`… | head`) is no error; other failures of stdout surface where something is written.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code !== 'EPIPE') throw error;
});
process.exit(await main(process.argv.slice(2), process.env));

async function main(argv: readonly string[], env: NodeJS.ProcessEnv): Promise<number> {
  try {
    const { name, args } = commandOf(argv);
    if (!ANY_NODE.includes(name)) requireNode();
    const load = COMMANDS[name];
    if (load === undefined) throw unknownCommand(name);
    const { run } = await load();
    return await run(args, commandContext(env));
  } catch (error) {
    return report(error, env);
  }
}

/** `<command> --help`, wherever it stands, is the help. */
function commandOf(argv: readonly string[]): { name: string; args: readonly string[] } {
  const [first, ...args] = argv;
  if (first === undefined) throw new UsageError('no command is given', CALL_HELP);
  if (args.includes('--help') || args.includes('-h')) return { name: 'help', args: [] };
  return { name: OTHER_NAMES[first] ?? first, args };
}

function unknownCommand(name: string): UsageError {
  return new UsageError(`there is no command "${name}"`, CALL_HELP);
}

function commandContext(env: NodeJS.ProcessEnv): CommandContext {
  let loaded: Settings | undefined;
  return {
    get settings() {
      // For a client's shell, no setting of the service.
      const { [TOKEN_VARIABLE]: _, ...rest } = env;
      loaded ??= loadSettings(rest);
      return loaded;
    },
    stdout: (text) => process.stdout.write(text),
    stderr: (text) => process.stderr.write(text),
    output: process.stdout,
    env,
  };
}

function report(error: unknown, env: NodeJS.ProcessEnv): number {
  const known = error instanceof BackworkError;
  process.stderr.write(`backwork: ${known ? '' : 'unexpected error: '}${messageOf(error)}\n`);
  if (error instanceof UsageError) process.stderr.write(`usage: ${error.usage}\n`);
  if (env['BACKWORK_LOG_LEVEL'] === 'debug' && error instanceof Error) process.stderr.write(`${error.stack}\n`);
  return error instanceof UsageError ? 2 : 1;
}
