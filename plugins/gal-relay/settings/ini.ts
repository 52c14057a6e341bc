// gal_relay.ini as Haraka's config reader gives it, plus what that reader keeps to itself: the lines
// it cannot read and drops, keys that stand twice where the last one wins, line numbers, and the
// text of values that it turned into numbers (a password 0123 is not 123).
import { domainToASCII } from 'node:url'
import { type Problem, shownValue } from './problem'
import { LIST_KEYS } from './schema'

/** What haraka-config's ini reader returns: sections of keys. */
export type HarakaIni = Readonly<Record<string, Readonly<Record<string, unknown>>>>

export interface Ini {
  /** Every value as text; arrays for keys written with `[]`. */
  readonly sections: ReadonlyMap<string, ReadonlyMap<string, string | readonly string[]>>
  /** @param key left out: the section's heading; @param index which of several values, from 0 */
  lineOf(section: string, key?: string, index?: number): number | undefined
  readonly problems: readonly Problem[]
}

interface Occurrence {
  readonly line: number
  readonly value: string
  readonly array: boolean
}

/**
 * @param parsed from `config.get('gal_relay.ini')`
 * @param text the file itself; undefined when there is none or it is overridden elsewhere
 */
export function readIni(file: string, parsed: HarakaIni, text: string | undefined): Ini {
  const { occurrences, problems } = scan(file, text ?? '')
  const sections = new Map<string, Map<string, string | readonly string[]>>()
  for (const [section, keys] of Object.entries(parsed)) {
    const values = new Map<string, string | readonly string[]>()
    for (const [key, value] of Object.entries(keys)) {
      const written = occurrences.get(`${section}\n${key}`) ?? []
      values.set(
        key,
        Array.isArray(value)
          ? value.filter(given).map((one, i) => literal(one, written[i]?.value))
          : literal(value, written.at(-1)?.value),
      )
    }
    sections.set(section, values)
  }
  return {
    sections,
    lineOf: (section, key = '', index = 0) => occurrences.get(`${section}\n${key}`)?.[index]?.line,
    problems,
  }
}

const given = (value: unknown) => value !== undefined && value !== null && value !== ''

function literal(value: unknown, written: string | undefined): string {
  if (typeof value === 'number' && written !== undefined && Number(written) === value)
    return written
  return value === undefined || value === null ? '' : String(value)
}

// The same grammar as haraka-config's ini reader, which reports none of this to its caller.
const COMMENT_OR_BLANK = /^\s*([;#].*)?$/
const SECTION = /^\s*\[([^\]]*)\]\s*$/
const CONTINUATION = /\\[ \t]*$/
const PARAM = /^\s*([\w@:._+\-/[\]]+)\s*(?:=\s*(.*?)\s*)?$/

function scan(file: string, text: string) {
  const occurrences = new Map<string, Occurrence[]>()
  const problems: Problem[] = []
  let section = 'main'
  let pending = ''
  text.split(/\r\n|\r|\n/).forEach((raw, index) => {
    const line = index + 1
    if (COMMENT_OR_BLANK.test(raw)) return
    const heading = SECTION.exec(raw)
    if (heading) {
      section = (heading[1] ?? '').trim()
      if (!occurrences.has(`${section}\n`)) {
        occurrences.set(`${section}\n`, [{ line, value: '', array: false }])
      }
      return
    }
    if (CONTINUATION.test(raw)) {
      pending += raw.replace(CONTINUATION, '')
      return
    }
    const whole = pending + raw
    pending = ''
    const param = PARAM.exec(whole)
    if (!param) {
      const isHeading = /^\s*\[/.test(whole)
      problems.push({
        file,
        line,
        section: isHeading ? undefined : section,
        what: unreadable(whole),
      })
      return
    }
    const [, name = '', value = ''] = param
    const array = name.endsWith('[]')
    const key = array ? name.slice(0, -2) : name
    const earlier = occurrences.get(`${section}\n${key}`) ?? []
    const first = earlier[0]
    if (first && !(array && first.array)) {
      problems.push({
        file,
        line,
        section,
        key: name,
        value: shownValue(key, value),
        what: repeated(section, key, first),
      })
    }
    // `hosts[] =` alone is the empty list: a key that was given, with no value to name.
    const counts = !array || value !== ''
    occurrences.set(`${section}\n${key}`, counts ? [...earlier, { line, value, array }] : earlier)
  })
  return { occurrences, problems }
}

function repeated(section: string, key: string, first: Occurrence): string {
  const where = `'${key}' stands in line ${first.line} already`
  if (section === 'routes') return `${where}; a domain has one row`
  const advice = LIST_KEYS.has(key) ? `; write ${key}[] = for each value of the list` : ''
  return `${where}, and only one of them can count${advice}`
}

// Nothing right of the = is repeated: the line may be a mistyped password.
function unreadable(line: string): string {
  const [, left = ''] = /^\s*([^=]*?)\s*=/.exec(line) ?? []
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
