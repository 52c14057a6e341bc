// gal-relay forget: makes all processes of the running server drop an address from their caches.
// For the next message to it, the directory is asked.
import { Command } from 'commander'
import { askServer } from '../control/client'
import { FORGET, socketFile } from '../control/server'
import { counted } from '../report/words'
import { addressText } from '../routing/recipient'
import { configDir } from '../settings/haraka-files'
import { CannotRun, openConfigured } from './install'
import { recipientFrom } from './lookup'
import { colour, printJson, printLines } from './print'

interface Options {
  readonly config?: string
  readonly json?: boolean
}

const EXAMPLES = `
Asks the server that runs in the install's folder: as root, or as the user that Haraka runs as. The list in
memory (mode = snapshot) is not touched: it follows the directory.

Exit code 1 when no cache had the address.

Examples:
  She has a new address, and mail to it is still refused:
    gal-relay forget alice@example.com`

export function forgetCommand(): Command {
  return new Command('forget')
    .description('remove one address from the caches of a running server')
    .argument('<address>', 'a mail address')
    .addHelpText('after', EXAMPLES)
    .action(run)
}

async function run(address: string, _: unknown, command: Command): Promise<void> {
  const options = command.optsWithGlobals<Options>()
  const { config } = await openConfigured(options.config)
  const { local, domain } = recipientFrom(address)
  const answer = await ask(socketFile(configDir(config)), local, domain)
  const directories = [...new Set(answer.flat())]
  const processes = answer.filter((one) => one.length > 0).length
  if (options.json) printJson({ address, directories, processes })
  else if (processes > 0) {
    const where = `${counted(processes, 'process', 'processes')} (${directories.join(', ')})`
    printLines([colour.green(`${addressText(recipientFrom(address))} is forgotten in ${where}`)])
  } else printLines([`no cache had ${addressText(recipientFrom(address))}`])
  if (processes === 0) process.exitCode = 1
}

/** @returns for each process, the directories whose cache held the address */
async function ask(file: string, local: string, domain: string): Promise<readonly string[][]> {
  try {
    return (await askServer(file, { command: FORGET, local, domain })) as string[][]
  } catch (error) {
    throw new CannotRun(error instanceof Error ? error.message : String(error))
  }
}
