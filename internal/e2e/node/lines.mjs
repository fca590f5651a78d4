// What the scripts share: lines of JSON out, and commands in.
import { createInterface } from 'node:readline';
import { createRequire } from 'node:module';

/** Resolves the packages of gateway/web. */
export const require = createRequire(new URL('../../../gateway/web/package.json', import.meta.url));

export function tell(event) {
  process.stdout.write(`${JSON.stringify(event)}\n`);
}

/**
 * Runs the commands of standard input one after the other: {"do":name,…} calls
 * `commands[name]` and is answered by {"event":"done","text":name,…what it returned}. An
 * error ends the script.
 */
export async function obey(commands) {
  for await (const line of createInterface({ input: process.stdin })) {
    const command = JSON.parse(line);
    try {
      tell({ event: 'done', text: command.do, ...await commands[command.do](command) });
    } catch (error) {
      tell({ event: 'error', text: `${command.do}: ${error.stack}` });
      process.exit(1);
    }
  }
}
