// The Internet Mail Service of Exchange 5.5: its routing restrictions as exported by regedit
// (Q193922, Q206968), and its routing table as text, one row per line (Q169683, Q217217, Q259531).
import {
  type Draft,
  differs,
  finish,
  type Imported,
  leaveOut,
  newDraft,
  take,
  takeOpenRelay,
  takeRow,
} from './ini'
import { takeHosts } from './networks'

export interface ImsFile {
  readonly name: string
  readonly text: string
}

export const isRegistryExport = (text: string) =>
  /^(REGEDIT4|Windows Registry Editor Version 5\.00)\s*$/m.test(text.slice(0, 200))

const HEADING = /^[ \t]*"?sent[ \t]*to"?[ \t,;=|]+"?route[ \t]*to"?/im
export const isRoutingTable = (text: string) => HEADING.test(text) || /<inbound>/i.test(text)

/** @param files registry exports and routing tables */
export function importIms(files: readonly ImsFile[], title: string): Imported {
  const draft = newDraft()
  for (const { name, text } of files) {
    if (isRegistryExport(text)) takeRestrictions(draft, name, parametersIn(text))
    else takeTable(draft, name, text)
  }
  return finish(draft, title)
}

// ── Routing restrictions ────────────────────────────────────────────────────────────────────────

const NEVER = 1
const HOSTS = 2
const LOCAL_ADDRESSES = 4
const AUTHENTICATED = 8

const LISTS = [
  { name: 'RelayDenyList', flag: NEVER, key: 'never[]' },
  { name: 'RelayAllowList', flag: HOSTS, key: 'hosts[]' },
  { name: 'RelayLocalIPList', flag: LOCAL_ADDRESSES, key: 'local_addresses[]' },
] as const

/** A number, the strings of a list, or text that is neither. */
type Value = number | readonly string[] | { readonly unreadable: string }

/** @param values `undefined` if the export lacks the key */
function takeRestrictions(
  draft: Draft,
  file: string,
  values: ReadonlyMap<string, Value> | undefined,
): void {
  if (!values) {
    leaveOut(
      draft,
      file,
      'has no key MSExchangeIMC\\Parameters: export that key of the Exchange server',
    )
    return
  }
  const from = (name: string) => `${file}: ${name}`
  const flags = values.get('relayflags') ?? 0
  if (typeof flags !== 'number') {
    leaveOut(
      draft,
      from('RelayFlags'),
      'is not a number (dword:00000002), so which restrictions count is not known; none was taken',
    )
    return
  }
  for (const { name, flag, key } of LISTS) {
    const list = values.get(name.toLowerCase()) ?? []
    const isCounting = (flags & flag) !== 0
    if (!Array.isArray(list)) {
      leaveOut(draft, from(name), 'is not a list of strings (hex(7):…)')
    } else if (!isCounting && list.length > 0) {
      const count = list.length === 1 ? 'the entry' : `${list.length} entries`
      leaveOut(draft, from(name), `${count}: RelayFlags lacks ${flag}, so they did not count`)
    } else if (isCounting) {
      for (const entry of list) {
        const network = entry.replace(/\s+/g, '')
        if (key === 'hosts[]') takeHosts(draft, from(name), network)
        else take(draft, from(name), 'restrictions', key, network)
      }
    }
  }
  if (flags & AUTHENTICATED)
    take(draft, from('RelayFlags'), 'restrictions', 'authenticated', 'true')
  if (flags & ~(NEVER | HOSTS | LOCAL_ADDRESSES | AUTHENTICATED)) {
    leaveOut(
      draft,
      from('RelayFlags'),
      `${flags} has bits besides 1, 2, 4 and 8, whose meaning is not known`,
    )
  }
  if (flags & (HOSTS | LOCAL_ADDRESSES | AUTHENTICATED)) return
  const state = values.has('relayflags') ? `is ${flags}` : 'is absent'
  const who = flags & NEVER ? 'everybody who is not denied could relay' : 'everybody could relay'
  takeOpenRelay(draft, from('RelayFlags'), `${state}: ${who} (Q193922, Q260562)`)
}

/** The values of the key, by name in lower case. */
function parametersIn(text: string): ReadonlyMap<string, Value> | undefined {
  const isUnicode = !/^REGEDIT4\s*$/m.test(text.slice(0, 200))
  let values: Map<string, Value> | undefined
  let isInside = false
  for (const line of text.replace(/\\[ \t]*\r?\n[ \t]*/g, '').split(/\r?\n/)) {
    const [, key] = /^\s*\[([^\]]*)\]/.exec(line) ?? []
    if (key !== undefined) {
      isInside = /\\MSExchangeIMC\\Parameters$/i.test(key)
      if (isInside) values ??= new Map()
    }
    const [, name = '', data = ''] = /^\s*"((?:[^"\\]|\\.)*)"\s*=(.*)$/.exec(line) ?? []
    if (isInside && name && data.trim() !== '-')
      values?.set(name.toLowerCase(), registryValue(data.trim(), isUnicode))
  }
  return values
}

function registryValue(data: string, isUnicode: boolean): Value {
  const [, number] = /^dword:([\da-f]{1,8})$/i.exec(data) ?? []
  if (number !== undefined) return Number.parseInt(number, 16)
  const [, listed] = /^hex\(7\):([\da-f,\s]*)$/i.exec(data) ?? []
  if (listed === undefined) return { unreadable: data }
  const bytes = Uint8Array.from(
    listed
      .split(',')
      .map((byte) => byte.trim())
      .filter(Boolean),
    (byte) => Number.parseInt(byte, 16),
  )
  const text = new TextDecoder(isUnicode ? 'utf-16le' : 'windows-1252').decode(bytes)
  return text
    .split('\0')
    .map((one) => one.trim())
    .filter(Boolean)
}

// ── Routing table ───────────────────────────────────────────────────────────────────────────────

function takeTable(draft: Draft, file: string, text: string): void {
  for (const { text: line, number } of rowsOf(text)) {
    const from = `${file} line ${number}`
    const [sentTo = '', routeTo = '', ...more] = columnsOf(line)
    if (!sentTo || !routeTo) {
      leaveOut(draft, from, `'${line.trim()}' is not a row: Sent to, a tab, Route to`)
      continue
    }
    const isOverride = /override|always/i.test(more.join(' '))
    const row = sentTo.startsWith('#') ? `@${sentTo.slice(1)}` : sentTo
    if (/^<?inbound>?$/i.test(routeTo) || /accepted as inbound/i.test(routeTo)) {
      takeRow(draft, from, row, 'inbound')
      continue
    }
    const host = routeTo.replace(/^\[(ipv6:)?([^\]]*)\]$/i, '$2')
    const hop = `smtp://${host.includes(':') ? `[${host}]` : host}`
    takeRow(draft, from, row, `${isOverride ? 'always-relay' : 'forward'} ${hop}`)
    if (!isOverride) {
      differs(
        draft,
        from,
        `only clients that may relay can send there, as in IMS; if the recipients are in the GAL, write inbound ${hop}`,
      )
    }
  }
}

/** A `#` does not begin a comment here: `#example.com` is a domain without its subdomains. */
const rowsOf = (text: string) =>
  text
    .split(/\r\n|\r|\n/)
    .map((line, index) => ({ text: line, number: index + 1 }))
    .filter(({ text }) => !/^[\s|=+-]*$/.test(text) && !HEADING.test(text) && !/^\s*;/.test(text))

function columnsOf(line: string): string[] {
  const separator =
    [/\t+/, /\s*[|=,]\s*/, /\s{2,}/, /\s+/].find((one) => one.test(line.trim())) ?? /\s+/
  return line
    .trim()
    .split(separator)
    .map((column) => column.trim().replace(/^"(.*)"$/, '$1'))
    .filter(Boolean)
}
