// The door: Haraka's hooks on one side, the rooms in gal-relay/ on the other. It reads Haraka's
// objects, asks the rooms, and turns verdicts into next(). Nothing that goes wrong in here may reach
// Haraka, where an exception after an await ends the server: every hook is guarded, and answers 451.
import DSN from 'haraka-dsn'
import { DeliveryPaths, outboundPart, store } from './gal-relay/delivery/paths'
import type { AddressList } from './gal-relay/gal/address-list'
import { createAddressList } from './gal-relay/gal/global-address-list'
import type { Log } from './gal-relay/gal/log'
import { Counts } from './gal-relay/report/counts'
import {
  type Given,
  type Observed,
  ObservedTransaction,
  outcomeOfVerdict,
} from './gal-relay/report/observation'
import { type Envelope, replyText } from './gal-relay/report/refusal'
import { answeringBefore, summary, warnings } from './gal-relay/report/startup'
import {
  type Client,
  decide,
  destinationOf,
  INTERNAL_ERROR,
  MIXED_DEFERRED,
  type Path,
  type Refused,
  type Reply,
  type Verdict,
} from './gal-relay/routing/decide'
import { parseIp } from './gal-relay/routing/networks'
import { recipientOf } from './gal-relay/routing/recipient'
import { type Trust, trustByAddress, trustOf } from './gal-relay/routing/restrictions'
import { type LoadedSettings, loadSettings, watchHostList } from './gal-relay/settings/load'
import { SettingsError } from './gal-relay/settings/problem'
import {
  canonicalAddress,
  type ListenerPolicy,
  policyFor,
  type Settings,
} from './gal-relay/settings/settings'

/** What holds for a connection, for as long as its addresses and the settings stay the same. */
interface Session {
  readonly settings: Settings
  readonly key: string
  readonly policy: ListenerPolicy
  readonly byAddress: Trust | undefined
}

/** What the plugin holds in one process. */
interface State {
  settings: Settings
  /** Sentences on what counts for nothing. */
  ignored: readonly string[]
  list: AddressList | undefined
  readonly paths: DeliveryPaths
  readonly outbound: Haraka.Outbound
  readonly counts: Counts
  readonly observed: WeakMap<Haraka.Transaction, ObservedTransaction>
  /** Recipients that are observed already: the hook may have been registered twice. */
  readonly watched: WeakSet<Haraka.Address>
  readonly sessions: WeakMap<Haraka.Connection, Session>
  /** The way Haraka would have taken by itself, for recipients that are not ours to decide. */
  readonly ownPath: WeakMap<Haraka.Transaction, Path>
  readonly unwatch: () => void
  /** In a cluster the master answers no mail: it speaks of the settings for all. */
  speaks: boolean
  /** The workers answer mail, so they ask the directory. */
  answers: boolean
}

let state: State

export function register(this: Haraka.Plugin): void {
  const loaded = settingsOf(this)
  state = {
    ...loaded,
    list: openList(this, loaded.settings),
    paths: new DeliveryPaths(),
    outbound: this.haraka_require('outbound'),
    counts: new Counts(),
    observed: new WeakMap(),
    watched: new WeakSet(),
    sessions: new WeakMap(),
    ownPath: new WeakMap(),
    unwatch: watchHostList(this.config, () => reload(this)),
    speaks: false,
    answers: false,
  }
  this.register_hook('init_master', 'start')
  this.register_hook('init_child', 'start')
  this.register_hook('connect', 'trust_client', -100)
  this.register_hook('mail', 'trust_transaction', -100)
  this.register_hook('rcpt', 'check_recipient')
  this.register_hook('data', 'trust_transaction', -100)
  // Before any plugin that answers; each hook costs something, so only where it is needed.
  if (observesAnywhere(loaded.settings)) this.register_hook('rcpt', 'watch_recipient', -100)
  this.register_hook('reset_transaction', 'watch_end', -100)
  this.register_hook('data_post', 'choose_path', 100)
  this.register_hook('queue', 'deliver', -100)
  this.register_hook('queue_outbound', 'deliver', -100)
  this.register_hook('queue_ok', 'deliver_outbound_part', -100)
}

/** The plugin's verdict is the answer. */
const decidesOn = ({ enabled, enforce }: ListenerPolicy) => enabled && enforce

const observesAnywhere = ({ policies }: Settings) =>
  [...policies.values()].some(({ enabled, enforce }) => enabled && !enforce)

/** Ends timers and connections, so that a worker that is shut down gracefully can end. */
export function shutdown(this: Haraka.Plugin): void {
  state.unwatch()
  void state.list?.close()
}

// ── Settings ─────────────────────────────────────────────────────────────────────────────────────

function settingsOf(plugin: Haraka.Plugin): LoadedSettings {
  return loadSettings(plugin.config, () => reload(plugin))
}

function reload(plugin: Haraka.Plugin): void {
  let list: AddressList | undefined
  let loaded: LoadedSettings
  try {
    loaded = settingsOf(plugin)
    list = openList(plugin, loaded.settings)
  } catch (error) {
    const lines = error instanceof SettingsError ? error.message.split('\n') : [error]
    for (const line of lines) plugin.logerror(line)
    plugin.logerror('the settings were not reloaded; the last good ones stay in force')
    return
  }
  const former = state.list
  Object.assign(state, loaded, { list })
  if (state.answers) list?.start()
  void former?.close()
  plugin.lognotice('settings reloaded')
  if (state.speaks) announce(plugin)
}

function logOf(plugin: Haraka.Plugin): Log {
  return {
    debug: (text) => plugin.logdebug(text),
    info: (text) => plugin.loginfo(text),
    notice: (text) => plugin.lognotice(text),
    warn: (text) => plugin.logwarn(text),
    error: (text) => plugin.logerror(text),
  }
}

function openList(plugin: Haraka.Plugin, { gal, ldap }: Settings): AddressList | undefined {
  return ldap && createAddressList(gal, ldap, logOf(plugin))
}

function announce(plugin: Haraka.Plugin): void {
  for (const line of summary(state.settings)) plugin.lognotice(line)
  for (const line of [...state.ignored, ...warnings(state.settings)]) plugin.logwarn(line)
  for (const earlier of answeringBefore(plugin.config.get('plugins', 'list'), plugin.name)) {
    plugin.logwarn(
      `plugin ${earlier} stands before ${plugin.name} in config/plugins and accepts recipients by ` +
        `itself: for those, ${plugin.name} is not asked`,
    )
  }
}

// ── Hooks ────────────────────────────────────────────────────────────────────────────────────────

type Hook<P, R = undefined> = (
  this: Haraka.Plugin,
  next: Haraka.Next,
  connection: Haraka.Connection,
  params: P,
) => R

/** Catches what the hook throws or rejects with; the answer is then 451 and the stack is in the log. */
function guarded<P = undefined>(hook: Hook<P, undefined | Promise<undefined>>): Hook<P> {
  return function (next, connection, params) {
    let answered = false
    const answer: Haraka.Next = (code, message) => {
      answered = true
      return next(code, message)
    }
    const fail = (error: unknown) => {
      logFailure(this, connection, error)
      if (!answered) answer(DENYSOFT, dsn(INTERNAL_ERROR.reply))
    }
    try {
      hook.call(this, answer, connection, params)?.catch(fail)
    } catch (error) {
      fail(error)
    }
  }
}

/** For hooks that only look on: Haraka goes on as if they were not there, whatever happens in them. */
function looking<P = undefined>(
  look: (this: Haraka.Plugin, connection: Haraka.Connection, params: P) => void,
): Hook<P> {
  return function (next, connection, params) {
    try {
      look.call(this, connection, params)
    } catch (error) {
      logFailure(this, connection, error)
    }
    return next()
  }
}

function logFailure(plugin: Haraka.Plugin, connection: Haraka.Connection, error: unknown): void {
  state.counts.errors++
  connection.logerror(plugin, 'failed:', error instanceof Error ? error : new Error(String(error)))
}

export function start(this: Haraka.Plugin, next: Haraka.Next, server: Haraka.Server): void {
  state.speaks = server.cluster === undefined || server.cluster.isMaster
  state.answers = server.cluster === undefined || !server.cluster.isMaster
  if (state.speaks) announce(this)
  if (state.answers) state.list?.start()
  next()
}

// The connect hook runs again when PROXY or XCLIENT replaces the addresses.
export const trust_client = guarded((next, connection) => {
  const session = sessionOf(connection)
  if (!decidesOn(session.policy)) return next()
  if (connection.xclient) delete connection.notes.auth_user
  if (clientOf(session, connection).trust.mayRelay) connection.relaying = true
  return next()
})

// From here on `relaying` is the transaction's. It says what the rules say of the client, whatever
// an AUTH or relay plugin has set on the connection, where Haraka wants it for MAIL on port 587, or
// sets in the middle of the transaction.
export const trust_transaction = guarded((next, connection) => {
  const session = sessionOf(connection)
  if (decidesOn(session.policy)) {
    connection.relaying = clientOf(session, connection).trust.mayRelay
  }
  return next()
})

export const check_recipient = guarded<[Haraka.Address]>(function (next, connection, params) {
  const [address] = params
  const { transaction } = connection
  const session = sessionOf(connection)
  const { policy } = session
  if (!transaction || !policy.enabled) return next()
  if (!policy.enforce) return watch_recipient.call(this, next, connection, params)

  const client = clientOf(session, connection)
  connection.relaying = client.trust.mayRelay
  const answer = (verdict: Verdict) => respond(this, next, connection, address, policy, verdict)
  const verdict = verdictOn(policy, client, address)
  return verdict instanceof Promise ? verdict.then(answer) : answer(verdict)
})

function verdictOn(
  { routing }: ListenerPolicy,
  client: Client,
  address: Haraka.Address,
): Verdict | Promise<Verdict> {
  const destination = destinationOf(routing, recipientOf(address.user, address.host))
  const verdict = decide(routing, destination, client)
  if (verdict) return verdict
  const { list } = state
  if (!list) throw new Error('no address list')
  return list
    .lookup(destination.recipient)
    .then((listing) => decide(routing, destination, client, listing) ?? INTERNAL_ERROR)
}

function respond(
  plugin: Haraka.Plugin,
  next: Haraka.Next,
  connection: Haraka.Connection,
  address: Haraka.Address,
  policy: ListenerPolicy,
  verdict: Verdict,
): undefined {
  const { transaction } = connection
  // The client has gone while the directory was asked.
  if (!transaction) return next()
  if (!verdict.accept) return refuse(plugin, next, connection, address, policy, verdict)
  if (policy.mixed === 'defer' && state.paths.isMixed(transaction, address, verdict.path)) {
    return refuse(plugin, next, connection, address, policy, MIXED_DEFERRED)
  }
  state.counts.answered(policy.name, 'enforce', verdict)
  state.paths.accept(address, verdict.path)
  const result = `${verdict.rule} ${address.address}`
  transaction.results.add(plugin, { pass: result, human: result })
  return next(OK)
}

function refuse(
  plugin: Haraka.Plugin,
  next: Haraka.Next,
  connection: Haraka.Connection,
  address: Haraka.Address,
  policy: ListenerPolicy,
  verdict: Refused,
): undefined {
  const { rule, reply } = verdict
  const result = `${rule} ${address.address}`
  connection.transaction?.results.add(plugin, { fail: result, human: result })
  const refusal = { ...envelopeOf(connection, address), rule, reply: replyText(reply) }
  state.counts.answered(policy.name, 'enforce', verdict)
  state.counts.refused(refusal)
  connection.lognotice(plugin, 'refused', refusal)
  return next(reply.code < 500 ? DENYSOFT : DENY, dsn(reply))
}

// ── Hooks that only look on ──────────────────────────────────────────────────────────────────────

// Nobody waits for the verdict, so that a slow directory does not change the answer by a moment.
export const watch_recipient = looking<[Haraka.Address]>(function (connection, [address]) {
  const { transaction } = connection
  const session = sessionOf(connection)
  const { policy } = session
  if (!transaction || !policy.enabled || policy.enforce || state.watched.has(address)) return
  state.watched.add(address)

  const given = givenTo(transaction)
  const observed = state.observed.get(transaction) ?? new ObservedTransaction()
  state.observed.set(transaction, observed)
  observed.answered(given)
  const verdict = verdictOn(policy, clientOf(session, connection), address)
  const envelope = envelopeOf(connection, address)
  observed.add(given.length, policy.mixed, verdict).then(
    (both) => compare(this, connection, policy, envelope, both),
    (error) => logFailure(this, connection, error),
  )
})

export const watch_end = looking((connection) => {
  const { transaction } = connection
  const observed = transaction && state.observed.get(transaction)
  if (!observed) return
  observed.answered(givenTo(transaction))
  observed.end()
})

function compare(
  plugin: Haraka.Plugin,
  connection: Haraka.Connection,
  { name }: ListenerPolicy,
  envelope: Envelope,
  { verdict, given }: Observed,
): void {
  const { counts } = state
  const { rule } = verdict
  const outcome = outcomeOfVerdict(verdict)
  const reply = verdict.accept ? '250' : replyText(verdict.reply)
  const observation = { ...envelope, rule, reply, answered: given?.reply ?? '' }
  counts.answered(name, 'observe', verdict)
  if (!verdict.accept) counts.refused(observation)
  if (given && given.outcome !== outcome) {
    counts.differed(name, rule, outcome, given.outcome)
    connection.lognotice(plugin, 'observed DIFFERS', observation)
  } else if (verdict.accept) {
    connection.loginfo(plugin, 'observed', observation)
  } else {
    connection.lognotice(plugin, 'observed', observation)
  }
}

// After the last data_post plugin has read `relaying` as trust in the client, it says which way
// Haraka goes: a message with anyone for the queue plugins goes there first.
export const choose_path = guarded((next, connection) => {
  const { transaction } = connection
  if (!transaction) return next()
  const ownPath = connection.relaying ? 'outbound' : 'queue'
  state.ownPath.set(transaction, ownPath)
  const parts = state.paths.partsOf(transaction, ownPath)
  if (parts) connection.relaying = parts.queue.length === 0
  return next()
})

export const deliver = guarded(function (next, connection) {
  const { transaction } = connection
  if (!transaction) return next()
  const hookPath: Path = connection.hook === 'queue' ? 'queue' : 'outbound'
  const parts = state.paths.partsOf(transaction, state.ownPath.get(transaction) ?? hookPath)
  if (!parts) return next()
  if (parts.queue.length === 0) return storeAll(this, next, connection, transaction)
  if (hookPath === 'outbound') {
    connection.logerror(
      this,
      'a data_post plugin ended that hook with OK, so that mail for the queue plugins was about to ' +
        'leave by the outbound queue; it is deferred',
    )
    return next(DENYSOFT, dsn(INTERNAL_ERROR.reply))
  }
  if (parts.outbound.length > 0) state.paths.split(transaction, parts)
  return next()
})

// Haraka answers 550 when its own default path cannot write the outbound queue, so we write it.
function storeAll(
  plugin: Haraka.Plugin,
  next: Haraka.Next,
  connection: Haraka.Connection,
  transaction: Haraka.Transaction,
): undefined {
  store(state.outbound, outboundPart(transaction, transaction.rcpt_to), (stored, error) => {
    if (stored.ok) return next(OK, stored.message)
    logNotStored(plugin, connection, error)
    next(DENYSOFT, NOT_STORED)
  })
}

export const deliver_outbound_part = guarded(function (next, connection) {
  const { transaction } = connection
  const part = transaction && state.paths.takeOutgoing(transaction)
  if (!part) return next()
  store(state.outbound, part, (stored, error) => {
    if (stored.ok) return next()
    logNotStored(this, connection, error)
    // Whatever this hook says, Haraka answers 250 while the connection stands. The sender must not
    // take the message for delivered: better one copy twice than one lost.
    connection.respond(NOT_STORED.code, NOT_STORED, () => {
      connection.disconnect()
      next()
    })
  })
})

const NOT_STORED = DSN.create(451, 'The message could not be stored, please try again later', 3, 0)

function logNotStored(plugin: Haraka.Plugin, connection: Haraka.Connection, error: unknown): void {
  connection.logerror(plugin, `the outbound queue could not be written: ${error}`)
}

// ── Haraka's objects ─────────────────────────────────────────────────────────────────────────────

function sessionOf(connection: Haraka.Connection): Session {
  const { local, remote, client } = connection
  // XCLIENT without DESTADDR and DESTPORT leaves no local address: the socket still has one.
  const ip = local.ip ?? client.localAddress ?? ''
  const port = local.port ?? client.localPort ?? 0
  const key = `${remote.ip} ${ip} ${port}`
  const known = state.sessions.get(connection)
  if (known && known.settings === state.settings && known.key === key) return known
  const policy = policyFor(state.settings, canonicalAddress(ip) ?? '', port)
  const session: Session = {
    settings: state.settings,
    key,
    policy,
    byAddress: trustByAddress(policy.restrictions, parseIp(remote.ip), parseIp(ip)),
  }
  state.sessions.set(connection, session)
  return session
}

function clientOf({ policy, byAddress }: Session, connection: Haraka.Connection): Client {
  const account = accountOf(connection)
  return {
    trust: trustOf(policy.restrictions, byAddress, account),
    authenticated: Boolean(account),
  }
}

function accountOf({ notes, xclient, remote }: Haraka.Connection): string | undefined {
  return notes.auth_user || (xclient && remote.login) || undefined
}

function envelopeOf(connection: Haraka.Connection, address: Haraka.Address): Envelope {
  const { transaction, remote, local, hello } = connection
  return {
    client: remote.ip ?? '',
    host: remote.host ?? '',
    helo: hello.host ?? '',
    account: accountOf(connection) ?? '',
    sender: transaction?.mail_from.address ?? '',
    recipient: address.address,
    listener: `${local.ip}:${local.port}`,
  }
}

/** What Haraka has answered to the recipients of a transaction so far, in order. */
function givenTo({ results }: Haraka.Transaction): readonly Given[] {
  const answers = results.get('rcpt_to')?.recipient ?? []
  return answers.map(({ action, code, msg }) => {
    if (action === 'accept') return { outcome: 'accepted', reply: '250' }
    const refused = action === 'reject'
    const number = typeof code === 'number' ? code : refused ? 550 : 450
    return { outcome: refused ? 'refused' : 'deferred', reply: `${number} ${msg ?? ''}`.trim() }
  })
}

function dsn({ code, text, status: [subject, detail] }: Reply): DSN {
  return DSN.create(code, text, subject, detail)
}
