// What each rule that makes a verdict means, and the Knowledge Base article or RFC section that it
// comes from: for explanations and for the documentation.
import type { Rule } from '../routing/decide'

export interface RuleMeaning {
  readonly meaning: string
  readonly source: string
}

const MEANINGS: Readonly<Partial<Record<Rule, RuleMeaning>>> = {
  postmaster: {
    meaning: '<postmaster> without a domain is accepted from anyone',
    source: 'RFC 5321 §4.5.1',
  },
  'always-accept': {
    meaning: 'the local part stands in always_accept, and the domain is inbound',
    source: 'RFC 5321 §4.5.1',
  },
  'in-gal': {
    meaning: 'a recipient in the directory is never relaying, whoever sends',
    source: 'Q255695, Q256856',
  },
  'not-looked-up': {
    meaning:
      'recipients are only observed, and as no other plugin accepts any, those at our domains are ' +
      'accepted without a look-up',
    source: '',
  },
  'authenticated-only': {
    meaning:
      'the entry takes mail from authenticated senders only, and this client is neither ' +
      'authenticated nor allowed to relay',
    source: 'RFC 3463 §3.8',
  },
  'not-in-gal': {
    meaning: 'the domain is ours, and no entry of the directory has this address',
    source: 'RFC 3463 §3.2',
  },
  'routes-onward': {
    meaning: 'the local part asks for delivery somewhere else (%, !, @ or IMCEA)',
    source: 'Q237927, Q244346, Q264330',
  },
  'directory-unavailable': {
    meaning: 'no directory server could be asked, so that nothing is known of this address',
    source: 'RFC 3463 §3.5',
  },
  misrouted: {
    meaning:
      'the recipient is in the directory, which does not say clearly where its mail goes ' +
      '(host_attribute, routing_attribute)',
    source: 'RFC 3463 §3.4',
  },
  shared: {
    meaning: 'not in the directory, and the domain is shared with another mail system',
    source: 'Q258203',
  },
  'always-relay': {
    meaning: 'anyone may send to this domain',
    source: 'Q195969, Q259531',
  },
  'relay-hosts': { meaning: 'the client may relay: hosts[]', source: 'Q193922, Q196626' },
  'relay-local-addresses': {
    meaning: 'the client may relay: local_addresses[]',
    source: 'Q193922, Q196626',
  },
  'relay-authenticated': {
    meaning: 'the client may relay: it has authenticated',
    source: 'Q193922, Q260562',
  },
  'relay-open': { meaning: 'everybody may relay: open = true', source: 'Q193922, Q260562' },
  'no-relay-reroute-off': {
    meaning: 'the recipient is not ours, and with reroute = false nobody relays',
    source: 'Q237927, Q256856',
  },
  'no-relay-never': {
    meaning: 'the recipient is not ours, and the client is in never[]',
    source: 'Q193922',
  },
  'no-relay-nobody': {
    meaning: 'the recipient is not ours, and nothing lets this client relay',
    source: 'Q193922, Q260562',
  },
  'no-recipient': {
    meaning: 'RCPT TO:<> names nobody, and Haraka would have queued it',
    source: 'RFC 5321 §4.1.1.3',
  },
  mixed: {
    meaning:
      'the transaction has a recipient that goes another way, and mixed = defer: the sender brings ' +
      'this one in its next transaction',
    source: 'RFC 5321 §4.5.3.1.10',
  },
  'too-many-by-lmtp': {
    meaning:
      'the transaction has 100 recipients behind lmtp:// already: the sender brings this one in its ' +
      'next transaction',
    source: 'RFC 5321 §4.5.3.1.10',
  },
  'internal-error': { meaning: 'the plugin could not decide', source: 'RFC 3463 §3.4' },
}

/** The rules that can make a verdict. */
export const RULES = Object.keys(MEANINGS) as readonly Rule[]

export function meaningOf(rule: string): RuleMeaning {
  const known: Readonly<Partial<Record<string, RuleMeaning>>> = MEANINGS
  return known[rule] ?? { meaning: rule, source: '' }
}
