// What the gal-relay command does with its arguments: the subcommands, and the exit codes that they
// share.
import { readFileSync } from 'node:fs'
import path from 'node:path'
import { Command, CommanderError } from 'commander'
import { didYouMean } from '../routing/did-you-mean'
import { SettingsError } from '../settings/problem'
import { checkCommand } from './check'
import { drainCommand } from './drain'
import { explainCommand } from './explain'
import { forgetCommand } from './forget'
import { harvestCommand } from './harvest'
import { importCommand } from './import'
import { initCommand } from './init'
import { CannotRun } from './install'
import { lookupCommand } from './lookup'
import { printError, printJson } from './print'
import { publishCommand } from './publish'
import { replayCommand } from './replay'
import { reportCommand } from './report'
import { routesCommand } from './routes'
import { settingsCommand } from './settings'
import { syncCommand } from './sync'
import { traceCommand } from './trace'
import { whoMayRelayCommand } from './who-may-relay'

const { version } = JSON.parse(
  readFileSync(path.resolve(__dirname, '..', '..', '..', '..', 'package.json'), 'utf8'),
) as { version: string }

/**
 * Prints the answer and sets the exit code. Never rejects.
 * @param args without the names of Node and the program
 */
export async function runProgram(args: readonly string[]): Promise<void> {
  try {
    await program().parseAsync(args, { from: 'user' })
  } catch (error) {
    // Asking for help is not an error.
    if (error instanceof CommanderError && error.exitCode === 0) return
    process.exitCode = 2
    const isLeftOut = error instanceof CommanderError && error.code === 'commander.help'
    const message = isLeftOut ? 'no command is given' : textOf(error)
    if (args.includes('--json')) printJson({ error: message.replace(/^error: /, '') })
    // Its message has been printed, unless commander printed the help instead.
    if (error instanceof CommanderError && !isLeftOut) return
    const isKnown = isLeftOut || error instanceof CannotRun || error instanceof SettingsError
    const stack = error instanceof Error ? error.stack : undefined
    printError(isKnown ? message : (stack ?? message))
  }
}

function program(): Command {
  const program = new Command('gal-relay')
    .description(
      'explain what this Haraka answers, who may relay, and whether the directory works well',
    )
    .version(version)
    .option(
      '-c, --config <dir>',
      "the install's root or its config/ (default: $HARAKA, else the current folder)",
    )
    .option('--json', 'print one JSON object')
    .configureHelp({ showGlobalOptions: true })
    .exitOverride()
  for (const command of [
    initCommand(),
    checkCommand(),
    explainCommand(),
    whoMayRelayCommand(),
    lookupCommand(),
    traceCommand(),
    routesCommand(),
    settingsCommand(),
    syncCommand(),
    publishCommand(),
    drainCommand(),
    importCommand(),
    forgetCommand(),
    harvestCommand(),
    replayCommand(),
    reportCommand(),
  ]) {
    program.addCommand(command.copyInheritedSettings(program))
  }
  program.addCommand(helpCommand(program).copyInheritedSettings(program))
  program.addHelpText('after', EXIT_CODES)
  return program
}

/** Commander's own help command says nothing about a command that does not exist. */
function helpCommand(program: Command): Command {
  return new Command('help')
    .argument('[command]')
    .description('display help for command')
    .action((name: string | undefined) => {
      if (name === undefined) return program.help()
      program.commands.find((one) => one.name() === name)?.help()
      const names = program.commands.map((one) => one.name())
      const meant = didYouMean(name, names)
      const hint = meant ? `\n(Did you mean ${meant}?)` : ''
      program.error(`error: unknown command '${name}'${hint}`)
    })
}

const textOf = (error: unknown) => (error instanceof Error ? error.message : String(error))

const EXIT_CODES = `
Exit code 0: success; 1: the answer is "no", or there are problems; 2: usage error, or cannot run.
gal-relay <command> --help has examples.`
