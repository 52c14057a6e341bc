// What a message costs: `npm run bench -- message`. Whole messages of 1.5 kilobytes to valid
// recipients, accepted by a queue plugin that does nothing with them, at log level `error`: once
// with this plugin and remembered answers, once with a Haraka whose plugin looks into a JavaScript
// Set. A row with that plugin and hooks that do nothing, as many as this plugin has, shows what Haraka
// itself spends on them. CPU is the server's time per message.
import { type Delivery, messageLoad } from './client'
import { startSite, takingMessages, user } from './contenders'
import type { Sizes } from './sizes'
import { table } from './table'
import { compared, medianOf, times } from './turns'

interface Row extends Delivery {
  readonly name: string
  /** Which server is compared with the Set. */
  readonly contender: 'plugin' | 'emptyHooks'
  /** Roughly how many RCPTs take as long as one of these messages. */
  readonly weight: number
}

const ONE = { perConnection: 1, recipients: 1, weight: 10 }
const TEN = { perConnection: 10, recipients: 1, weight: 5 }
const TEN_TO_50 = { perConnection: 10, recipients: 50, weight: 50 }

const ROWS: readonly Row[] = [
  { name: 'one message a connection', ...ONE, contender: 'plugin' },
  { name: 'one message a connection, empty hooks', ...ONE, contender: 'emptyHooks' },
  { name: 'ten messages a connection', ...TEN, contender: 'plugin' },
  { name: 'ten messages a connection, empty hooks', ...TEN, contender: 'emptyHooks' },
  { name: 'ten, with 50 recipients each', ...TEN_TO_50, contender: 'plugin' },
]

/** @param words selects the rows whose names contain all of them; if empty, every row */
export async function message(sizes: Sizes, words: readonly string[]): Promise<void> {
  const site = await startSite(sizes.entries)
  try {
    const { set, ...others } = takingMessages(site, sizes.entries)
    const cells: string[][] = []
    for (const row of ROWS.filter(({ name }) => words.every((word) => name.includes(word)))) {
      const load = () => messageLoad(row, validRecipients(sizes.entries))
      const turn = Math.ceil(sizes.turn / row.weight)
      const before = WARMING * Math.ceil(sizes.before / row.weight)
      const measured = await compared(set, others[row.contender], load, { ...sizes, turn, before })
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
    table(['', 'Set, CPU µs', 'beside it, CPU µs', '×', 'rate, ×', 'p50 ms', 'wrong'], cells)
  } finally {
    await site.stop()
  }
}

/** A message runs through much more code than a recipient, and all of it must be compiled first. */
const WARMING = 3

/** Few enough for all to be remembered before the first turn. */
const PEOPLE = 1000

function validRecipients(entries: number): () => string {
  const people = Math.min(PEOPLE, entries)
  let count = 0
  return () => user(count++ % people)
}
