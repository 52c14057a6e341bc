// Whether an empty answer may be believed: a server that shows the addresses that were found before has
// no entry with this one; a server that shows none of them may have lost its entries.
import { addressKey } from './address-key'
import type { AddressSearch } from './directory/address-search'
import { DirectoryError, directoryError } from './directory/directory-error'
import { addressValuesOf } from './directory/entry-addresses'
import type { Server } from './directory/server'
import { hasEntries, isNoLimit, requireSuccess, type Turn } from './directory/turn'
import { type Known, Witness } from './directory/witness'
import type { Log } from './log'

/** The searches of one server, by the names that it has for the attributes. */
export interface Asked {
  readonly search: AddressSearch
  /** In lower case. */
  readonly names: ReadonlySet<string>
}

/** That a server showed what it should show. */
interface Proof {
  readonly asked: number
  /** Resolves to those that were called and are missing. */
  readonly missing: Promise<ReadonlySet<string>>
}

/** Fewer addresses than these say nothing: all of them may have been deleted with good reason. */
const QUORUM = 4
/** So many are called where each takes a search of its own. */
const CALLED_SINGLY = 8
/** So long must an address be missing that was found lately: while a list is being emptied, more follow. */
const GRACE = 2000
/** A server that made one doubt it is as it should be when it has not done so for so long. */
const CALM = 5000

export class Absence {
  /** One for each base. */
  readonly witnesses: readonly Witness[]
  readonly #log: Log
  readonly #onMissing: (text: string) => void
  readonly #proofs = new WeakMap<Server, Proof>()
  readonly #doubtful = new WeakSet<Server>()
  #doubtedAt = Number.NEGATIVE_INFINITY

  /** @param onMissing told when several addresses are missing that were found lately */
  constructor(bases: readonly string[], log: Log, onMissing: (text: string) => void) {
    this.witnesses = bases.map(() => new Witness())
    this.#log = log
    this.#onMissing = onMissing
  }

  /** @returns since when an address is missing that was found lately; undefined: it was not */
  missingSince(key: string): number | undefined {
    const since = this.witnesses.map((witness) => witness.missingSince(key))
    return since.find((time) => time !== undefined)
  }

  /**
   * An address that was found lately is missing: it is gone when the others are there, and stay.
   * @throws DirectoryError when that cannot be said yet
   */
  requireGone(key: string, missingSince: number, missing: ReadonlySet<string>): void {
    const others = missing.size - (missing.has(key) ? 1 : 0)
    if (others > 1) {
      this.#doubtedAt = performance.now()
      const text = `${key} and ${others} other addresses are missing that were found lately`
      this.#onMissing(text)
      throw new DirectoryError('unproven', text)
    }
    if (performance.now() - Math.max(missingSince, this.#doubtedAt) < GRACE) {
      throw new DirectoryError('unproven', `${key} was there a moment ago`)
    }
    for (const witness of this.witnesses) witness.forget(key)
  }

  /**
   * The server did not show the witness, or somebody is missing: has it lost its entries?
   * @returns whom of those that were called it does not show, when that are few enough
   * @throws DirectoryError when it may have lost its entries
   */
  async prove(turn: Turn, asked: Asked): Promise<ReadonlySet<string>> {
    const { server, startedAt } = turn
    let proof = this.#proofs.get(server)
    if (!proof || proof.asked < startedAt) {
      proof = { asked: performance.now(), missing: this.#callRoll(turn, asked) }
      this.#proofs.set(server, proof)
    }
    try {
      const missing = await proof.missing
      this.trusted(server)
      return missing
    } catch (thrown) {
      const { failure, message } = directoryError(thrown)
      if (failure === 'connection') throw thrown
      this.#doubtedAt = performance.now()
      if (!this.#doubtful.has(server)) {
        this.#doubtful.add(server)
        this.#log.warn(`directory ${server.name}: unknown recipients are deferred: ${message}`)
      }
      throw new DirectoryError('unproven', message)
    }
  }

  /** The server shows what it should show. */
  trusted(server: Server): void {
    // While a list is being filled the one and the other come by turns.
    if (!this.#doubtful.has(server) || performance.now() - this.#doubtedAt < CALM) return
    this.#doubtful.delete(server)
    this.#log.notice(`directory ${server.name}: as it should be`)
  }

  async #callRoll(turn: Turn, asked: Asked): Promise<ReadonlySet<string>> {
    const most = turn.server.isLimited ? CALLED_SINGLY : undefined
    const rolls = this.witnesses.map((witness) => witness.roll().slice(0, most))
    const missing = new Set<string>()
    let isAnybodyThere = false
    if (rolls.some((roll) => roll.length > 0)) {
      const shown = await this.#called(turn, asked, rolls)
      for (const [base, roll] of rolls.entries()) {
        const present = roll.filter(({ key }) => shown[base]?.has(key))
        if (roll.length >= QUORUM && present.length * 2 < roll.length) {
          throw lost(`only ${present.length} of ${roll.length} addresses that were found before`)
        }
        for (const { key } of roll) if (!shown[base]?.has(key)) missing.add(key)
        const [first] = present
        this.witnesses[base]?.replace(first)
        isAnybodyThere ||= first !== undefined
      }
    }
    if (!isAnybodyThere) await this.#findAnyone(turn, asked)
    return missing
  }

  /** @returns for each base those of its addresses that are there */
  async #called(
    turn: Turn,
    asked: Asked,
    rolls: readonly (readonly Known[])[],
  ): Promise<ReadonlyMap<string, Known>[]> {
    if (!turn.server.isLimited) {
      return this.#keysShown(turn, asked, asked.search.forAddresses([], rolls))
    }
    const most = Math.max(...rolls.map(({ length }) => length))
    const singly = Array.from({ length: most }, (_, i) =>
      this.#keysShown(
        turn,
        asked,
        asked.search.forAddresses(
          [],
          rolls.map((some) => some.slice(i, i + 1)),
        ),
      ),
    )
    const shown = await Promise.all(singly)
    return rolls.map((_, base) => new Map(shown.flatMap((maps) => [...(maps[base] ?? [])])))
  }

  async #findAnyone(turn: Turn, asked: Asked): Promise<void> {
    const shown = await this.#keysShown(turn, asked, asked.search.forAnyone())
    let isAnybodyThere = false
    for (const [base, keys] of shown.entries()) {
      const [first] = keys.values()
      this.witnesses[base]?.replace(first)
      isAnybodyThere ||= first !== undefined
    }
    if (!isAnybodyThere) throw lost('no entry with an address')
  }

  /**
   * @returns for each search the addresses that it showed, by the form that compares
   * @throws DirectoryError when it cannot be known whether there are more
   */
  async #keysShown(
    turn: Turn,
    { names }: Asked,
    searches: readonly Buffer[],
  ): Promise<Map<string, Known>[]> {
    const results = await turn.search(searches)
    const shown = results.map((result) => {
      const addresses = hasEntries(result)
        ? result.entries.flatMap((entry) => addressValuesOf(entry, names))
        : []
      return new Map(
        addresses.map((one) => {
          const key = addressKey(one.address)
          return [key, { ...one, key }]
        }),
      )
    })
    if (shown.every(({ size }) => size === 0)) requireSuccess(results.filter(isNoLimit))
    return shown
  }
}

const lost = (what: string) =>
  new DirectoryError(
    'unproven',
    `it shows ${what}: is it empty, or are base, filter or rights wrong?`,
  )
