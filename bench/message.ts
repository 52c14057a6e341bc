// What a message costs: `npm run bench -- message`. Whole messages of one and a half kilobytes to valid
// recipients, taken by a queue plugin that does nothing with them, at log level `error`: with this plugin
// and remembered answers, and beside it a Haraka whose plugin looks into a JavaScript Set. CPU is that of
// the server for each message.
import { type Delivery, messageLoad } from './client'
import { startSite, takingMessages, user } from './contenders'
import type { Sizes } from './sizes'
import { table } from './table'
import { compared, medianOf, times } from './turns'

interface Row extends Delivery {
  readonly name: string
  /** About how many RCPTs take as long as one of these messages. */
  readonly weight: number
}

const ROWS: readonly Row[] = [
  { name: 'one message a connection', perConnection: 1, recipients: 1, weight: 10 },
  { name: 'ten messages a connection', perConnection: 10, recipients: 1, weight: 5 },
  { name: 'ten, with 50 recipients each', perConnection: 10, recipients: 50, weight: 50 },
]

/** @param words the rows whose names hold all of them; none: every row */
export async function message(sizes: Sizes, words: readonly string[]): Promise<void> {
  const site = await startSite(sizes.entries)
  try {
    const { set, plugin } = takingMessages(site, sizes.entries)
    const cells: string[][] = []
    for (const row of ROWS.filter(({ name }) => words.every((word) => name.includes(word)))) {
      const load = () => messageLoad(row, validRecipients(sizes.entries))
      const turn = Math.ceil(sizes.turn / row.weight)
      const before = WARMING * Math.ceil(sizes.before / row.weight)
      const measured = await compared(set, plugin, load, { ...sizes, turn, before })
      const { pairs } = measured
      const beside = { ...measured, pairs: pairs.map(({ beside }) => ({ turns: beside, beside })) }
      const wrong = pairs.flatMap(({ turns }) => turns).reduce((sum, turn) => sum + turn.wrong, 0)
      cells.push([
        row.name,
        medianOf(beside, 'cpu').toFixed(0),
        medianOf(measured, 'cpu').toFixed(0),
        times(measured, 'cpu').toFixed(2),
        times(measured, 'rate').toFixed(2),
        medianOf(measured, 'p50').toFixed(2),
        String(wrong),
      ])
    }
    table(['', 'Set, CPU µs', 'plugin, CPU µs', '×', 'rate, ×', 'p50 ms', 'wrong'], cells)
  } finally {
    await site.stop()
  }
}

/** A message runs through so much more code than a recipient, all of which is to be compiled before. */
const WARMING = 3

/** Few enough that all are remembered before the first turn. */
const PEOPLE = 1000

function validRecipients(entries: number): () => string {
  const people = Math.min(PEOPLE, entries)
  let count = 0
  return () => user(count++ % people)
}
