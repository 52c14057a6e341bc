// Explains one answer: the reply word for word, and each step that led to it.

import type { Explanation } from '../advice/explain'
import type { Step } from '../advice/explain-steps'
import { outcomeOf } from '../report/counts'
import { DEFAULT } from '../settings/directories'
import { type Asked, explainForm, frame } from './frame'
import { type Html, html, shown } from './html'

/** @param explained the explanations, or why the question cannot be answered */
export function explanationPage(
  name: string,
  asked: Asked,
  explained: Explanation | string | undefined,
): Html {
  const result = typeof explained === 'object' ? explanation(explained) : problem(explained)
  return frame(
    `Explain · gal-relay on ${name}`,
    html`<header><h1><a href="./">gal-relay</a></h1><p>What would be answered on ${name}, and why</p></header>
<main>
<section><h2>Question</h2>${explainForm(asked)}</section>
<section id="answer"><h2>Answer</h2>${result}</section>
<p><a href="./">Back to the overview</a></p>
</main>`,
  )
}

const problem = (text = 'There is no answer.') => html`<p class="problem">${shown(text)}</p>`

function explanation(explained: Explanation): Html {
  const { reply, code, rule, route, may_relay, enforced, steps, next_hops } = explained
  const { recipient, delivered_as, directory } = explained
  const observed = !enforced && rule !== 'not-enabled'
  const facts: [string, string][] = [
    ['Rule', rule],
    ['Route', route ?? 'none'],
    ['The client may relay', may_relay ? 'yes' : 'no'],
    ...(directory === undefined || directory === DEFAULT
      ? []
      : [['Directory', directory] as [string, string]]),
    ...(delivered_as === undefined || isSame(delivered_as, recipient)
      ? []
      : [['Leaves as', delivered_as] as [string, string]]),
    ...(next_hops.length > 0 ? [['Next hop', next_hops.join(', ')] as [string, string]] : []),
  ]
  return html`<p class="reply ${outcomeOf(code)}"><code>${shown(reply)}</code></p>
${observed && html`<p class="condition doubtful">Not enforced on this listener: this is what would be answered.</p>`}
<dl class="facts">${facts.map(([term, fact]) => html`<div><dt>${term}</dt><dd>${fact}</dd></div>`)}</dl>
<ol class="steps">${steps.map(stepText)}</ol>`
}

const isSame = (address: string, asked: string) =>
  address.toLowerCase() === asked.replace(/^<|>$/g, '').toLowerCase()

const stepText = ({ step, text, source }: Step) =>
  html`<li><b>${step}</b><span>${shown(text)}${source && html` <small>${source}</small>`}</span></li>`
