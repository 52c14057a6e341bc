// The last refusals, each with a link to its explanation, and the form that filters them.
import type { RecentRefusal } from '../report/counts'
import { dateTime, number } from './figures'
import { explainUrl } from './frame'
import { type Html, html, shown } from './html'

/** What the refusals shown must contain, in any case; '' is any. */
export interface Filter {
  readonly client: string
  readonly recipient: string
  readonly rule: string
}

export function filterForm(all: readonly RecentRefusal[], filter: Filter): Html {
  const rules = [...new Set([...all.map(({ rule }) => rule), filter.rule])].filter(Boolean)
  const options = rules
    .sort()
    .map((rule) => html`<option${rule === filter.rule && html` selected`}>${rule}</option>`)
  return html`<form id="filter" class="fields" method="get">
<label>Client<input name="client" value="${filter.client}" placeholder="address, name or account" autocomplete="off" spellcheck="false"></label>
<label>Recipient<input name="recipient" value="${filter.recipient}" placeholder="any" autocomplete="off" spellcheck="false"></label>
<label>Rule<select name="rule"><option value="">any</option>${options}</select></label>
<button>Filter</button>
</form>`
}

/** @param refusals oldest first */
export function refusalsTable(refusals: readonly RecentRefusal[], filter: Filter): Html {
  const all = [...refusals].reverse()
  if (all.length === 0) return html`<p class="note">Nobody has been refused yet.</p>`
  const matching = all.filter((refusal) => matches(refusal, filter))
  return html`<p class="note" id="shown">${number(matching.length)} of the last ${number(all.length)}</p>
<table class="refusals"><thead><tr><th>Time</th><th>Client</th><th>Sender and recipient</th><th>Reply</th></tr></thead>
<tbody>${matching.map(refusalRow)}</tbody></table>`
}

/** Whether it is shown. */
export function matches(refusal: RecentRefusal, { client, recipient, rule }: Filter): boolean {
  const holds = (text: string, part: string) => text.toLowerCase().includes(part.toLowerCase())
  return (
    holds(clientText(refusal), client) &&
    holds(refusal.recipient, recipient) &&
    (rule === '' || refusal.rule === rule)
  )
}

const clientText = ({ client, host, helo, account }: RecentRefusal) =>
  [client, host, helo, account].join(' ')

function refusalRow(refusal: RecentRefusal): Html {
  const { at, client, host, helo, account, sender, recipient, listener, rule, reply } = refusal
  const asked = { recipient, client, listener, account, sender }
  const { answered } = refusal
  return html`<tr data-client="${shown(clientText(refusal))}" data-recipient="${shown(recipient)}" data-rule="${rule}">
<td data-label="Time"><time datetime="${new Date(at).toISOString()}">${dateTime(at)}</time><small>${listener}</small></td>
<td data-label="Client"><b>${client}</b>${host && html`<small>${shown(host)}</small>`}${helo && html`<small>EHLO ${shown(helo)}</small>`}${account && html`<small>account ${shown(account)}</small>`}</td>
<td data-label="Sender and recipient"><small>from &lt;${shown(sender)}&gt;</small><b>${shown(recipient)}</b></td>
<td data-label="Reply">${reply}<small><a href="${explainUrl(asked)}"><code>${rule}</code></a></small>${
    answered !== undefined &&
    html`<small class="differs">observed; answered ${shown(answered) || 'nothing'}</small>`
  }</td>
</tr>\n`
}
