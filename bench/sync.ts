// What reading the whole list costs, and what mail notices of it: `npm run bench -- sync`. Clients ask a
// Haraka in snapshot mode while it reads a million entries from slapd again, and right after that, both at
// full speed and at a pace that leaves the machine some room. Clients and slapd, which usually run on other
// machines, leave one processor to mail. Then reads a list from a Samba domain controller, if installed.
import { readdirSync } from 'node:fs'
import { setPriority } from 'node:os'
import { setTimeout as sleep } from 'node:timers/promises'
import { startHaraka } from '../test/support/haraka'
import { findProgram } from '../test/support/programs'
import { type SambaEntry, startSamba } from '../test/support/samba'
import { type Addressed, Clients } from './client'
import { iniOf, READY, type Site, snapshotOptions, startSite, user } from './contenders'
import { leaveLastProcessorTo } from './processors'
import { recipients } from './rcpt'
import type { Sizes } from './sizes'
import { longestStall, STALL_PLUGIN } from './stall'
import { table } from './table'

const CONNECTIONS = 20
/** Recipients per second: as many as the clients can ask, and a pace that leaves two processors some room. */
const PACES = [Number.POSITIVE_INFINITY, 1000]
/** Recipients between two looks at the clock. */
const BATCH = 500
const WAIT = 300_000

/** The directory's priority, if mail has 0. */
const PRIORITY = 10

export async function sync(sizes: Sizes): Promise<void> {
  const readings: string[][] = []
  const site = await startSite(sizes.large)
  try {
    await besideMail(site, sizes, (line) => readings.push(['slapd', ...reading(line)]))
  } finally {
    await site.stop()
  }
  if (process.getuid?.() === 0 && findProgram('samba-tool')) {
    readings.push(['Samba', ...reading(await fromSamba(sizes.active))])
  }
  console.log()
  table(['reading the whole list', 'entries', 'seconds', 'changes by'], readings)
}

const IN_FORCE = /the list is in force: \d+ recipients, (\d+) entries .* in ([\d.]+) s; .* by (\w+)/

/** @returns entries, seconds and the feed */
function reading(line: string): string[] {
  const [, entries = '', seconds = '', feed = ''] = IN_FORCE.exec(line) ?? []
  return [Number(entries).toLocaleString('en'), seconds, feed]
}

async function besideMail(
  site: Site,
  { large, turn, seconds }: Sizes,
  onReading: (line: string) => void,
): Promise<void> {
  const haraka = await startHaraka({
    ...snapshotOptions(site, ['full_every = 1m']),
    plugins: ['bench-stall', 'gal-relay'],
    files: { 'plugins/bench-stall.js': STALL_PLUGIN },
  })
  const rows: string[][] = []
  prioritize(site.slapd.pid, PRIORITY)
  let giveBack = () => {}
  try {
    onReading(await haraka.waitForLog(IN_FORCE, WAIT))
    await haraka.waitForLog(READY, WAIT)
    // Not earlier: processes that the SMTP thread starts, such as the reader, inherit its processor.
    giveBack = leaveLastProcessorTo(haraka.pid, [process.pid, site.slapd.pid])
    const clients = await Clients.connect(haraka.port, CONNECTIONS)
    const next = recipients(large)
    await clients.send(10 * turn, next)
    const measured = async (name: string, pace: number, isOver: () => boolean) => {
      const from = haraka.log().length
      const asked = await ask(clients, next, pace, isOver)
      const [most, own] = longestStall(haraka.log().slice(from))
      rows.push([name, ...asked, most.toFixed(1), own.toFixed(1)])
    }
    for (const pace of PACES) {
      const name = Number.isFinite(pace) ? `${pace.toLocaleString('en')} a second` : 'full speed'
      const from = haraka.log().length
      await haraka.waitForLog(/the whole list is read/, WAIT, from)
      let isRead = false
      const read = haraka.waitForLog(IN_FORCE, WAIT, from).then((line) => {
        isRead = true
        onReading(line)
      })
      await measured(`${name}, the list is read`, pace, () => isRead)
      await read
      const end = performance.now() + seconds * 1000
      await measured(`${name}, it is not`, pace, () => performance.now() > end)
    }
    clients.close()
  } finally {
    await haraka.stop()
    giveBack()
  }
  table(['mail meanwhile', 'rcpt/s', 'p50 ms', 'p99 ms', 'wrong', 'stall ms', 'own ms'], rows)
}

/** Sets the priority of all its threads, because each has its own (setpriority(2)). */
function prioritize(pid: number, priority: number): void {
  for (const thread of readdirSync(`/proc/${pid}/task`)) setPriority(Number(thread), priority)
}

/** @returns rate, p50, p99 and the number of wrong replies */
async function ask(
  clients: Clients,
  next: () => Addressed,
  pace: number,
  isOver: () => boolean,
): Promise<string[]> {
  const batch = Number.isFinite(pace) ? Math.max(CONNECTIONS, pace / 20) : BATCH
  const begin = performance.now()
  const took: number[] = []
  let wrong = 0
  for (let due = begin; !isOver(); due += (batch / pace) * 1000) {
    const sent = await clients.send(batch, next)
    wrong += sent.wrong
    for (const milliseconds of sent.took) took.push(milliseconds)
    const rest = due - performance.now()
    // The event loop must turn to notice when the list has been read.
    await sleep(Math.max(0, rest))
  }
  const rate = took.length / ((performance.now() - begin) / 1000)
  const sorted = Float64Array.from(took).sort()
  const part = (fraction: number) => (sorted[Math.floor(sorted.length * fraction)] ?? 0).toFixed(2)
  return [rate.toFixed(0), part(0.5), part(0.99), String(wrong)]
}

/** @returns what the log says about the reading */
async function fromSamba(entries: number): Promise<string> {
  const samba = await startSamba()
  try {
    const all = Array.from({ length: entries }, (_, i): SambaEntry => {
      const attributes = {
        objectClass: ['top', 'person', 'organizationalPerson', 'contact'],
        proxyAddresses: [`SMTP:${user(i)}`, `smtp:u${i}@example.com`],
      }
      return { dn: `cn=user${i},cn=Users,${samba.base}`, attributes }
    })
    for (let i = 0; i < all.length; i += 500) await samba.add(...all.slice(i, i + 500))
    const url = `ldap://${samba.host}`
    const haraka = await startHaraka({
      proxy: false,
      ini: iniOf({ ...samba, url }, ['mode = snapshot']),
    })
    try {
      return await haraka.waitForLog(IN_FORCE, WAIT)
    } finally {
      await haraka.stop()
    }
  } finally {
    await samba.stop()
  }
}
