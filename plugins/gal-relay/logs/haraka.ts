// Haraka's own log in its three formats (format in config/log.ini), with any prefix that syslog or
// a container adds: what its core says about connections and recipients, and this plugin's lines.
// Those of a connection are kept until it ends, because only its last line says how many recipients
// were accepted.
import { visible } from '../visible'
import {
  type LocalAddress,
  type LoggedRecipient,
  type LogReader,
  type OpenLog,
  type Outcome,
  timeOf,
} from './event'
import type { Fields } from './fields'
import { type Entry, entryOf } from './haraka-line'

/** No server has more connections at a time, but those of a killed process never end in the log. */
const CONNECTIONS_MOST = 50_000
const ENDED_MOST = 200

interface Recipient {
  address: string
  outcome: LoggedRecipient['outcome']
  reply: string
  rule: string
  otherReason: string
  observed: LoggedRecipient['observed']
}

interface Transaction {
  readonly at: number | undefined
  sender: string
  /** As this plugin logs it. */
  account: string | undefined
  readonly recipients: Recipient[]
  /** Our answer, if Haraka's line about the recipient is still to come. */
  answered: Recipient | undefined
  /** The plugin that answered, if Haraka's line about the recipient is still to come. */
  answeredBy: { readonly plugin: string; readonly isAccepted: boolean } | undefined
}

interface Connection {
  client: string
  host: string
  local: LocalAddress | undefined
  readonly transactions: Map<string, Transaction>
}

export const openHarakaLog: OpenLog = (emit, now): LogReader => {
  const connections = new Map<string, Connection>()
  /** What was observed about the last recipient is logged after the connection has ended. */
  const ended = new Map<string, Fields>()

  function connectionOf(uuid: string): Connection {
    const known = connections.get(uuid)
    if (known) return known
    const [oldest] = connections.size >= CONNECTIONS_MOST ? connections.keys() : []
    if (oldest !== undefined) finish(oldest)
    const connection = { client: '', host: '', local: undefined, transactions: new Map() }
    connections.set(uuid, connection)
    return connection
  }

  function ends(uuid: string, end: Fields): void {
    if (!connections.has(uuid)) return
    ended.set(uuid, end)
    const [oldest] = ended.size > ENDED_MOST ? ended.keys() : []
    if (oldest !== undefined) finish(oldest)
  }

  function finish(uuid: string): void {
    const connection = connections.get(uuid)
    if (!connection) return
    const end = ended.get(uuid)
    connections.delete(uuid)
    ended.delete(uuid)
    if (end?.ip) connection.client = end.ip
    if (end?.rdns) connection.host = end.rdns
    const { client, host, local, transactions } = connection
    for (const one of transactions.values()) settle(one)
    resolve(
      [...transactions.values()].flatMap(({ recipients }) => recipients),
      end,
    )
    let account: string | undefined
    for (const { at, sender, recipients, ...transaction } of transactions.values()) {
      account = transaction.account ?? account
      if (recipients.length === 0) continue
      emit({ type: 'transaction', at, client, host, account, local, sender, recipients })
    }
  }

  function read(entry: Entry, line: string): void {
    const { uuid, origin, message, fields } = entry
    if (origin !== 'core') readOwn(entry, line)
    else if (uuid.length === UUID) readConnection(entry)
    else if (uuid.length > UUID) {
      if (message === '' && RCPT_HOOKS.has(fields.hook ?? '')) {
        answeredByPlugin(transactionOf(uuid, line), fields)
      } else if (message.startsWith('sender <')) {
        transactionOf(uuid, line).sender = withoutBrackets(message.slice('sender '.length))
      } else if (message.startsWith('recipient <')) {
        const transaction = transactionOf(uuid, line)
        transaction.sender ||= fields.sender ?? ''
        answeredByHaraka(transaction, withoutBrackets(message.slice('recipient '.length)), fields)
      } else if (message === 'disconnect') ends(uuid.slice(0, UUID), fields)
    }
  }

  function readConnection({ uuid, message, fields }: Entry): void {
    if (message === 'connect') connected(connectionOf(uuid), fields)
    else if (message === 'HAProxy') proxied(connectionOf(uuid), fields)
    else if (message === 'disconnect') ends(uuid, fields)
  }

  function readOwn({ uuid, message, fields }: Entry, line: string): void {
    if (uuid.length > UUID && ANSWERS.has(message)) {
      const connection = connectionOf(uuid.slice(0, UUID))
      const transaction = transactionOf(uuid, line)
      connection.client ||= fields.ip ?? ''
      connection.host ||= fields.rdns ?? ''
      connection.local = localOf(fields.local_ip, fields.local_port) ?? connection.local
      transaction.account = fields.account ?? transaction.account
      transaction.sender ||= fields.sender ?? ''
      if (message.startsWith('observed')) observed(transaction, message, fields)
      else answeredByUs(transaction, message as Outcome, fields)
      return
    }
    const about = DIRECTORY.test(message) ? 'directory' : HARVEST.test(message) ? 'harvest' : ''
    if (about) emit({ type: 'notice', about, at: timeOf(line, now), text: message })
  }

  function transactionOf(uuid: string, line: string): Transaction {
    const connection = connectionOf(uuid.slice(0, UUID))
    const known = connection.transactions.get(uuid)
    if (known) return known
    const transaction: Transaction = {
      at: timeOf(line, now),
      sender: '',
      account: undefined,
      recipients: [],
      answered: undefined,
      answeredBy: undefined,
    }
    connection.transactions.set(uuid, transaction)
    return transaction
  }

  return {
    line(line) {
      const entry = entryOf(line)
      if (entry) read(entry, line)
    },
    end() {
      for (const uuid of [...connections.keys()]) finish(uuid)
    },
  }
}

const UUID = '00000000-0000-0000-0000-000000000000'.length
const RCPT_HOOKS: ReadonlySet<string> = new Set(['rcpt', 'rcpt_ok'])
const ANSWERS: ReadonlySet<string> = new Set([
  ...['accepted', 'refused', 'deferred', 'observed', 'observed DIFFERS'],
])
/** The directory's name comes first if there are several. */
const DIRECTORY =
  /^(?:[\w.-]+: )?(?:no directory server can be asked|directory \S+ is (?:down|up)\b)/
const HARVEST = /^(?:would be )?held off: |^harvest/i
const OUTCOMES: ReadonlyMap<string, Outcome> = new Map([
  ['OK', 'accepted'],
  ['DENY', 'refused'],
  ['DENYDISCONNECT', 'refused'],
  ['DENYSOFT', 'deferred'],
  ['DENYSOFTDISCONNECT', 'deferred'],
])
const OURS = 'gal-relay'

function connected(connection: Connection, fields: Fields): void {
  connection.client = fields.ip ?? ''
  connection.local = localOf(fields.local_ip, fields.local_port)
}

function proxied(connection: Connection, { src_ip = '', dst_ip = '' }: Fields): void {
  connection.client = src_ip.replace(/:\d*$/, '') || connection.client
  const colon = dst_ip.lastIndexOf(':')
  connection.local = localOf(dst_ip.slice(0, colon), dst_ip.slice(colon + 1)) ?? connection.local
}

function localOf(address = '', port = ''): LocalAddress | undefined {
  return address && /^\d+$/.test(port) ? { address, port: Number(port) } : undefined
}

function withoutBrackets(path: string): string {
  return path.startsWith('<') && path.endsWith('>') ? path.slice(1, -1) : path
}

function newRecipient(address: string, outcome: Recipient['outcome'], reply: string): Recipient {
  return { address, outcome, reply, rule: '', otherReason: '', observed: undefined }
}

// Haraka answers the recipients of a transaction one by one: its next line is about the same recipient.
function answeredByUs(transaction: Transaction, outcome: Outcome, fields: Fields): void {
  const { recipient = '', rule = '', reply = '' } = fields
  const { answered } = transaction
  // There is one line for each recipient that an alias expands to.
  if (outcome === 'accepted' && answered?.outcome === outcome && answered.address === recipient) {
    return
  }
  settle(transaction)
  transaction.answered = { ...newRecipient(recipient, outcome, reply), rule }
}

function answeredByPlugin(transaction: Transaction, { plugin = '', retval = '' }: Fields): void {
  const outcome = OUTCOMES.get(retval)
  if (outcome) transaction.answeredBy = { plugin, isAccepted: outcome === 'accepted' }
}

function answeredByHaraka(transaction: Transaction, address: string, fields: Fields): void {
  const { answered, answeredBy } = transaction
  transaction.answered = undefined
  transaction.answeredBy = undefined
  const { code = '', msg = '' } = fields
  const outcome = OUTCOMES.get(code)
  if (!outcome) return
  const isOurs = answered !== undefined && answered.outcome === outcome
  if (isOurs) {
    // Our line shows control characters as text, and aliases may have replaced the recipient.
    const isSame = answered.address === visible(address)
    transaction.recipients.push({ ...answered, address: isSame ? address : answered.address })
    return
  }
  const number = { accepted: '250', refused: '550', deferred: '450' }[outcome]
  const one = newRecipient(
    address,
    outcome,
    outcome === 'accepted' ? '' : `${number} ${msg}`.trim(),
  )
  // If no plugin has answered, Haraka logs OK here but replies 550 to the client.
  if (outcome === 'accepted' && !answeredBy?.isAccepted) one.outcome = 'unclear'
  if (outcome !== 'accepted' && answeredBy && answeredBy.plugin !== OURS) {
    one.otherReason = answeredBy.plugin
  }
  transaction.recipients.push(one)
}

function observed({ recipients }: Transaction, message: string, fields: Fields): void {
  const { recipient = '', rule = '', reply = '', answered = '' } = fields
  const differs = message.endsWith('DIFFERS')
  const known = recipients.findLast(
    (one) => one.observed === undefined && visible(one.address) === recipient,
  )
  const given = outcomeOf(answered)
  const one = known ?? newRecipient(recipient, given ?? 'unclear', answered)
  if (given && one.outcome === 'unclear') Object.assign(one, { outcome: given, reply: answered })
  Object.assign(one, { rule, observed: { reply, differs } })
  if (!known) recipients.push(one)
}

function outcomeOf(reply: string): Outcome | undefined {
  return ({ 2: 'accepted', 4: 'deferred', 5: 'refused' } as const)[reply.charAt(0)]
}

/** No line of Haraka's followed ours: the client was gone, or the log lacks Haraka's lines. */
function settle(transaction: Transaction): void {
  const { answered, recipients } = transaction
  if (answered) recipients.push(answered)
  transaction.answered = undefined
}

/** Decides recipients for which Haraka logs the same line whether it accepted them or not. */
function resolve(recipients: readonly Recipient[], end: Fields | undefined): void {
  const unclear = recipients.filter(({ outcome }) => outcome === 'unclear')
  const [accepted, , refused] = (end?.rcpts ?? '').split('/').map(Number)
  if (unclear.length === 0 || accepted === undefined || refused === undefined) return
  const known = recipients.filter(({ outcome }) => outcome === 'accepted').length
  const left = accepted - known
  if (left === unclear.length) for (const one of unclear) one.outcome = 'accepted'
  if (left !== 0) return
  for (const one of unclear) {
    Object.assign(one, { outcome: 'refused', reply: '550 I cannot deliver mail for it' })
  }
}
