// The sections of gal_relay.ini, each read with its schema. Errors become problems with file,
// section, key, value and, if it can be guessed, what was meant.
import * as v from 'valibot'
import { didYouMean } from '../routing/did-you-mean'
import { parseDomain } from '../routing/routes'
import type { Ini } from './ini'
import { type Problem, shownValue } from './problem'
import * as schema from './schema'
import type { Steps } from './steps'
import { COMMENT, type Field, type Fields, ONE_EACH, type Values } from './values'

export const FILE = 'config/gal_relay.ini'

/** Says what is wrong with a value, and mentions comments if one may follow it. */
function orComment(what: string, value: unknown): string {
  if (typeof value !== 'string' || !/\S\s+[;#]/.test(value)) return what
  return what === ONE_EACH || what === COMMENT ? COMMENT : `${what}; ${COMMENT}`
}

export const shown = (key: string, value: string | readonly string[]) =>
  shownValue(key, typeof value === 'string' ? value : value.join(', '))

/** Reads sections with their schemas and turns errors into problems. */
export class SectionReader {
  private readonly known = new Set<string>()

  constructor(
    private readonly ini: Ini,
    private readonly problems: Problem[],
  ) {}

  names(): readonly string[] {
    return [...this.ini.sections.keys()]
  }

  entries(section: string): Iterable<readonly [string, string | readonly string[]]> {
    this.known.add(section)
    return this.ini.sections.get(section) ?? []
  }

  report(problem: Omit<Problem, 'file'>): void {
    const { section = '', key, value } = problem
    const what = orComment(problem.what, value)
    this.problems.push({ file: FILE, line: this.ini.lineOf(section, key), ...problem, what })
  }

  /** @returns `undefined` if the section has a problem */
  *read<T extends Fields>(section: string, fields: T): Steps<Values<T> | undefined> {
    const before = this.problems.length
    const given = new Map<string, string | readonly string[]>()
    for (const [key, value] of this.entries(section)) {
      yield
      if (Object.hasOwn(fields, key)) given.set(key, value)
      else this.report({ section, key, what: unknownKey(section, key, fields) })
    }
    const values: Record<string, unknown> = {}
    for (const [key, field] of Object.entries<Field>(fields)) {
      const value = yield* this.readKey(section, key, given.get(key), field)
      if (value !== undefined) values[key] = value
    }
    return this.problems.length > before ? undefined : (values as Values<T>)
  }

  /**
   * Reads a long list piece by piece.
   * @param given `undefined` for the default
   */
  private *readKey(
    section: string,
    key: string,
    given: string | readonly string[] | undefined,
    field: Field,
  ): Steps<unknown> {
    if (!Array.isArray(given) || given.length <= PIECE) {
      const result = v.safeParse(field, given)
      if (!result.success) this.reportIssues(section, key, given, result.issues)
      return result.output
    }
    const all: unknown[] = []
    for (let at = 0; at < given.length; at += PIECE) {
      yield
      const { output, issues = [] } = v.safeParse(field, given.slice(at, at + PIECE))
      this.reportIssues(section, key, given, issues, at)
      // The same would be wrong with each piece.
      if (issues.some(({ path }) => !path)) break
      if (Array.isArray(output)) all.push(...output)
    }
    return all
  }

  *reportUnknown(): Steps<void> {
    for (const section of this.names()) {
      yield
      if (this.known.has(section)) continue
      const meant = didYouMean(section, [...SECTIONS, 'listener *:587', 'directory NAME'])
      this.report({
        section,
        what: `there is no such section${meant ? `; probably meant: [${meant}]` : ''}`,
      })
    }
  }

  /** @param from the index in the list of the first value that was read */
  private reportIssues(
    section: string,
    key: string,
    given: string | readonly string[] | undefined,
    issues: readonly v.BaseIssue<unknown>[],
    from = 0,
  ): void {
    for (const { kind, message, path } of issues) {
      const place = path?.[0].key
      const index = typeof place === 'number' ? from + place : undefined
      const value = Array.isArray(given) && index !== undefined ? given[index] : given
      const what = kind === 'schema' ? `takes one value; write ${key} = …, without []` : message
      this.problems.push({
        file: FILE,
        line: this.ini.lineOf(section, key, index),
        section,
        key: Array.isArray(given) ? `${key}[]` : key,
        value: value === undefined ? undefined : shown(key, value),
        what: orComment(what, value),
      })
    }
  }
}

/** How many values of a list are read in one step. */
const PIECE = 50

/** Every key, by section; a `[listener …]` section may have those of the first three. */
export const SECTION_KEYS: Readonly<Record<string, readonly string[]>> = {
  main: Object.keys(schema.main),
  routing: Object.keys(schema.routing),
  restrictions: Object.keys(schema.restrictions),
  gal: Object.keys(schema.gal),
  ldap: Object.keys(schema.ldap('')),
  snapshot: Object.keys(schema.snapshot('')),
  // Plus those of [gal], [ldap] and [snapshot].
  directory: ['domains'],
  http: Object.keys(schema.http),
  harvest: Object.keys(schema.harvest),
  redis: Object.keys(schema.redis('')),
}
const SECTIONS: readonly string[] = [
  ...Object.keys(SECTION_KEYS).filter((section) => section !== 'directory'),
  'routes',
  'hosts',
]

/** @returns the section that the key belongs to, as written */
export function homeOf(key: string): string | undefined {
  const home = Object.keys(SECTION_KEYS).find((section) => SECTION_KEYS[section]?.includes(key))
  return home === 'directory' ? 'directory NAME' : home
}

function unknownKey(section: string, key: string, fields: object): string {
  const home = homeOf(key)
  if (home) return `belongs in [${home}]`
  const meant =
    didYouMean(key, Object.keys(fields)) ?? didYouMean(key, Object.values(SECTION_KEYS).flat())
  if (meant) return `there is no such key; probably meant: ${meant}`
  if (section === 'main' && parseDomain(key)?.includes('.')) {
    return 'there is no such key; rows of the routing table go into [routes]'
  }
  return 'there is no such key'
}
