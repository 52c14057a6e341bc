// How many were accepted, deferred and refused, by which rule, and in the last hour minute by minute.

import type { Outcome } from '../report/counts'
import type { InstallReport } from '../report/install'
import type { Sample } from '../report/samples'
import { meaningOf } from '../routing/rules'
import { chart } from './chart'
import { number, share, total } from './figures'
import { type Html, html } from './html'

const OUTCOMES: readonly Outcome[] = ['accepted', 'deferred', 'refused']

export function answersSection({ counters, minutes }: InstallReport, now: number): Html {
  const figures = OUTCOMES.map((verdict) =>
    figure(verdict, total(counters, 'answers', { verdict })),
  )
  const observed = total(counters, 'answers', { mode: 'observe' })
  const differences = total(counters, 'differences')
  const all = total(counters, 'answers')
  return html`<div class="figures">${figure('all', all)}${figures}${
    observed > 0 && figure('differs', differences, 'answered differently')
  }</div>
${observed > 0 && html`<p class="note">${number(observed)} of these are verdicts on observed listeners, where the plugin does not decide; ${number(differences)} of them were answered differently.</p>`}
${chart(minutes, now)}
${all > 0 && rules(counters, all)}`
}

const figure = (kind: string, value: number, label = kind) =>
  html`<div class="figure ${kind}"><b>${number(value)}</b><span>${label}</span></div>`

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
