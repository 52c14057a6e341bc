// gal-relay settings: the settings of each listener and directory, and where each value comes from.
import { Command } from 'commander'
import { counted } from '../report/words'
import { type EffectiveValue, effectiveSettings } from '../settings/effective'
import { configDir } from '../settings/haraka-files'
import { loadIni } from '../settings/load'
import { openConfigured } from './install'
import { colour, columns, printJson, printLines } from './print'

interface Options {
  readonly config?: string
  readonly json?: boolean
}

const EXAMPLES = `
As they are in the files now: a running Haraka has them as of its start or its last reload. Passwords are not
shown. gal-relay routes has the routing table.

Examples:
    gal-relay settings
  What is not as it comes?
    gal-relay settings | grep -v ' default  '
  Who may relay on port 587, for a script:
    gal-relay settings --json | jq '.listeners[] | select(.listener == "*:587").values'`

export function settingsCommand(): Command {
  return new Command('settings')
    .description('the settings of each listener and directory, and where each comes from')
    .addHelpText('after', EXAMPLES)
    .action(run)
}

async function run(_: unknown, command: Command): Promise<void> {
  const options = command.optsWithGlobals<Options>()
  const { config, settings } = await openConfigured(options.config)
  const effective = effectiveSettings(loadIni(config), settings, configDir(config))
  if (options.json) {
    printJson(effective)
    return
  }
  const { listeners, directories, http } = effective
  printLines([
    ...listeners.flatMap(({ listener, values }) => {
      const rest = listener === '*:*' ? ', where no other section applies' : ''
      return inWords(`listener ${listener}${rest}`, values)
    }),
    ...directories.flatMap(({ directory, values }) => inWords(`directory ${directory}`, values)),
    ...inWords('status page', http),
  ])
}

function inWords(about: string, values: readonly EffectiveValue[]): string[] {
  const rows = values.map(({ key, value, ...place }) => [
    `  ${typeof value !== 'string' ? `${key}[]` : key}`,
    place.origin === 'default' ? 'default' : placeText(place),
    valueText(value),
  ])
  return [colour.bold(about), ...columns(rows), '']
}

/** The most values of a list to name. */
const SHOWN = 5

function valueText(value: EffectiveValue['value']): string {
  if (value.length === 0) return 'none'
  if (typeof value === 'string') return value
  const more = value.length - SHOWN
  const first = value.slice(0, SHOWN).join(', ')
  return more > 0 ? `${first} and ${counted(more, 'other')}` : first
}

function placeText({ line, in: section }: Pick<EffectiveValue, 'line' | 'in'>) {
  return `[${section}]${line === undefined ? '' : ` line ${line}`}`
}
