// Splits an Exim configuration into sections, options and lists (spec.txt, chapters 6, 10 and 15).
import type { ReadFile } from './ini'
import { contentLines, type Line } from './text'

export interface Router {
  readonly name: string
  /** A router without `domains` takes all domains. */
  readonly options: ReadonlyMap<string, string>
}

export interface EximConfig {
  /** The options of the main section. */
  readonly main: ReadonlyMap<string, string>
  /** `domainlist` and `hostlist`, keyed by kind and name: `domainlist local_domains`. */
  readonly lists: ReadonlyMap<string, string>
  readonly routers: readonly Router[]
  /** The text of the ACLs. */
  readonly acl: string
  /** Lines with `.ifdef` and the like, and `.include`. */
  readonly directives: readonly string[]
}

export function readExim(text: string): EximConfig {
  const macros: [name: string, value: string][] = []
  const main = new Map<string, string>()
  const lists = new Map<string, string>()
  const routers: Router[] = []
  const directives: string[] = []
  const acl: string[] = []
  let section = 'main'
  let options = new Map<string, string>()
  for (const { text: line } of continued(text)) {
    if (line.startsWith('.')) {
      directives.push(line)
      continue
    }
    const [, macro, definition = ''] =
      (section === 'main' && /^([A-Z]\w*)\s*==?\s*(.*)$/s.exec(line)) || []
    if (macro) {
      macros.push([macro, replaced(definition, macros)])
      continue
    }
    // `hide` keeps exim -bP from showing an option to every user.
    const whole = replaced(line, macros).replace(/^hide\s+/, '')
    const [, begun] = /^begin\s+(\w+)/.exec(whole) ?? []
    if (begun) {
      section = begun
      continue
    }
    const [, kind, name, list = ''] =
      /^(domainlist|hostlist)(?:_cache)?\s+(\w+)\s*=\s*(.*)$/s.exec(whole) ?? []
    const [, option, value = ''] = /^(\w+)\s*=\s*(.*)$/s.exec(whole) ?? []
    const [, routerName] = /^(\w+):$/.exec(whole) ?? []
    if (section === 'acl') acl.push(whole)
    else if (section === 'main' && kind) lists.set(`${kind} ${name}`, list)
    else if (section === 'main' && option) main.set(option, value)
    else if (section === 'routers' && routerName) {
      options = new Map()
      routers.push({ name: routerName, options })
    } else if (section === 'routers') options.set(option ?? whole, option ? value : 'true')
  }
  return { main, lists, routers, acl: acl.join('\n'), directives }
}

/** The longest names come first, because one may begin with another. */
function replaced(text: string, macros: readonly (readonly [string, string])[]): string {
  return [...macros]
    .sort(([a], [b]) => b.length - a.length)
    .reduce((all, [name, value]) => all.replaceAll(name, () => value), text)
}

/** A line with a backslash at its end continues in the next; comments in between do not end it. */
function continued(text: string): Line[] {
  const lines: Line[] = []
  let open: Line | undefined
  for (const { text: raw, number } of contentLines(text)) {
    const goesOn = /\\\s*$/.test(raw)
    const part = raw.replace(/\\\s*$/, '').trimStart()
    const line: Line = open ? { ...open, text: `${open.text}${part}` } : { text: part, number }
    open = goesOn ? line : undefined
    if (!goesOn) lines.push({ ...line, text: line.text.trimEnd() })
  }
  return open ? [...lines, open] : lines
}

/** Splits a list at colons (a doubled one is literal), or at the sign that a leading `<;` names. */
export function listOf(text: string): string[] {
  const [, separator = ':', rest = ''] = /^\s*(?:<(\S)\s*)?(.*)$/s.exec(text) ?? []
  const parts: string[] = []
  let part = ''
  for (let at = 0; at < rest.length; at++) {
    if (rest[at] !== separator) part += rest[at]
    else if (rest[at + 1] === separator) {
      part += separator
      at++
    } else {
      parts.push(part)
      part = ''
    }
  }
  return [...parts, part].map((one) => one.trim()).filter(Boolean)
}

/** The items of a list in the main section, with those of the lists and files that it names. */
export function itemsOf(
  config: EximConfig,
  kind: 'domainlist' | 'hostlist',
  text: string,
  read: ReadFile,
  within: readonly string[] = [],
): string[] {
  return listOf(text).flatMap((item) => {
    const [, not = '', named, plain = ''] = /^(!?)\s*(?:\+(\w+)|(.*))$/s.exec(item) ?? []
    if (named !== undefined) {
      const list = config.lists.get(`${kind} ${named}`)
      if (list === undefined || within.includes(named)) return [item]
      return itemsOf(config, kind, list, read, [...within, named]).map((one) => not + one)
    }
    const [, keyed, file = ''] =
      /^((?:partial-)?n?(?:wild)?lsearch;|(?:cdb|dbm|iplsearch);)?(\/.+)$/.exec(plain) ?? []
    const lines = file ? read(file) : undefined
    if (lines === undefined) return [not + plain]
    return contentLines(lines)
      .map((line) => line.text.replace(/\s#.*$/, '').trim())
      .map((line) => not + (keyed ? line.replace(/\s*[:\s].*$/, '') : line))
  })
}
