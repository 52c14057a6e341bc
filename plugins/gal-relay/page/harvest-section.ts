// The clients that harvest defence holds off, as all processes see them together.
import { heldTogether } from '../harvest/harvest'
import type { Hold } from '../harvest/holds'
import type { InstallReport } from '../report/install'
import { counted } from '../report/words'
import { dateTime, duration, number, total } from './figures'
import { type Html, html, shown } from './html'
import { partOf } from './paging'

const ON_A_PAGE = 20

/** @returns `undefined` if the defence is off */
export function harvestSection(
  { processes, counters }: InstallReport,
  asked: URLSearchParams,
  now: number,
): Html | undefined {
  const reports = processes.flatMap(({ harvest }) => harvest ?? [])
  if (reports.length === 0) return undefined
  const held = heldTogether(reports.map(({ holds }) => holds)).filter(({ until }) => until > now)
  const deferred = total(counters, 'harvest_deferred')
  const sums = [
    `${counted(total(counters, 'harvest_holds'), 'network')} held off since the start`,
    `${number(deferred)} connections and recipients of theirs deferred`,
    `${number(total(counters, 'harvest_slowed'))} answers given later`,
  ]
  const place = { size: ON_A_PAGE, anchor: 'harvest' }
  const { shown: part, pager } = partOf(held, 'held', asked, place)
  const rows = part.map((hold) => row(hold, now))
  const table = html`<table class="labelled"><thead><tr><th>Network</th><th class="count">Unknown</th><th>Since</th><th>For</th><th>Found out by</th></tr></thead>
<tbody>${rows}</tbody></table>${pager}`
  return html`${held.length > 0 ? table : html`<p class="note">Nobody is held off.</p>`}
<p class="note">${sums.join(', ')}.</p>`
}

function row({ network, observed, since, until, unknown, all, server }: Hold, now: number): Html {
  const named = all > 0 ? `${unknown} of ${all}` : ''
  return html`<tr><th scope="row"><code>${shown(network)}</code>${observed && ' (only observed)'}</th>
<td class="count" data-label="Unknown">${named}</td>
<td data-label="Since">${dateTime(since)}</td>
<td data-label="For">${duration(until - now)}</td>
<td data-label="Found out by">${shown(server)}</td></tr>\n`
}

/** What is wrong with the data that servers share. */
export function sharingTroubles({ processes }: InstallReport): readonly string[] {
  const away = processes.flatMap(({ harvest }) => {
    const { redis } = harvest ?? {}
    return redis?.state === 'down' ? [redis] : []
  })
  const [first] = away
  if (!first) return []
  const where =
    away.length < processes.length ? ` by ${away.length} of ${processes.length} processes` : ''
  return [
    `Redis cannot be asked${where} (${first.server}): ${first.lastError ?? 'no reason known'}. Each process counts unknown recipients for itself.`,
  ]
}
