// Decides a day of mail again, with the same or other settings and directories than those that
// answered it, and finds the answers that would change. The functions that answer mail decide.
import type { DirectoryLists } from '../gal/directories'
import type { LoggedRecipient, LoggedTransaction, Outcome } from '../logs/event'
import { outcomeOfVerdict } from '../report/observation'
import { replyText } from '../report/refusal'
import { type Answer, answerTo, type Question } from '../routing/answer'
import { destinationOf, type Verdict } from '../routing/decide'
import { parseIp } from '../routing/networks'
import { type Recipient, recipientOf } from '../routing/recipient'
import { trustByAddress, trustOf } from '../routing/restrictions'
import { AcceptedBefore } from '../routing/transaction'
import { ACCEPTING } from '../settings/accepting-plugins'
import { canonicalAddress, policyFor, type Settings } from '../settings/settings'
import { type EnvelopeGrammar, parsePath } from './envelope'

/** One recipient whose answer would change. */
export interface Difference {
  /** Milliseconds since 1970, if the log has times. */
  readonly at: number | undefined
  readonly client: string
  readonly account: string
  /** '' if the log does not say. */
  readonly listener: string
  readonly sender: string
  readonly recipient: string
  readonly was: Outcome
  /** As far as the log records it. */
  readonly was_reply: string
  readonly was_rule: string
  readonly is: Outcome
  readonly reply: string
  readonly rule: string
}

export interface DifferenceCount {
  readonly was: Outcome
  readonly is: Outcome
  readonly rule: string
  count: number
}

export interface ReplayResult {
  /** All recipients in the logs. */
  readonly recipients: number
  readonly compared: number
  /** The number of compared recipients whose answer would change. */
  readonly differences: number
  /** Recipients that could not be decided because the directory could not be asked. */
  readonly undecided: number
  readonly not_compared: {
    /** Deferred at the time; each came again and has another line then. */
    readonly deferred: number
    /** The log does not say whether they were accepted. */
    readonly unclear: number
    /** Refused for a reason other than the recipient, by that reason. */
    readonly other_reasons: readonly { readonly reason: string; readonly count: number }[]
    /** On listeners where the plugin takes no part with these settings. */
    readonly not_enabled: number
    /** Not addresses as Haraka reads them. */
    readonly unreadable: number
  }
  /** Recipients for which the log does not say if the client had authenticated; taken as if not. */
  readonly without_account: number
  /** Recipients without a logged local address and port; the general listener is assumed. */
  readonly without_listener: number
  readonly by_rule: readonly DifferenceCount[]
  readonly by_domain: readonly { readonly domain: string; readonly count: number }[]
  readonly by_client: readonly { readonly client: string; readonly count: number }[]
  /** The first differences. */
  readonly list: readonly Difference[]
}

interface Decided {
  readonly domain: string
  readonly verdict: Verdict
}

export interface DecidedTransaction {
  readonly transaction: LoggedTransaction
  /** One for each recipient, `undefined` if it is no address; `undefined`: the plugin takes no part. */
  readonly decided: readonly (Decided | undefined)[] | undefined
}

export class Replay {
  readonly #settings: Settings
  readonly #lookup: (recipient: Recipient) => ReturnType<DirectoryLists['lookup']>
  readonly #grammar: EnvelopeGrammar
  readonly #limit: number
  readonly #list: Difference[] = []
  readonly #rules = new Map<string, DifferenceCount>()
  readonly #domains = new Map<string, number>()
  readonly #clients = new Map<string, number>()
  readonly #otherReasons = new Map<string, number>()
  #recipients = 0
  #compared = 0
  #differences = 0
  #undecided = 0
  #deferred = 0
  #unclear = 0
  #notEnabled = 0
  #unreadable = 0
  #withoutAccount = 0
  #withoutListener = 0

  /** @param limit the most differences to list */
  constructor(
    settings: Settings,
    lists: Pick<DirectoryLists, 'lookup'>,
    grammar: EnvelopeGrammar,
    limit: number,
  ) {
    this.#settings = settings
    this.#lookup = (recipient) => lists.lookup(recipient)
    this.#grammar = grammar
    this.#limit = limit
  }

  get recipients(): number {
    return this.#recipients
  }

  get differences(): number {
    return this.#differences
  }

  /** @returns the verdicts on its recipients, to be counted; several calls may be in progress at once */
  async decide(transaction: LoggedTransaction): Promise<DecidedTransaction> {
    const { client: ip, account, local, recipients } = transaction
    const address = canonicalAddress(local?.address ?? '') ?? ''
    const policy = policyFor(this.#settings, address, local?.port ?? 0)
    if (!policy.enabled) return { transaction, decided: undefined }
    const { restrictions } = policy
    const byAddress = trustByAddress(restrictions, parseIp(ip), parseIp(address))
    const trust = trustOf(restrictions, byAddress, account)
    const client = { trust, authenticated: Boolean(account) }
    const question: Question = { policy, client, lookup: this.#lookup }
    const before = new AcceptedBefore()
    const decided: (Decided | undefined)[] = []
    for (const recipient of recipients) {
      const path = parsePath('rcpt', recipient.address, this.#grammar)
      if ('reply' in path) {
        decided.push(undefined)
        continue
      }
      const destination = destinationOf(policy.routing, recipientOf(path.user, path.host))
      const answer = answerTo(question, [destination], before)
      const { verdict, accepted }: Answer = answer instanceof Promise ? await answer : answer
      // Later answers depend on what was accepted at the time, not on what would be accepted now.
      if (recipient.outcome === 'accepted') for (const one of accepted) before.add(one)
      decided.push({ domain: path.host, verdict })
    }
    return { transaction, decided }
  }

  count({ transaction, decided }: DecidedTransaction): void {
    const { account, local, recipients } = transaction
    this.#recipients += recipients.length
    if (account === undefined) this.#withoutAccount += recipients.length
    if (local === undefined) this.#withoutListener += recipients.length
    if (!decided) {
      this.#notEnabled += recipients.length
      return
    }
    for (const [index, recipient] of recipients.entries()) {
      const one = decided[index]
      if (one) this.#compare(transaction, recipient, one.domain, one.verdict)
      else this.#unreadable++
    }
  }

  result(): ReplayResult {
    return {
      recipients: this.#recipients,
      compared: this.#compared,
      differences: this.#differences,
      undecided: this.#undecided,
      not_compared: {
        deferred: this.#deferred,
        unclear: this.#unclear,
        other_reasons: largest(this.#otherReasons, (reason, count) => ({ reason, count })),
        not_enabled: this.#notEnabled,
        unreadable: this.#unreadable,
      },
      without_account: this.#withoutAccount,
      without_listener: this.#withoutListener,
      by_rule: [...this.#rules.values()].sort((one, other) => other.count - one.count),
      by_domain: largest(this.#domains, (domain, count) => ({ domain, count })),
      by_client: largest(this.#clients, (client, count) => ({ client, count })),
      list: this.#list,
    }
  }

  #compare(
    transaction: LoggedTransaction,
    recipient: LoggedRecipient,
    domain: string,
    verdict: Verdict,
  ): void {
    const { outcome: was, otherReason } = recipient
    if (was === 'unclear') this.#unclear++
    else if (was === 'deferred') this.#deferred++
    else if (otherReason && !checksRecipients(otherReason)) count(this.#otherReasons, otherReason)
    else if (!verdict.accept && UNDECIDED.has(verdict.rule)) this.#undecided++
    else {
      this.#compared++
      const is = outcomeOfVerdict(verdict)
      const reply = verdict.accept ? '250' : replyText(verdict.reply)
      if (was !== is || isOtherReply(recipient, reply)) {
        this.#differs(transaction, recipient, domain, { was, is, reply, rule: verdict.rule })
      }
    }
  }

  #differs(
    { at, client, account = '', local, sender }: LoggedTransaction,
    { address: recipient, reply: was_reply, rule: was_rule }: LoggedRecipient,
    domain: string,
    { was, is, reply, rule }: Pick<Difference, 'was' | 'is' | 'reply' | 'rule'>,
  ): void {
    this.#differences++
    const key = `${was} ${is} ${rule}`
    const known = this.#rules.get(key)
    if (known) known.count++
    else this.#rules.set(key, { was, is, rule, count: 1 })
    count(this.#domains, domain)
    count(this.#clients, client)
    if (this.#list.length >= this.#limit) return
    const listener = local ? listenerText(local.address, local.port) : ''
    const answers = { was, was_reply, was_rule, is, reply, rule }
    this.#list.push({ at, client, account, listener, sender, recipient, ...answers })
  }
}

/** Rules that mean that there is no answer yet. */
const UNDECIDED: ReadonlySet<string> = new Set(['directory-unavailable', 'internal-error'])

/** Whether the plugin refuses recipients on their own account, as this one does. */
const checksRecipients = (plugin: string) => plugin in ACCEPTING || /^rcpt[_-]/.test(plugin)

/** Refused both times but in other words; only this plugin's old replies are known word for word. */
function isOtherReply({ outcome, rule, reply, observed }: LoggedRecipient, now: string): boolean {
  return outcome === 'refused' && rule !== '' && !observed && reply !== '' && reply !== now
}

export function listenerText(address: string, port: number): string {
  return `${address.includes(':') ? `[${address}]` : address || '*'}:${port}`
}

function count(counts: Map<string, number>, key: string): void {
  counts.set(key, (counts.get(key) ?? 0) + 1)
}

function largest<T>(
  counts: ReadonlyMap<string, number>,
  row: (key: string, count: number) => T,
): readonly T[] {
  return [...counts].sort(([, one], [, other]) => other - one).map(([key, one]) => row(key, one))
}
