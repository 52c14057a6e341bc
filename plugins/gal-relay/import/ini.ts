// What an importer has found: settings for gal_relay.ini, and a remark for everything it has seen.
// The settings' own reader has the last word: what it refuses is left out, and the remark says why.

import { readIni } from '../settings/ini'
import { type Problem, SettingsError, shownKey } from '../settings/problem'
import { readSettings } from '../settings/settings'

/**
 * `taken`: unchanged; `differs`: taken, but some mail is answered differently; `left out`: has no
 * equivalent, or must not be taken without asking.
 */
export type Outcome = 'taken' | 'differs' | 'left out'

export interface Remark {
  readonly outcome: Outcome
  /** The file, and the key or line in it. */
  readonly from: string
  /** Never a password. */
  readonly text: string
}

export interface Entry {
  readonly section: string
  /** With `[]` for a list. */
  readonly key: string
  readonly value: string
  /** One line, written above the setting. */
  readonly comment?: string
  /** Written as a comment, for a person to decide. */
  readonly isOff?: boolean
  readonly from: string
}

export interface Draft {
  readonly entries: Entry[]
  readonly remarks: Remark[]
}

export interface Imported {
  /** The complete text of gal_relay.ini. */
  readonly ini: string
  readonly remarks: readonly Remark[]
}

/** Reads a file that a configuration names. @returns `undefined` if it cannot be read */
export type ReadFile = (name: string) => string | undefined

export const newDraft = (): Draft => ({ entries: [], remarks: [] })

export function differs(draft: Draft, from: string, text: string): void {
  draft.remarks.push({ outcome: 'differs', from, text })
}

export function leaveOut(draft: Draft, from: string, text: string): void {
  draft.remarks.push({ outcome: 'left out', from, text })
}

/** @param key ends in `[]` for a list; for any other key, only the first value counts */
export function take(
  draft: Draft,
  from: string,
  section: string,
  key: string,
  value: string,
  more: Pick<Entry, 'comment' | 'isOff'> = {},
): void {
  const shown = /password$/.test(key) ? '(not shown)' : value
  const text = `[${section}] ${key} = ${shown}`
  // One line must not become two: the second one could set anything.
  if (/\p{Cc}/u.test(key + value)) {
    leaveOut(draft, from, `${text}: has a control character`)
    return
  }
  const isOne = !key.endsWith('[]')
  const known = draft.entries.find(
    (one) => one.section === section && one.key === key && (isOne || one.value === value),
  )
  if (known && known.value !== value) {
    leaveOut(draft, from, `${text}: ${known.from} has said ${known.value} already`)
    return
  }
  if (!known) draft.entries.push({ section, key, value, from, ...more })
  if (!more.isOff) draft.remarks.push({ outcome: 'taken', from, text })
}

/** Takes a row of the routing table. */
export const takeRow = (draft: Draft, from: string, sentTo: string, routeTo: string) =>
  take(draft, from, 'routes', sentTo, routeTo)

/** Never takes an open relay as such: writes the line only as a comment. */
export function takeOpenRelay(draft: Draft, from: string, why: string): void {
  const comment = `${from} let everybody relay. Uncomment this only if an open relay is meant:`
  take(draft, from, 'restrictions', 'open', 'true', { comment, isOff: true })
  leaveOut(
    draft,
    from,
    `${why}: an open relay. Here only those named in [restrictions] may relay; open = true is in the ini as a comment`,
  )
}

/** Takes out everything that the settings' reader would refuse. */
export function finish(draft: Draft, title: string): Imported {
  const remarks = [...draft.remarks]
  let entries: readonly Entry[] = draft.entries
  for (;;) {
    const { text, byLine } = written(entries, title)
    const wrong = new Map<Entry, Problem>()
    for (const problem of problemsIn(text)) {
      const entry = problem.line === undefined ? undefined : byLine.get(problem.line)
      if (entry) wrong.set(entry, problem)
    }
    if (wrong.size === 0) return completed(entries, remarks, title)
    for (const [{ section, key, from }, { what }] of wrong) {
      const named = `[${section}] ${shownKey(key)}`
      remarks.push({ outcome: 'left out', from, text: `${named}: ${what}` })
    }
    entries = entries.filter((one) => !wrong.has(one))
  }
}

function problemsIn(text: string): readonly Problem[] {
  try {
    readSettings(readIni('config/gal_relay.ini', text), [], '/')
    return []
  } catch (error) {
    if (error instanceof SettingsError) return error.problems
    throw error
  }
}

/** Adds comments for what only the postmaster knows. */
function completed(entries: readonly Entry[], remarks: Remark[], title: string): Imported {
  const has = (key: string) => entries.some((one) => one.section === 'ldap' && one.key === key)
  const missing: Entry[] = []
  const off = (key: string, value: string, comment?: string) =>
    missing.push({ section: 'ldap', key, value, comment, isOff: true, from: '' })
  if (!has('url[]'))
    off('url[]', 'ldaps://dc1.corp.example', 'the directory; the plugin does not start without it')
  if (!has('base') && !has('base[]')) off('base', 'dc=corp,dc=example')
  if (missing.length > 0) {
    const keys = missing.map(({ key }) => key).join(' and ')
    const text = `names no directory that can be imported: fill in [ldap] ${keys} before the plugin can start`
    remarks.push({ outcome: 'left out', from: title, text })
  }
  return { ini: written([...entries, ...missing], title).text, remarks }
}

const SECTIONS = ['main', 'routing', 'routes', 'restrictions', 'gal', 'ldap']

function written(entries: readonly Entry[], title: string) {
  const lines = [`; taken from ${title} by gal-relay import; check it with gal-relay check`]
  const byLine = new Map<number, Entry>()
  const others = entries.map(({ section }) => section).filter((one) => !SECTIONS.includes(one))
  for (const section of new Set([...SECTIONS.slice(0, 4), ...others, ...SECTIONS.slice(4)])) {
    const own = entries.filter((one) => one.section === section)
    if (own.length === 0) continue
    lines.push(`[${section}]`)
    for (const entry of own) {
      if (entry.comment) lines.push(`; ${entry.comment}`)
      lines.push(`${entry.isOff ? ';' : ''}${entry.key} = ${entry.value}`)
      if (!entry.isOff) byLine.set(lines.length, entry)
    }
  }
  return { text: `${lines.join('\n')}\n`, byLine }
}
