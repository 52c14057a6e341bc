// Totals, numbers and times as the page shows them.
import type { CounterName, Sample } from '../report/samples'
import { counted } from '../report/words'

/** The total of all samples with that name and all of these labels. */
export function total(
  samples: readonly Sample[],
  name: CounterName,
  labels: Readonly<Record<string, string>> = {},
): number {
  return samples
    .filter((sample) => sample.name === name)
    .filter((sample) =>
      Object.entries(labels).every(([key, value]) => sample.labels[key] === value),
    )
    .reduce((sum, { value }) => sum + value, 0)
}

export const number = (value: number) => value.toLocaleString('en')
export const share = (part: number, of: number) =>
  part > 0 && part / of < 0.0005 ? '< 0.1 %' : `${((part / of) * 100).toFixed(1)} %`

const MINUTE = {
  day: 'numeric',
  month: 'short',
  hour: '2-digit',
  minute: '2-digit',
  timeZoneName: 'short',
} as const
const DATE_TIME = new Intl.DateTimeFormat('en-GB', { ...MINUTE, second: '2-digit' })
const DATE_MINUTE = new Intl.DateTimeFormat('en-GB', MINUTE)

/** `28 Nov, 16:05:11 UTC` */
export const dateTime = (at: number) => DATE_TIME.format(at)

/** `since 28 Nov, 16:05 UTC (10 minutes)` */
export const since = (at: number, now: number) =>
  `since ${DATE_MINUTE.format(at)} (${duration(now - at)})`

const UNITS = [
  ['day', 86_400_000],
  ['hour', 3_600_000],
  ['minute', 60_000],
  ['second', 1000],
] as const

/** Uses the largest unit that gives at least two: `100 minutes`. */
export function duration(milliseconds: number): string {
  const [unit, length] = UNITS.find(([, length]) => milliseconds >= 2 * length) ?? UNITS[3]
  return counted(Math.max(0, Math.floor(milliseconds / length)), unit)
}
