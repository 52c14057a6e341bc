// How much the plugin decides on each listener, and who may relay there, according to
// advice/who-may-relay.ts. Anything that lets the internet relay is highlighted.

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
import { linkTo, partOf } from './paging'
import { remembered } from './remembered'

/** The most address blocks named in a listener's row; the command lists all. */
const SHOWN = 20

const ON_A_PAGE = 20

/** How much the plugin decides on a listener. */
export type ListenerState = 'enforcing' | 'relaying only' | 'observing' | 'off'

export function stateOf({ enabled, enforce }: ListenerPolicy): ListenerState {
  if (!enabled) return 'off'
  if (enforce === 'relaying') return 'relaying only'
  return enforce ? 'enforcing' : 'observing'
}

/** The most listeners named at the top; the section has all. */
const BADGES = 12

export function badges({ policies }: Settings, asked: URLSearchParams): Html {
  const all = [...policies.values()]
  const others = all.length > 1 ? 'all other listeners' : 'all listeners'
  const items = all
    .slice(0, BADGES)
    .map(
      (policy) => html`<li>${badge(policy)} ${policy.name === '*:*' ? others : policy.name}</li>\n`,
    )
  const more = all.length - BADGES
  return html`<ul class="badges">${items}${more > 0 && html`<li><a href="${linkTo(asked, {}, 'relay')}">and ${grouped(more)} more</a></li>`}</ul>`
}

function badge(policy: ListenerPolicy): Html {
  const state = stateOf(policy)
  return html`<b class="badge ${state.replace(' ', '-')}">${state.toUpperCase()}</b>`
}

export function relaySection(settings: Settings, asked: URLSearchParams): Html {
  const place = { size: ON_A_PAGE, anchor: 'relay' }
  const { shown, pager } = partOf([...settings.policies.values()], 'listeners', asked, place)
  const rows = shown.map((policy) => rowOf(settings, policy))
  return html`<table class="relay"><tbody>${rows}</tbody></table>${pager}
<p class="note">Worked out from the rules: overlaps merged, exceptions subtracted. <code>gal-relay who-may-relay</code> lists everything.</p>`
}

/** Remembered, because long lists take a while and the page is requested every few seconds. */
const rowsFor = remembered(Number.POSITIVE_INFINITY, (_: Settings) => new Map<string, Html>())

function rowOf(settings: Settings, policy: ListenerPolicy): Html {
  const rows = rowsFor(settings)
  const known = rows.get(policy.name) ?? row(policy)
  rows.set(policy.name, known)
  return known
}

function row(policy: ListenerPolicy): Html {
  const address = policy.name.slice(0, policy.name.lastIndexOf(':'))
  const report = whoMayRelay(policy, address === '*' ? undefined : parseIp(address))
  return html`<tr><th scope="row">${listenerText(policy)} ${badge(policy)}</th><td>${lines(report)}</td></tr>\n`
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
