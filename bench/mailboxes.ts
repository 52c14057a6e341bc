// What it costs if the directory says where mail goes: `npm run bench -- mailboxes`. Compares the
// same server with and without `host_attribute`; the one without counts as 1. Every entry names one
// of four servers.
import { recipientLoad } from './client'
import { hosted, live, startSite } from './contenders'
import { recipients } from './rcpt'
import type { Sizes } from './sizes'
import { table } from './table'
import { compared, type Figures, medianOf, times } from './turns'

/** @param words selects the rows whose names contain all of them; if empty, every row */
export async function mailboxes(sizes: Sizes, words: readonly string[]): Promise<void> {
  const { entries } = sizes
  const site = await startSite(entries)
  try {
    const cells: string[][] = []
    for (const state of ['warm', 'cold'] as const) {
      const row = hosted(site, state)
      if (!words.every((word) => row.name.includes(word))) continue
      const load = () => recipientLoad(recipients(entries))
      const measured = await compared(live(site, state, 'near'), row, load, sizes)
      const by = (key: keyof Figures) => times(measured, key).toFixed(2)
      const turns = measured.pairs.flatMap((pair) => pair.turns)
      const wrong = turns.reduce((sum, turn) => sum + turn.wrong, 0)
      const figures = [medianOf(measured, 'cpu').toFixed(1), by('cpu'), by('rate'), by('p99')]
      cells.push([row.name, ...figures, String(wrong)])
    }
    table(['', 'CPU µs', '×', 'rate, ×', 'p99, ×', 'wrong'], cells)
  } finally {
    await site.stop()
  }
}
