// A directory that fails again and again leaves nothing behind in the processes that ask it: no socket,
// no memory.
import assert from 'node:assert/strict'
import { readdirSync, readFileSync } from 'node:fs'
import { test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { PEOPLE, type Site, site, stopSites } from '../gal/fault-sites'
import { skipWithout } from '../support/programs'
import { until } from '../support/until'
import { type Gateway, LIVE, SNAPSHOT, startGateways } from './gateway'

const FAULTS: readonly (({ proxy }: Site) => void)[] = [
  ({ proxy }) => proxy.drop(),
  ({ proxy }) => proxy.drop('reset'),
  ({ proxy }) => proxy.behave({ kind: 'garbage' }),
  ({ proxy }) => proxy.behave({ kind: 'cut', after: 5 }),
  ({ proxy }) => proxy.behave({ kind: 'result', code: 52 }),
  ({ proxy }) => proxy.behave({ kind: 'hang' }),
  ({ proxy }) => proxy.closePort(),
]
const LDAP = 'retry_after = 50ms to 100ms\n'

/** What a gateway and the process that keeps its list hold. */
interface Holding {
  readonly files: number
  readonly heap: number
  readonly children: readonly number[]
  /** Bytes in memory of the children. */
  readonly resident: number
}

test('a hundred faults leave no sockets and no memory behind', {
  skip: skipWithout('slapd', 'slapadd', 'ldapmodify'),
}, async (t) => {
  const place = await site()
  const urls = [`ldap://127.0.0.1:${place.proxy.port}`]
  const options = { urls, base: PEOPLE, ldap: LDAP, timeout: 300, pause: 20 }
  let gateways: readonly Gateway[] = []
  try {
    gateways = await startGateways([
      { ...options, gal: LIVE },
      { ...options, gal: SNAPSHOT },
    ])
    const early = await cycle(20)
    const late = await cycle(100)
    for (const [i, gateway] of gateways.entries()) {
      const [before, after] = [early[i] as Holding, late[i] as Holding]
      const what = JSON.stringify({ before, after })
      t.diagnostic(what)
      assert.deepEqual(after.children, before.children, what)
      assert.ok(after.files <= before.files + 5, what)
      assert.ok(after.heap < before.heap + 10e6, what)
      assert.ok(after.resident < before.resident + 100e6, what)
      gateway.assertNothingWrong()
    }
  } finally {
    await Promise.all(gateways.map((one) => one.close()))
    await stopSites(place)
  }

  async function cycle(count: number): Promise<Holding[]> {
    for (let i = 0; i < count; i++) {
      const fault = FAULTS[i % FAULTS.length]
      fault?.(place)
      await sleep(50)
      place.proxy.behave({ kind: 'pass' })
      if (i % FAULTS.length === FAULTS.length - 1) await place.proxy.openPort()
      await Promise.all(gateways.map(untilAnswered))
    }
    return Promise.all(gateways.map(holding))
  }
})

/** The next replies of a gateway that has got over it. */
async function untilAnswered({ load }: Gateway): Promise<void> {
  const from = load.now
  await until(() => {
    const recent = load.since(from).slice(-8)
    return recent.length === 8 && recent.every(({ state }) => state !== 'unavailable')
  })
}

async function holding({ haraka }: Gateway): Promise<Holding> {
  const { pid } = haraka
  const from = haraka.log().length
  process.kill(pid, 'SIGUSR2')
  const heap = Number((await haraka.waitForLog(/test-heap: \d+/, 20_000, from)).split(' ')[1])
  const children = readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8')
    .split(' ')
    .filter(Boolean)
    .map(Number)
  const all = [pid, ...children]
  return {
    files: all.reduce((sum, one) => sum + readdirSync(`/proc/${one}/fd`).length, 0),
    heap,
    children,
    resident: children.reduce((sum, one) => sum + residentBytes(one), 0),
  }
}

function residentBytes(pid: number): number {
  const [, kilobytes] = /VmRSS:\s+(\d+) kB/.exec(readFileSync(`/proc/${pid}/status`, 'utf8')) ?? []
  return Number(kilobytes) * 1024
}
