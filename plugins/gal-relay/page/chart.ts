// Answers per minute of the last hour as bars, in SVG without scripts or styles of its own.
// Positions are percentages, so that the bars fill the width while the text keeps its proportions.
import { MINUTES, type Minute } from '../report/counts'
import { type Html, html } from './html'

const KINDS = ['accepted', 'deferred', 'refused'] as const
/** Minutes between two times on the axis. */
const TICK = 10

/**
 * @param minutes the minutes in which something was answered
 * @param now milliseconds since 1970
 * @param what the chart's subject, such as `Answers`
 */
export function chart(minutes: readonly Minute[], now: number, what: string): Html {
  const last = Math.floor(now / 60_000)
  const first = last - MINUTES + 1
  const shown = minutes.filter(({ minute }) => minute >= first && minute <= last)
  const most = Math.max(0, ...shown.map(all))
  const { top, lines } = scaleFor(most)
  const label = `${what} per minute in the last hour, at most ${number(most)}`
  return html`<figure class="chart">
<figcaption>${what} per minute in the last hour, ${zone(now)}</figcaption>
<div class="plot"><svg role="img" aria-label="${label}">
${lines.map((value) => level(value, top))}${ticksFrom(first, last).map((minute) => tick(minute, first))}${shown.map((one) => bar(one, one.minute - first, top))}</svg></div>
<ul class="legend">${KINDS.map((kind) => html`<li class="${kind}">${kind}</li>`)}</ul>
</figure>`
}

function level(value: number, top: number): Html {
  const y = percent(1 - value / top)
  return html`<line class="grid" x1="0" x2="100%" y1="${y}" y2="${y}"/><text x="0" dx="-8" y="${y}" dy="4" text-anchor="end">${number(value)}</text>\n`
}

function tick(minute: number, first: number): Html {
  const x = percent((minute - first + 0.5) / MINUTES)
  return html`<line class="tick" x1="${x}" x2="${x}" y1="100%" y2="100%"/><text x="${x}" y="100%" dy="16" text-anchor="middle">${clock(minute)}</text>\n`
}

/** Every tenth minute, except those at the very edge. */
function ticksFrom(first: number, last: number): number[] {
  const offset = new Date(first * 60_000).getMinutes() % TICK
  const ticks: number[] = []
  for (let at = first + ((TICK - offset) % TICK); at <= last; at += TICK) {
    if (at - first > 0 && last - at > 0) ticks.push(at)
  }
  return ticks
}

function bar(one: Minute, column: number, top: number): Html {
  let below = 0
  const title = KINDS.map((kind) => `${number(one[kind])} ${kind}`).join(', ')
  const parts = KINDS.map((kind) => {
    const height = one[kind] / top
    below += height
    return height > 0
      ? html`<rect class="${kind}" x="${percent((column + 0.1) / MINUTES)}" y="${percent(1 - below)}" width="${percent(0.8 / MINUTES)}" height="${percent(height)}"/>`
      : html``
  })
  return html`<g><title>${clock(one.minute)}: ${title}</title>${parts}</g>\n`
}

/** A scale of two to five steps of 1, 2, 5, 10, 20, …, from 0 to just above the highest bar. */
function scaleFor(most: number): { readonly top: number; readonly lines: readonly number[] } {
  const least = Math.max(1, most / 5)
  const ten = 10 ** Math.floor(Math.log10(least))
  const step = [1, 2, 5, 10].map((factor) => factor * ten).find((one) => one >= least) ?? least
  const steps = Math.max(2, Math.ceil(most / step))
  return {
    top: steps * step,
    lines: Array.from({ length: steps + 1 }, (_, index) => index * step),
  }
}

const all = ({ accepted, refused, deferred }: Minute) => accepted + refused + deferred
const percent = (share: number) => `${Number((share * 100).toFixed(3))}%`
const number = (value: number) => value.toLocaleString('en')
const clock = (minute: number) => new Date(minute * 60_000).toTimeString().slice(0, 5)
const ZONE = new Intl.DateTimeFormat('en-GB', { timeZoneName: 'short' })
const zone = (now: number) =>
  ZONE.formatToParts(now).find(({ type }) => type === 'timeZoneName')?.value ?? ''
