// The sections in the report of a day, in order, the same in text and in HTML.
import type { DayResult, Told } from '../advice/day-report'
import type { Counted } from '../report/tally'
import { counted, grouped } from '../report/words'
import { meaningOf } from '../routing/rules'

export interface ReportSection {
  readonly title: string
  readonly lines?: readonly string[]
  readonly rows?: readonly (readonly string[])[]
}

/** The first section, and the others if they have something to say. */
export function reportSections(result: DayResult): readonly ReportSection[] {
  const sections: readonly ReportSection[] = [
    { title: '', lines: summary(result) },
    { title: 'Answers by rule', rows: ruleRows(result) },
    { title: 'Who relayed', rows: relayRows(result) },
    { title: 'Refused recipients', rows: countRows(result.refused_recipients) },
    { title: 'Clients that were refused most', rows: countRows(result.refused_clients) },
    {
      title: 'Sender domains that were refused most',
      rows: countRows(result.refused_sender_domains),
    },
    { title: 'Directories', rows: toldRows(result.outages) },
    { title: 'Harvesters', rows: toldRows(result.harvesters) },
    {
      title: 'Observed: answers that would have been others',
      rows: countRows(result.observed_differences),
    },
  ]
  return sections.filter(({ lines = [], rows = [] }) => lines.length + rows.length > 0)
}

function summary(result: DayResult): string[] {
  const { recipients, clients, accepted, refused, deferred, unclear, observed } = result
  const { without_time, without_rule } = result
  if (recipients === 0) return ['No recipient of that day is in the log.']
  const outcomes = [
    `${grouped(accepted)} accepted`,
    `${grouped(refused)} refused`,
    `${grouped(deferred)} deferred`,
    ...(unclear > 0 ? [`${grouped(unclear)} of which the log does not say`] : []),
  ]
  return [
    `${counted(recipients, 'recipient')} from ${counted(clients, 'client')}: ${outcomes.join(', ')}`,
    ...(observed > 0 ? [`${grouped(observed)} of them were only observed`] : []),
    ...(without_time > 0
      ? ['The log has no times: all of it is counted (timestamps = true in config/log.ini).']
      : []),
    ...(without_rule > 0 && without_rule < recipients
      ? [
          `By which rule ${grouped(without_rule)} were accepted is not in the log (level = info in config/log.ini).`,
        ]
      : []),
  ]
}

function ruleRows({ rules }: DayResult): string[][] {
  return rules.map(({ outcome, rule, isOurs, count }) => {
    const name = isOurs ? rule : rule || '–'
    const meaning = isOurs ? meaningOf(rule).meaning : ''
    return [grouped(count), outcome, name, meaning]
  })
}

function relayRows({ relayed }: DayResult): string[][] {
  return relayed.map(({ rule, who, count }) => [grouped(count), who, rule])
}

const countRows = (all: readonly Counted[]) => all.map(({ name, count }) => [grouped(count), name])

const toldRows = (all: readonly Told[]) =>
  all.map(({ at, text }) => [at === undefined ? '' : new Date(at).toTimeString().slice(0, 8), text])
