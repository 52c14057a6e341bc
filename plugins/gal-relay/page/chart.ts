// Answers per minute of the last hour as bars: SVG without any script or style of its own. Its words
// stand beside it as HTML, so that they keep their size when the bars are squeezed.
import { MINUTES, type Minute } from '../report/counts'
import { type Html, html } from './html'

const HEIGHT = 100
const KINDS = ['accepted', 'deferred', 'refused'] as const

/**
 * @param minutes in which something was answered
 * @param now milliseconds since 1970
 */
export function chart(minutes: readonly Minute[], now: number): Html {
  const last = Math.floor(now / 60_000)
  const shown = minutes.filter(({ minute }) => minute > last - MINUTES && minute <= last)
  const most = Math.max(1, ...shown.map(all))
  const top = roundUp(most)
  const bars = shown.flatMap((one) => bar(one, one.minute - last + MINUTES - 1, top))
  const label = `Answers per minute in the last hour, at most ${number(most)}`
  return html`<figure class="chart">
<figcaption>Answers per minute</figcaption>
<div class="plot"><span class="top">${number(top)}</span><span class="half">${number(top / 2)}</span>
<svg viewBox="0 0 ${MINUTES} ${HEIGHT}" preserveAspectRatio="none" role="img" aria-label="${label}">
<path class="grid" d="M0 0H${MINUTES}M0 ${HEIGHT / 2}H${MINUTES}M0 ${HEIGHT}H${MINUTES}"/>
${bars}</svg></div>
<div class="axis"><span>${clock(last - MINUTES + 1)}</span><span>${clock(last - MINUTES / 2)}</span><span>${clock(last)}</span></div>
<ul class="legend">${KINDS.map((kind) => html`<li class="${kind}">${kind}</li>`)}</ul>
</figure>`
}

function bar(one: Minute, column: number, top: number): Html[] {
  let below = 0
  const title = KINDS.map((kind) => `${number(one[kind])} ${kind}`).join(', ')
  const parts = KINDS.map((kind) => {
    const height = (one[kind] / top) * HEIGHT
    below += height
    return height > 0
      ? html`<rect class="${kind}" x="${column + 0.1}" y="${two(HEIGHT - below)}" width="0.8" height="${two(height)}"/>`
      : html``
  })
  return [html`<g><title>${clock(one.minute)}: ${title}</title>${parts}</g>\n`]
}

const all = ({ accepted, refused, deferred }: Minute) => accepted + refused + deferred
const two = (value: number) => value.toFixed(2)
const number = (value: number) => value.toLocaleString('en')
const clock = (minute: number) => new Date(minute * 60_000).toTimeString().slice(0, 5)

/** The next of 2, 4, 10, 20, 40, 100, … so that half of it is a whole number. */
function roundUp(value: number): number {
  const ten = 10 ** Math.floor(Math.log10(value))
  return [2, 4, 10, 20].map((factor) => factor * ten).find((round) => round >= value) ?? value
}
