// What many directories cost: `npm run bench -- directories`. Compares 10 and 500 directories with
// one that has the same recipients and rows; shows what a server with 500 needs to start and to
// run, and what recipients of one directory notice if another hangs. `-- directories warm` is the first for
// remembered answers alone; the other parts are cold, memory and hanging.
import { readdirSync, readFileSync, readlinkSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import {
  type CompaniesIni,
  companiesIni,
  companyDomain,
  companyUser,
  startCompanies,
} from '../test/support/companies'
import type { Haraka } from '../test/support/haraka'
import { childrenOf } from '../test/support/processes'
import type { Slapd } from '../test/support/slapd'
import { startTcpProxy } from '../test/support/tcp-proxy'
import { until } from '../test/support/until'
import { type Addressed, Clients, recipientLoad } from './client'
import { type Contender, haraka } from './contenders'
import { startServer, stopServer } from './servers'
import type { Sizes } from './sizes'
import { table } from './table'
import { comparedAll, median, medianOf, times } from './turns'

type Options = Omit<CompaniesIni, 'slapd' | 'companies'>

/** The number of recipients to ask for. */
const ASKED = 10_000

const PARTS = ['warm', 'cold', 'memory', 'hanging'] as const

/** @param words which parts; if empty, every part */
export async function directories(sizes: Sizes, words: readonly string[]): Promise<void> {
  const chosen = PARTS.filter((part) => words.length === 0 || words.includes(part))
  const { companies, companyRecipients: recipients } = sizes
  const slapd = await startCompanies({ companies, recipients })
  const iniOf = (options: Options) => companiesIni({ slapd, companies, ...options })
  try {
    for (const part of chosen) {
      if (part === 'memory') await holdings(iniOf, sizes)
      else if (part === 'hanging') await beside(slapd, iniOf, sizes)
      else await cost(iniOf, sizes, part)
      console.log()
    }
  } finally {
    await slapd.stop()
  }
}

type IniOf = (options: Options) => string

/** Alternates between valid and unknown recipients, one company after the other. */
function recipientsOf({ companies, companyRecipients }: Sizes): () => Addressed {
  const users = Math.max(1, Math.min(companyRecipients, Math.floor(ASKED / companies / 2)))
  let count = 0
  return () => {
    const number = Math.floor(count / 2)
    const company = number % companies
    const user = Math.floor(number / companies) % users
    return count++ % 2 === 0
      ? { address: companyUser(company, user), code: 250 }
      : { address: `nobody${user}@${companyDomain(company)}`, code: 550 }
  }
}

async function cost(iniOf: IniOf, sizes: Sizes, state: 'warm' | 'cold'): Promise<void> {
  const contender = (count: number): Contender => {
    const time = state === 'warm' ? '1h' : '0s'
    const gal = [`cache_found = ${time}`, `cache_absent = ${time}`, 'cache_stale = 0s']
    const name = `${count} ${count === 1 ? 'directory' : 'directories'}, ${state}`
    return haraka(name, { ini: iniOf({ directories: count, gal }) })
  }
  const rows: string[][] = []
  const load = () => recipientLoad(recipientsOf(sizes))
  const contenders = [1, 10, sizes.companies].map(contender)
  for (const measured of await comparedAll(contender(1), contenders, load, sizes)) {
    const turns = measured.pairs.flatMap((pair) => pair.turns)
    const wrong = turns.reduce((sum, turn) => sum + turn.wrong, 0)
    rows.push([
      measured.name,
      medianOf(measured, 'cpu').toFixed(1),
      times(measured, 'cpu').toFixed(2),
      medianOf(measured, 'p99').toFixed(2),
      String(wrong),
    ])
  }
  table(['', 'CPU µs', '×', 'p99 ms', 'wrong'], rows)
}

async function holdings(iniOf: IniOf, sizes: Sizes): Promise<void> {
  const rows: string[][] = []
  for (const mode of ['live', 'snapshot'])
    for (const count of [1, sizes.companies]) {
      const begin = performance.now()
      const running = await startServer({
        ini: iniOf({ directories: count, gal: [`mode = ${mode}`] }),
      })
      try {
        const started = performance.now() - begin
        const atStart = resident(running.pid)
        if (mode === 'snapshot') await listsOf(running, count)
        const inForce = performance.now() - begin
        const clients = await Clients.connect(running.port, 20)
        // Asks each directory twice.
        await clients.send(sizes.companies * 4, recipientsOf(sizes))
        clients.close()
        await sleep(500)
        const asked = resident(running.pid)
        const figures = [started, mode === 'live' ? Number.NaN : inForce].map((ms) =>
          Number.isNaN(ms) ? '' : ms.toFixed(0),
        )
        const reader = childrenOf(running.pid).map(resident)
        rows.push([
          `${mode}, ${count}`,
          ...figures,
          atStart.toFixed(0),
          asked.toFixed(0),
          reader.map((one) => one.toFixed(0)).join(),
          String(socketsOf(running.pid)),
        ])
      } finally {
        await stopServer(running)
      }
    }
  const head = ['started ms', 'lists ms', 'RSS MB', 'RSS MB, all asked', 'reader MB', 'sockets']
  table(['directories', ...head], rows)
}

const listsOf = (running: Haraka, count: number) =>
  until(() => running.logLines(/ snapshot: \d+ recipients/).length >= count, undefined, 600_000)

/** The same load on both, while the other directory alternates between working and hanging. */
async function beside(slapd: Slapd, iniOf: IniOf, sizes: Sizes): Promise<void> {
  const proxy = await startTcpProxy(slapd.port)
  const first = `ldap://127.0.0.1:${proxy.port}`
  const gal = ['cache_found = 0s', 'cache_absent = 0s', 'cache_stale = 0s']
  const running = await startServer({ ini: iniOf({ directories: 2, first, gal }) })
  const next = (company: number) => {
    let count = 0
    const users = Math.min(sizes.companyRecipients, ASKED)
    return () => ({ address: companyUser(company, count++ % users), code: 250 })
  }
  let isOver = false
  const others = Array.from({ length: 20 }, async () => {
    const ask = next(0)
    const clients = await Clients.connect(running.port, 1)
    while (!isOver) {
      await clients.send(1, ask)
      await sleep(50)
    }
    clients.close()
  })
  try {
    const clients = await Clients.connect(running.port, 10)
    const ask = next(1)
    await clients.send(sizes.before / 4, ask, sizes.awake)
    const p99: Record<'pass' | 'hang', number[]> = { pass: [], hang: [] }
    let wrong = 0
    for (let round = 0; round < sizes.rounds / 4; round++) {
      for (const kind of ['pass', 'hang'] as const) {
        proxy.behave({ kind })
        if (kind === 'pass') await sleep(1500)
        const measured = await clients.send(sizes.turn, ask, sizes.awake)
        p99[kind].push(measured.p99)
        wrong += measured.wrong
      }
    }
    clients.close()
    const [well, hanging] = [median(p99.pass), median(p99.hang)]
    const ratio = median(p99.hang.map((one, i) => one / (p99.pass[i] ?? Number.NaN)))
    table(
      ['p99 ms of one directory', 'the other well', 'hanging', '×', 'wrong'],
      [['live, cold', well.toFixed(2), hanging.toFixed(2), ratio.toFixed(2), String(wrong)]],
    )
  } finally {
    isOver = true
    await Promise.all(others)
    await stopServer(running)
    await proxy.stop()
  }
}

/** @returns resident memory in megabytes */
function resident(pid: number): number {
  const [, kilobytes] = /VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'utf8')) ?? []
  return Number(kilobytes) / 1024
}

function socketsOf(pid: number): number {
  return readdirSync(`/proc/${pid}/fd`).filter((fd) => {
    try {
      return readlinkSync(`/proc/${pid}/fd/${fd}`).startsWith('socket:')
    } catch {
      return false
    }
  }).length
}
