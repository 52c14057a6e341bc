#!/usr/bin/env node
// gal-relay: the postmaster's command. Reads the configuration as the server does, and answers with
// the rooms that answer mail. Exit code 0: fine; 1: the answer is "no", or problems were found;
// 2: used wrongly, or cannot run.
import { readFileSync } from 'node:fs'
import path from 'node:path'
import { Command, CommanderError } from 'commander'
import { SettingsError } from '../settings/problem'
import { checkCommand } from './check'
import { explainCommand } from './explain'
import { CannotRun } from './install'
import { lookupCommand } from './lookup'
import { syncCommand } from './sync'
import { whoMayRelayCommand } from './who-may-relay'

const { version } = JSON.parse(
  readFileSync(path.resolve(__dirname, '..', '..', '..', '..', 'package.json'), 'utf8'),
) as { version: string }

async function main(): Promise<void> {
  // What libraries print must not stand in the answer.
  console.log = console.error
  // Whoever reads our output, head for one, may have enough of it.
  process.stdout.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code === 'EPIPE') process.exit()
    throw error
  })
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
  await program.parseAsync()
}

const EXIT_CODES = `
Exit code 0: fine; 1: the answer is "no", or problems were found; 2: used wrongly, or cannot run.
gal-relay <command> --help has examples.`

main().catch((error: unknown) => {
  if (error instanceof CommanderError) {
    // Its message has been printed; asking for help is no error.
    process.exitCode = error.exitCode === 0 ? 0 : 2
    return
  }
  const known = error instanceof CannotRun || error instanceof SettingsError
  process.stderr.write(`${known ? error.message : error instanceof Error ? error.stack : error}\n`)
  process.exitCode = 2
})
