// A directory that fails again and again leaves nothing behind in the processes that ask it: no socket and
// no memory.
import assert from 'node:assert/strict'
import { readdirSync, readFileSync } from 'node:fs'
import { test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { PEOPLE, type Site, site, stopSites } from '../gal/fault-sites'
import { skipWithout } from '../support/programs'
import { until } from '../support/until'
import { type Gateway, LIVE, type Recipients, SNAPSHOT, startGateway } from './gateway'
import { entriesAt } from './outages'

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
  /** The children's resident memory in bytes. */
  readonly resident: number
}

test('a hundred faults leave no sockets and no memory behind', {
  skip: skipWithout('slapd', 'slapadd', 'ldapmodify'),
}, async (t) => {
  const place = await site({ entries: entriesAt('second.example') })
  const directory = { urls: [`ldap://127.0.0.1:${place.proxy.port}`], base: PEOPLE }
  let gateway: Gateway | undefined
  try {
    gateway = await startGateway({
      directories: {
        'example.com': { ...directory, gal: LIVE },
        'second.example': { ...directory, gal: SNAPSHOT },
      },
      ldap: LDAP,
      timeout: 300,
      pause: 20,
    })
    const both = [gateway.at('example.com'), gateway.at('second.example')]
    const before = await cycle(20, both)
    const after = await cycle(100, both)
    const what = JSON.stringify({ before, after })
    t.diagnostic(what)
    assert.equal(before.children.length, 1, what)
    assert.deepEqual(after.children, before.children, what)
    assert.ok(after.files <= before.files + 5, what)
    assert.ok(after.heap < before.heap + 10e6, what)
    assert.ok(after.resident < before.resident + 100e6, what)
    gateway.assertNothingWrong()
  } finally {
    await gateway?.close()
    await stopSites(place)
  }

  async function cycle(count: number, both: readonly Recipients[]): Promise<Holding> {
    for (let i = 0; i < count; i++) {
      const fault = FAULTS[i % FAULTS.length]
      fault?.(place)
      await sleep(50)
      place.proxy.behave({ kind: 'pass' })
      if (i % FAULTS.length === FAULTS.length - 1) await place.proxy.openPort()
      await Promise.all(both.map(untilAnswered))
    }
    return holding(both[0] as Recipients)
  }
})

/** Waits until the gateway has recovered. */
async function untilAnswered({ load }: Recipients): Promise<void> {
  const from = load.now
  await until(() => {
    const recent = load.since(from).slice(-8)
    return recent.length === 8 && recent.every(({ state }) => state !== 'unavailable')
  })
}

async function holding({ haraka }: Recipients): Promise<Holding> {
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
