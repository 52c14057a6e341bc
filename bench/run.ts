// `npm run bench`: what this plugin costs on this machine, next to what it should be compared with.
// `npm run bench -- PART…` runs single parts, `rcpt WORD…` single rows. The top of each part's file
// says what it measures. docs/performance.md has the latest figures.
import { decision } from './decision'
import { directories } from './directories'
import { harvest } from './harvest'
import { mailboxes } from './mailboxes'
import { memory } from './memory'
import { message } from './message'
import { publish } from './publish'
import { large, rcpt } from './rcpt'
import { reload } from './reload'
import { reuseServers, stopIdleServers } from './servers'
import { FULL, type Sizes, TRY } from './sizes'
import { sync } from './sync'
import { transaction } from './transaction'

const PARTS: Readonly<Record<string, (sizes: Sizes, words: readonly string[]) => Promise<void>>> = {
  rcpt,
  message,
  decision,
  memory,
  mailboxes,
  large,
  transaction,
  sync,
  reload,
  directories,
  harvest,
  publish,
}

/** Together, these take about an hour. */
const USUAL = ['rcpt', 'message', 'decision', 'memory']

const USAGE = `npm run bench [-- PART [WORD…]] [--try]

  rcpt      a recipient, in every mode, beside a JavaScript Set and Postfix
  message   a whole message, beside a JavaScript Set
  decision  a decision, with short and long lists
  memory    the list in memory
  mailboxes  a recipient whose server the directory names, beside one whose it does not
  large     rcpt with a million recipients
  transaction  15,000 recipients in one transaction
  sync      reading a million entries, and what mail notices of it
  reload    how long mail waits while settings are read again
  directories  1, 10 and 500 directories (warm, cold, memory), and one beside another that hangs (hanging)
  harvest   what harvest defence costs a recipient, and a dictionary run of 20,000 names
  publish   a list that goes to ten gateways: a change, and a million recipients
  all       all of them

Without PART: ${USUAL.join(', ')}. WORD…: rows whose names hold these words.
--try: a little of everything, to see that it works; the figures mean nothing.`

async function main(args: readonly string[]): Promise<number> {
  const sizes = args.includes('--try') ? TRY : FULL
  if (sizes === TRY) reuseServers()
  const [part, ...words] = args.filter((arg) => arg !== '--try')
  const parts = part === 'all' ? Object.keys(PARTS) : part === undefined ? USUAL : [part]
  for (const [number, name] of parts.entries()) {
    const measure = PARTS[name]
    if (!measure) {
      console.error(USAGE)
      return name === '--help' ? 0 : 2
    }
    if (number > 0) console.log()
    await measure(sizes, words)
  }
  return 0
}

void main(process.argv.slice(2))
  .finally(stopIdleServers)
  .then((code) => {
    process.exitCode = code
  })
