// Postfix's ldap: tables (ldap_table(5)): a parameter file, or main.cf with the table's name as prefix.
import type { Lookup } from './directory'
import { type Draft, differs, leaveOut, type ReadFile } from './ini'
import { items, type MainCf, type Table } from './postfix-files'
import { joinedLines } from './text'

/** @param from the parameter in main.cf that names the table */
export function lookupOf(
  draft: Draft,
  table: Table,
  from: string,
  main: MainCf,
  read: ReadFile,
): Lookup | undefined {
  const get = parametersOf(table, main, read)
  if (!get) {
    leaveOut(
      draft,
      from,
      `${table.name} cannot be read; recipients that only it finds would be refused`,
    )
    return undefined
  }
  const place = `${from}: ${table.name}`
  const base = get('search_base')
  if (/%[a-z\d]/i.test(base)) {
    leaveOut(
      draft,
      place,
      `search_base = ${base} depends on the address; recipients that only it finds would be refused`,
    )
    return undefined
  }
  remarkOn(draft, place, get)
  const isBound = !/^(no|none)$/i.test(get('bind') || 'yes')
  return {
    from: place,
    urls: urlsOf(get),
    base,
    scope: get('scope') || 'sub',
    filter: get('query_filter') || '(mailacceptinggeneralid=%s)',
    mustHave: items(get('result_attribute') || 'maildrop'),
    bindDn: isBound ? get('bind_dn') : '',
    bindPassword: isBound ? get('bind_pw') : '',
    starttls: isYes(get('start_tls')),
    more: moreOf(get),
  }
}

type Get = (name: string) => string

const isYes = (text: string) => /^yes$/i.test(text)

function parametersOf(table: Table, main: MainCf, read: ReadFile): Get | undefined {
  if (!table.name.startsWith('/')) {
    const has = main.isSet(`${table.name}_search_base`) || main.isSet(`${table.name}_server_host`)
    return has ? (name) => main.get(`${table.name}_${name}`) : undefined
  }
  const text = read(table.name)
  if (text === undefined) return undefined
  const values = new Map<string, string>()
  for (const { text: line } of joinedLines(text)) {
    const [, name, value = ''] = /^(\w+)\s*=(.*)$/s.exec(line) ?? []
    if (name) values.set(name, value.trim())
  }
  return (name) => values.get(name) ?? ''
}

function urlsOf(get: Get): string[] {
  const port = get('server_port')
  return items(get('server_host') || 'localhost').map((host) => {
    if (host.includes('://')) return host.replace(/(?<=:\/\/[^/]*)\/$/, '')
    return `ldap://${host}${port && !/:\d+$/.test(host) ? `:${port}` : ''}`
  })
}

const DEREFERENCE = ['never', 'search', 'find', 'always']

function moreOf(get: Get): Record<string, string> {
  const more: Record<string, string> = {}
  const dereference = DEREFERENCE[Number(get('dereference') || 0)]
  if (dereference && dereference !== 'never') more.dereference = dereference
  for (const [theirs, ours] of [
    ['tls_ca_cert_file', 'tls_ca'],
    ['tls_cert', 'tls_cert'],
    ['tls_key', 'tls_key'],
  ] as const) {
    if (get(theirs)) more[ours] = get(theirs)
  }
  return more
}

/** Remarks on what a table says that the one directory here cannot express, or expresses differently. */
function remarkOn(draft: Draft, place: string, get: Get): void {
  if (get('domain')) {
    differs(
      draft,
      place,
      `domain = ${get('domain')}: here the directory is asked for every domain of ours`,
    )
  }
  if (/^(2|)$/.test(get('version'))) {
    differs(draft, place, 'version = 2 (Postfix asked by LDAPv2): here it is always LDAPv3')
  }
  if (/sasl/i.test(get('bind'))) {
    leaveOut(
      draft,
      place,
      `bind = ${get('bind')}: see bind_method = external, or use a simple bind`,
    )
  }
  const isEncrypted = isYes(get('start_tls')) || /ldaps:/i.test(get('server_host'))
  if (isEncrypted && !isYes(get('tls_require_cert'))) {
    differs(
      draft,
      place,
      "tls_require_cert was off; here the server's certificate must be valid: tls_ca names its authority",
    )
  }
  if (isYes(get('chase_referrals'))) {
    leaveOut(
      draft,
      place,
      'chase_referrals = yes: name the servers that may be followed to: referrals = follow with referral_hosts[]',
    )
  }
  for (const name of [
    'special_result_attribute',
    'leaf_result_attribute',
    'terminal_result_attribute',
    'result_format',
    'expansion_limit',
    'size_limit',
  ]) {
    if (get(name))
      leaveOut(
        draft,
        place,
        `${name}: here it matters only whether the address is in the directory`,
      )
  }
}
