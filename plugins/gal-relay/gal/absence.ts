// Decides whether an empty answer can be trusted. A server that shows the addresses that were found
// before has no entry with this one; a server that shows none of them may have lost its entries.

import { DirectoryError, directoryError, resultError } from '../ldap/directory-error'
import type { Server } from '../ldap/server'
import { hasEntries, isNoLimit, requireSuccess } from '../ldap/turn'
import type { Log } from '../log'
import { addressKey } from './address-key'
import type { AddressSearch } from './directory/address-search'
import { type AddressValue, addressValuesOf, LONGEST_VALUE } from './directory/entry-addresses'
import { isAway } from './directory/parts-away'
import type { ListTurn, ServerKnowledge } from './directory/server-knowledge'
import { type Known, Witness } from './directory/witness'

/** Fewer addresses than this prove nothing: all of them may have been deleted on purpose. */
const QUORUM = 4
/** How many addresses are searched for if each needs a search of its own. */
const SINGLY = 8
/**
 * Milliseconds for which a recently found address must be missing before it counts as gone: while a
 * list is being emptied, more addresses follow.
 */
const GRACE = 2000
/** A doubtful server is trusted again when nothing has been missing for this many milliseconds. */
const CALM = 5000

export class Absence {
  /** One for each base. */
  readonly witnesses: readonly Witness[]
  readonly #log: Log
  readonly #onMissing: (text: string) => void
  #doubtedAt = Number.NEGATIVE_INFINITY

  /** @param onMissing called when several recently found addresses are missing */
  constructor(bases: readonly string[], log: Log, onMissing: (text: string) => void) {
    this.witnesses = bases.map(() => new Witness())
    this.#log = log
    this.#onMissing = onMissing
  }

  /**
   * Notes that an address is missing, if it was found recently.
   * @returns since when it has been missing; undefined if it was not found recently
   */
  noteMissing(key: string): number | undefined {
    const since = this.witnesses.map((witness) => witness.noteMissing(key))
    return since.find((time) => time !== undefined)
  }

  /**
   * Forgets a recently found address that is missing, if the others are there and remain there.
   * @throws DirectoryError if it is not yet certain that the address is gone
   */
  requireGone(key: string, missingSince: number, missing: ReadonlySet<string>): void {
    const others = missing.size - (missing.has(key) ? 1 : 0)
    if (others > 1) {
      this.#doubtedAt = performance.now()
      const text = `${key} and ${others} other recently found addresses are missing`
      this.#onMissing(text)
      throw new DirectoryError('unproven', text)
    }
    if (performance.now() - Math.max(missingSince, this.#doubtedAt) < GRACE) {
      throw new DirectoryError('unproven', `${key} was there a moment ago`)
    }
    for (const witness of this.witnesses) witness.forget(key)
  }

  /** @returns DNs of the entries that held an address, if it was found lately */
  dnsOf(key: string): readonly string[] {
    return this.witnesses.flatMap((witness) => witness.dnOf(key) ?? [])
  }

  /**
   * Checks that the server has not lost its entries, because it did not show the witness or an
   * address is missing.
   * @returns the sampled addresses that it does not show, if they are few enough
   * @throws DirectoryError if it may have lost its entries
   */
  async requireComplete(turn: ListTurn, search: AddressSearch): Promise<ReadonlySet<string>> {
    const { server, startedAt } = turn
    const { knowledge } = server
    let { proof } = knowledge
    if (!proof || proof.asked < startedAt) {
      proof = { asked: performance.now(), missing: this.#findMissing(turn, search) }
      knowledge.proof = proof
    }
    try {
      const missing = await proof.missing
      this.endDoubt(server)
      return missing
    } catch (thrown) {
      const { failure, message } = directoryError(thrown)
      if (failure === 'connection') throw thrown
      this.#doubtedAt = performance.now()
      if (!knowledge.isDoubtful) {
        knowledge.isDoubtful = true
        this.#log.warn(`directory ${server.name}: unknown recipients are deferred: ${message}`)
      }
      throw new DirectoryError('unproven', message)
    }
  }

  /** The server shows what it should show: it is trusted again, unless something was missing a moment ago. */
  endDoubt({ knowledge, name }: Server<ServerKnowledge>): void {
    // While a list is being filled, complete and incomplete answers alternate.
    if (!knowledge.isDoubtful || performance.now() - this.#doubtedAt < CALM) return
    knowledge.isDoubtful = false
    this.#log.notice(`directory ${name}: complete again`)
  }

  async #findMissing(turn: ListTurn, search: AddressSearch): Promise<ReadonlySet<string>> {
    const most = turn.server.knowledge.isLimited ? SINGLY : undefined
    const samples = this.witnesses.map((witness) => witness.sample().slice(0, most))
    const missing = new Set<string>()
    let isAnybodyThere = false
    if (samples.some(({ length }) => length > 0)) {
      const shown = await this.#shown(turn, search, samples)
      for (const [base, sample] of samples.entries()) {
        // As this server holds them: another may hold them in another attribute.
        const present = sample.flatMap(({ key }) => shown[base]?.get(key) ?? [])
        if (sample.length >= QUORUM && present.length * 2 < sample.length) {
          throw lost(`only ${present.length} of ${sample.length} addresses that were found before`)
        }
        for (const { key } of sample) if (!shown[base]?.has(key)) missing.add(key)
        const [first] = present
        this.witnesses[base]?.replace(first)
        isAnybodyThere ||= first !== undefined
      }
    }
    if (!isAnybodyThere) await this.#findAnyone(turn, search)
    return missing
  }

  /** @returns for each base, those of its addresses that are there */
  async #shown(
    turn: ListTurn,
    search: AddressSearch,
    samples: readonly (readonly Known[])[],
  ): Promise<ReadonlyMap<string, Known>[]> {
    if (!turn.server.knowledge.isLimited) {
      return this.#keysShown(turn, search, search.forKnown(samples))
    }
    const most = Math.max(...samples.map(({ length }) => length))
    const singly = Array.from({ length: most }, (_, i) =>
      this.#keysShown(turn, search, search.forKnown(samples.map((some) => some.slice(i, i + 1)))),
    )
    const shown = await Promise.all(singly)
    return samples.map((_, base) => new Map(shown.flatMap((maps) => [...(maps[base] ?? [])])))
  }

  async #findAnyone(turn: ListTurn, search: AddressSearch): Promise<void> {
    const shown = await this.#keysShown(turn, search, search.forAnyone())
    let isAnybodyThere = false
    for (const [base, keys] of shown.entries()) {
      const [first] = keys.values()
      this.witnesses[base]?.replace(first)
      isAnybodyThere ||= first !== undefined
    }
    if (!isAnybodyThere) throw lost('no entry with an address')
  }

  /**
   * @returns for each search, the addresses that it returned, by their normal form
   * @throws DirectoryError if it is uncertain whether there are more
   */
  async #keysShown(
    turn: ListTurn,
    { list }: AddressSearch,
    searches: readonly Buffer[],
  ): Promise<Map<string, Known>[]> {
    const results = await turn.search(searches)
    const shown = results.map((result) => {
      const addresses = hasEntries(result)
        ? result.entries.flatMap((entry) =>
            addressValuesOf(entry, list.names).map((one) => ({ ...one, dn: entry.dn })),
          )
        : []
      return new Map(
        addresses.filter(isAskedFor).map((one) => {
          const key = addressKey(one.address)
          return [key, { ...one, key }]
        }),
      )
    })
    if (shown.every(({ size }) => size === 0)) requireSuccess(results.filter(isNoLimit))
    return shown
  }
}

const isAskedFor = ({ value }: AddressValue) => value.length <= LONGEST_VALUE

const lost = (what: string) =>
  new DirectoryError(
    'unproven',
    `it shows ${what}: is it empty, or are base, filter or rights wrong?`,
  )

/**
 * Asks for entries by their names: the answer says so if one is in a part of the tree that cannot be asked.
 * @throws DirectoryError in that case
 */
export async function requireReachable(
  dns: readonly string[],
  turn: ListTurn,
  search: AddressSearch,
): Promise<void> {
  if (dns.length === 0) return
  const results = await turn.search(dns.map((dn) => search.forValues(dn, '1.1')))
  const away = results.find(({ code }) => isAway(code))
  if (away) throw resultError(away.code, away.diagnostic)
}
