// Mail that waits in the outbound queue, by next hop.
import type { QueueReport, Waiting } from '../delivery/waiting'
import { counted } from '../report/words'
import { number, since } from './figures'
import { type Html, html, shown } from './html'
import { partOf } from './paging'

const ON_A_PAGE = 10

/** @param queue the waiting mail, or why it cannot be read */
export function queueSection(
  queue: QueueReport | string,
  asked: URLSearchParams,
  now: number,
): Html {
  if (typeof queue === 'string') return html`<p class="note">${shown(queue)}</p>`
  const { messages, isCut, unreadable, byHop, byMx } = queue
  if (messages + unreadable === 0) return html`<p class="note">Nothing waits.</p>`
  const all = [
    ...byHop.map((one) => row(one, one.next_hops.join(', ') || 'MX hosts before this one', now)),
    ...byMx.map((one) => row(one, 'MX hosts', now)),
  ]
  const { shown: rows, pager } = partOf(all, 'waiting', asked, { size: ON_A_PAGE, anchor: 'queue' })
  const notes = [
    ...(isCut ? [`Of a longer queue, the ${number(messages)} oldest messages.`] : []),
    ...(unreadable > 0 ? [`${counted(unreadable, 'file')} cannot be read.`] : []),
  ]
  return html`<table class="labelled"><thead><tr><th>Next hop</th><th>Domain</th><th class="count">Messages</th><th class="count">Recipients</th><th class="count">Attempts</th><th>Oldest</th></tr></thead>
<tbody>${rows}</tbody></table>${pager}
${notes.length > 0 && html`<p class="note">${notes.join(' ')}</p>`}`
}

function row(
  { domain, messages, recipients, attempts, oldest }: Waiting,
  hop: string,
  now: number,
): Html {
  return html`<tr><th scope="row">${shown(hop)}</th>
<td data-label="Domain">${shown(domain)}</td>
<td class="count" data-label="Messages">${number(messages)}</td>
<td class="count" data-label="Recipients">${number(recipients)}</td>
<td class="count" data-label="Attempts">${number(attempts)}</td>
<td data-label="Oldest">${since(oldest, now)}</td></tr>\n`
}
