// What the gal-relay command does with its arguments: its subcommands, and the exit codes that they
// share.
import { readFileSync } from 'node:fs'
import path from 'node:path'
import { Command, CommanderError } from 'commander'
import { SettingsError } from '../settings/problem'
import { checkCommand } from './check'
import { explainCommand } from './explain'
import { CannotRun } from './install'
import { lookupCommand } from './lookup'
import { printJson } from './print'
import { syncCommand } from './sync'
import { whoMayRelayCommand } from './who-may-relay'

const { version } = JSON.parse(
  readFileSync(path.resolve(__dirname, '..', '..', '..', '..', 'package.json'), 'utf8'),
) as { version: string }

/**
 * Prints the answer and sets the exit code. Never rejects.
 * @param args without the names of Node and of the program
 */
export async function runProgram(args: readonly string[]): Promise<void> {
  try {
    await program().parseAsync(args, { from: 'user' })
  } catch (error) {
    // Asking for help is no error.
    if (error instanceof CommanderError && error.exitCode === 0) return
    process.exitCode = 2
    const message = error instanceof Error ? error.message : String(error)
    if (args.includes('--json')) printJson({ error: message.replace(/^error: /, '') })
    // Its message has been printed.
    if (error instanceof CommanderError) return
    const isKnown = error instanceof CannotRun || error instanceof SettingsError
    const stack = error instanceof Error ? error.stack : undefined
    process.stderr.write(`${isKnown ? message : (stack ?? message)}\n`)
  }
}

function program(): Command {
  const program = new Command('gal-relay')
    .description(
      'what this Haraka answers to a recipient and why, who may relay, is the directory well',
    )
    .version(version)
    .option('-c, --config <dir>', "the install's root or its config/ (default: $HARAKA, else here)")
    .option('--json', 'print one JSON object')
    .configureHelp({ showGlobalOptions: true })
    .exitOverride()
  for (const command of [
    checkCommand(),
    explainCommand(),
    whoMayRelayCommand(),
    lookupCommand(),
    syncCommand(),
  ]) {
    program.addCommand(command.copyInheritedSettings(program))
  }
  program.addHelpText('after', EXIT_CODES)
  return program
}

const EXIT_CODES = `
Exit code 0: fine; 1: the answer is "no", or problems were found; 2: used wrongly, or cannot run.
gal-relay <command> --help has examples.`
