// What the rulebook says of a recipient, written from its words and not from the code: the routing table,
// who may relay, the table of answers, several directories, and where the directory says mail goes.
import { isIPv6 } from 'node:net'
import type {
  Configuration,
  Directory,
  GalEntry,
  ListenerKeys,
  Row,
  Sent,
  Session,
} from './configuration'

export interface Outcome {
  /** `250`, `550 5.1.1`. */
  readonly reply: string
  readonly rule: string
  readonly path?: 'queue' | 'outbound'
  readonly hops?: readonly string[]
  readonly deliveredAs?: string
  /** Who was asked: the one that has it, else all of them. */
  readonly directory?: string
}

interface Listing {
  readonly state: 'found' | 'absent' | 'unavailable'
  readonly directory: string
  readonly entries: readonly GalEntry[]
}

type Trust = { readonly mayRelay: boolean; readonly rule: string }

// §1

/** `"a\nn"` and `ann` are one mailbox. */
export const plain = (local: string) =>
  local.startsWith('"') ? local.slice(1, -1).replace(/\\(.)/g, '$1') : local

const nameOf = (domain: string) =>
  domain.toLowerCase() === '[ipv6:2001:db8:0::7]' ? '[ipv6:2001:db8::7]' : domain.toLowerCase()

export const keyOf = ({ local, domain }: Sent) =>
  `${plain(local).normalize('NFC').toLowerCase()}@${nameOf(domain)}`

const routesOnward = ({ local }: Sent) =>
  /[%!@]/.test(plain(local)) || /^imcea\w*-/i.test(plain(local))

/** Without its details, the longest first; nothing is taken off what asks to be sent onward. */
function baseAddresses(recipient: Sent, delimiters: string): Sent[] {
  if (routesOnward(recipient)) return []
  const text = plain(recipient.local)
  const ends = [...new Set(delimiters)]
    .map((letter) => text.indexOf(letter))
    .filter((end) => end > 0)
  return ends.sort((a, b) => b - a).map((end) => ({ ...recipient, local: text.slice(0, end) }))
}

function suffixLength(domain: string, suffix: string): number {
  return domain === suffix || domain.endsWith(`.${suffix}`) ? suffix.length : -1
}

/** An exact row, else the one with the longest suffix. */
function bestFor<T>(all: readonly T[], domain: string, sentTo: (one: T) => readonly string[]): T[] {
  const length = (one: T) =>
    Math.max(
      ...sentTo(one).map((text) =>
        text === `@${domain}` || (text.startsWith('[') && text === domain)
          ? Number.POSITIVE_INFINITY
          : suffixLength(domain, text),
      ),
      -1,
    )
  const best = Math.max(...all.map(length), 0)
  return best === 0 ? [] : all.filter((one) => length(one) === best)
}

interface Place {
  readonly recipient: Sent
  readonly kind: Row['kind'] | 'foreign'
  readonly hops: readonly string[]
  /** An address row says that it does not exist for strangers. */
  readonly isRefused: boolean
}

const WITHOUT_REROUTE: readonly Row['kind'][] = ['inbound', 'accept', 'refuse']

const isForAddress = ({ sentTo }: Row) => sentTo.indexOf('@') > 0

class Routes {
  readonly #config: Configuration
  readonly #keys: ListenerKeys

  constructor(config: Configuration, keys: ListenerKeys) {
    this.#config = config
    this.#keys = keys
  }

  place(recipient: Sent): Place {
    const refused = this.#isRefused(recipient)
    const row = this.#addressRow(recipient) ?? this.domainRow(recipient.domain)
    if (row?.kind !== 'reroute') return { recipient, ...this.#kindOf(row), isRefused: refused }
    const target = row.target ?? ''
    const at = target.lastIndexOf('@')
    const next =
      at > 0
        ? { local: target.slice(0, at), domain: target.slice(at + 1) }
        : { local: recipient.local, domain: target }
    // One step only.
    const own = this.#addressRow(next)
    const there = own && own.kind !== 'reroute' ? own : this.domainRow(next.domain)
    return {
      recipient: next,
      ...this.#kindOf(there),
      isRefused: refused || this.#isRefused(next),
    }
  }

  #kindOf(row: Pick<Row, 'kind' | 'hops'> | undefined) {
    return { kind: row?.kind ?? ('foreign' as const), hops: row?.hops ?? [] }
  }

  #exists = ({ kind }: Row) => this.#keys.reroute || WITHOUT_REROUTE.includes(kind)

  #addressRows(recipient: Sent): Row[] {
    const names = [recipient, ...baseAddresses(recipient, this.delimitersFor(recipient.domain))]
    return names.flatMap((name) =>
      this.#config.rows.filter(
        (row) => isForAddress(row) && this.#exists(row) && row.sentTo === keyOf(name),
      ),
    )
  }

  #addressRow(recipient: Sent) {
    return this.#addressRows(recipient).find(({ kind }) => kind !== 'refuse')
  }

  /** Its own row comes first: a row of its own hides that of the base address. */
  #isRefused(recipient: Sent): boolean {
    return this.#addressRows(recipient)[0]?.kind === 'refuse'
  }

  domainRow(domain: string): Pick<Row, 'kind' | 'hops' | 'target'> | undefined {
    const rows = this.#config.rows.filter((row) => !isForAddress(row))
    const [row] = bestFor(rows, nameOf(domain), ({ sentTo }) => [sentTo])
    if (row) return this.#exists(row) ? row : undefined
    const isListed = this.#keys.host_list && this.#config.hostList.includes(domain.toLowerCase())
    return isListed ? { kind: 'inbound', hops: [] } : undefined
  }

  // §6

  directoriesFor(domain: string): Directory[] {
    const named = bestFor(this.#config.directories, nameOf(domain), ({ domains }) => domains)
    return named.length > 0
      ? named
      : this.#config.directories.filter(({ name }) => name === 'default')
  }

  delimitersFor(domain: string): string {
    return this.directoriesFor(domain)
      .map(({ delimiters }) => delimiters)
      .join('')
  }

  lookup(recipient: Sent): Listing {
    const asked = this.directoriesFor(recipient.domain)
    const having = asked.flatMap((one) => {
      if (one.isDown) return []
      const names = [recipient, ...baseAddresses(recipient, one.delimiters)].map(keyOf)
      const found = names.map((name) => one.entries.filter(({ address }) => address === name))
      const entries = found.find(({ length }) => length > 0)
      return entries ? [{ directory: one.name, entries }] : []
    })
    const [first] = having
    if (first) {
      // Any of them is enough; §7: several entries must agree.
      const entries = having.flatMap((one) => one.entries)
      return { state: 'found', directory: first.directory, entries }
    }
    if (asked.length === 0) throw new Error(`${textOf(recipient)} is looked up in no directory`)
    const state = asked.every(({ isDown }) => !isDown) ? 'absent' : 'unavailable'
    return { state, directory: asked.map(({ name }) => name).join(', '), entries: [] }
  }
}

// §2

const bitsOf = (ip: string): { family: 4 | 6; bits: bigint } => {
  const v4 = /^(?:::ffff:)?(\d+)\.(\d+)\.(\d+)\.(\d+)$/i.exec(ip)
  if (v4) return { family: 4, bits: v4.slice(1).reduce((sum, n) => sum * 256n + BigInt(n), 0n) }
  if (!isIPv6(ip)) throw new Error(ip)
  const [head = '', tail = ''] = ip.split('::')
  const left = head.split(':').filter(Boolean)
  const right = tail.split(':').filter(Boolean)
  const groups = [...left, ...Array<string>(8 - left.length - right.length).fill('0'), ...right]
  return { family: 6, bits: groups.reduce((sum, hex) => sum * 65536n + BigInt(`0x${hex}`), 0n) }
}

function isIn(ip: string, list: readonly string[]): boolean {
  const client = bitsOf(ip)
  return list.some((entry) => {
    const [, net = '', kind, rest = ''] = /^([^/;]+)(?:([/;])(.+))?$/.exec(entry) ?? []
    const { family, bits } = bitsOf(net)
    const width = family === 4 ? 32n : 128n
    const all = (1n << width) - 1n
    const mask = kind === ';' ? bitsOf(rest).bits : kind === '/' ? all ^ (all >> BigInt(rest)) : all
    return family === client.family && (client.bits & mask) === bits
  })
}

function trustOf(keys: ListenerKeys, { client, address, account }: Session): Trust {
  if (!keys.reroute) return { mayRelay: false, rule: 'reroute-off' }
  if (isIn(client, keys.never)) return { mayRelay: false, rule: 'never' }
  if (isIn(client, keys.hosts)) return { mayRelay: true, rule: 'hosts' }
  if (isIn(address, keys.local_addresses)) return { mayRelay: true, rule: 'local-addresses' }
  const never = keys.never_accounts.map((name) => name.toLowerCase())
  const name = account?.toLowerCase().replace(/^.*\\|@.*$/g, '')
  if (keys.authenticated && name && !never.includes(name)) {
    return { mayRelay: true, rule: 'authenticated' }
  }
  return keys.open ? { mayRelay: true, rule: 'open' } : { mayRelay: false, rule: 'nobody' }
}

// §4

export function keysFor(config: Configuration, { address, port }: Session): ListenerKeys {
  const { general, listeners } = config
  return {
    ...general,
    ...listeners[`*:${port}`],
    ...listeners[`${address}:*`],
    ...listeners[`${address}:${port}`],
  }
}

// §7

const UNKNOWN_PLACE: Outcome = { reply: '451 4.3.5', rule: 'misrouted' }

function hostHops(value: string, { hosts, own }: Configuration): readonly string[] | undefined {
  const name = value.startsWith('/o=') ? value.slice(value.lastIndexOf('/cn=') + 4) : value
  const known = hosts[name.toLowerCase()]
  if (known) return known
  const isHost = /^[a-z0-9.-]+$/i.test(name) || isIPv6(name)
  const url = isHost ? `smtp://${isIPv6(name) ? `[${name}]` : name}:25` : name
  if (!/^(smtp|lmtp):\/\/[^:/]+|\[.+\]:\d+$/.test(url)) return undefined
  const host = url.replace(/^\w+:\/\/|:\d+$/g, '')
  return own.includes(host) ? undefined : [/:\d+$/.test(url) ? url : `${url}:25`]
}

function mailboxPlace(
  config: Configuration,
  routes: Routes,
  { recipient, kind, hops }: Place,
  entries: readonly GalEntry[],
): Outcome {
  const sentAs = textOf(recipient)
  // A shared row's host has those who are not in the GAL.
  const row = kind === 'inbound' ? hops : []
  const said = entries.map(({ host = '', routing = '' }) =>
    `${host}\n${routing.replace(/^smtp:/i, '')}`.toLowerCase(),
  )
  if (new Set(said).size > 1) return UNKNOWN_PLACE
  const { host, routing } = entries[0] ?? {}
  const address = routing?.replace(/^smtp:/i, '')
  const to = (way: readonly string[], deliveredAs = address ?? sentAs): Outcome => {
    const path = way.length > 0 ? 'outbound' : 'queue'
    return { reply: '250', rule: 'in-gal', path, hops: way, deliveredAs }
  }
  if (host !== undefined) {
    const way = hostHops(host, config)
    return way ? to(way) : UNKNOWN_PLACE
  }
  if (address === undefined) return to(row)
  const at = address.lastIndexOf('@')
  const there = routes.place({ local: address.slice(0, at), domain: address.slice(at + 1) })
  const outcome = to(there.hops, textOf(there.recipient))
  const isOurs = there.kind === 'inbound' || there.kind === 'accept'
  return isOurs ? outcome : { ...outcome, path: 'outbound' }
}

const textOf = ({ local, domain }: Sent) => `${local}@${nameOf(domain)}`

// §3 and §5

const RELAYING = '550 5.7.1 Relaying is prohibited'

function answerTo(config: Configuration, session: Session, sent: Sent): Outcome {
  const keys = keysFor(config, session)
  const trust = trustOf(keys, session)
  const routes = new Routes(config, keys)
  if (sent.domain === '') {
    return { reply: '250', rule: 'postmaster', path: 'queue', hops: [], deliveredAs: 'postmaster' }
  }
  const place = routes.place(sent)
  const { recipient, kind, hops } = place
  const deliveredAs = textOf(recipient)
  const path = hops.length > 0 ? 'outbound' : 'queue'
  if (kind === 'inbound' && config.alwaysAccept.includes(plain(recipient.local).toLowerCase())) {
    return { reply: '250', rule: 'always-accept', path, hops, deliveredAs }
  }
  if (place.isRefused && !trust.mayRelay && !session.account) {
    return { reply: '550 5.1.1', rule: 'refuse' }
  }
  const isOnward = routesOnward(recipient)
  const passedOn = (rule: string, way: 'queue' | 'outbound'): Outcome =>
    isOnward && !trust.mayRelay
      ? { reply: RELAYING, rule: 'routes-onward' }
      : { reply: '250', rule, path: way, hops, deliveredAs }
  if (kind === 'always-relay') return passedOn('always-relay', 'outbound')
  if (kind === 'accept') return passedOn('accept', path)
  const relayed: Outcome = trust.mayRelay
    ? { reply: '250', rule: `relay-${trust.rule}`, path: 'outbound', hops, deliveredAs }
    : { reply: RELAYING, rule: `no-relay-${trust.rule}` }
  const isInbound = kind === 'inbound'
  if (!isInbound && kind !== 'shared' && !config.anyDomain) return relayed
  const { state, directory, entries } = routes.lookup(recipient)
  const answer = (outcome: Outcome): Outcome => ({ ...outcome, directory })
  if (state === 'unavailable') return answer({ reply: '451 4.4.3', rule: 'directory-unavailable' })
  if (state === 'absent') {
    if (kind === 'shared') return answer(passedOn('shared', 'outbound'))
    if (!isInbound) return answer(relayed)
    const unknown = { reply: '550 5.1.1', rule: 'not-in-gal' }
    return answer(isOnward ? { reply: RELAYING, rule: 'routes-onward' } : unknown)
  }
  if (entries.every(({ staffOnly }) => staffOnly) && !trust.mayRelay && !session.account) {
    return answer({ reply: '550 5.7.1', rule: 'authenticated-only' })
  }
  return isInbound || kind === 'shared'
    ? answer(mailboxPlace(config, routes, place, entries))
    : answer({ reply: '250', rule: 'in-gal', path: 'queue', hops: [], deliveredAs })
}

/** The answers to the recipients of one transaction. */
export function answersTo(
  config: Configuration,
  session: Session,
  recipients: readonly Sent[],
): Outcome[] {
  const taken = new Set<string>()
  return recipients.map((recipient) => {
    const outcome = answerTo(config, session, recipient)
    if (!outcome.path) return outcome
    const isMixed = taken.size > 0 && !taken.has(outcome.path)
    if (isMixed && keysFor(config, session).mixed === 'defer') {
      const { directory } = outcome
      return { reply: '452 4.5.3', rule: 'mixed', ...(directory ? { directory } : {}) }
    }
    taken.add(outcome.path)
    return outcome
  })
}

const domainOf = (address: string) => address.slice(address.lastIndexOf('@') + 1)
const isSuffix = (sentTo: string) => !/[@[]/.test(sentTo)

/** The row that is a configuration error, or what else is one. */
export function wrongIn(config: Configuration): string | undefined {
  const { directories, rows, hostList, general, listeners } = config
  const hasDefault = directories.some(({ name }) => name === 'default')
  if (directories.length === 0 || (config.anyDomain && !hasDefault)) return 'no directory'
  const routes = new Routes(config, { ...general, reroute: true, host_list: false })
  const hasDirectory = (domain: string, withSubdomains: boolean) =>
    hasDefault ||
    bestFor(directories, domain, ({ domains }) =>
      domains.filter((one) => isSuffix(one) || !withSubdomains),
    ).length > 0
  const isLookedUp = ({ kind }: Row) => kind === 'inbound' || kind === 'shared'
  const uncovered = rows.find(
    (row) => isLookedUp(row) && !hasDirectory(domainOf(row.sentTo), isSuffix(row.sentTo)),
  )
  if (uncovered) return uncovered.sentTo
  if ([general, ...Object.values(listeners)].some((keys) => keys.host_list ?? general.host_list)) {
    const host = hostList.find((one) => !routes.domainRow(one) && !hasDirectory(one, false))
    if (host) return host
  }
  return rows.find((row) => row.kind === 'reroute' && pointsToReroute(rows, routes, row))?.sentTo
}

function pointsToReroute(rows: readonly Row[], routes: Routes, row: Row): boolean {
  const { sentTo, target = '' } = row
  const local = isForAddress(row) ? sentTo.slice(0, sentTo.indexOf('@')) : undefined
  const address = target.includes('@') ? target : `${local}@${target}`
  const own = rows.find((one) => one.sentTo === address && one.kind !== 'refuse')
  return (own ?? routes.domainRow(domainOf(target)))?.kind === 'reroute'
}
