// What the list in memory costs: `npm run bench -- memory`. A process follows a list of 0, 1 and 10
// million synthetic recipients. Also measures how long it takes to load without blocking mail, and
// the same number of recipients with known mailbox servers.
import { mkdtempSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { monitorEventLoopDelay } from 'node:perf_hooks'
import { setTimeout as sleep } from 'node:timers/promises'
import { Hasher, newKey } from '../plugins/gal-relay/gal/snapshot/address-hash'
import { HI, LO, layOut } from '../plugins/gal-relay/gal/snapshot/address-table'
import { SnapshotWriter } from '../plugins/gal-relay/gal/snapshot/file'
import { Follower } from '../plugins/gal-relay/gal/snapshot/follower'
import { recipientOf } from '../plugins/gal-relay/routing/recipient'
import { startChild } from '../test/support/processes'
import type { Sizes } from './sizes'
import { table } from './table'

export const FINGERPRINT = Buffer.alloc(32)

/** The number of mailbox servers, if they are used. */
const HOSTS = 1000

export const localPart = (n: number) => `firstname.lastname${n}`
export const DOMAIN = 'corp.example'

/**
 * Writes a list of `count` recipients.
 * @param hosts the number of mailbox servers; 0 to leave them out
 */
export async function writeList(file: string, count: number, hosts = 0): Promise<void> {
  const key = newKey()
  const hasher = new Hasher(key)
  const words = new Uint32Array(count * 2)
  for (let n = 0; n < count; n++) {
    const { hi, lo } = hasher.recipient(recipientOf(localPart(n), DOMAIN))
    words[n * 2 + HI] = hi
    words[n * 2 + LO] = lo
  }
  const numbers = hosts > 0 ? new Uint16Array(count).map((_, n) => 1 + (n % hosts)) : undefined
  const list = layOut(new BigUint64Array(words.buffer).sort(), numbers)
  const none = new Uint32Array(0)
  const meta = { key, fingerprint: FINGERPRINT, takenAt: Date.now() }
  const first = { added: none, removed: none, confirmedAt: Date.now(), feed: 1 }
  const mailboxes = numbers && {
    hosts: Array.from({ length: hosts }, (_, n) => `mailbox${n}.${DOMAIN}`),
    index: new Uint32Array(0),
    sealed: new Uint8Array(0),
  }
  await (await SnapshotWriter.create(file, meta, list, first, undefined, mailboxes)).close()
}

interface Figures {
  readonly rss: number
  readonly loaded: number
  readonly stall: number
}

/** Follows the list in the file, or none, in its own process. */
async function follow(file: string, count: number, hosts: number): Promise<Figures> {
  const quiet = { debug() {}, info() {}, notice() {}, warn() {}, error: console.error }
  const follower = new Follower({ file, fingerprint: FINGERPRINT, currentFor: 60_000, log: quiet })
  await sleep(200)
  const delay = monitorEventLoopDelay({ resolution: 1 })
  delay.enable()
  const begin = performance.now()
  await follower.start()
  const loaded = performance.now() - begin
  delay.disable()
  // The empty process does as many look-ups as the others.
  for (let asked = 0; asked < 100_000; asked++) {
    const known = localPart(Math.floor((asked * count) / 100_000))
    const recipient = recipientOf(known, DOMAIN)
    if (follower.find(recipient) < 0 && count > 0) throw new Error(`${known} is missing`)
    if ((follower.mailbox(recipient) !== undefined) !== hosts > 0)
      throw new Error(`the server of ${known} is not what it should be`)
  }
  gc?.()
  await sleep(500)
  gc?.()
  const { rss } = process.memoryUsage()
  await follower.close()
  return { rss, loaded, stall: delay.max / 1e6 }
}

export async function memory({ kept }: Sizes): Promise<void> {
  const folder = mkdtempSync(path.join(tmpdir(), 'bench-'))
  const rows: string[][] = []
  let empty = 0
  try {
    const lists = kept.flatMap((count) =>
      (count > 0 ? [0, HOSTS] : [0]).map((hosts) => ({ count, hosts })),
    )
    for (const { count, hosts } of lists) {
      const file = path.join(folder, `list${count}`)
      if (count > 0) {
        await run('write', file, count, hosts)
      }
      const { rss, loaded, stall } = JSON.parse(await run('follow', file, count, hosts)) as Figures
      if (count === 0) empty = rss
      const size = count > 0 ? statSync(file).size : 0
      rmSync(file, { force: true })
      rows.push([
        count.toLocaleString('en') + (hosts > 0 ? `, ${hosts.toLocaleString('en')} hosts` : ''),
        (rss / 1e6).toFixed(0),
        ((rss - empty) / 1e6).toFixed(0),
        count > 0 ? ((rss - empty) / count).toFixed(1) : '',
        (size / 1e6).toFixed(0),
        count > 0 ? loaded.toFixed(0) : '',
        count > 0 ? stall.toFixed(1) : '',
      ])
    }
  } finally {
    rmSync(folder, { recursive: true })
  }
  table(['recipients', 'RSS MB', 'more', 'bytes each', 'file MB', 'loaded ms', 'stall ms'], rows)
}

async function run(what: string, file: string, count: number, hosts: number): Promise<string> {
  const args = ['--expose-gc', __filename, what, file, String(count), String(hosts)]
  const child = await startChild(process.execPath, args)
  const { code } = await child.exited
  if (code !== 0) throw new Error(child.output())
  return child.output()
}

async function main([what, file = '', ...numbers]: readonly string[]): Promise<void> {
  const [count = 0, hosts = 0] = numbers.map(Number)
  if (what === 'write') await writeList(file, count, hosts)
  if (what === 'follow') console.log(JSON.stringify(await follow(file, count, hosts)))
}

if (require.main === module) void main(process.argv.slice(2))
