// How many recipients were accepted, deferred and refused, by which rule, and minute by minute in
// the last hour. If the plugin only observes, its verdicts appear beside the replies that were
// given.

import type { Outcome } from '../report/counts'
import type { InstallReport } from '../report/install'
import type { Sample } from '../report/samples'
import { counted } from '../report/words'
import { meaningOf } from '../routing/rules'
import { chart } from './chart'
import { number, share, since, total } from './figures'
import { type Html, html } from './html'
import { linkTo } from './paging'

export const OUTCOMES: readonly Outcome[] = ['accepted', 'deferred', 'refused']

/** @param startedAt the start time of the process that has been running longest */
export function answersSection(
  { counters, minutes }: InstallReport,
  asked: URLSearchParams,
  startedAt: number,
  now: number,
): Html {
  const answers = total(counters, 'answers', { mode: 'enforce' })
  const observed = total(counters, 'answers', { mode: 'observe' })
  const all = answers + observed
  const isMixed = answers > 0 && observed > 0
  const enforced = html`${isMixed && html`<h3>Answered by the plugin</h3>`}
<div class="figures">${figure('all', answers)}${OUTCOMES.map((verdict) =>
    figure(verdict, total(counters, 'answers', { mode: 'enforce', verdict })),
  )}</div>`
  return html`<p class="note">${counted(all, 'recipient')} ${since(startedAt, now)}.</p>
${(answers > 0 || observed === 0) && enforced}
${observed > 0 && html`${isMixed && html`<h3>Only observed</h3>`}${observedPart(counters, asked)}`}
${chart(minutes, now, observed > 0 ? 'Verdicts' : 'Answers')}
${all > 0 && rules(counters, all)}`
}

const figure = (kind: string, value: number) =>
  html`<div class="figure ${kind}"><b>${number(value)}</b><span>${kind}</span></div>`

export interface ObservedCounts {
  readonly verdicts: Readonly<Record<Outcome, number>>
  /** What others replied. */
  readonly replies: Readonly<Record<Outcome, number>>
  /** Clients that were gone before the reply. */
  readonly unanswered: number
}

export function observedCounts(counters: readonly Sample[]): ObservedCounts {
  const byOutcome = (countOf: (outcome: Outcome) => number) =>
    Object.fromEntries(OUTCOMES.map((outcome) => [outcome, countOf(outcome)])) as Record<
      Outcome,
      number
    >
  const verdicts = byOutcome((verdict) => total(counters, 'answers', { mode: 'observe', verdict }))
  return {
    verdicts,
    // The same as the verdicts, except where they differed.
    replies: byOutcome(
      (outcome) =>
        verdicts[outcome] -
        total(counters, 'unanswered', { verdict: outcome }) -
        total(counters, 'differences', { verdict: outcome }) +
        total(counters, 'differences', { answer: outcome }),
    ),
    unanswered: total(counters, 'unanswered'),
  }
}

function observedPart(counters: readonly Sample[], asked: URLSearchParams): Html {
  const { verdicts, replies, unanswered } = observedCounts(counters)
  const row = (name: string, counts: Readonly<Record<Outcome, number>>) =>
    html`<tr><th scope="row">${name}</th>${OUTCOMES.map((outcome) => html`<td class="count">${number(counts[outcome])}</td>`)}</tr>\n`
  return html`<table class="observed compact"><thead><tr><th></th>${OUTCOMES.map((one) => html`<th class="count">${one}</th>`)}</tr></thead>
<tbody>${row('verdict of the plugin', verdicts)}${row('reply that was given', replies)}</tbody></table>
${unanswered > 0 && html`<p class="note">${counted(unanswered, 'client was', 'clients were')} gone before the answer.</p>`}
${differences(counters, asked)}`
}

const WOULD: Readonly<Record<string, string>> = {
  accepted: 'accept',
  deferred: 'defer',
  refused: 'refuse',
}

function differences(counters: readonly Sample[], asked: URLSearchParams): Html {
  const groups = new Map<string, { labels: Sample['labels']; value: number }>()
  for (const { name, labels, value } of counters) {
    if (name !== 'differences') continue
    const key = [labels.verdict, labels.answer, labels.rule].join()
    const known = groups.get(key)
    if (known) known.value += value
    else groups.set(key, { labels, value })
  }
  if (groups.size === 0) return html`<p class="note">No answer would have been another one.</p>`
  const rows = [...groups.values()]
    .sort((a, b) => b.value - a.value)
    .map(({ labels: { rule = '', verdict = '', answer = '' }, value }) => {
      const show = linkTo(asked, { show: 'differences', rule, recent: '' }, 'recent')
      return html`<tr><th scope="row">would ${WOULD[verdict]} what was ${answer}</th><td><a href="${show}"><code class="${verdict}">${rule}</code></a></td><td class="count">${number(value)}</td></tr>\n`
    })
  return html`<table class="differences compact"><thead><tr><th>Difference</th><th>Rule</th><th class="count">Recipients</th></tr></thead>
<tbody>${rows}</tbody></table>`
}

function rules(counters: readonly Sample[], all: number): Html {
  const byRule = new Map<string, { rule: string; verdict: string; value: number }>()
  for (const { name, labels, value } of counters) {
    if (name !== 'answers') continue
    const { rule = '', verdict = '' } = labels
    const known = byRule.get(rule)
    if (known) known.value += value
    else byRule.set(rule, { rule, verdict, value })
  }
  const rows = [...byRule.values()]
    .sort((a, b) => b.value - a.value)
    .map(
      ({ rule, verdict, value }) =>
        html`<tr><th scope="row" class="${verdict}"><code>${rule}</code></th><td class="wide">${meaningOf(rule).meaning}</td><td class="count" data-label="Answers">${number(value)}</td><td class="count" data-label="Share">${share(value, all)}</td></tr>\n`,
    )
  return html`<table class="rules"><thead><tr><th>Rule</th><th>Meaning</th><th class="count">Answers</th><th class="count">Share</th></tr></thead>
<tbody>${rows}</tbody></table>`
}
