// The clients and recipients refused most often, and the rules by which clients relay.
import type { Mode, RefusedMost } from '../report/counts'
import type { InstallReport } from '../report/install'
import type { Sample } from '../report/samples'
import type { Counted } from '../report/tally'
import { RULES } from '../routing/rules'
import { number } from './figures'
import { type Html, html, shown } from './html'

/** The most rows of a table. */
export const MOST = 10

/** @returns `undefined` while there is nothing to show */
export function mostSection({ counters, refusedMost }: InstallReport): Html | undefined {
  const relayed = relayedByRule(counters)
  const shown = Object.entries(TITLES)
    .map(([mode, title]) => ({ title, most: refusedMost[mode as Mode] }))
    .filter(({ most }) => most.recipients.length > 0)
  if (shown.length + relayed.length === 0) return undefined
  const column = (what: string, named: (most: RefusedMost) => readonly Counted[]) =>
    shown.map(({ title, most }) => table(`${title}: ${what}`, named(most)))
  return html`<div class="tables">
<div>${column('recipients', ({ recipients }) => recipients)}</div>
<div>${column('clients', ({ clients }) => clients)}</div>
<div>${column('sender domains', ({ senderDomains }) => senderDomains)}${relayed.length > 0 && table('Relayed by rule', relayed)}</div>
</div>`
}

const TITLES: Readonly<Record<Mode, string>> = { enforce: 'Refused', observe: 'Would be refused' }

const RELAYING: ReadonlySet<string> = new Set(
  Object.entries(RULES).flatMap(([rule, line]) =>
    'accepts' in line && line.accepts === 'relayed' ? [rule] : [],
  ),
)

/** Accepted because the client may relay, without those that were only observed. */
export function relayedByRule(counters: readonly Sample[]): readonly Counted[] {
  const counts = new Map<string, number>()
  for (const { name, labels, value } of counters) {
    const { rule = '', mode } = labels
    if (name !== 'answers' || mode !== 'enforce' || !RELAYING.has(rule)) continue
    counts.set(rule, (counts.get(rule) ?? 0) + value)
  }
  return Array.from(counts, ([name, count]) => ({ name, count })).sort((a, b) => b.count - a.count)
}

function table(title: string, all: readonly Counted[]): Html {
  const rows = all
    .slice(0, MOST)
    .map(
      ({ name, count }) =>
        html`<tr><td>${shown(name)}</td><td class="count">${number(count)}</td></tr>\n`,
    )
  return html`<table class="most compact"><caption>${title}</caption><tbody>${rows}</tbody></table>\n`
}
