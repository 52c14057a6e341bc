// Everything that the plugin uses of Haraka beyond its documented API: what differs between releases, and what
// is internal. Each part says what it relies on and since which release. Checked in the sources of 3.0.3, 3.0.4,
// 3.1.1, 3.1.7, 3.2.1, 3.3.1 and 3.3.4; the tests run on all of them (docs/releases.md).
import { isIP } from 'node:net'
import { inspect } from 'node:util'
import DSN from 'haraka-dsn'
import { failed, type Guarded, unattended } from '../guard'

/** The oldest release that the tests run on. */
export const OLDEST = '3.0.3'

/** The plugin cannot work with the running Haraka; the message says why. */
export class UnsupportedHaraka extends Error {}

/** By module of Haraka: functions, and objects that hold more. */
const PARTS: Readonly<Record<keyof Haraka.Modules, string>> = {
  'package.json': '',
  plugins: 'registered_hooks',
  logger: 'loglevel levels.INFO',
  connection: 'Connection.prototype.received_line() Connection.prototype.respond()',
  outbound:
    'send_trans_email() process_delivery() delivery_queue.push() HMailItem.prototype.get_mx_respond() ' +
    'HMailItem.prototype.split_to_new_recipients() HMailItem.prototype.discard() ' +
    'HMailItem.obtls.get_tls_options() net_utils.get_mx() net_utils.get_ips_by_host() ' +
    'net_utils.is_local_ip()',
}

/**
 * Must be called before anything else here.
 * @throws UnsupportedHaraka for a release that is too old or lacks a part
 */
export function checkHaraka(plugin: Haraka.Plugin): void {
  const release = releaseOf(plugin)
  if (isBefore(release, OLDEST)) {
    throw new UnsupportedHaraka(
      `${plugin.name} needs Haraka ${OLDEST} or newer, but this is Haraka ${release}`,
    )
  }
  for (const [module, parts] of Object.entries(PARTS)) {
    const found = plugin.haraka_require(module as keyof Haraka.Modules)
    const missing = parts.split(' ').find((part) => part && !has(found, part))
    if (missing === undefined) continue
    throw new UnsupportedHaraka(
      `${plugin.name} cannot work with Haraka ${release}, in which ${module} has no ${missing}: ` +
        'another release of the plugin may',
    )
  }
}

/** @param part `a.b.c`, or `a.b.c()` for a function */
function has(module: unknown, part: string): boolean {
  let value = module
  for (const name of part.replace('()', '').split('.')) {
    value = (value as Readonly<Record<string, unknown>> | undefined | null)?.[name]
  }
  return part.endsWith('()') ? typeof value === 'function' : value !== undefined
}

/** Its package.json is beside the modules that plugins may require, since 2.0. */
export const releaseOf = (plugin: Haraka.Plugin): string =>
  plugin.haraka_require('package.json').version

function isBefore(release: string, other: string): boolean {
  const [ours = [], theirs = []] = [release, other].map((one) =>
    one.split('.').map(Number.parseFloat),
  )
  const at = theirs.findIndex((number, index) => number !== ours[index])
  return (ours[at] ?? 0) < (theirs[at] ?? 0)
}

// ── Addresses ────────────────────────────────────────────────────────────────────────────────────
// Up to 3.1 they are address-rfc2821's, where `address` is a method. From 3.2 they are
// @haraka/email-address's, where it is a string, but in 3.2 `address` and `host` are functions that can
// be used as strings nearly everywhere: not as keys, and not with ===.

/** `user@host` as sent; '' for the null sender. */
export function addressOf(address: Haraka.Address): string {
  return typeof address.address === 'function' ? address.address() : address.address
}

/** Lower-case A-label or address literal; '' if there is none. */
export function hostOf({ host }: Haraka.Address): string {
  return typeof host === 'string' ? host : String(host ?? '')
}

/**
 * An address of the class that this Haraka uses, which goes into `rcpt_to` and the outbound queue.
 *
 * @param model an address that Haraka made, and not a plugin: `mail_from`
 * @param parts `<user@host>`, or user and host
 * @throws Error if it is not a valid path
 */
export function newAddress(
  model: Haraka.Address,
  ...parts: [path: string] | [user: string, host: string]
): Haraka.Address {
  const Address = Object.getPrototypeOf(model).constructor as new (
    ...parts: string[]
  ) => Haraka.Address
  return new Address(...parts)
}

/**
 * Outbound says SMTPUTF8 only for a sender that needs it, and asks `format` with false when the other
 * side knows SMTPUTF8 (hmail.js, where MAIL is sent). Since 3.0.3.
 */
export function declareUtf8(sender: Haraka.Address): void {
  const plain = Object.getPrototypeOf(sender).format as (ascii?: boolean) => string
  sender.format = (ascii) => {
    const path = plain.call(sender, ascii)
    return ascii === false && isAscii(path) ? `${path} SMTPUTF8` : path
  }
}

// biome-ignore lint/suspicious/noControlCharactersInRegex: ASCII is what is meant
export const isAscii = (address: Haraka.Address | string) => /^[\x00-\x7f]*$/.test(String(address))

// ── Hooks ────────────────────────────────────────────────────────────────────────────────────────

/**
 * Registers a hook that runs before those of all other plugins, once it turns out to be needed: each hook costs
 * something for every recipient or message. Haraka sorts hooks only once, before its start, by priority and
 * then by registration (plugins.js). Since 3.0.3.
 *
 * @param method of the plugin
 */
export function registerFirst(plugin: Haraka.Plugin, hook: string, method: string): void {
  const { registered_hooks } = plugin.haraka_require('plugins')
  if (registered_hooks[hook]?.some((one) => one.plugin === plugin.name && one.method === method))
    return
  plugin.register_hook(hook, method, -100)
  registered_hooks[hook]?.sort((a, b) => a.priority - b.priority || a.order - b.order)
}

/** Whether any plugin has this hook. Valid in init_master and init_child, once all are registered. */
export function isHooked(plugin: Haraka.Plugin, hook: string): boolean {
  return Boolean(plugin.haraka_require('plugins').registered_hooks[hook]?.length)
}

/** Whether no other plugin's hook runs before this method of the plugin, as {@link isHooked}. */
export function isFirst(plugin: Haraka.Plugin, hook: string, method: string): boolean {
  const hooks = plugin.haraka_require('plugins').registered_hooks[hook] ?? []
  const isOwn = (one: Haraka.RegisteredHook) => one.plugin === plugin.name
  const end = hooks.findIndex((one) => isOwn(one) && one.method === method)
  return hooks.slice(0, Math.max(end, 0)).every(isOwn)
}

/**
 * A reply for `next`. From a queue hook, Haraka before 3.1 prints the object itself (connection.js,
 * queue_respond), so it needs a `toString` with the text.
 */
export function replyOf(
  code: number,
  text: string,
  ...status: readonly [subject: number, detail: number]
): Haraka.DSN {
  const dsn = DSN.create(code, text, ...status)
  return Object.assign(dsn, { toString: () => dsn.reply })
}

// ── Results ──────────────────────────────────────────────────────────────────────────────────────

/**
 * Does the same as `results.add` (haraka-results 2.2 to 2.4), which checks for everything that a result might
 * hold and takes longer than the decision. Existing results of the plugin are extended in place.
 */
export function addResult(
  plugin: Haraka.Plugin,
  results: Haraka.Results,
  outcome: 'pass' | 'fail',
  text: string,
): void {
  const result = outcome === 'pass' ? { pass: text, human: text } : { fail: text, human: text }
  const known = results.get(plugin)
  if (known) {
    known[outcome].push(text)
    known.human = text
    results.redis_publish(plugin.name, result)
  } else {
    results.add(plugin, result)
  }
}

/** Haraka's answers to the recipients of a transaction so far, in order. This is the live array, which grows. */
export function answersIn({ results }: Haraka.Transaction): readonly Haraka.RecipientResult[] {
  return results.get('rcpt_to')?.recipient ?? []
}

// ── The log ──────────────────────────────────────────────────────────────────────────────────────

/** An exception in a form that Haraka logs with its stack: 3.0.3 takes an error's name for a plugin's. */
export function loggable(plugin: Haraka.Plugin, error: unknown): Error | string {
  if (isBefore(releaseOf(plugin), '3.0.4')) return inspect(error)
  return error instanceof Error ? error : new Error(String(error))
}

/**
 * Whether lines of a level are written now: log.ini may change that while Haraka runs. Building a line costs as
 * much as the answer it reports. `loglevel` of logger.js, since 3.0.3.
 *
 * @param logger from {@link levelsOf}
 */
export const writes = (level: 'INFO' | 'NOTICE', logger: Haraka.LogLevels): boolean =>
  logger.loglevel >= logger.levels[level]

export const levelsOf = (plugin: Haraka.Plugin): Haraka.LogLevels => plugin.haraka_require('logger')

// ── The transaction ──────────────────────────────────────────────────────────────────────────────

/**
 * The number of RCPTs in a transaction that Haraka has answered, and of those answered with 250. Haraka counts
 * them, and removes refused ones from `rcpt_to`, before the next command (connection.js). Since 3.0.3.
 */
export function rcptsAnswered({ rcpt_count }: Haraka.Transaction): {
  readonly all: number
  readonly accepted: number
} {
  const { accept, tempfail, reject } = rcpt_count
  return { all: accept + tempfail + reject, accepted: accept }
}

// ── The message ──────────────────────────────────────────────────────────────────────────────────

/**
 * Haraka builds its Received line with the connection's `received_line`, before the data hooks. Since 3.0.3.
 *
 * @param change gets the line without its name; if it fails, the line is left unchanged
 */
export function changeReceivedLine(
  connection: Haraka.Connection,
  change: (line: string) => string,
): void {
  if (Object.hasOwn(connection, 'received_line')) return
  const { received_line } = connection
  connection.received_line = () => {
    const line = received_line.call(connection)
    try {
      return change(line)
    } catch (error) {
      failed('the Received line', error)
      return line
    }
  }
}

// ── The outbound queue ───────────────────────────────────────────────────────────────────────────

export const outboundOf = (plugin: Haraka.Plugin): Haraka.Outbound =>
  plugin.haraka_require('outbound')

/**
 * Haraka's `send_trans_email`, which calls `process_delivery` on its own `this` for each part, one after
 * the other. It returns a promise from 3.0.4 on; 3.0.3 gives it a callback.
 *
 * @param storePart stores one part, whole or in pieces, by means of its argument; if it throws, storing ends
 *   and Haraka removes what has been stored
 */
export function storeInQueue(
  outbound: Haraka.Outbound,
  transaction: Haraka.Transaction,
  storePart: (todo: Haraka.Todo, store: (todo: Haraka.Todo) => Promise<void>) => Promise<void>,
  done: Guarded<[code: Haraka.ReturnCode | undefined, message?: unknown]>,
): void {
  const process_delivery: Haraka.Outbound['process_delivery'] = (paths, todo, items, callback) => {
    // 3.2 with `always_split`: see addresses above.
    todo.domain = String(todo.domain)
    const stored = storePart(todo, (part) => processDelivery(outbound, paths, part, items))
    if (!callback) return stored
    unattended('part of a message for the outbound queue', () =>
      stored.then(() => callback(), callback),
    )
    return undefined
  }
  const storing: Haraka.Outbound = Object.create(outbound, {
    process_delivery: { value: process_delivery },
  })
  storing.send_trans_email(transaction, done)
}

function processDelivery(
  outbound: Haraka.Outbound,
  paths: string[],
  todo: Haraka.Todo,
  items: Haraka.QueueItem[],
): Promise<void> {
  if (!takesCallbacks(outbound))
    return Promise.resolve(outbound.process_delivery(paths, todo, items))
  return new Promise((resolve, reject) => {
    outbound.process_delivery(paths, todo, items, (error) => (error ? reject(error) : resolve()))
  })
}

/** The outbound module of 3.0.3. */
const takesCallbacks = (outbound: Haraka.Outbound) => outbound.process_delivery.length > 3

/**
 * A copy of a message's queue header with some fields changed. Todo items are plain data of the class TODOItem
 * (todo.js), and their `uuid` distinguishes the parts of one message.
 */
export function todoFor(todo: Haraka.Todo, fields: Partial<Haraka.Todo>): Haraka.Todo {
  return Object.assign(Object.create(Object.getPrototypeOf(todo)), todo, fields)
}

/**
 * The id of a message that came in by SMTP names connection, transaction and part. A message that Haraka wrote
 * itself (a bounce) has no connection in its id. Since 3.0.3.
 */
export const isHarakasOwn = ({ uuid }: Pick<Haraka.Todo, 'uuid'>) => /^[^.]+\.\d+$/.test(uuid)

/**
 * Puts the item back into the queue, once for each recipient, from its get_mx hook, whose answer no longer
 * matters then. One copy at a time, because Haraka bounces all of it when it runs out of file descriptors.
 * `split_to_new_recipients` and `discard` of hmail.js, since 3.0.3.
 */
export async function splitByRecipient(
  outbound: Haraka.Outbound,
  item: Haraka.QueueItem,
): Promise<void> {
  item.get_mx_respond = () => {}
  for (const recipient of item.todo.rcpt_to) {
    const one = await new Promise<Haraka.QueueItem>((done) =>
      item.split_to_new_recipients([recipient], 'LMTP', done),
    )
    outbound.delivery_queue.push(one)
  }
  item.discard()
}

/** The fields with a recipient's delivery status (hmail.js). Since 3.0.3. */
export function withFateOf(
  recipient: Haraka.QueuedAddress,
  address: Haraka.Address,
): Haraka.QueuedAddress {
  const fate = Object.entries(recipient).filter(([key]) => /^(dsn_|reason$)/.test(key))
  return Object.assign(address, Object.fromEntries(fate)) as Haraka.QueuedAddress
}

/** `[outbound]` of tls.ini, as options of tls.connect for this host; undefined until it has been read. */
export function tlsOptionsOf(outbound: Haraka.Outbound, host: string) {
  return outbound.HMailItem.obtls.get_tls_options({ exchange: host })
}

/**
 * Hosts as an answer of the get_mx hook, to be tried in this order. 3.0.3 sorts them by priority, shuffles equal
 * ones, and resolves a host name even if there is a path instead.
 */
export function inOrder(outbound: Haraka.Outbound, mxs: readonly Haraka.Mx[]): Haraka.Mx[] {
  if (!takesCallbacks(outbound)) return [...mxs]
  return mxs.map((mx, priority) => ({ exchange: '127.0.0.1', ...mx, priority }))
}

// ── DNS, as Haraka asks it ───────────────────────────────────────────────────────────────────────
// With callbacks, these two work the same in haraka-net-utils 1.5 (with 3.0.3) to 1.9.

/**
 * MX records, or the domain's own addresses if it has none.
 * @throws Error if DNS could not be asked for MX records
 */
export async function mxsOf({ net_utils }: Haraka.Outbound, domain: string): Promise<Haraka.Mx[]> {
  const mxs = await new Promise<Haraka.Mx[]>((resolve, reject) => {
    net_utils.get_mx(domain, (error, found = []) => {
      if (error && !isAbsence(error)) reject(error)
      else resolve(found)
    })
  })
  if (mxs.length > 0) return mxs
  const { addresses } = await hostAddresses(net_utils, domain)
  return addresses.map((exchange) => ({ exchange, priority: 0, from_dns: domain }))
}

/** One MX for each address of the host; empty if it has no address. */
export async function mxAddresses(
  { net_utils }: Haraka.Outbound,
  mx: Haraka.Mx,
): Promise<Haraka.Mx[]> {
  const { exchange } = mx
  if (!exchange || isIP(exchange)) return [mx]
  const { addresses } = await hostAddresses(net_utils, exchange)
  return addresses.map((address) => ({ ...mx, exchange: address, from_dns: exchange }))
}

/** @returns why the addresses could not be looked up; undefined if the host has none */
export async function lookupFailure(
  { net_utils }: Haraka.Outbound,
  name: string,
): Promise<Error | undefined> {
  const { errors } = await hostAddresses(net_utils, name)
  return errors.find((error) => !isAbsence(error))
}

const isAbsence = (error: Error) => /ENOTFOUND|ENODATA/.test(String(error))

function hostAddresses(
  net_utils: Haraka.NetUtils,
  name: string,
): Promise<{ readonly addresses: string[]; readonly errors: Error[] }> {
  return new Promise((resolve) => {
    net_utils.get_ips_by_host(name, (errors, addresses) => resolve({ addresses, errors }))
  })
}
