// What mail notices of a reload: the longest time for which Haraka's event loop stands still while
// settings with long lists are read again, beside the longest while nothing happens.
import { type Haraka, startHaraka } from '../test/support/haraka'
import type { Sizes } from './sizes'
import { table } from './table'
import { median } from './turns'

/** Haraka waits so long for more changes of a file, milliseconds; then it is read. */
const SETTLE = 5000

export async function reload({ reloads, reloaded }: Sizes): Promise<void> {
  const rows: string[][] = []
  for (const count of reloaded) {
    const haraka = await startHaraka({
      plugins: ['gal-relay', 'test-queue', 'test-stalls'],
      ini: settings(count, 0),
    })
    try {
      const quiet: number[] = []
      const busy: number[] = []
      const took: number[] = []
      for (let number = 1; number <= reloads; number++) {
        await longestStall(haraka)
        await new Promise((resolve) => setTimeout(resolve, SETTLE))
        quiet.push(await longestStall(haraka))
        haraka.forgetLog()
        haraka.writeConfig('gal_relay.ini', settings(count, number))
        await haraka.waitForLog(/Reloaded file: .*gal_relay\.ini/, 60_000)
        const startedAt = performance.now()
        await haraka.waitForLog(/settings reloaded/, 60_000)
        took.push(performance.now() - startedAt)
        busy.push(await longestStall(haraka))
      }
      const figures = [median(quiet), median(busy), Math.max(...busy), median(took)]
      rows.push([
        `${count.toLocaleString('en')} rows and hosts[]`,
        ...figures.map((figure) => figure.toFixed(1)),
      ])
    } finally {
      await haraka.stop()
    }
  }
  table(
    ['a reload of', 'longest stall without, ms', 'with, ms', 'at most, ms', 'it took, ms'],
    rows,
  )
}

function settings(count: number, number: number): string {
  const lines = (line: (i: number) => string) => Array.from({ length: count }, (_, i) => line(i))
  return [
    '[routes]',
    ...lines((i) => `d${i}.example = always-relay smtp://hub${(i + number) % 100}.example`),
    '[restrictions]',
    ...lines((i) => `hosts[] = 10.${i >> 16}.${(i >> 8) & 255}.${i & 255}`),
    '[ldap]',
    // Nobody is asked for anything.
    'url[] = ldap://127.0.0.1:1',
    'base = dc=example',
    '',
  ].join('\n')
}

async function longestStall(haraka: Haraka): Promise<number> {
  haraka.forgetLog()
  process.kill(haraka.pid, 'SIGUSR2')
  const line = await haraka.waitForLog(/test-stalls: [\d.]+/)
  return Number(/test-stalls: ([\d.]+)/.exec(line)?.[1])
}
