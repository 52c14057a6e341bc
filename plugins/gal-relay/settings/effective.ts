// The values in effect on each listener and for each directory, key by key, and where each comes from.
import * as v from 'valibot'
import { DEFAULT, INHERITED } from './directories'
import type { Ini } from './ini'
import { shownValue } from './problem'
import * as schema from './schema'
import { FILE } from './sections'
import { layersOf, parseListener, type Settings } from './settings'
import type { Field } from './values'
import { writtenValue } from './written'

/** The value of one key. */
export interface EffectiveValue {
  /** The section that the key belongs to, such as `main` or `ldap`. */
  readonly section: string
  readonly key: string
  /** As it would be written in the file; one string for each item of a list. Never a password. */
  readonly value: string | readonly string[]
  readonly origin: 'file' | 'default'
  /** Where it is set: the section as written there, and the line of its first value. */
  readonly file?: string
  readonly in?: string
  readonly line?: number
}

export interface EffectiveSettings {
  readonly listeners: readonly {
    readonly listener: string
    readonly values: readonly EffectiveValue[]
  }[]
  readonly directories: readonly {
    readonly directory: string
    readonly values: readonly EffectiveValue[]
  }[]
  readonly http: readonly EffectiveValue[]
}

const LISTENER_SECTIONS = {
  main: schema.main,
  routing: schema.routing,
  restrictions: schema.restrictions,
} as const

/**
 * @param ini the source of the settings
 * @param configDir the folder that relative file names start from
 */
export function effectiveSettings(
  ini: Ini,
  settings: Settings,
  configDir: string,
): EffectiveSettings {
  const listeners = listenerSections(ini)
  return {
    listeners: Array.from(settings.policies.keys(), (listener) => {
      const layers = layersOf(listener).flatMap((layer) => listeners.get(layer) ?? [])
      const values = Object.entries(LISTENER_SECTIONS).flatMap(([section, fields]) =>
        Object.entries<Field>(fields).map(([key, field]) => {
          const usual = schema.LISTENER_DEFAULTS[key as keyof schema.ListenerKeys]
          return valueFrom(ini, { section, key, field, usual, in: [...layers, section] })
        }),
      )
      return { listener, values }
    }),
    directories: settings.directories.all.map(({ name, domains, ...parts }) => ({
      directory: name,
      values: [
        ...(name === DEFAULT ? [] : [domainsOf(ini, name, configDir)]),
        ...directoryValues(ini, name, parts, configDir),
      ],
    })),
    http: Object.entries<Field>(schema.http).map(([key, field]) =>
      valueFrom(ini, {
        ...{ section: 'http', key, field, in: ['http'] },
        usual: v.parse(field, undefined),
      }),
    ),
  }
}

/** The listener sections as written in the file, by listener. */
function listenerSections({ sections }: Ini): ReadonlyMap<string, string> {
  const found = [...sections.keys()]
    .filter((section) => /^listener\b/i.test(section))
    .map((section) => [parseListener(section), section] as const)
  return new Map(
    found.flatMap(([name, section]) => (typeof name === 'string' ? [[name, section]] : [])),
  )
}

interface Asked {
  readonly section: string
  readonly key: string
  readonly field: Field
  /** The value if no section sets the key. */
  readonly usual: unknown
  /** The sections that may set it, the one that wins first. */
  readonly in: readonly string[]
}

function valueFrom(ini: Ini, { section, key, field, usual, in: places }: Asked): EffectiveValue {
  const place = places.find((one) => ini.sections.get(one)?.has(key))
  const given = place && ini.sections.get(place)?.get(key)
  const read = given === undefined ? usual : v.parse(field, given)
  return {
    section,
    key,
    value: shown(key, writtenValue(read, field)),
    ...(place === undefined
      ? { origin: 'default' }
      : { origin: 'file', file: FILE, in: place, line: ini.lineOf(place, key) }),
  }
}

function shown(key: string, value: string | readonly string[]): string | readonly string[] {
  if (typeof value !== 'string') return value.map((one) => shownValue(key, one))
  return value === '' ? '' : shownValue(key, value)
}

type Parts = Pick<Settings['directories']['all'][number], 'gal' | 'ldap' | 'snapshot'>

function directoryValues(ini: Ini, name: string, parts: Parts, dir: string): EffectiveValue[] {
  const own = `directory ${name}`
  const shapes = {
    gal: schema.gal,
    ldap: schema.ldap(dir),
    snapshot: schema.snapshot(dir),
  }
  const isOwn = name !== DEFAULT
  return Object.entries(shapes).flatMap(([section, shape]) => {
    const inherited: readonly string[] = INHERITED[section as keyof typeof INHERITED]
    const usual: Readonly<Record<string, unknown>> = { ...parts[section as keyof Parts] }
    return Object.entries<Field>(shape)
      .filter(([key]) => !isOwn || !NO_DIRECTORYS.has(key))
      .map(([key, field]) => {
        const general = !isOwn || inherited.includes(key) ? [section] : []
        return valueFrom(ini, {
          ...{ section, key, field, usual: usual[key] },
          in: isOwn ? [sectionNamed(ini, own), ...general] : general,
        })
      })
  })
}

/** They say what is ours, for all directories at once. */
const NO_DIRECTORYS = new Set(['any_domain', 'always_accept'])

function domainsOf(ini: Ini, name: string, configDir: string): EffectiveValue {
  const field = schema.directory(configDir).domains
  const place = sectionNamed(ini, `directory ${name}`)
  return valueFrom(ini, { section: 'directory', key: 'domains', field, usual: [], in: [place] })
}

/** The section's name as written, blanks included. */
function sectionNamed({ sections }: Ini, name: string): string {
  return [...sections.keys()].find((one) => one.replace(/\s+/g, ' ') === name) ?? name
}
