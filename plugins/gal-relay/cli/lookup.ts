// gal-relay lookup: is this address in the list, and which directory entry has it? Every question
// is a search; no cache is used.
import { Command } from 'commander'
import { parsePath } from '../advice/envelope'
import { type GalAnswer, stateOfAll } from '../gal/address-list'
import { listDefinition } from '../gal/directory/list-definition'
import { type Holder, type Inspection, LiveList } from '../gal/live'
import { otherNames } from '../gal/other-names'
import { addressText, type Recipient, recipientOf } from '../routing/recipient'
import { type DirectorySettings, directoriesFor } from '../settings/directories'
import type { Settings } from '../settings/settings'
import { CannotRun, openConfigured, SILENT } from './install'
import { linesOf, STDIN } from './lines'
import {
  answerFrom,
  type Listed,
  type ListOnDisk,
  listed,
  listedInWords,
  listOnDisk,
} from './listed'
import { mailboxText, saidMailbox } from './mailbox'
import { colour, columns, printJson, printLines } from './print'

interface Options {
  readonly config?: string
  readonly json?: boolean
}

const EXAMPLES = `
One address: which entry has it. Several, or - for a list on standard input, one in each line: a line for each.
In snapshot mode the list is looked at too, and named where it says something else. Exit code 0: the addresses
are in the directory; 1: one is not; 2: the directory cannot tell of one, or it is none.

Examples:
    gal-relay lookup alice@example.com
    gal-relay lookup --json alice@example.com | jq -r '.live.entries[].dn'
  Which of these does the directory not have?
    gal-relay lookup - < addresses.txt | grep '^absent'`

export function lookupCommand(): Command {
  return new Command('lookup')
    .description('look up an address in the directory and show its entry')
    .argument('<addresses...>', 'mail addresses; - reads them from standard input')
    .addHelpText('after', EXAMPLES)
    .action(run)
}

async function run(addresses: string[], _: unknown, command: Command): Promise<void> {
  const options = command.optsWithGlobals<Options>()
  const { settings } = await openConfigured(options.config)
  const [only = ''] = addresses
  const directories = openDirectories(settings)
  try {
    if (addresses.length === 1 && only !== STDIN) await lookUpOne(only, directories, options)
    else await lookUpAll(addresses, directories, options)
  } finally {
    await directories.close()
  }
}

async function lookUpOne(address: string, directories: Opened, options: Options): Promise<void> {
  const { state, all } = await directories.lookup(recipientFrom(address))
  if (options.json) printJson(answerJson(address, state, all))
  else {
    const isOne = directories.count === 1
    printLines(
      all.flatMap(({ directory, live, snapshot }) => [
        ...(isOne ? [] : [colour.bold(`directory ${directory}`)]),
        ...inWords(live),
        ...(snapshot ? listedInWords(snapshot, live.answer) : []),
      ]),
    )
  }
  process.exitCode = CODES[state]
}

const CODES = { found: 0, absent: 1, unavailable: 2 } as const

/** How many addresses are looked up at a time. */
const AT_A_TIME = 16

interface LookedUp {
  readonly address: string
  readonly state: keyof typeof CODES
  readonly all: readonly Told[]
  /** Why the address could not be looked up. */
  readonly error?: string
}

async function lookUpAll(
  addresses: readonly string[],
  directories: Opened,
  options: Options,
): Promise<void> {
  const told: object[] = []
  const answers = inTurn(addresses, AT_A_TIME, async (address): Promise<LookedUp> => {
    try {
      return { address, ...(await directories.lookup(recipientFrom(address))) }
    } catch (error) {
      if (!(error instanceof CannotRun)) throw error
      return { address, state: 'unavailable', all: [], error: error.message }
    }
  })
  let code = 0
  let count = 0
  for await (const { address, state, all, error } of answers) {
    count++
    code = Math.max(code, CODES[state])
    if (!options.json) printLines([lineOf(address, state, all, error)])
    else told.push(error ? { address, found: undefined, error } : answerJson(address, state, all))
  }
  if (count === 0) throw new CannotRun('there are no addresses on standard input')
  if (options.json) printJson({ addresses: told })
  process.exitCode = code
}

/** Yields the answers in order, with several look-ups in progress at a time. */
async function* inTurn<T>(
  addresses: readonly string[],
  most: number,
  ask: (address: string) => Promise<T>,
): AsyncGenerator<T> {
  const underWay: Promise<T>[] = []
  for await (const address of eachOf(addresses)) {
    const answer = ask(address)
    // A rejection is handled when its turn comes.
    answer.catch(() => {})
    underWay.push(answer)
    const first = underWay.length >= most ? underWay.shift() : undefined
    if (first) yield await first
  }
  for (const answer of underWay) yield await answer
}

async function* eachOf(addresses: readonly string[]): AsyncGenerator<string> {
  for (const address of addresses) {
    if (address !== STDIN) {
      yield address
      continue
    }
    for await (const line of linesOf(STDIN)) {
      const text = line.trim()
      if (text) yield text
    }
  }
}

function lineOf(
  address: string,
  state: GalAnswer['state'],
  all: readonly Told[],
  error: string | undefined,
): string {
  const paint = { found: colour.green, absent: colour.red, unavailable: colour.yellow }[state]
  const word = { found: 'found  ', absent: 'absent ', unavailable: 'unknown' }[state]
  const at = all.find(({ live }) => live.answer.state === state)
  const where =
    at?.live.answer.state === 'unavailable'
      ? at.live.answer.reason
      : (at?.live.holders[0]?.dn ?? '')
  const stale = all.flatMap(({ live, snapshot }) => staleText(live.answer, snapshot))
  return [paint(word), address, error ?? where, ...stale].filter(Boolean).join('  ')
}

/** @returns what the list says and the directory does not */
function staleText({ state }: GalAnswer, listed: Listed | undefined): string[] {
  if (!listed || listed.state === state) return []
  if (listed.state === 'unavailable') return [`no list: ${listed.reason}`]
  if (state === 'unavailable') {
    return [`the list ${listed.state === 'found' ? 'has it' : 'does not have it'}`]
  }
  return [
    listed.state === 'found' ? 'stale: the list still has it' : 'stale: the list does not have it',
  ]
}

/** What one directory says. */
interface Told {
  readonly directory: string
  readonly live: Searched
  readonly snapshot: Listed | undefined
}

function answerJson(address: string, state: GalAnswer['state'], all: readonly Told[]): object {
  const found = state === 'unavailable' ? undefined : state === 'found'
  const directories = all.map(({ directory, live, snapshot }) => {
    return { directory, live: liveJson(live), snapshot }
  })
  // The first directory that has it, else the first; nearly always there is only one.
  const { live, snapshot } = all.find((one) => one.live.answer.state === 'found') ?? all[0] ?? {}
  return { address, found, live: live && liveJson(live), snapshot, directories }
}

/** The directories of an install; each is opened when it is first needed. */
interface Opened {
  readonly count: number
  /** @throws CannotRun if no directory is asked about its domain */
  lookup(recipient: Recipient): Promise<{ state: GalAnswer['state']; all: readonly Told[] }>
  close(): Promise<void>
}

function openDirectories(settings: Settings): Opened {
  const opened = new Map<string, { live: LiveList; list: Promise<ListOnDisk> | undefined }>()
  const open = (directory: DirectorySettings) => {
    const { name, gal, ldap } = directory
    const one = opened.get(name) ?? {
      live: new LiveList(listDefinition(gal, ldap), ldap, SILENT),
      list: gal.mode === 'live' ? undefined : listOnDisk(directory),
    }
    opened.set(name, one)
    return one
  }
  return {
    count: settings.directories.all.length,
    async lookup(recipient) {
      const asked = directoriesFor(settings.directories, recipient.domain)
      if (asked.length === 0) throw new CannotRun(noDirectory(settings, recipient))
      const all = await Promise.all(
        asked.map(async (directory): Promise<Told> => {
          const { live, list } = open(directory)
          if (list && directory.gal.mode === 'received')
            return received(await list, directory, recipient)
          return {
            directory: directory.name,
            live: await searched(live, directory, recipient),
            snapshot: list && listed(await list, directory, recipient),
          }
        }),
      )
      return { state: stateOfAll(all.map(({ live }) => live.answer.state)), all }
    },
    async close() {
      await Promise.all(Array.from(opened.values(), ({ live }) => live.close()))
    },
  }
}

function noDirectory({ directories }: Settings, { domain }: Recipient): string {
  return directories.all.length === 0
    ? 'no directory is configured: [ldap] url[]'
    : `no directory is named for ${domain}: put it into domains[] of a [directory NAME]`
}

/** @throws CannotRun */
export function recipientFrom(text: string): Recipient {
  const address = parsePath('rcpt', text, {})
  if ('reply' in address) throw new CannotRun(`'${text}' is not a mail address: ${address.reply}`)
  if (!address.host) throw new CannotRun(`'${text}' is not a mail address: it has no domain`)
  return recipientOf(address.user, address.host)
}

interface Searched extends Inspection {
  /** The address that was found or not: without its tag, if it was looked up without. */
  readonly recipient: Recipient
}

async function searched(
  list: LiveList,
  { gal }: DirectorySettings,
  recipient: Recipient,
): Promise<Searched> {
  let found = { ...(await list.inspect(recipient)), recipient }
  for (const other of otherNames(gal)?.(recipient) ?? []) {
    if (found.answer.state !== 'absent') break
    found = { ...(await list.inspect(other)), recipient: other }
  }
  return found
}

/** With no directory to ask, only the list can tell. */
function received(list: ListOnDisk, directory: DirectorySettings, recipient: Recipient): Told {
  const snapshot = listed(list, directory, recipient)
  const answer = answerFrom(list, snapshot, directory)
  const live = { answer, recipient, server: undefined, milliseconds: undefined, holders: [] }
  return { directory: directory.name, live, snapshot }
}

function liveJson({ answer, recipient, server, milliseconds, holders }: Searched) {
  return {
    state: answer.state,
    reason: answer.state === 'unavailable' ? answer.reason : undefined,
    address: addressText(recipient),
    mailbox: answer.state === 'found' ? saidMailbox(answer.mailbox) : undefined,
    server,
    milliseconds,
    entries: holders.map((holder) => ({
      dn: holder.dn,
      attribute: holder.attribute,
      value: holder.value,
      authenticated_only: holder.isAuthenticatedOnly,
      hidden: holder.isHidden,
      disabled: holder.isDisabled,
    })),
  }
}

function inWords({ answer, recipient, server, milliseconds, holders }: Searched): string[] {
  const address = addressText(recipient)
  if (answer.state === 'unavailable') {
    return [`${colour.yellow(`${address}: the directory cannot tell`)}: ${answer.reason}`]
  }
  const title =
    answer.state === 'found'
      ? colour.green(`${address} is in the directory`)
      : colour.red(`${address} is not in the directory`)
  const time = `${milliseconds?.toFixed(1)} ms`
  const mailbox = answer.state === 'found' ? saidMailbox(answer.mailbox) : undefined
  return [
    title,
    ...columns([
      ...(server === undefined
        ? []
        : [
            ['  server', server],
            ['  time', time],
          ]),
      ...holders.flatMap(holderRows),
      ...(mailbox ? [['  mailbox', mailboxText(mailbox)]] : []),
    ]),
  ]
}

function holderRows(holder: Holder): string[][] {
  const { dn, attribute, value } = holder
  const flags = [
    ...(holder.isAuthenticatedOnly ? ['takes mail from authenticated senders only'] : []),
    ...(holder.isHidden ? ['hidden from address lists'] : []),
    ...(holder.isDisabled ? ['disabled account'] : []),
  ]
  return [
    ['  entry', dn],
    ['  attribute', attribute ? `${attribute}: ${value}` : 'in one of its many values'],
    ...(flags.length > 0 ? [['  flags', flags.join(', ')]] : []),
  ]
}
