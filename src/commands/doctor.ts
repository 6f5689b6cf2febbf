/**
 * `doctor`: what is wrong with this installation, what state its service is in, and how to mend it, one line a check, exit
 * code 1 when there is a problem. It changes nothing, so it may be run beside the service or before the first start.
 */
import { resolve } from 'node:path';
import { BackworkError } from '../base/errors.ts';
import type { Settings } from '../settings/settings.ts';
import { TOKEN_VARIABLE } from './children.ts';
import { type CommandContext, readArguments } from './command.ts';
import { readEngineLogin, storeTarget } from './data-directory.ts';
import {
  checkCertificate,
  checkDataDirectory,
  checkDisk,
  checkPlatform,
  checkPorts,
  checkReadiness,
  checkService,
  checkSpools,
  type Finding,
  findService,
  type RunningService,
} from './doctor-machine.ts';
import { checkState } from './doctor-state.ts';
import { checkAccounts, checkStore, checkToken } from './doctor-stores.ts';

/** A token has 69 characters; whatever else comes on stdin is not read on. */
const TOKEN_INPUT_MAX = 4_096;

export async function run(args: readonly string[], context: CommandContext): Promise<number> {
  const { flags } = readArguments(args, { token: 'flag' }, 'doctor [--token]   (the token on stdin)');
  const findings: Finding[] = [];
  const say = (finding: Finding) => {
    findings.push(finding);
    context.stdout(lineOf(finding));
  };
  try {
    for await (const finding of examine(context, flags.has('token'))) say(finding);
  } catch (error) {
    if (!(error instanceof BackworkError)) throw error;
    say({ level: 'problem', subject: error.code, found: error.message });
  }
  const problems = findings.filter(({ level }) => level === 'problem').length;
  context.stdout(
    problems === 0 ? '\nno problem found\n' : `\n${problems} of ${findings.length} checks found a problem\n`,
  );
  return problems === 0 ? 0 : 1;
}

async function* examine(context: CommandContext, withToken: boolean): AsyncGenerator<Finding> {
  const settings = settingsOf(context);
  if (Array.isArray(settings)) {
    yield checkPlatform(true);
    yield* settings;
    return;
  }
  const embedded = settings.clickhouseUrl === '';
  yield checkPlatform(embedded);
  yield { level: 'ok', subject: 'settings', found: 'all valid' };
  yield* checkCertificate(settings, Date.now());
  const dataDir = resolve(settings.dataDir);
  const directory = checkDataDirectory(dataDir);
  yield* directory;
  // A path that is not a directory, or not ours to read, makes every check below fail for that one reason.
  if (directory.some(({ level, subject }) => level === 'problem' && subject === 'data directory')) return;
  yield checkDisk(settings, dataDir);
  const service = findService(dataDir);
  yield checkService(service);
  yield* await checkPorts(settings, service);
  if (service.state !== undefined) yield await checkReadiness(settings, service.state);
  yield* await checkTelemetryStore(settings, dataDir, service);
  yield* await checkAccounts(dataDir, Date.now());
  const state = service.state === undefined ? [] : await checkState(settings.apiHost, service.state);
  yield* state;
  // The files themselves, where nobody watches them.
  if (state.length === 0) yield checkSpools(dataDir, Date.now());
  if (withToken) yield await checkToken(await readToken(context), dataDir, Date.now());
}

/** The settings, or a finding for each that is wrong: the other checks need them all. */
function settingsOf(context: CommandContext): Settings | Finding[] {
  try {
    return context.settings;
  } catch (error) {
    if (!(error instanceof BackworkError)) throw error;
    const lines = error.message.split('\n');
    return (lines.length > 1 ? lines.slice(1) : lines).map((found) => ({
      level: 'problem',
      subject: 'settings',
      found: found.trim(),
      mend: 'set it right, then run doctor again: the other checks need the settings',
    }));
  }
}

async function checkTelemetryStore(settings: Settings, dataDir: string, service: RunningService): Promise<Finding[]> {
  if (settings.clickhouseUrl !== '') return checkStore(storeTarget(settings, undefined, 0), false);
  const port = service.state?.ports.engine;
  if (port === undefined) return [];
  return checkStore(storeTarget(settings, readEngineLogin(dataDir), port), true);
}

/** From the environment, else the first line of stdin. */
async function readToken(context: CommandContext): Promise<string> {
  const given = context.env[TOKEN_VARIABLE];
  if (given !== undefined && given !== '') return given.trim();
  const input = context.input ?? process.stdin;
  let text = '';
  for await (const chunk of input) {
    text += String(chunk);
    if (text.includes('\n') || text.length > TOKEN_INPUT_MAX) break;
  }
  return text.trim().split('\n')[0]?.trim() ?? '';
}

function lineOf({ level, subject, found, mend }: Finding): string {
  const to = mend === undefined ? '' : ` -> ${mend}`;
  return `${level.padEnd(7)}  ${subject.padEnd(14)}  ${found}${to}\n`;
}
