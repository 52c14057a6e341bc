// The parts of the list for which a directory refers to other servers. Each is a list of its own on
// the server that the reference names, with the same credentials.
import type { LdapSettings } from '../settings/settings'
import { parseReference, whyNotFollowed } from './directory/references'

/** How many references are followed one after another. */
const MOST_STEPS = 3
/** No directory has this many parts. */
const MOST_PARTS = 50

interface Closable {
  close(): Promise<void>
}

export class ReferredLists<T extends Closable> {
  readonly #ldap: LdapSettings
  readonly #steps: number
  readonly #open: (ldap: LdapSettings) => T
  readonly #lists = new Map<string, T>()

  /** @param steps how many references led to the list that these come from */
  constructor(ldap: LdapSettings, steps: number, open: (ldap: LdapSettings) => T) {
    this.#ldap = ldap
    this.#steps = steps
    this.#open = open
  }

  /**
   * @param texts references to one part of the tree on several servers, any of which may be asked
   * @param base the base that was searched
   * @returns the list that the references lead to, or why there is none
   */
  listFor(texts: readonly string[], base: string): { readonly list?: T; readonly why: string } {
    const followed = texts.filter((text) => whyNotFollowed(text, this.#ldap) === undefined)
    const references = followed.flatMap((text) => parseReference(text) ?? [])
    const [first] = references
    if (!first) return { why: whyNotFollowed(texts[0] ?? '', this.#ldap) ?? '' }
    if (this.#steps >= MOST_STEPS) return { why: 'too many references lead there' }
    const url = references.map((one) => one.url)
    const settings = { ...this.#ldap, url, base: [first.base ?? base] }
    const name = `${url.map(({ text }) => text).join(' ')}/${settings.base[0]}`
    const known = this.#lists.get(name)
    if (known) return { list: known, why: '' }
    if (this.#lists.size >= MOST_PARTS) return { why: 'there are too many references' }
    const list = this.#open(settings)
    this.#lists.set(name, list)
    return { list, why: '' }
  }

  async close(): Promise<void> {
    await Promise.all([...this.#lists.values()].map((list) => list.close()))
  }
}
