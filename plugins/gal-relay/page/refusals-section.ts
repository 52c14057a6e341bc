// The last refusals, or the last differences if the plugin observes, each with a link to its
// explanation, and the form that selects them.
import type { RecentDifference, RecentRefusal } from '../report/counts'
import type { InstallReport } from '../report/install'
import { dateTime, number } from './figures'
import { explainUrl } from './frame'
import { type Html, html, shown } from './html'
import { partOf } from './paging'

/** What the recipients shown must contain, ignoring case; '' matches all. */
export interface Filter {
  readonly client: string
  readonly recipient: string
  readonly rule: string
}

export const filterOf = (asked: URLSearchParams): Filter => ({
  client: asked.get('client') ?? '',
  recipient: asked.get('recipient') ?? '',
  rule: asked.get('rule') ?? '',
})

type Recent = RecentRefusal | RecentDifference

interface Kind {
  readonly title: string
  of(report: InstallReport): readonly Recent[]
}

const differences =
  (isShown: (one: RecentDifference) => boolean) =>
  ({ recentDifferences }: InstallReport) =>
    recentDifferences.filter(isShown)

/** Keyed by the value of `show` in the URL. */
const KINDS: Readonly<Record<string, Kind>> = {
  refusals: { title: 'refusals', of: ({ refusals }) => refusals },
  differences: { title: 'differences', of: differences(() => true) },
  'would-refuse': {
    title: 'would refuse what was accepted',
    of: differences(({ verdict, answer }) => verdict === 'refused' && answer === 'accepted'),
  },
  'would-accept': {
    title: 'would accept what was refused',
    of: differences(({ verdict, answer }) => verdict === 'accepted' && answer === 'refused'),
  },
}
const DEFAULT_KIND = 'refusals'

const kindOf = (asked: URLSearchParams) => {
  const show = asked.get('show') ?? ''
  return show in KINDS ? show : DEFAULT_KIND
}

export function filterForm(report: InstallReport, asked: URLSearchParams): Html {
  const filter = filterOf(asked)
  const all = [...report.refusals, ...report.recentDifferences]
  const rules = [...new Set([...all.map(({ rule }) => rule), filter.rule])].filter(Boolean)
  const options = rules
    .sort()
    .map((rule) => html`<option${rule === filter.rule && html` selected`}>${rule}</option>`)
  const kind = kindOf(asked)
  const kinds = Object.entries(KINDS).map(
    ([name, { title }]) =>
      html`<option value="${name}"${name === kind && html` selected`}>${title}</option>`,
  )
  return html`<form id="filter" class="fields" method="get" action="#recent">
<label>Show<select name="show">${kinds}</select></label>
<label>Client<input name="client" value="${filter.client}" placeholder="address, name or account" autocomplete="off" spellcheck="false"></label>
<label>Recipient<input name="recipient" value="${filter.recipient}" placeholder="any" autocomplete="off" spellcheck="false"></label>
<label>Rule<select name="rule"><option value="">any</option>${options}</select></label>
<button>Filter</button>
</form>`
}

const ON_A_PAGE = 50

export function recentTable(report: InstallReport, asked: URLSearchParams): Html {
  const kind = kindOf(asked)
  const all = [...(KINDS[kind]?.of(report) ?? [])].reverse()
  if (all.length === 0) {
    const none = kind === DEFAULT_KIND ? 'Nobody has been refused yet.' : 'There are none.'
    return html`<p class="note">${none}</p>`
  }
  const matching = all.filter((one) => matches(one, filterOf(asked)))
  const place = { size: ON_A_PAGE, anchor: 'recent' }
  const { shown: part, pager } = partOf(matching, 'recent', asked, place)
  return html`<p class="note" id="shown">${number(matching.length)} of the last ${number(all.length)}</p>
<table class="refusals"><thead><tr><th>Time</th><th>Client</th><th>Sender and recipient</th><th>Reply</th></tr></thead>
<tbody>${part.map(recentRow)}</tbody></table>${pager}`
}

/** Whether the filter lets it be shown. */
export function matches(refusal: Recent, { client, recipient, rule }: Filter): boolean {
  const holds = (text: string, part: string) => text.toLowerCase().includes(part.toLowerCase())
  return (
    holds(clientText(refusal), client) &&
    holds(refusal.recipient, recipient) &&
    (rule === '' || refusal.rule === rule)
  )
}

const clientText = ({ client, host, helo, account }: Recent) =>
  [client, host, helo, account].join(' ')

function recentRow(refusal: Recent): Html {
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
