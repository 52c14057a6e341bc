// main.cf and the tables that it names, as described in postconf(5) and DATABASE_README.
import type { ReadFile } from './ini'
import { joinedLines } from './text'

export interface MainCf {
  /** The value with `$name` and the like replaced. */
  get(name: string): string
  isSet(name: string): boolean
  /** The value's items, which blanks and commas separate. */
  list(name: string): readonly string[]
  /** Parameters whose values use an expression that is not supported here. */
  readonly unclear: readonly string[]
}

/** The Postfix defaults that matter here (compatibility_level 2 and later). */
const DEFAULTS: Readonly<Record<string, string>> = {
  config_directory: '/etc/postfix',
  mydestination: '$myhostname, localhost.$mydomain, localhost',
  local_recipient_maps: 'proxy:unix:passwd.byname $alias_maps',
  alias_maps: 'hash:/etc/aliases',
  virtual_alias_maps: '$virtual_maps',
  virtual_alias_domains: '$virtual_alias_maps',
  smtpd_relay_restrictions:
    'permit_mynetworks, permit_sasl_authenticated, defer_unauth_destination',
  smtpd_sasl_auth_enable: 'no',
  parent_domain_matches_subdomains:
    'debug_peer_list, fast_flush_domains, mynetworks, permit_mx_backup_networks, qmqpd_authorized_clients, relay_domains, smtpd_access_maps',
}

export function readMainCf(text: string): MainCf {
  const values = new Map<string, string>()
  for (const { text: line } of joinedLines(text)) {
    const [, name, value = ''] = /^([\w.-]+)\s*=(.*)$/s.exec(line) ?? []
    if (name) values.set(name, value.trim())
  }
  const hostname = values.get('myhostname') ?? ''
  if (!values.has('mydomain'))
    values.set('mydomain', hostname.replace(/^[^.]*\./, '') || 'localdomain')
  const unclear: string[] = []
  const raw = (name: string) => values.get(name) ?? DEFAULTS[name] ?? ''
  const get = (name: string, within: readonly string[] = []): string =>
    expanded(raw(name), (other) => {
      if (other === undefined) unclear.push(within[0] ?? name)
      // A parameter that refers to itself expands to nothing, as in Postfix.
      return other === undefined || within.includes(other)
        ? ''
        : get(other, [...within, name, other])
    })
  return {
    get,
    isSet: (name) => values.has(name),
    list: (name) => items(get(name)),
    unclear,
  }
}

export const items = (text: string) => text.split(/[\s,]+/).filter(Boolean)

/** @param lookUp is passed `undefined` for expressions such as `${{a} == {b} ? {c} : {d}}` */
function expanded(text: string, lookUp: (name: string | undefined) => string): string {
  let out = ''
  for (let at = 0; at < text.length; ) {
    const rest = text.slice(at)
    const [simple, name] = /^\$(\w+)/.exec(rest) ?? []
    const end = /^\$[({]/.test(rest) ? closing(rest) : -1
    if (rest.startsWith('$$')) {
      out += '$'
      at += 2
    } else if (simple) {
      out += lookUp(name)
      at += simple.length
    } else if (end > 0) {
      out += conditional(rest.slice(2, end), lookUp)
      at += end + 1
    } else {
      out += text[at]
      at++
    }
  }
  return out
}

/** `name`, `name?text`, `name:{text}`, `name?{text}:{text}` */
function conditional(inner: string, lookUp: (name: string | undefined) => string): string {
  const [, name, operator, rest = ''] = /^\s*(\w+)\s*(?:([?:])(.*))?$/s.exec(inner) ?? []
  if (!name) return lookUp(undefined)
  const value = lookUp(name)
  if (!operator) return value
  const [, braced, otherwise] = /^\s*\{(.*?)\}\s*(?::\s*\{(.*)\}\s*)?$/s.exec(rest) ?? []
  const text = braced ?? rest
  if (operator === '?') return expanded(value ? text : (otherwise ?? ''), lookUp)
  return value ? '' : expanded(text, lookUp)
}

/** The index of the bracket that closes the one at index 1. */
function closing(text: string): number {
  let depth = 0
  for (let at = 1; at < text.length; at++) {
    if (/[({]/.test(text[at] ?? '')) depth++
    if (/[)}]/.test(text[at] ?? '') && --depth === 0) return at
  }
  return -1
}

// ── Tables ──────────────────────────────────────────────────────────────────────────────────────

export interface Table {
  /** Without `proxy:`. */
  readonly type: string
  readonly name: string
}

/** `hash:/etc/postfix/transport`, `proxy:ldap:/etc/postfix/ldap.cf`; a path alone is a list in a file. */
export function tableOf(item: string): Table | undefined {
  const [, type, name] = /^(?:proxy:)?([a-z]+):(.+)$/s.exec(item) ?? []
  if (type && name) return { type, name }
  return item.startsWith('/') ? { type: 'list', name: item } : undefined
}

/** Types whose source is a text file with the table's name. */
const WITH_SOURCE = ['hash', 'btree', 'texthash', 'lmdb', 'cdb', 'dbm', 'sdbm', 'cidr']

/** @returns the keys and values of a table that has a text source, or `undefined` */
export function rowsOf(
  table: Table,
  read: ReadFile,
): readonly (readonly [string, string])[] | undefined {
  if (table.type === 'inline') {
    return items(table.name.replace(/^\{|\}$/g, '')).map((row) => rowFrom(row.replace('=', ' ')))
  }
  if (!WITH_SOURCE.includes(table.type)) return undefined
  const text = read(table.name)
  return text === undefined ? undefined : joinedLines(text).map((line) => rowFrom(line.text))
}

const rowFrom = (line: string): [string, string] => {
  const [, key = '', value = ''] = /^(\S+)\s*(.*)$/s.exec(line.trim()) ?? []
  return [key, value.trim()]
}

/** The items of a list, with those of files and tables in it. `missing`: those that cannot be read. */
export function listItems(
  list: readonly string[],
  read: ReadFile,
): { readonly found: readonly string[]; readonly missing: readonly string[] } {
  const found: string[] = []
  const missing: string[] = []
  for (const item of list) {
    const [, not = '', name = ''] = /^(!?)(.*)$/s.exec(item) ?? []
    const table = /^[\da-f.:]+(\/\d+)?$/i.test(name) ? undefined : tableOf(name)
    if (!table) {
      found.push(item)
      continue
    }
    const text = table.type === 'list' ? read(table.name) : undefined
    const keys =
      text === undefined
        ? rowsOf(table, read)?.map(([key]) => key)
        : joinedLines(text).flatMap((line) => items(line.text))
    if (keys)
      found.push(...keys.map((key) => (key.startsWith('!') && not ? key.slice(1) : not + key)))
    else missing.push(item)
  }
  return { found, missing }
}
