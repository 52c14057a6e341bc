// The parts of the list that a directory refers to elsewhere, each a list of its own on the server that
// is named there, with the same credentials.
import type { LdapSettings } from '../settings/settings'
import { parseReference, whyNotFollowed } from './directory/references'

/** References that lead on to others are followed so far. */
const MOST_STEPS = 3
/** More parts than any directory has. */
const MOST_PARTS = 50

interface Closable {
  close(): Promise<void>
}

export class ReferredLists<T extends Closable> {
  readonly #ldap: LdapSettings
  readonly #steps: number
  readonly #open: (ldap: LdapSettings) => T
  readonly #lists = new Map<string, T>()

  /** @param steps how many references led to where these come from */
  constructor(ldap: LdapSettings, steps: number, open: (ldap: LdapSettings) => T) {
    this.#ldap = ldap
    this.#steps = steps
    this.#open = open
  }

  /**
   * @param base that was searched
   * @returns the list that a reference leads to, or why there is none
   */
  listFor(text: string, base: string): { readonly list?: T; readonly why: string } {
    const why = whyNotFollowed(text, this.#ldap)
    const reference = parseReference(text)
    if (why !== undefined || !reference) return { why: why ?? '' }
    if (this.#steps >= MOST_STEPS) return { why: 'too many references lead there' }
    const { url } = reference
    const settings = { ...this.#ldap, url: [url], base: [reference.base ?? base] }
    const name = `${url.text}/${settings.base[0]}`
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
