// The door: Haraka's hooks on one side, the rooms in gal-relay/ on the other. It reads Haraka's
// objects, asks the rooms, and turns verdicts into next(). Nothing that goes wrong in here may reach
// Haraka, where an exception after an await ends the server: every hook is guarded, and answers 451.
import DSN from 'haraka-dsn'
import { heldBack } from './gal-relay/delivery/held-back'
import { type Pass, Traces } from './gal-relay/delivery/loops'
import { nameAsWritten, OutboundMail } from './gal-relay/delivery/outbound'
import { DeliveryPaths } from './gal-relay/delivery/paths'
import { createAddressList, type GlobalAddressList } from './gal-relay/gal/global-address-list'
import type { Log } from './gal-relay/gal/log'
import { Counts } from './gal-relay/report/counts'
import { grammarOf } from './gal-relay/report/envelope'
import { type ProcessReport, processReport } from './gal-relay/report/install'
import { LogBatch } from './gal-relay/report/log-batch'
import {
  type Given,
  type Observed,
  ObservedTransaction,
  outcomeOfVerdict,
} from './gal-relay/report/observation'
import {
  openRelayBefore,
  pluginOrder,
  proxiedTwice,
  rewritingBefore,
} from './gal-relay/report/plugin-order'
import { answerForWorkers, onlyProcess, type Reports, worker } from './gal-relay/report/processes'
import { type Refusal, RefusalFields, replyText, type Sender } from './gal-relay/report/refusal'
import { type Sample, samplesOfList, sum } from './gal-relay/report/samples'
import { summary, warnings } from './gal-relay/report/startup'
import { missingHttpServer } from './gal-relay/report/status/http-server'
import { PAGE_PATH, statusPage } from './gal-relay/report/status/status-page'
import {
  type Client,
  type Destination,
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
import { ownName, readIniFile } from './gal-relay/settings/haraka-files'
import { type LoadedSettings, loadSettings, watchHostList } from './gal-relay/settings/load'
import { ownHost } from './gal-relay/settings/own-host'
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
  /** Haraka's note of the PROXY line that the addresses are from. */
  readonly proxy: unknown
  readonly client: string | null | undefined
  readonly ip: string
  readonly port: number
  readonly policy: ListenerPolicy
  readonly byAddress: Trust | undefined
}

/** What the plugin holds in one process. */
interface State {
  settings: Settings
  /** Sentences on what counts for nothing. */
  ignored: readonly string[]
  list: GlobalAddressList | undefined
  readonly paths: DeliveryPaths
  readonly outbound: OutboundMail
  readonly traces: Traces
  readonly logger: Haraka.LogWriter
  readonly refusals: LogBatch
  readonly fields: WeakMap<Haraka.Transaction, RefusalFields>
  /** By a plugin such as syslog. */
  isLogTaken: boolean
  readonly counts: Counts
  /** What address lists counted that a reload has replaced. */
  retired: readonly Sample[]
  reloadFailedAt: number | undefined
  readonly startedAt: number
  /** undefined until the process starts to answer mail */
  reports: Reports | undefined
  readonly observed: WeakMap<Haraka.Transaction, ObservedTransaction>
  /** Recipients that are observed already: the hook may have been registered twice. */
  readonly watched: WeakSet<Haraka.Address>
  readonly sessions: WeakMap<Haraka.Connection, Session>
  /** Trust in the client, and so the way Haraka would have taken by itself. */
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
  const logger = this.haraka_require('logger')
  state = {
    ...loaded,
    list: openList(this, loaded.settings),
    paths: new DeliveryPaths(),
    outbound: new OutboundMail(this.haraka_require('outbound'), ownHost(this.config), logOf(this)),
    traces: new Traces(),
    logger,
    refusals: new LogBatch(logger),
    fields: new WeakMap(),
    isLogTaken: true,
    counts: new Counts(),
    retired: [],
    reloadFailedAt: undefined,
    startedAt: Date.now(),
    reports: undefined,
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
  this.register_hook('init_http', 'serve_status')
  this.register_hook('connect', 'trust_client', -100)
  this.register_hook('mail', 'trust_transaction', -100)
  this.register_hook('mail', 'note_utf8', -100)
  this.register_hook('rcpt', 'check_recipient')
  this.register_hook('data', 'trust_transaction', -100)
  this.register_hook('reset_transaction', 'watch_end', -100)
  // Each hook costs something, so these are only where they are needed.
  if (rewritingBefore(this.config, this.name)) this.register_hook('rcpt', 'begin_recipient', -100)
  // Before any plugin that answers, but not before one that puts another recipient into its place.
  else if (observesAnywhere(loaded.settings)) this.register_hook('rcpt', 'watch_recipient', -100)
  this.register_hook('data_post', 'refuse_loops', -100)
  this.register_hook('data_post', 'choose_path', 100)
  this.register_hook('queue', 'prepare', -100)
  this.register_hook('queue_outbound', 'prepare', -100)
  this.register_hook('queue_outbound', 'deliver', 100)
  this.register_hook('queue_ok', 'deliver_outbound_part', -100)
  this.register_hook('get_mx', 'find_next_hops', -100)
  this.register_hook('bounce', 'name_recipients', -100)
}

/** The plugin's verdict is the answer. */
const decidesOn = ({ enabled, enforce }: ListenerPolicy) => enabled && enforce

const observesAnywhere = ({ policies }: Settings) =>
  [...policies.values()].some(({ enabled, enforce }) => enabled && !enforce)

/** Ends timers and connections, so that a worker that is shut down gracefully can end. */
export function shutdown(this: Haraka.Plugin): void {
  state.unwatch()
  state.reports?.close()
  void state.list?.close()
  void state.outbound.close()
}

// ── Settings ─────────────────────────────────────────────────────────────────────────────────────

function settingsOf(plugin: Haraka.Plugin): LoadedSettings {
  return loadSettings(plugin.config, () => reload(plugin))
}

function reload(plugin: Haraka.Plugin): void {
  let list: GlobalAddressList | undefined
  let loaded: LoadedSettings
  try {
    loaded = settingsOf(plugin)
    list = openList(plugin, loaded.settings)
  } catch (error) {
    const lines = error instanceof SettingsError ? error.message.split('\n') : [error]
    for (const line of lines) plugin.logerror(line)
    plugin.logerror('the settings were not reloaded; the last good ones stay in force')
    state.reloadFailedAt = Date.now()
    return
  }
  const former = state.list
  if (former) state.retired = sum([...state.retired, ...samplesOfList(former.report())])
  Object.assign(state, loaded, { list, reloadFailedAt: undefined })
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

function openList(plugin: Haraka.Plugin, settings: Settings): GlobalAddressList | undefined {
  const { ldap } = settings
  return ldap && createAddressList({ ...settings, ldap }, logOf(plugin))
}

function announce(plugin: Haraka.Plugin): void {
  for (const line of summary(state.settings)) plugin.lognotice(line)
  for (const line of [...state.ignored, ...warnings(state.settings)]) plugin.logwarn(line)
  const { config, name } = plugin
  const others = [
    ...openRelayBefore(config, name),
    ...pluginOrder(config, name),
    ...proxiedTwice(config, state.settings),
  ]
  for (const line of others) plugin.logwarn(line)
  const missing =
    state.settings.http.enabled && missingHttpServer(readIniFile(plugin.config, 'http.ini'))
  if (missing) plugin.logerror(`no metrics and no status page: ${missing}`)
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
      if (!answered) answer(DENYSOFT, wordsOf(INTERNAL_ERROR.reply).dsn)
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
  const { log, deny } = this.haraka_require('plugins').registered_hooks
  state.isLogTaken = Boolean(log?.length)
  if (deny?.length) keepRefusals(this, deny)
  if (state.speaks) announce(this)
  if (state.answers) state.list?.start()
  if (!server.cluster) state.reports = onlyProcess(reportOfThis)
  else if (state.answers) state.reports = worker(reportOfThis)
  else answerForWorkers()
  next()
}

// Before Haraka adds its own pages and the answer for those that do not exist.
export function serve_status(this: Haraka.Plugin, next: Haraka.Next, server: Haraka.Server): void {
  const { reports } = state
  if (reports && server.http?.app) {
    const page = statusPage({
      name: ownName(this.config),
      grammar: grammarOf(this.config),
      settings: () => state.settings,
      list: () => state.list,
      reports,
      failed: (error) => this.logerror('the status page failed:', error),
    })
    server.http.app.use(PAGE_PATH, page)
  }
  next()
}

function reportOfThis(): ProcessReport {
  const { counts, list, retired, startedAt, reloadFailedAt } = state
  return processReport(counts.report(), list?.report(), retired, { startedAt, reloadFailedAt })
}

// The connect hook runs again when XCLIENT replaces the addresses. Haraka takes a PROXY line at any
// time from a connection that began with one, and all but the first are the client's own.
export const trust_client = guarded(function (next, connection) {
  const former = state.sessions.get(connection)
  const session = sessionOf(connection)
  const isForged = former !== undefined && former.proxy !== session.proxy
  if (isForged && (decidesOn(former.policy) || decidesOn(session.policy))) {
    return next(DENYDISCONNECT, 'PROXY is for the first line only')
  }
  if (!decidesOn(session.policy)) return next()
  if (connection.xclient) delete connection.notes.auth_user
  if (clientOf(session, connection).trust.mayRelay) connection.relaying = true
  traceReceivedLine(this, connection)
  return next()
})

// Haraka makes the line before the data hooks.
function traceReceivedLine(plugin: Haraka.Plugin, connection: Haraka.Connection): void {
  if (Object.hasOwn(connection, 'received_line')) return
  const { received_line } = connection
  connection.received_line = () => {
    const line = received_line.call(connection)
    const { transaction } = connection
    try {
      const addresses = transaction ? state.paths.addresses(transaction) : []
      if (!transaction || addresses.length === 0) return line
      return state.traces.into(line, passOf(connection, transaction), addresses)
    } catch (error) {
      logFailure(plugin, connection, error)
      return line
    }
  }
}

// A copy tells of its own recipients only: who has one too and is on a list that has another would
// have the list's refused.
function narrowing(
  connection: Haraka.Connection,
  transaction: Haraka.Transaction,
): (recipients: readonly Haraka.Address[]) => void {
  const pass = passOf(connection, transaction)
  return (recipients) => {
    const addresses = recipients.map(({ address }) => address)
    state.traces.narrow(transaction, pass, addresses)
  }
}

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

// The next server must hear SMTPUTF8 as well (RFC 6531 §3.5).
export const note_utf8 = guarded<[Haraka.Address, Haraka.Parameters]>(
  (next, { transaction }, [, parameters]) => {
    if (transaction && 'SMTPUTF8' in parameters) state.paths.declareUtf8(transaction)
    return next()
  },
)

// Before a plugin such as aliases puts other recipients into its place.
export const begin_recipient = guarded<[Haraka.Address]>((next, { transaction }, [address]) => {
  if (transaction) state.paths.begin(transaction, address)
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
  const answer = (decided: readonly Decided[]) => respond(this, next, connection, policy, decided)
  const [target = address, ...others] = state.paths.targets(transaction)
  const first = decideOn(policy, client, target)
  if (others.length === 0) {
    return first instanceof Promise ? first.then((one) => answer([one])) : answer([first])
  }
  const rest = others.map((other) => decideOn(policy, client, other))
  return Promise.all([first, ...rest]).then(answer)
})

/** A recipient with what is answered to it. */
interface Decided {
  readonly target: Haraka.Address
  readonly destination: Destination
  readonly verdict: Verdict
}

function decideOn(
  { routing }: ListenerPolicy,
  client: Client,
  target: Haraka.Address,
): Decided | Promise<Decided> {
  const destination = destinationOf(routing, recipientOf(target.user, target.host))
  const verdict = decide(routing, destination, client)
  if (verdict) return { target, destination, verdict }
  const { list } = state
  if (!list) throw new Error('no address list')
  return list.lookup(destination.recipient).then((listing) => {
    const verdict = decide(routing, destination, client, listing) ?? INTERNAL_ERROR
    return { target, destination, verdict }
  })
}

/** Whom an alias stands for are accepted together or not at all. */
function verdictOn(decided: readonly Decided[]): Verdict {
  const one = decided.find(({ verdict }) => !verdict.accept) ?? decided[0]
  return one?.verdict ?? INTERNAL_ERROR
}

function respond(
  plugin: Haraka.Plugin,
  next: Haraka.Next,
  connection: Haraka.Connection,
  policy: ListenerPolicy,
  decided: readonly Decided[],
): undefined {
  const { transaction } = connection
  // The client has gone while the directory was asked.
  if (!transaction) return next()
  for (const { target, verdict } of decided) {
    const written = state.paths.written(transaction, target)
    if (!verdict.accept) return refuse(plugin, next, connection, written, policy, verdict)
    if (policy.mixed === 'defer' && state.paths.isMixed(transaction, target, verdict.path)) {
      return refuse(plugin, next, connection, written, policy, MIXED_DEFERRED)
    }
  }
  state.counts.answered(policy.name, 'enforce', verdictOn(decided))
  for (const { target, destination, verdict } of decided) {
    if (!verdict.accept) continue
    const written = state.paths.accept(transaction, target, destination, verdict)
    const result = `${verdict.rule} ${written.address}`
    transaction.results.add(plugin, { pass: result, human: result })
  }
  return next(OK)
}

function refuse(
  plugin: Haraka.Plugin,
  next: Haraka.Next,
  connection: Haraka.Connection,
  written: Haraka.Address,
  policy: ListenerPolicy,
  verdict: Refused,
): undefined {
  const { transaction } = connection
  const { rule, reply } = verdict
  const result = `${rule} ${written.address}`
  if (transaction) state.paths.refuse(transaction)
  transaction?.results.add(plugin, { fail: result, human: result })
  state.counts.answered(policy.name, 'enforce', verdict)
  const { dsn, text } = wordsOf(reply)
  const fields = fieldsOf(connection)
  state.counts.refused(fields.sender, written.address, rule, text)
  logRefusal(plugin, connection, fields, written.address, rule, text)
  return next(reply.code < 500 ? DENYSOFT : DENY, dsn)
}

// A plugin such as delay_deny answers a refusal with OK, and Haraka then goes on as if nobody had
// answered: 550 to a recipient that was deferred, 250 to anyone for a client that may relay. Only
// then is the hook worth its price, and before any of those it has to be.
function keepRefusals(plugin: Haraka.Plugin, deny: Haraka.RegisteredHook[]): void {
  plugin.register_hook('deny', 'keep_refusal', -100)
  deny.sort((a, b) => a.priority - b.priority || a.order - b.order)
}

export const keep_refusal = guarded<readonly [unknown, unknown, string]>(function (
  next,
  _connection,
  [, , refusedBy],
) {
  return refusedBy === this.name ? next(STOP) : next()
})

// Half of all answers may be refusals, and what Haraka's logger does with fields, and each write to
// standard output, take longer than the answer. The line is the same, put together here; a plugin
// that takes the log elsewhere gets it alone.
function logRefusal(
  plugin: Haraka.Plugin,
  connection: Haraka.Connection,
  fields: RefusalFields,
  recipient: string,
  rule: string,
  reply: string,
): void {
  const { logger, refusals } = state
  if (logger.format !== logger.formats.DEFAULT || state.isLogTaken) {
    connection.lognotice(plugin, 'refused', lineOf(fields.sender, recipient, rule, reply))
  } else if (logger.would_log(logger.LOGNOTICE)) {
    const { uuid } = connection.transaction ?? connection
    const text = fields.of(recipient, rule, reply)
    refusals.add(`[NOTICE] [${uuid}] [${plugin.name}] refused ${text}`)
  }
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
  const client = clientOf(session, connection)
  const targets = state.paths.targets(transaction)
  const verdict = Promise.all(targets.map((target) => decideOn(policy, client, target))).then(
    (decided) => verdictOn(decided),
  )
  const { sender } = fieldsOf(connection)
  const recipient = state.paths.written(transaction, address).address
  observed.add(given.length, policy.mixed, verdict).then(
    (both) => compare(this, connection, policy, sender, recipient, both),
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
  sender: Sender,
  recipient: string,
  { verdict, given }: Observed,
): void {
  const { counts } = state
  const { rule } = verdict
  const outcome = outcomeOfVerdict(verdict)
  const reply = verdict.accept ? '250' : replyText(verdict.reply)
  const answered = given?.reply ?? ''
  const observation = { ...lineOf(sender, recipient, rule, reply), answered }
  counts.answered(name, 'observe', verdict)
  if (!verdict.accept) counts.refused(sender, recipient, rule, reply, answered)
  if (given && given.outcome !== outcome) {
    counts.differed(name, rule, outcome, given.outcome)
    connection.lognotice(plugin, 'observed DIFFERS', observation)
  } else if (verdict.accept) {
    connection.loginfo(plugin, 'observed', observation)
  } else {
    connection.lognotice(plugin, 'observed', observation)
  }
}

// ── Delivery ─────────────────────────────────────────────────────────────────────────────────────

export const refuse_loops = guarded(function (next, connection) {
  const { transaction } = connection
  if (!transaction) return next()
  const { header, uuid } = transaction
  const received = header.get_all('received').filter((line) => !line.includes(uuid))
  const addresses = state.paths.addresses(transaction)
  const looping = state.traces.cameFor(received, passOf(connection, transaction), addresses)
  if (looping === undefined) return next()
  connection.lognotice(this, `mail loop: this message was accepted for <${looping}> before`)
  return next(DENY, LOOP)
})

const LOOP = DSN.create(554, 'Mail loop: this message was here before', 4, 6)

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

// Before the queue plugins: each way gets its own recipients.
export const prepare = guarded(function (next, connection) {
  const { transaction } = connection
  if (!transaction) return next()
  const hookPath: Path = connection.hook === 'queue' ? 'queue' : 'outbound'
  const ownPath = state.ownPath.get(transaction) ?? hookPath
  const parts = state.paths.partsOf(transaction, ownPath)
  if (!parts) return next()
  const trusted = ownPath === 'outbound'
  if (parts.queue.length === 0) {
    state.paths.toOutbound(transaction, parts, trusted, heldBack(connection, transaction))
    return hookPath === 'queue' ? storeAll(this, next, connection, transaction) : next()
  }
  if (hookPath === 'queue') {
    state.paths.toQueuePlugins(transaction, parts, trusted)
    narrowing(connection, transaction)(parts.queue)
    return next()
  }
  connection.logerror(
    this,
    'a data_post plugin ended that hook with OK, so that mail for the queue plugins was about to ' +
      'leave by the outbound queue; it is deferred',
  )
  return next(DENYSOFT, wordsOf(INTERNAL_ERROR.reply).dsn)
})

// After the plugins that discard, quarantine or sign.
export const deliver = guarded(function (next, connection) {
  const { transaction } = connection
  if (!transaction || !state.paths.isUnderWay(transaction)) return next()
  return storeAll(this, next, connection, transaction)
})

// Haraka answers 550 when its own default path cannot write the outbound queue, so we write it.
function storeAll(
  plugin: Haraka.Plugin,
  next: Haraka.Next,
  connection: Haraka.Connection,
  transaction: Haraka.Transaction,
): undefined {
  const held = heldBack(connection, transaction)
  if (held) {
    connection.logerror(plugin, `marked for ${held}, and no plugin did so; the message is deferred`)
    return next(DENYSOFT, wordsOf(INTERNAL_ERROR.reply).dsn)
  }
  state.outbound.store(transaction, narrowing(connection, transaction), (stored, error) => {
    if (stored.ok) return next(OK, stored.message)
    logNotStored(plugin, connection, error)
    next(DENYSOFT, NOT_STORED)
  })
}

export const deliver_outbound_part = guarded(function (next, connection) {
  const { transaction } = connection
  const part = transaction && state.paths.restore(transaction)
  if (!part) return next()
  const held = heldBack(connection, transaction)
  if (held) {
    connection.lognotice(this, `marked for ${held}: nothing of the message goes out`)
    return next()
  }
  state.outbound.store(part, narrowing(connection, part), (stored, error) => {
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

export function find_next_hops(
  this: Haraka.Plugin,
  next: Haraka.NextMx,
  item: Haraka.QueueItem,
  domain: string,
): void {
  const failed = (error: unknown) => {
    state.counts.errors++
    item.logerror(this, 'failed:', error)
    next(DENYSOFT, INTERNAL_ERROR.reply.text)
  }
  const answered = state.outbound.mxFor(item, domain, state.settings).then((answer) => {
    switch (answer.code) {
      case 'ok':
        return next(OK, answer.mxs)
      case 'not-ours':
        return next()
      case 'split':
        // The item is gone: others stand in its place.
        item.get_mx_respond = () => {}
        return next()
      case 'later':
      case 'never':
        item.logwarn(this, answer.reason)
        return next(answer.code === 'never' ? DENY : DENYSOFT, answer.reason)
    }
  })
  answered.catch(failed)
}

export function name_recipients(
  this: Haraka.Plugin,
  next: Haraka.Next,
  item: Haraka.QueueItem,
  error: Error,
): void {
  try {
    nameAsWritten(item, error)
  } catch (failure) {
    state.counts.errors++
    item.logerror(this, 'failed:', failure)
  }
  next()
}

// ── Haraka's objects ─────────────────────────────────────────────────────────────────────────────

function sessionOf(connection: Haraka.Connection): Session {
  const { local, remote, client, notes } = connection
  // XCLIENT without DESTADDR and DESTPORT leaves no local address: the socket still has one.
  const ip = local.ip ?? client.localAddress ?? ''
  const port = local.port ?? client.localPort ?? 0
  const known = state.sessions.get(connection)
  if (
    known?.settings === state.settings &&
    known.client === remote.ip &&
    known.ip === ip &&
    known.port === port
  ) {
    return known
  }
  const policy = policyFor(state.settings, canonicalAddress(ip) ?? '', port)
  const session: Session = {
    settings: state.settings,
    proxy: notes.proxy,
    client: remote.ip,
    ip,
    port,
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

function passOf(connection: Haraka.Connection, { mail_from }: Haraka.Transaction): Pass {
  return { listener: listenerOf(connection), sender: mail_from.address }
}

function listenerOf({ local }: Haraka.Connection): string {
  return `${local.ip}:${local.port}`
}

function fieldsOf(connection: Haraka.Connection): RefusalFields {
  const { transaction } = connection
  const known = transaction && state.fields.get(transaction)
  if (known) return known
  const fields = new RefusalFields(senderOf(connection))
  if (transaction) state.fields.set(transaction, fields)
  return fields
}

/** In the order in which a line in the log names them. */
function lineOf(
  { listener, ...from }: Sender,
  recipient: string,
  rule: string,
  reply: string,
): Refusal {
  return { ...from, recipient, listener, rule, reply }
}

function senderOf(connection: Haraka.Connection): Sender {
  const { transaction, remote, hello } = connection
  return {
    client: remote.ip ?? '',
    host: remote.host ?? '',
    helo: hello.host ?? '',
    account: accountOf(connection) ?? '',
    sender: transaction?.mail_from.address ?? '',
    listener: listenerOf(connection),
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

interface Words {
  readonly dsn: DSN
  readonly text: string
}

// There are few replies, and Haraka changes none.
const words = new WeakMap<Reply, Words>()

function wordsOf(reply: Reply): Words {
  const known = words.get(reply)
  if (known) return known
  const { code, text, status } = reply
  const made = { dsn: DSN.create(code, text, ...status), text: replyText(reply) }
  words.set(reply, made)
  return made
}
