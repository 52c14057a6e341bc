// Every rule that can lead to a verdict: what it means, the Knowledge Base article or RFC section that it
// comes from, and its reply. A rule without an entry does not compile.
import type { AllowingTrust, DenyingTrust } from './restrictions'

export interface Reply {
  readonly code: number
  /** RFC 3463, without the class: `[7, 1]` is x.7.1. */
  readonly status: readonly [subject: number, detail: number]
  readonly text: string
}

export type Rule =
  | 'postmaster'
  | 'always-accept'
  | 'in-gal'
  | 'not-looked-up'
  | 'accept'
  | 'authenticated-only'
  | 'not-in-gal'
  | 'refuse'
  | 'routes-onward'
  | 'directory-unavailable'
  | 'misrouted'
  | 'shared'
  | 'always-relay'
  | `relay-${AllowingTrust}`
  | `no-relay-${DenyingTrust}`
  | 'no-recipient'
  | 'mixed'
  | 'too-many-by-lmtp'
  | 'held-off'
  | 'internal-error'

export interface RuleMeaning {
  readonly meaning: string
  readonly source: string
}

/**
 * Why a recipient is accepted. `ours`: it is one of ours. `onward`: its mail is passed on, whoever sends it.
 * `relayed`: the client may relay.
 */
export type Acceptance = 'ours' | 'onward' | 'relayed'

type RuleLine = RuleMeaning & ({ readonly accepts: Acceptance } | { readonly reply: Reply })

const PROHIBITED: Reply = { code: 550, status: [7, 1], text: 'Relaying is prohibited' }
const UNKNOWN: Reply = { code: 550, status: [1, 1], text: 'Recipient unknown' }

/** In the order in which the documentation names them. */
export const RULES = {
  postmaster: {
    accepts: 'ours',
    meaning: '<postmaster> without a domain is accepted from anyone',
    source: 'RFC 5321 §4.5.1',
  },
  'always-accept': {
    accepts: 'ours',
    meaning: 'the local part is in always_accept, and the domain is inbound',
    source: 'RFC 5321 §4.5.1',
  },
  'in-gal': {
    accepts: 'ours',
    meaning: 'mail to a recipient in the directory is never relaying, whoever sends it',
    source: 'Q255695, Q256856',
  },
  'not-looked-up': {
    accepts: 'ours',
    meaning:
      'recipients are only observed and no other plugin accepts them, so those at our domains are ' +
      'accepted without a look-up',
    source: '',
  },
  accept: {
    accepts: 'ours',
    meaning: 'its row accepts it without a look-up',
    source: '',
  },
  'authenticated-only': {
    reply: {
      code: 550,
      status: [7, 1],
      text: 'This recipient takes mail from authenticated senders only',
    },
    meaning:
      'the entry takes mail from authenticated senders only, and this client is neither ' +
      'authenticated nor allowed to relay',
    source: 'RFC 3463 §3.8',
  },
  'not-in-gal': {
    reply: UNKNOWN,
    meaning: 'the domain is ours, and no entry of the directory has this address',
    source: 'RFC 3463 §3.2',
  },
  refuse: {
    reply: UNKNOWN,
    meaning:
      'its row refuses mail from clients that have neither authenticated nor may relay, whatever the ' +
      'directory says',
    source: 'RFC 3463 §3.2',
  },
  'routes-onward': {
    reply: PROHIBITED,
    meaning: 'the local part asks for delivery somewhere else (%, !, @ or IMCEA)',
    source: 'Q237927, Q244346, Q264330',
  },
  'directory-unavailable': {
    reply: {
      code: 451,
      status: [4, 3],
      text: 'The directory cannot be asked at the moment, please try again later',
    },
    meaning: 'no directory server could be asked, so nothing is known about this address',
    source: 'RFC 3463 §3.5',
  },
  misrouted: {
    reply: {
      code: 451,
      status: [3, 5],
      text: 'The directory does not say clearly where this mail goes, please try again later',
    },
    meaning:
      'the recipient is in the directory, which does not say clearly where its mail goes ' +
      '(host_attribute, routing_attribute)',
    source: 'RFC 3463 §3.4',
  },
  shared: {
    accepts: 'onward',
    meaning: 'not in the directory, and the domain is shared with another mail system',
    source: 'Q258203',
  },
  'always-relay': {
    accepts: 'onward',
    meaning: 'anyone may send to this domain',
    source: 'Q195969, Q259531',
  },
  'relay-hosts': {
    accepts: 'relayed',
    meaning: 'the client may relay: hosts[]',
    source: 'Q193922, Q196626',
  },
  'relay-local-addresses': {
    accepts: 'relayed',
    meaning: 'the client may relay: local_addresses[]',
    source: 'Q193922, Q196626',
  },
  'relay-authenticated': {
    accepts: 'relayed',
    meaning: 'the client may relay: it has authenticated',
    source: 'Q193922, Q260562',
  },
  'relay-open': {
    accepts: 'relayed',
    meaning: 'everybody may relay: open = true',
    source: 'Q193922, Q260562',
  },
  'no-relay-reroute-off': {
    reply: PROHIBITED,
    meaning: 'the recipient is not ours, and with reroute = false nobody relays',
    source: 'Q237927, Q256856',
  },
  'no-relay-never': {
    reply: PROHIBITED,
    meaning: 'the recipient is not ours, and the client is in never[]',
    source: 'Q193922',
  },
  'no-relay-nobody': {
    reply: PROHIBITED,
    meaning: 'the recipient is not ours, and nothing lets this client relay',
    source: 'Q193922, Q260562',
  },
  'no-recipient': {
    reply: { code: 550, status: [1, 3], text: 'There is no recipient <>' },
    meaning: 'RCPT TO:<> names nobody, and Haraka would have queued it',
    source: 'RFC 5321 §4.1.1.3',
  },
  mixed: {
    reply: {
      code: 452,
      status: [5, 3],
      text: 'This recipient needs a transaction of its own, please send it again',
    },
    meaning:
      'the transaction has a recipient that goes another way, and mixed = defer: the sender will send ' +
      'this one in its next transaction',
    source: 'RFC 5321 §4.5.3.1.10',
  },
  'too-many-by-lmtp': {
    reply: {
      code: 452,
      status: [5, 3],
      text: 'Too many recipients in one message, please send it again for the others',
    },
    meaning:
      'the transaction has 100 recipients behind lmtp:// already: the sender will send this one in its ' +
      'next transaction',
    source: 'RFC 5321 §4.5.3.1.10',
  },
  'held-off': {
    reply: {
      code: 421,
      status: [7, 0],
      text: 'Too many unknown recipients, please try again later',
    },
    meaning:
      'the network of the client has named too many unknown recipients, and is held off for a while ' +
      '([harvest])',
    source: 'Q304897',
  },
  'internal-error': {
    reply: {
      code: 451,
      status: [3, 0],
      text: 'Local error in processing, please try again later',
    },
    meaning: 'the plugin could not decide',
    source: 'RFC 3463 §3.4',
  },
} as const satisfies Readonly<Record<Rule, RuleLine>>

type RulesWith<T> = { [R in Rule]: (typeof RULES)[R] extends T ? R : never }[Rule]

export type AcceptingRule = RulesWith<{ accepts: Acceptance }>
export type RefusingRule = RulesWith<{ reply: Reply }>

/** Whether the reply says that the recipient is unknown, whatever the reason. */
export const saysUnknown = (rule: RefusingRule): boolean => RULES[rule].reply === UNKNOWN

/** @param rule a rule, or whatever else a log, a metric or an explanation names in its place */
export function meaningOf(rule: string): RuleMeaning {
  const known: Readonly<Partial<Record<string, RuleMeaning>>> = RULES
  return known[rule] ?? { meaning: rule, source: '' }
}
