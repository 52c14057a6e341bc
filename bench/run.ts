// `npm run bench`: what a recipient costs. One row for each way in which this plugin can answer, and
// first a Haraka whose plugin does nothing but look into a JavaScript Set, which is as fast as any
// plugin can be and counts as 1. All servers are started here, on loopback. CPU is the user and system
// time of the Haraka process for each RCPT TO.
import { readFileSync } from 'node:fs'
import { type Haraka, type HarakaOptions, startHaraka } from '../test/support/haraka'
import { type Child, startChild } from '../test/support/processes'
import { type Slapd, startSlapd } from '../test/support/slapd'
import { type Addressed, Clients, type Measured } from './client'

const ENTRIES = 10_000
const CONNECTIONS = 20
/** Rounds for each row, of which the median counts, and recipients in each round. */
const ROUNDS = 9
const RECIPIENTS = 10_000
/** How far away the directory is in some rows, in milliseconds. */
const AWAY = 4

interface Row {
  readonly name: string
  readonly haraka: HarakaOptions
}

interface Figures extends Measured {
  /** Microseconds of CPU for each recipient. */
  readonly cpu: number
}

const user = (i: number) => `user${i}@example.com`
const nobody = (i: number) => `nobody${i}@example.com`

/** Valid and unknown by turns, each of them before any comes again. */
function recipients(): () => Addressed {
  let count = 0
  return () => {
    const i = (Math.floor(count / 2) * 7919) % ENTRIES
    return count++ % 2 === 0 ? { address: user(i), code: 250 } : { address: nobody(i), code: 550 }
  }
}

const SET_PLUGIN = `
const valid = new Set()
for (let i = 0; i < ${ENTRIES}; i++) valid.add('user' + i + '@example.com')
exports.hook_rcpt = (next, connection, [address]) =>
  valid.has(address.address) ? next(OK) : next(DENY, 'No such user')
`

function rows(slapd: Slapd, away: string): [ceiling: Row, ...others: Row[]] {
  const ours = (url: string, cached: boolean): HarakaOptions => ({
    proxy: false,
    ini: `
[routes]
example.com = inbound
[ldap]
url[] = ${url}
base = ${slapd.base}
bind_dn = ${slapd.bindDn}
bind_password = ${slapd.password}
[gal]
cache_found = ${cached ? '1h' : '0s'}
cache_absent = ${cached ? '1h' : '0s'}
cache_stale = 0s
`,
  })
  return [
    {
      name: 'a JavaScript Set',
      haraka: {
        proxy: false,
        plugins: ['bench-set'],
        files: { 'plugins/bench-set.js': SET_PLUGIN },
      },
    },
    { name: 'live, cold', haraka: ours(slapd.url, false) },
    { name: 'live, warm', haraka: ours(slapd.url, true) },
    { name: `live, cold, ${AWAY} ms away`, haraka: ours(away, false) },
    { name: `live, warm, ${AWAY} ms away`, haraka: ours(away, true) },
  ]
}

/** A Haraka and its clients. */
class Subject {
  readonly #haraka: Haraka
  readonly #clients: Clients
  readonly #next = recipients()

  private constructor(haraka: Haraka, clients: Clients) {
    this.#haraka = haraka
    this.#clients = clients
  }

  /** Its cache, if it has one, knows every recipient then, and the compiler has seen what is hot. */
  static async start({ haraka: options }: Row): Promise<Subject> {
    const haraka = await startHaraka(options)
    const subject = new Subject(haraka, await Clients.connect(haraka.port, CONNECTIONS))
    await subject.measure(4 * ENTRIES)
    return subject
  }

  async measure(count: number): Promise<Figures> {
    const before = cpuTime(this.#haraka.pid)
    const sent = await this.#clients.send(count, this.#next)
    return { ...sent, cpu: (cpuTime(this.#haraka.pid) - before) / count }
  }

  async stop(): Promise<void> {
    this.#clients.close()
    await this.#haraka.stop()
  }
}

/** User and system time of a process, in microseconds, to a hundredth of a second. */
function cpuTime(pid: number): number {
  const stat = readFileSync(`/proc/${pid}/stat`, 'utf8')
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
  return (Number(fields[11]) + Number(fields[12])) * 10_000
}

async function delayed(slapd: Slapd): Promise<{ url: string; child: Child }> {
  const script = require.resolve('./delay-proxy')
  const child = await startChild(process.execPath, [script, String(slapd.port), String(AWAY)])
  const port = (await child.waitForLine(/^port \d+$/)).slice(5)
  return { url: `ldap://127.0.0.1:${port}`, child }
}

function median(values: readonly number[]): number {
  return [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)] ?? 0
}

function print(name: string, rounds: readonly Figures[], ceiling: readonly Figures[]): void {
  const of = (key: keyof Figures) => median(rounds.map((round) => round[key]))
  // Round by round, because what else the machine does touches both in the same way.
  const times = (key: keyof Figures) =>
    median(rounds.map((round, i) => round[key] / (ceiling[i]?.[key] ?? Number.NaN)))
  const cells = [
    of('rate').toFixed(0),
    times('rate').toFixed(2),
    of('cpu').toFixed(1),
    times('cpu').toFixed(2),
    of('p50').toFixed(2),
    of('p99').toFixed(2),
  ]
  console.log(line([name, ...cells]))
  const wrong = rounds.reduce((sum, round) => sum + round.wrong, 0)
  if (wrong > 0) console.log(`${wrong} replies were wrong`)
}

function line([name = '', ...cells]: readonly string[]): string {
  return `${name.padEnd(24)}${cells.map((cell) => cell.padStart(10)).join('')}`
}

async function main(words: readonly string[]): Promise<void> {
  const entries = Array.from({ length: ENTRIES }, (_, i) => ({
    mail: user(i),
    proxyAddresses: [`SMTP:${user(i)}`, `smtp:u${i}@example.com`],
  }))
  const slapd = await startSlapd({ entries })
  const away = await delayed(slapd)
  const [ceilingRow, ...others] = rows(slapd, away.url)
  const ceiling = await Subject.start(ceilingRow)
  const chosen = others.filter(({ name }) => words.every((word) => name.includes(word)))
  console.log(line(['', 'rcpt/s', '×', 'CPU µs', '×', 'p50 ms', 'p99 ms']))
  const ceilingRounds: Figures[] = []
  for (const row of chosen) {
    const subject = await Subject.start(row)
    const beside: Figures[] = []
    const rounds: Figures[] = []
    for (let i = 0; i < ROUNDS; i++) {
      beside.push(await ceiling.measure(RECIPIENTS))
      rounds.push(await subject.measure(RECIPIENTS))
    }
    await subject.stop()
    print(row.name, rounds, beside)
    ceilingRounds.push(...beside)
  }
  print(ceilingRow.name, ceilingRounds, ceilingRounds)
  await ceiling.stop()
  await away.child.end()
  await slapd.stop()
}

void main(process.argv.slice(2))
