/** `--help`: the commands, then every setting. */
import { settingsHelp } from '../settings/load-settings.ts';
import { type CommandContext, readArguments } from './command.ts';

const COMMANDS = `Usage: npm run -s backwork -- <command>

  serve                          start the service (npm start)
  sql "<query>" [--format F]     run a query, print the result in any ClickHouse format
  org create|list|limits         organizations
  token create|list|rotate|revoke    ingest tokens of an organization
  mail list|show                 what waits to be mailed to people, with its links
  notice publish|list|withdraw   what everybody with an account is told, until each has read it
  quarantine list|show|replay|drop   requests that ClickHouse refused for good, and bytes that no longer read
  send [--endpoint URL] [--protocol grpc|http] [--token T] [--count ORDERS] [--seed S]
                                 send sample traces, logs and metrics of a small shop; the token is BACKWORK_TOKEN too
  doctor [--token]               check this installation; with --token also the token on stdin or in BACKWORK_TOKEN
  version                        versions of backwork and Node
  --help                         this text

Exit code 0: done; 1: failed, with one line on stderr; 2: not understood.
`;

export async function run(args: readonly string[], context: CommandContext): Promise<number> {
  readArguments(args, {}, '--help');
  context.stdout(`${COMMANDS}\nSettings are environment variables (default in parentheses):\n\n${settingsHelp()}`);
  return 0;
}
