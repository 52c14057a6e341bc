// The settings in force at a glance: how old they are, the domains that are ours, the rows, the hosts of
// mailboxes.
import { inboundDomains } from '../advice/inbound-domains'
import type { InstallReport } from '../report/install'
import { counted } from '../report/words'
import { routeText } from '../routing/routes'
import type { ListenerPolicy, Settings } from '../settings/settings'
import { since } from './figures'
import { type Html, html, shown } from './html'
import { type ListName, partOf } from './paging'
import { remembered } from './remembered'

export interface Glance {
  /** Inbound by a row or by config/host_list, without rows for single addresses. */
  readonly domains: readonly string[]
  readonly rows: readonly SettingRow[]
  /** The lines of `[hosts]`. */
  readonly hosts: readonly SettingRow[]
}

export interface SettingRow {
  readonly name: string
  readonly value: string
}

/** All listeners have the same rows, but some may not use host_list. */
export const glanceAt = remembered(Number.POSITIVE_INFINITY, ({ policies }: Settings): Glance => {
  const all = [...policies.values()]
  const routing: ListenerPolicy['routing'] | undefined = all[0]?.routing
  const rows = routing?.routes.rows ?? []
  const listed = new Set(all.flatMap((policy) => [...policy.routing.hostList]))
  return {
    domains: routing ? [...inboundDomains(routing.routes, listed)] : [],
    rows: rows.map(({ text, routeTo }) => ({ name: text, value: routeText(routeTo) })),
    hosts: [...(routing?.mailboxHosts.values() ?? [])].map(({ text, hops }) => {
      return { name: text, value: hops.map((hop) => hop.text).join(' ') || 'local' }
    }),
  }
})

/** The oldest settings, if processes differ. */
export const settingsSince = ({ processes }: InstallReport, now: number) =>
  Math.min(now, ...processes.map((one) => one.settingsSince))

export function settingsSection(
  settings: Settings,
  report: InstallReport,
  asked: URLSearchParams,
  now: number,
): Html {
  const { domains, rows, hosts } = glanceAt(settings)
  const named = partOf(domains, 'domains', asked, { size: 30, anchor: 'settings' })
  return html`<p class="note">In force ${since(settingsSince(report, now), now)}. <code>gal-relay settings</code> and <code>gal-relay routes</code> have all of them.</p>
<h3>${counted(domains.length, 'inbound domain')}</h3>
${domains.length > 0 && html`<p class="names">${named.shown.map((domain) => html`<span>${shown(domain)}</span> `)}</p>`}${named.pager}
${settingRows('row', rows, 'rows', asked)}
${hosts.length > 0 && settingRows('host', hosts, 'hosts', asked)}`
}

function settingRows(
  what: string,
  all: readonly SettingRow[],
  list: ListName,
  asked: URLSearchParams,
): Html {
  const { shown: part, pager } = partOf(all, list, asked, { size: 20, anchor: 'settings' })
  const rows = part.map(
    ({ name, value }) =>
      html`<tr><th scope="row">${shown(name)}</th><td>${shown(value)}</td></tr>\n`,
  )
  return html`<h3>${counted(all.length, what)} in [${what === 'row' ? 'routes' : 'hosts'}]</h3>
${all.length > 0 && html`<table class="relay"><tbody>${rows}</tbody></table>`}${pager}`
}
