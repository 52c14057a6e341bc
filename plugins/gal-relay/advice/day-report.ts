// One day of mail from a log: the answers and the rules behind them, who was refused, who relayed,
// and what happened to the directories.
import type { LogEvent, LoggedRecipient, LoggedTransaction, Outcome } from '../logs/event'
import { type Counted, Tally } from '../report/tally'

/** Milliseconds since 1970; the end is not included. */
export interface Day {
  readonly from: number
  readonly to: number
}

export interface RuleCount {
  readonly outcome: Outcome
  /** One of our rules; otherwise the other plugin that decided, or '' if the log names none. */
  readonly rule: string
  readonly isOurs: boolean
  count: number
}

export interface RelayCount {
  readonly rule: string
  /** The account, or the client if there is none. */
  readonly who: string
  count: number
}

export interface Told {
  readonly at: number | undefined
  readonly text: string
}

export interface DayResult {
  readonly recipients: number
  readonly accepted: number
  readonly refused: number
  readonly deferred: number
  /** Recipients of which the log does not say whether they were accepted. */
  readonly unclear: number
  readonly clients: number
  /** Events without a time; they are counted on any day. */
  readonly without_time: number
  /** Accepted recipients for which the log names no rule. */
  readonly without_rule: number
  readonly rules: readonly RuleCount[]
  readonly refused_recipients: readonly Counted[]
  readonly refused_clients: readonly Counted[]
  readonly refused_sender_domains: readonly Counted[]
  readonly relayed: readonly RelayCount[]
  readonly outages: readonly Told[]
  readonly harvesters: readonly Told[]
  /** Recipients about which the plugin only observed; below, the answers that it would have changed. */
  readonly observed: number
  readonly observed_differences: readonly Counted[]
}

/** The most rows of a table. */
const MOST = 10
/** The most lines on one subject. */
const LINES_MOST = 50

export class DayReport {
  readonly #day: Day
  readonly #rules = new Map<string, RuleCount>()
  readonly #relayed = new Map<string, RelayCount>()
  readonly #refusedRecipients = new Tally(TALLY_MOST)
  readonly #refusedClients = new Tally(TALLY_MOST)
  readonly #refusedDomains = new Tally(TALLY_MOST)
  readonly #differences = new Tally(TALLY_MOST)
  readonly #clients = new Set<string>()
  readonly #outages: Told[] = []
  readonly #harvesters: Told[] = []
  readonly #outcomes = { accepted: 0, refused: 0, deferred: 0, unclear: 0 }
  #withoutTime = 0
  #observed = 0

  constructor(day: Day) {
    this.#day = day
  }

  add(event: LogEvent): void {
    const { at } = event
    if (at === undefined) this.#withoutTime++
    else if (at < this.#day.from || at >= this.#day.to) return
    if (event.type === 'transaction') this.#transaction(event)
    else {
      const list = event.about === 'directory' ? this.#outages : this.#harvesters
      if (list.length < LINES_MOST) list.push({ at, text: event.text })
    }
  }

  result(): DayResult {
    const { accepted, refused, deferred, unclear } = this.#outcomes
    const rules = [...this.#rules.values()].sort(byCount)
    const isUnnamed = ({ outcome, rule }: RuleCount) => outcome === 'accepted' && rule === ''
    return {
      recipients: accepted + refused + deferred + unclear,
      accepted,
      refused,
      deferred,
      unclear,
      clients: this.#clients.size,
      without_time: this.#withoutTime,
      without_rule: rules.find(isUnnamed)?.count ?? 0,
      rules,
      refused_recipients: this.#refusedRecipients.largest(MOST),
      refused_clients: this.#refusedClients.largest(MOST),
      refused_sender_domains: this.#refusedDomains.largest(MOST),
      relayed: [...this.#relayed.values()].sort(byCount).slice(0, MOST),
      outages: wereDown(this.#outages),
      harvesters: this.#harvesters,
      observed: this.#observed,
      observed_differences: this.#differences.largest(MOST),
    }
  }

  #transaction(transaction: LoggedTransaction): void {
    if (this.#clients.size < TALLY_MOST) this.#clients.add(transaction.client)
    for (const one of transaction.recipients) this.#recipient(transaction, one)
  }

  #recipient(
    { client, account, sender, host }: LoggedTransaction,
    { address, outcome, rule, otherReason, observed }: LoggedRecipient,
  ): void {
    this.#outcomes[outcome]++
    if (observed) {
      this.#observed++
      if (observed.differs) this.#differences.add(`${outcome} → ${observed.reply}: ${rule}`)
    }
    if (outcome === 'unclear') return
    // A rule that was only observed decided nothing.
    const by = observed ? '' : rule
    const key = `${outcome} ${by} ${otherReason}`
    const known = this.#rules.get(key)
    if (known) known.count++
    else if (this.#rules.size < TALLY_MOST) {
      this.#rules.set(key, { outcome, rule: by || otherReason, isOurs: by !== '', count: 1 })
    }
    if (outcome === 'refused') {
      this.#refusedRecipients.add(address.toLowerCase())
      this.#refusedClients.add(host && host !== 'Unknown' ? `${client} (${host})` : client)
      this.#refusedDomains.add(sender.slice(sender.lastIndexOf('@') + 1).toLowerCase() || '<>')
    } else if (outcome === 'accepted' && by.startsWith('relay-')) {
      const who = account || client
      const relayed = this.#relayed.get(`${by} ${who}`)
      if (relayed) relayed.count++
      else if (this.#relayed.size < TALLY_MOST) {
        this.#relayed.set(`${by} ${who}`, { rule: by, who, count: 1 })
      }
    }
  }
}

const byCount = (one: { count: number }, other: { count: number }) => other.count - one.count

/** Drops leading lines that say that a server is up: it was not down before. */
function wereDown(lines: readonly Told[]): readonly Told[] {
  const first = lines.findIndex(({ text }) => !text.endsWith(' is up'))
  return first < 0 ? [] : lines.slice(first)
}

/** The most names counted at a time: a harvester can make up any number of them. */
const TALLY_MOST = 100_000
