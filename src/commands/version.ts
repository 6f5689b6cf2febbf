/** `version`: backwork, Node and the platform, one line each. */
import { readFileSync } from 'node:fs';
import { type CommandContext, readArguments } from './command.ts';

/** As package.json has it. */
export function backworkVersion(): string {
  const text = readFileSync(new URL('../../package.json', import.meta.url), 'utf8');
  return (JSON.parse(text) as { version: string }).version;
}

export async function run(args: readonly string[], context: CommandContext): Promise<number> {
  readArguments(args, {}, 'version');
  context.stdout(`backwork ${backworkVersion()}\nnode ${process.versions.node}\n${process.platform} ${process.arch}\n`);
  return 0;
}
