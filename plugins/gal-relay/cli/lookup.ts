// gal-relay lookup: is this address in the list, and which entry of the directory has it? Every question is
// a search, without a cache in between.
import { Command } from 'commander'
import { parsePath } from '../advice/envelope'
import { recipientKey } from '../gal/address-key'
import type { GalAnswer } from '../gal/address-list'
import { listDefinition } from '../gal/directory/list-definition'
import { type Holder, type Inspection, LiveList } from '../gal/live'
import { otherNames } from '../gal/other-names'
import { IN_LIST_AUTHENTICATED_ONLY, NOT_IN_LIST } from '../gal/snapshot/address-table'
import { readListInForce } from '../gal/snapshot/in-force'
import { counted } from '../report/words'
import { addressText, type Recipient, recipientOf } from '../routing/recipient'
import { type DirectorySettings, directoriesFor } from '../settings/directories'
import type { Settings } from '../settings/settings'
import { CannotRun, isMissing, openConfigured, SILENT } from './install'
import { mailboxText, type SaidMailbox, saidMailbox } from './mailbox'
import { colour, columns, printJson, printLines } from './print'

interface Options {
  readonly config?: string
  readonly json?: boolean
}

const EXAMPLES = `
Exit code 0: the address is in the list; 1: it is not; 2: the directory cannot tell.

Examples:
    gal-relay lookup alice@example.com
    gal-relay lookup --json alice@example.com | jq -r '.live.entries[].dn'`

export function lookupCommand(): Command {
  return new Command('lookup')
    .description('is the address in the directory, and which entry has it')
    .argument('<address>', 'a mail address')
    .addHelpText('after', EXAMPLES)
    .action(run)
}

async function run(address: string, _: unknown, command: Command): Promise<void> {
  const options = command.optsWithGlobals<Options>()
  const { settings } = await openConfigured(options.config)
  const recipient = recipientFrom(address)
  const asked = directoriesFor(settings.directories, recipient.domain)
  if (asked.length === 0) throw new CannotRun(noDirectory(settings, recipient))
  const all = await Promise.all(
    asked.map(async (directory) => {
      const live = await searched(directory, recipient)
      return { directory: directory.name, live, snapshot: await listed(directory, recipient) }
    }),
  )
  const state = stateOf(all.map(({ live }) => live.answer.state))
  const found = state === 'unavailable' ? undefined : state === 'found'
  if (options.json) {
    const [first] = all
    const directories = all.map(({ directory, live, snapshot }) => {
      return { directory, live: liveJson(live), snapshot }
    })
    // The first of them that has it, else the first: nearly always the only one.
    const { live, snapshot } = all.find((one) => one.live.answer.state === 'found') ?? first ?? {}
    printJson({ address, found, live: live && liveJson(live), snapshot, directories })
  } else {
    const isOne = settings.directories.all.length === 1
    printLines(
      all.flatMap(({ directory, live, snapshot }) => [
        ...(isOne ? [] : [colour.bold(`directory ${directory}`)]),
        ...inWords(live),
        ...(snapshot ? listedInWords(snapshot, live.answer) : []),
      ]),
    )
  }
  process.exitCode = { found: 0, absent: 1, unavailable: 2 }[state]
}

function noDirectory({ directories }: Settings, { domain }: Recipient): string {
  return directories.all.length === 0
    ? 'no directory is configured: [ldap] url[]'
    : `no directory is named for ${domain}: put it into domains[] of one`
}

/** Found where any has it, absent where all say so. */
function stateOf(states: readonly GalAnswer['state'][]): GalAnswer['state'] {
  if (states.includes('found')) return 'found'
  return states.includes('unavailable') ? 'unavailable' : 'absent'
}

function recipientFrom(text: string): Recipient {
  const address = parsePath('rcpt', text, {})
  if ('reply' in address) throw new CannotRun(`'${text}' is no mail address: ${address.reply}`)
  if (!address.host) throw new CannotRun(`'${text}' is no mail address: it has no domain`)
  return recipientOf(address.user, address.host)
}

interface Searched extends Inspection {
  /** What was found or not: without its tag, where that was looked for. */
  readonly recipient: Recipient
}

async function searched({ gal, ldap }: DirectorySettings, recipient: Recipient): Promise<Searched> {
  const list = new LiveList(listDefinition(gal, ldap), ldap, SILENT)
  try {
    let found = { ...(await list.inspect(recipient)), recipient }
    for (const other of otherNames(gal)?.(recipient) ?? []) {
      if (found.answer.state !== 'absent') break
      found = { ...(await list.inspect(other)), recipient: other }
    }
    return found
  } finally {
    await list.close()
  }
}

/** What the snapshot says. */
interface Listed {
  readonly state: 'found' | 'absent' | 'unavailable'
  readonly reason: string | undefined
  readonly authenticated_only: boolean | undefined
  /** Where its mail goes, if the directory says so. */
  readonly mailbox: SaidMailbox | undefined
  readonly recipients: number | undefined
  readonly as_of: string | undefined
}

/** @returns undefined when there is to be no snapshot */
async function listed(
  { gal, ldap, snapshot }: DirectorySettings,
  recipient: Recipient,
): Promise<Listed | undefined> {
  if (gal.mode !== 'snapshot') return undefined
  try {
    const list = await readListInForce(listDefinition(gal, ldap), snapshot)
    const key = [recipient, ...(otherNames(gal)?.(recipient) ?? [])]
      .map(recipientKey)
      .find((one) => list.find(one) !== NOT_IN_LIST)
    const state = key === undefined ? NOT_IN_LIST : list.find(key)
    return {
      state: state === NOT_IN_LIST ? 'absent' : 'found',
      reason: undefined,
      authenticated_only: state === IN_LIST_AUTHENTICATED_ONLY,
      mailbox: saidMailbox(key === undefined ? undefined : list.mailbox(key)),
      recipients: list.count,
      as_of: new Date(list.asOf).toISOString(),
    }
  } catch (error) {
    const reason = isMissing(error)
      ? NO_LIST
      : error instanceof Error
        ? error.message
        : String(error)
    const unknown = { authenticated_only: undefined, mailbox: undefined }
    return { state: 'unavailable', reason, ...unknown, recipients: undefined, as_of: undefined }
  }
}

function listedInWords(listed: Listed, live: GalAnswer): string[] {
  const { state, reason, recipients, as_of, mailbox } = listed
  if (state === 'unavailable') {
    return [
      `  snapshot: ${reason === NO_LIST ? NO_LIST : `${colour.yellow('not usable')}: ${reason}`}`,
    ]
  }
  const where = `in the snapshot of ${counted(recipients ?? 0, 'recipient')}, as of ${as_of}`
  if (state === 'absent') return [`  ${colour.yellow('not')} ${where}`]
  return [
    `  ${{ found: 'also ', absent: 'still ', unavailable: '' }[live.state]}${where}`,
    ...(mailbox ? [`  its mailbox there: ${mailboxText(mailbox)}`] : []),
  ]
}

const NO_LIST = 'there is none yet'

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
      ['  server', server ?? ''],
      ['  time', time],
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
