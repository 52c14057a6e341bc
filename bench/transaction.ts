// What many recipients in one transaction cost: `npm run bench -- transaction`. Half of them are
// valid, and twice as many must not take four times as long. Haraka alone comes first: for each
// recipient, it builds a text from all the previous ones (`results.push`), which is itself quadratic.
import { type HarakaOptions, startHaraka } from '../test/support/haraka'
import { connectSmtp, type SmtpClient } from '../test/support/smtp'
import { READY, snapshotOptions, startSite } from './contenders'
import { cpuOf } from './cpu'
import { recipients } from './rcpt'
import type { Sizes } from './sizes'
import { table } from './table'

const RECIPIENTS = 15_000

const ANSWERING = `
exports.hook_rcpt = (next, connection, [{ user }]) =>
  user.startsWith('user') ? next(OK) : next(DENY, 'No such user')
`

export async function transaction(sizes: Sizes, words: readonly string[]): Promise<void> {
  const { entries } = sizes
  const count = Math.min(RECIPIENTS, sizes.before)
  const site = await startSite(entries)
  const files = { 'plugins/bench-answering.js': ANSWERING }
  const { ini = '' } = snapshotOptions(site)
  const rows: Readonly<Record<string, HarakaOptions>> = {
    'without the plugin': { plugins: ['bench-answering'], files },
    'mixed = split': { ini },
    'mixed = defer': { ini: `${ini}\n[routing]\nmixed = defer\n` },
    observed: {
      plugins: ['gal-relay', 'bench-answering'],
      files,
      ini: `${ini}\n[main]\nenforce = false\n`,
    },
  }
  try {
    const cells: string[][] = []
    for (const [name, options] of Object.entries(rows)) {
      if (!words.every((word) => name.includes(word))) continue
      const [half = 0, whole = 0] = await seconds(options, entries, [count / 2, count])
      cells.push([name, half.toFixed(2), whole.toFixed(2), (whole / half).toFixed(2)])
    }
    const head = [count / 2, count].map((n) => `${n.toLocaleString('en')}: CPU s`)
    table(['recipients in one transaction', ...head, '×'], cells)
  } finally {
    await site.stop()
  }
}

/** CPU time of one transaction for each of these numbers of recipients. */
async function seconds(
  options: HarakaOptions,
  entries: number,
  counts: readonly number[],
): Promise<number[]> {
  const haraka = await startHaraka({ proxy: false, ...options })
  try {
    if (options.ini) await haraka.waitForLog(READY, 300_000)
    const client = await connectSmtp({ port: haraka.port })
    await client.ehlo()
    await send(client, entries, Math.min(...counts) / 5)
    const taken: number[] = []
    for (const count of counts) {
      const before = cpuOf(haraka.pid)
      await send(client, entries, count)
      taken.push((cpuOf(haraka.pid) - before) / 1e6)
    }
    await client.quit()
    return taken
  } finally {
    await haraka.stop()
  }
}

async function send(client: SmtpClient, entries: number, count: number): Promise<void> {
  const next = recipients(entries)
  await client.mail('sender@client.test')
  for (let i = 0; i < count; i++) {
    const { address, code } = next()
    const reply = await client.rcpt(address)
    if (reply.code !== code) throw new Error(`${address}: ${reply.line}`)
  }
  await client.rset()
}
