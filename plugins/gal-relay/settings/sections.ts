// The sections of gal_relay.ini, each read with its schema. Errors become problems with file,
// section, key, value and, if it can be guessed, what was meant.
import type { ZodError, z } from 'zod'
import { didYouMean } from '../routing/did-you-mean'
import { parseDomain } from '../routing/routes'
import type { Ini } from './ini'
import { type Problem, shownValue } from './problem'
import * as schema from './schema'
import type { Steps } from './steps'
import { COMMENT, ONE_EACH } from './values'

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
  *read<T extends z.ZodObject>(section: string, object: T): Steps<z.output<T> | undefined> {
    const fields: Readonly<Record<string, z.ZodType>> = object.shape
    const before = this.problems.length
    const given = new Map<string, string | readonly string[]>()
    for (const [key, value] of this.entries(section)) {
      yield
      if (Object.hasOwn(fields, key)) given.set(key, value)
      else this.report({ section, key, what: unknownKey(section, key, fields) })
    }
    const beginnings = [...given].map(([key, value]) => [key, pieceOf(value, 0)])
    const result = object.safeParse(Object.fromEntries(beginnings), ONCE)
    if (!result.success) this.reportIssues(section, given, result.error)
    const data: Record<string, unknown> = { ...result.data }
    const isWrong = (key: string) =>
      result.error?.issues.some(({ path }) => path[0] === key && path.length === 1)
    for (const [key, value] of given) {
      const field = fields[key]
      // An error in the value as a whole has been reported.
      if (!field || typeof value === 'string' || value.length <= PIECE || isWrong(key)) continue
      data[key] = yield* this.readRest(section, key, value, field, data[key])
    }
    return this.problems.length > before ? undefined : (data as z.output<T>)
  }

  /** Reads a long list piece by piece, starting after its first piece. */
  private *readRest(
    section: string,
    key: string,
    values: readonly string[],
    field: z.ZodType,
    first: unknown,
  ): Steps<unknown[]> {
    const all: unknown[] = Array.isArray(first) ? first : []
    for (let at = PIECE; at < values.length; at += PIECE) {
      yield
      const result = field.safeParse(pieceOf(values, at))
      if (!result.success) {
        this.reportIssues(section, new Map([[key, values]]), result.error, [key], at)
      } else if (Array.isArray(result.data)) all.push(...result.data)
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

  private reportIssues(
    section: string,
    values: ReadonlyMap<string, string | readonly string[]>,
    error: ZodError,
    place: readonly string[] = [],
    from = 0,
  ): void {
    for (const issue of error.issues) {
      const [key, inPiece] = [...place, ...issue.path] as [string, number | undefined]
      const index = inPiece === undefined ? undefined : from + inPiece
      const value = values.get(key)
      const one = Array.isArray(value) && index !== undefined ? value[index] : value
      this.problems.push({
        file: FILE,
        line: this.ini.lineOf(section, key, index),
        section,
        key: Array.isArray(value) ? `${key}[]` : key,
        value: one === undefined ? undefined : shown(key, one),
        what: orComment(
          issue.code === 'custom' ? issue.message : `takes one value; write ${key} = …, without []`,
          one,
        ),
      })
    }
  }
}

/** zod would compile each schema, which only pays if it is used many times. */
const ONCE = { jitless: true }

/** How many values of a list are read in one step. */
const PIECE = 50

const pieceOf = (value: string | readonly string[], from: number) =>
  typeof value === 'string' ? value : value.slice(from, from + PIECE)

/** Every key, by section; a `[listener …]` section may have those of the first three. */
export const SECTION_KEYS: Readonly<Record<string, readonly string[]>> = {
  main: Object.keys(schema.main),
  routing: Object.keys(schema.routing),
  restrictions: Object.keys(schema.restrictions),
  gal: Object.keys(schema.gal.shape),
  ldap: Object.keys(schema.ldap('').shape),
  snapshot: Object.keys(schema.snapshot('').shape),
  // Plus those of [gal], [ldap] and [snapshot].
  directory: ['domains'],
  http: Object.keys(schema.http.shape),
  harvest: Object.keys(schema.harvest.shape),
  redis: Object.keys(schema.redis('').shape),
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
