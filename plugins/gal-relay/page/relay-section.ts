// Who may relay on each listener, as advice/who-may-relay.ts works it out. What lets the internet
// relay stands out.

import { listenerText } from '../advice/startup'
import {
  type AddressBlock,
  type Clients,
  type RelayReport,
  whoMayRelay,
} from '../advice/who-may-relay'
import { counted, grouped } from '../report/words'
import { parseIp } from '../routing/networks'
import type { ListenerPolicy, Settings } from '../settings/settings'
import { type Html, html } from './html'

/** Blocks of addresses that a listener's row names; the command lists all. */
const SHOWN = 20

/** Long lists take a while to be worked out, and the page is asked for every few seconds. */
const sectionCache = new WeakMap<Settings, Html>()

export function relaySection(settings: Settings): Html {
  const known = sectionCache.get(settings)
  if (known) return known
  const rows = [...settings.policies.values()].map(row)
  const section = html`<table class="relay"><tbody>${rows}</tbody></table>
<p class="note">Worked out from the rules: overlaps merged, exceptions subtracted. <code>gal-relay who-may-relay</code> lists everything.</p>`
  sectionCache.set(settings, section)
  return section
}

function row(policy: ListenerPolicy): Html {
  const address = policy.name.slice(0, policy.name.lastIndexOf(':'))
  const report = whoMayRelay(policy, address === '*' ? undefined : parseIp(address))
  return html`<tr><th scope="row">${listenerText(policy)}</th><td>${lines(report)}</td></tr>\n`
}

function lines(report: RelayReport): Html[] {
  const { enabled, enforced, rule, clients, local_addresses, accounts, never, internet } = report
  if (!enabled) return [line('the plugin takes no part; other plugins decide who may relay')]
  if (rule === 'reroute-off') return [line('nobody: reroute = false')]
  const any = never.blocks.length > 0 ? 'any client that is not in never[]' : 'any client'
  const who: Html[] = []
  if (rule === 'open') who.push(line(`${any}: open = true`, true))
  else if (rule === 'local-addresses') who.push(line(`${any}: local_addresses[]`, internet))
  else if (clients.blocks.length > 0) who.push(clientLine(clients))
  for (const { network, internet } of local_addresses) {
    who.push(line(`${any} that connects to ${network}`, internet))
  }
  if (accounts) {
    const except = accounts.never.length > 0 ? `, except ${accounts.never.join(', ')}` : ''
    who.push(line(`${any} with an account${except}`))
  }
  if (who.length === 0) who.push(line('nobody'))
  if (!enforced) who.unshift(line('observed only (enforce = false); if enforced:'))
  return who
}

const line = (text: string, danger = false) =>
  html`<div${danger && html` class="danger"`}>${text}</div>`

function clientLine({ blocks, ipv4, ipv6 }: Clients): Html {
  const sizes = [
    ...(ipv4 > 0n ? [counted(ipv4, 'IPv4 address', 'IPv4 addresses')] : []),
    ...(ipv6 > 0n ? [counted(ipv6, 'IPv6 address', 'IPv6 addresses')] : []),
  ]
  const more = blocks.length > SHOWN && ` and ${grouped(blocks.length - SHOWN)} more`
  const named = blocks
    .slice(0, SHOWN)
    .map(
      (block, index) =>
        html`${index > 0 && ', '}<span${block.internet && html` class="danger"`}>${blockText(block)}</span>`,
    )
  return html`<div>${named}${more} <small>${sizes.join(' and ')}</small></div>`
}

function blockText({ first, last, network, addresses }: AddressBlock): string {
  if (addresses === 1n) return first
  return network ?? `${first} – ${last}`
}
