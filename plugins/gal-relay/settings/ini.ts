// gal_relay.ini as Haraka reads it, plus what its reader does not tell: line numbers, repeated keys
// of which only the last counts, and the text of values that it turns into numbers (a password 0123
// is not 123). Haraka prints lines that it cannot read, passwords included; here they become
// problems.
import { domainToASCII } from 'node:url'
import { type Problem, shownKey } from './problem'
import { LIST_KEYS } from './schema'
import { atOnce, type Steps } from './steps'

/** What haraka-config's ini reader returns: sections of keys. */
export type HarakaIni = Readonly<Record<string, Readonly<Record<string, unknown>>>>

/** Keys written with `[]` have arrays. */
type Sections = ReadonlyMap<string, ReadonlyMap<string, string | readonly string[]>>

export interface Ini {
  /** Every value as text. */
  readonly sections: Sections
  /** @param key omit it for the section's heading; @param index which of several values, from 0 */
  lineOf(section: string, key?: string, index?: number): number | undefined
  readonly problems: readonly Problem[]
}

/** @param given the file's text, or what Haraka uses instead, from smtp.json or a .js file */
export function readIni(file: string, given: string | HarakaIni): Ini {
  return atOnce(readIniSteps(file, given))
}

/** The same, one line per step. */
export function* readIniSteps(file: string, given: string | HarakaIni): Steps<Ini> {
  if (typeof given === 'string') return yield* readLines(file, given)
  return { sections: yield* valuesAsText(given), lineOf: () => undefined, problems: [] }
}

/** The lines of a text with any kind of line ending. */
export function* linesOf(text: string): Generator<string> {
  const ending = /\r\n|\r|\n/g
  let start = 0
  for (let found = ending.exec(text); found; found = ending.exec(text)) {
    yield text.slice(start, found.index)
    start = ending.lastIndex
  }
  yield text.slice(start)
}

/** The text without the lines that Haraka's reader would print because it cannot read them. */
export function readableText(text: string): string {
  return [...statements(text)]
    .flatMap((one) => (one === undefined || one.kind === 'none' ? [] : [one.text]))
    .join('\n')
}

function* valuesAsText(given: HarakaIni): Steps<Sections> {
  const textOf = (value: unknown) => String(value ?? '')
  const valuesOf = (value: unknown) =>
    Array.isArray(value) ? value.map(textOf).filter(Boolean) : textOf(value)
  const sections = new Map<string, Map<string, string | string[]>>()
  for (const [section, keys] of Object.entries(given)) {
    const texts = new Map<string, string | string[]>()
    sections.set(section, texts)
    for (const [key, value] of Object.entries(keys)) {
      yield
      texts.set(key, valuesOf(value))
    }
  }
  return sections
}

// The same grammar as haraka-config's ini reader.
const COMMENT_OR_BLANK = /^\s*([;#].*)?$/
const SECTION = /^\s*\[([^\]]*)\]\s*$/
const CONTINUATION = /\\[ \t]*$/
const PARAM = /^\s*([\w@:._+\-/[\]]+)\s*(?:=\s*(.*?)\s*)?$/

interface Statement {
  readonly kind: 'section' | 'key' | 'none'
  readonly line: number
  readonly text: string
  /** The name of the section or key; list keys end in `[]`. */
  readonly name: string
  readonly value: string
  /** The number of the line whose final backslash swallowed this one, a line in its own right. */
  readonly swallowedBy?: number
}

const LINE_WITH_KEY = /^\s*[\w@:._+\-/[\]]+\s*=/
const ENDS_IN_BACKSLASH =
  'ends in a backslash, which joins the next line to it; a password that ends in one goes into ' +
  'bind_password_file'

/** Yields `undefined` for a line that says nothing by itself. */
function* statements(text: string): Generator<Statement | undefined> {
  let pending = ''
  let pendingLine = 0
  let line = 0
  const unfinished = (): Statement => ({
    ...{ kind: 'none', line: pendingLine, text: '', name: '', value: '' },
    swallowedBy: pendingLine,
  })
  for (const raw of linesOf(text)) {
    line++
    if (COMMENT_OR_BLANK.test(raw)) {
      yield undefined
      continue
    }
    const [heading, section = ''] = SECTION.exec(raw) ?? []
    if (heading) {
      if (pending) yield unfinished()
      yield { kind: 'section', line, text: raw, name: section.trim(), value: '' }
      continue
    }
    if (CONTINUATION.test(raw)) {
      pending += raw.replace(CONTINUATION, '')
      pendingLine = line
      yield undefined
      continue
    }
    const swallowedBy = pending && LINE_WITH_KEY.test(raw) ? pendingLine : undefined
    const whole = pending + raw
    pending = ''
    const [, name = '', value = ''] = PARAM.exec(whole) ?? []
    yield { kind: name ? 'key' : 'none', line, text: whole, name, value, swallowedBy }
  }
  if (pending) yield unfinished()
}

interface Place {
  /** The line where the key or heading first appears. */
  readonly first: number
  /** The lines of a list's values. */
  readonly values: number[]
}

function* readLines(file: string, text: string): Steps<Ini> {
  const sections = new Map<string, Map<string, string | string[]>>()
  const places = new Map<string, Place>()
  const problems: Problem[] = []
  const placeOf = (section: string, key: string, line: number): Place => {
    const name = `${section}\n${key}`
    const place = places.get(name) ?? { first: line, values: [] }
    places.set(name, place)
    return place
  }
  const open = (section: string) => {
    const keys = sections.get(section) ?? new Map<string, string | string[]>()
    sections.set(section, keys)
    return keys
  }
  let section = 'main'
  let keys = open(section)
  for (const statement of statements(text)) {
    yield
    if (!statement) continue
    const { kind, line, text: whole, name, value, swallowedBy } = statement
    if (swallowedBy !== undefined) {
      const key = name || undefined
      problems.push({ file, line: swallowedBy, section, key, what: ENDS_IN_BACKSLASH })
    } else if (kind === 'none') {
      const isHeading = /^\s*\[/.test(whole)
      const what = unreadableLine(whole)
      problems.push({ file, line, section: isHeading ? undefined : section, what })
    }
    if (kind === 'none') continue
    if (kind === 'section') {
      section = name
      keys = open(section)
      placeOf(section, '', line)
      continue
    }
    const isList = /.\[\]$/.test(name)
    const key = isList ? name.slice(0, -2) : name
    const earlier = keys.get(key)
    const place = placeOf(section, key, line)
    if (earlier !== undefined && !(isList && Array.isArray(earlier))) {
      problems.push({ file, line, section, key: name, what: repeated(section, key, place.first) })
    }
    if (!isList) {
      keys.set(key, value)
      continue
    }
    const list = Array.isArray(earlier) ? earlier : []
    keys.set(key, list)
    // `hosts[] =` alone is an empty list: the key was given, but there is no value to name.
    if (value === '') continue
    list.push(value)
    place.values.push(line)
  }
  return {
    sections,
    lineOf: (section, key = '', index = 0) => {
      const place = places.get(`${section}\n${key}`)
      return place?.values[index] ?? place?.first
    },
    problems,
  }
}

function repeated(section: string, key: string, first: number): string {
  const where = `'${shownKey(key)}' is already in line ${first}`
  if (section === 'routes') {
    return `${where}; ${key.lastIndexOf('@') > 0 ? 'an address' : 'a domain'} can have only one row`
  }
  const advice = LIST_KEYS.has(key) ? `; write ${key}[] = for each value of the list` : ''
  return `${where}, and only one of them can count${advice}`
}

// Nothing after the `=` is repeated: the line may be a mistyped password, and so may what precedes it.
function unreadableLine(line: string): string {
  const [, before = ''] = /^\s*([^=]*?)\s*=/.exec(line) ?? []
  const left = /:\/\/|password.*\S\s*\S/i.test(before) ? '' : before
  const [, address, port] = /^\s*\[listener\s+\[([\da-f:.]+)\]:?(\d+|\*)?\]/i.exec(line) ?? []
  if (address) {
    return `Haraka cannot read this section name; an IPv6 listener is written without brackets: [listener ${address}:${port ?? '*'}]`
  }
  const shown = left ? `'${left}'` : 'this line'
  const wildcard = /^\*\.(.+)$/.exec(left)
  if (wildcard)
    return `Haraka cannot read the key ${shown}; probably meant: ${wildcard[1]} (it matches the subdomains too)`
  const ascii = left && domainToASCII(left)
  if (ascii && ascii !== left && /[^\x20-\x7e]/.test(left)) {
    return `Haraka cannot read the key ${shown}; write the domain as its A-label: ${ascii}`
  }
  return `Haraka cannot read ${left ? `the key ${shown}` : shown}; a line is key = value, [section] or ; comment`
}
