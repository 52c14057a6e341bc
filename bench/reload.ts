// What mail notices of a reload: the longest time for which Haraka's event loop blocks while
// settings with long lists are read again, compared with the longest while nothing happens. Each
// figure is the median of several reloads.
import { setTimeout as sleep } from 'node:timers/promises'
import { startHaraka } from '../test/support/haraka'
import type { Sizes } from './sizes'
import { longestStall, STALL_PLUGIN } from './stall'
import { table } from './table'
import { median } from './turns'

/** How long Haraka waits for further changes to a file before it reads it, in milliseconds. */
const SETTLE = 5000
/** Stalls are reported every second. */
const TOLD = 1100

export async function reload({ reloads, reloaded }: Sizes): Promise<void> {
  const rows: string[][] = []
  for (const count of reloaded) {
    const haraka = await startHaraka({
      plugins: ['bench-stall', 'gal-relay', 'test-queue'],
      files: { 'plugins/bench-stall.js': STALL_PLUGIN },
      ini: settings(count, 0),
    })
    try {
      const quiet: number[] = []
      const busy: number[] = []
      const ran: number[] = []
      const took: number[] = []
      for (let number = 1; number <= reloads; number++) {
        haraka.forgetLog()
        await sleep(SETTLE)
        quiet.push(longestStall(haraka.log())[0])
        haraka.writeConfig('gal_relay.ini', settings(count, number))
        await haraka.waitForLog(/Reloaded file: .*gal_relay\.ini/)
        const startedAt = performance.now()
        haraka.forgetLog()
        await haraka.waitForLog(/settings reloaded/)
        took.push(performance.now() - startedAt)
        await sleep(TOLD)
        const [most, , mostRan] = longestStall(haraka.log())
        busy.push(most)
        ran.push(mostRan)
      }
      const figures = [median(quiet), median(busy), median(ran), Math.max(...ran), median(took)]
      rows.push([count.toLocaleString('en'), ...figures.map((figure) => figure.toFixed(1))])
    } finally {
      await haraka.stop()
    }
  }
  table(['rows and hosts[]', 'quiet ms', 'stall ms', 'ran ms', 'ran at most ms', 'took ms'], rows)
}

function settings(count: number, number: number): string {
  const lines = (line: (i: number) => string) => Array.from({ length: count }, (_, i) => line(i))
  return [
    '[routes]',
    ...lines((i) => `d${i}.example = always-relay smtp://hub${(i + number) % 100}.example`),
    '[restrictions]',
    ...lines((i) => `hosts[] = 10.${i >> 16}.${(i >> 8) & 255}.${i & 255}`),
    '[ldap]',
    // No directory is ever asked.
    'url[] = ldap://127.0.0.1:1',
    'base = dc=example',
    '',
  ].join('\n')
}
