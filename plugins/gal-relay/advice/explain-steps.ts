// The steps of an explanation in words: what each part of the answer depended on, and its source.
import type { Address } from '@haraka/email-address'
import type { GalAnswer } from '../gal/address-list'
import type { Destination, RoutingPolicy, Verdict } from '../routing/decide'
import { isOurs } from '../routing/kinds'
import { type Mailbox, mailboxText, placeOf } from '../routing/mailbox'
import { entryFor, type IpAddress, type NetworkList, parseIp } from '../routing/networks'
import { addressText, recipientOf } from '../routing/recipient'
import type { Restrictions, Trust } from '../routing/restrictions'
import { findRow } from '../routing/routes'
import { meaningOf } from '../routing/rules'
import {
  acceptsUnasked,
  decidesRecipients,
  decidesRelaying,
  enforcementText,
} from '../settings/enforcement'
import type { ListenerPolicy, Settings } from '../settings/settings'
import { directoryNames } from './directories'

export interface Step {
  readonly step:
    | 'address'
    | 'sender'
    | 'listener'
    | 'client'
    | 'route'
    | 'directory'
    | 'answer'
    | 'delivery'
    | 'plugins'
  readonly text: string
  /** Knowledge Base article or RFC section; '' if the rule is our own. */
  readonly source: string
}

/** What the directory answered, and when. */
export interface Asked {
  /** The directory's name; if several lack the recipient, all their names. */
  readonly directory: string
  readonly answer: GalAnswer
  readonly milliseconds: number
}

export function listenerStep(policy: ListenerPolicy, address: string): Step {
  const whose = policy.name === '*:*' ? 'the general settings' : `the settings of ${policy.name}`
  return { step: 'listener', text: `${address} has ${whose}${scopeText(policy)}`, source: '' }
}

function scopeText(policy: ListenerPolicy): string {
  if (!policy.enabled) return ', where enabled = false: the plugin takes no part'
  if (decidesRecipients(policy)) return ''
  const observed = decidesRelaying(policy)
    ? 'it only observes recipients of ours'
    : 'it only observes'
  const unasked = acceptsUnasked(policy)
    ? '; no other plugin accepts recipients, so until then those at inbound, shared and ' +
      'always-relay domains are accepted without a look-up'
    : ''
  return `, where ${enforcementText(policy)}: ${observed}, and what follows is what it would answer${unasked}`
}

export function senderStep(sender: string): Step {
  const text = `MAIL FROM:<${sender.replace(/^<|>$/g, '')}> plays no part in who may relay`
  return { step: 'sender', text, source: 'Q304897' }
}

export interface Connected {
  readonly ip: IpAddress
  readonly client: string
  /** The local address. */
  readonly address: string
  readonly account: string | undefined
}

export function clientStep(trust: Trust, restrictions: Restrictions, connected: Connected): Step {
  const { client, ip, address } = connected
  const entry = (list: NetworkList, of: IpAddress | undefined) => entryFor(list, of)?.text
  const { rule } = trust
  const step = 'client'
  switch (rule) {
    case 'reroute-off': {
      const text = `reroute = false here: ${client} may not relay, nor may anybody else`
      return { step, text, source: 'Q237927, Q256856' }
    }
    case 'never': {
      const text = `${client} is in never[] = ${entry(restrictions.never, ip)}: may not relay`
      return { step, text, source: 'Q193922' }
    }
    case 'hosts': {
      const text = `${client} is in hosts[] = ${entry(restrictions.hosts, ip)}: may relay`
      return { step, text, source: 'Q193922, Q196626' }
    }
    case 'local-addresses': {
      const local = entry(restrictions.localAddresses, parseIp(address))
      const text = `${client} connected to ${address}, in local_addresses[] = ${local}: may relay`
      return { step, text, source: 'Q193922, Q196626' }
    }
    case 'authenticated': {
      const text = `${client} has authenticated as ${connected.account}, and authenticated = true: may relay`
      return { step, text, source: 'Q193922, Q260562' }
    }
    case 'open': {
      const text = `open = true: ${client} may relay, and so may everybody else`
      return { step, text, source: 'Q193922, Q260562' }
    }
    case 'nobody':
      return { step, text: nobodyText(restrictions, connected), source: 'Q193922, Q260562' }
  }
}

function nobodyText(restrictions: Restrictions, { client, account }: Connected): string {
  const text = `${client} is in no list`
  if (!account) return `${text} and has not authenticated: may not relay`
  const why = restrictions.authenticated
    ? 'is one of never_accounts[] (Q251149)'
    : 'has no effect with authenticated = false'
  return `${text}, and its account ${account} ${why}: may not relay`
}

export function addressStep(asked: string, address: Address): Step {
  const recipient = recipientOf(address.user, address.host)
  const route = /^<?@[^"]*?:/.test(asked) ? '; the source route before it is ignored' : ''
  const onward = recipient.routesOnward
    ? '; the local part asks for delivery somewhere else and is looked up as it stands'
    : ''
  const text = recipient.domain
    ? `local part ${recipient.local}, domain ${recipient.domain}${route}${onward}`
    : `${recipient.local} without a domain`
  const source = onward ? 'Q237927, Q244346, Q264330' : 'RFC 5321 §4.1.2'
  return { step: 'address', text, source }
}

export function routeSteps(
  policy: ListenerPolicy,
  address: Address,
  destination: Destination,
): Step[] {
  const { recipient, kind, hops, row, rerouted, refused } = destination
  if (!recipient.domain) return []
  const step = 'route'
  const steps: Step[] = []
  if (rerouted) {
    const original = recipientOf(address.user, address.host)
    const as = addressText(recipient)
    const [whose, to] = isForAddress(rerouted)
      ? [addressText(original), as]
      : [original.domain, recipient.domain]
    const text = `${whose} takes row ${rerouted} = reroute ${to}: decided and delivered as ${as}`
    steps.push({ step, text, source: 'Q190710' })
  }
  if (refused) {
    const text = `row ${refused} = refuse counts for clients that have neither authenticated nor may relay`
    steps.push({ step, text, source: '' })
  }
  const { domain } = recipient
  const found = findRow(policy.routing.routes, domain)
  if (row === 'host_list' && !found) {
    const text = `${domain} is in config/host_list: inbound`
    return [...steps, { step, text, source: 'Q169683' }]
  }
  if (found && kind === 'foreign') {
    const text = `${domain} has row ${found.text} = ${found.routeTo.kind}, which does not count with reroute = false: foreign`
    return [...steps, { step, text, source: 'Q237927' }]
  }
  if (row !== undefined) {
    const whose = isForAddress(row) ? addressText(recipient) : domain
    const to = [kind, ...hops.map(({ text }) => text)].join(' ')
    return [...steps, { step, text: `${whose} takes row ${row} = ${to}`, source: ROUTES }]
  }
  const text = `${domain} takes no row and is not in host_list: foreign`
  return [...steps, { step, text, source: ROUTES }]
}

const isForAddress = (row: string) => row.lastIndexOf('@') > 0

const ROUTES = 'Q169683, Q217217, Q259531'

/**
 * @param isOneOfSeveral whether to name the directory
 * @param more what to add if the directory cannot be asked
 */
export function directorySteps(
  { recipient, kind }: Destination,
  asked: Asked | undefined,
  { routing }: ListenerPolicy,
  isOneOfSeveral: boolean,
  more: string,
): Step[] {
  if (!asked) return []
  const { answer, milliseconds } = asked
  const step = 'directory'
  const address = addressText(recipient)
  const which = isOneOfSeveral ? directoryNames(asked.directory.split(', ')) : 'the directory'
  const took = `(${milliseconds.toFixed(1)} ms)`
  switch (answer.state) {
    case 'found': {
      const only = answer.authenticatedOnly
        ? ', and takes mail from authenticated or relaying clients only'
        : ''
      const text = `${address} is in ${which}${only} ${took}`
      const mailbox = isOurs(kind) && answer.mailbox
      return [
        { step, text, source: 'Q255695' },
        ...(mailbox ? [mailboxStep(mailbox, routing)] : []),
      ]
    }
    case 'absent':
      return [{ step, text: `${address} is not in ${which} ${took}`, source: 'Q255695' }]
    case 'unavailable': {
      const name = isOneOfSeveral ? `${which}: ` : ''
      return [{ step, text: `${name}${answer.reason} ${took}${more}`, source: 'RFC 3463 §3.5' }]
    }
  }
}

/** Where the directory says that the mailbox is, and where its mail goes as a result. */
function mailboxStep(mailbox: Mailbox, routing: RoutingPolicy): Step {
  const step = 'directory'
  const source = 'sendmail ldap_routing'
  const place = placeOf(mailbox, routing.mailboxHosts, routing.isOwn)
  if ('problem' in place) {
    return { step, text: `where its mail goes is not known: ${place.problem}`, source }
  }
  const { hops, leavesAs } = place
  const as = leavesAs ? 'by that address' : 'as it was sent'
  const row = leavesAs ? `the row of ${leavesAs.domain}` : 'its row'
  const to = !hops
    ? `where ${row} says`
    : hops.length > 0
      ? `to ${hops.map(({ text }) => text).join(', then ')}`
      : 'to the queue plugins'
  return { step, text: `${mailboxText(mailbox)}: it leaves ${as}, ${to}`, source }
}

export function serverMemory({ directories }: Settings): string {
  if (directories.all.every(({ gal }) => gal.mode === 'received')) return ''
  const isKept = directories.all.some(({ gal }) => gal.mode === 'snapshot')
  const snapshot = isKept ? 'have it in its snapshot, or ' : ''
  return `; a running server may ${snapshot}remember an answer (cache_stale)`
}

export function answerStep(verdict: Verdict): Step {
  const { rule } = verdict
  const { meaning, source } = meaningOf(rule)
  const problem = !verdict.accept && verdict.problem ? `: ${verdict.problem}` : ''
  return { step: 'answer', text: `${rule}: ${meaning}${problem}`, source }
}

export function deliverySteps(verdict: Verdict): Step[] {
  if (!verdict.accept) return []
  const as = verdict.leavesAs ? ` as ${addressText(verdict.leavesAs)}` : ''
  if (verdict.path === 'queue') {
    const text = `goes to the install's queue plugins${as}`
    return [{ step: 'delivery', text, source: 'Q255695' }]
  }
  const hops = verdict.hops.map(({ text }) => text).join(', then ')
  const text = `goes to the outbound queue${as}, for ${hops || "the domain's MX hosts"}`
  return [{ step: 'delivery', text, source: hops ? 'Q190710, Q258203' : 'RFC 5321 §5.1' }]
}
