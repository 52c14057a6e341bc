// gal-relay trace: what the log says about one recipient or one connection, including everything
// that Haraka and its plugins say about that connection.
import { Command } from 'commander'
import { LRUCache } from 'lru-cache'
import { type LogLine, logLineOf } from '../logs/haraka-line'
import { counted } from '../report/words'
import { CannotRun } from './install'
import { linesOf, STDIN } from './lines'
import { colour, printJson, printLines } from './print'

interface Options {
  readonly json?: boolean
}

const EXAMPLES = `
LOG is a file of Haraka's log in any of its formats, packed by gzip or not; without one, or with -, it
is standard input. Exit code 0: there are lines; 1: there are none.

Examples:
  What happened to mail for this recipient?
    gal-relay trace alice@example.com /var/log/haraka.log
  Everything about a connection, whose id is in each of its lines and in Haraka's Received line:
    gal-relay trace 8D6E7A4F-52CF-4F6B-9F0B-3B6C2C1F6A11 /var/log/haraka.log
  If the log is in the systemd journal:
    journalctl -u haraka -o cat | gal-relay trace alice@example.com`

export function traceCommand(): Command {
  return new Command('trace')
    .description('what the log says about a recipient or a connection')
    .argument('<address|id>', 'a mail address, or the id of a connection, a transaction or a part')
    .argument('[logs...]', "files of Haraka's log; - is standard input", [STDIN])
    .addHelpText('after', EXAMPLES)
    .action(run)
}

/** The lines of one connection, as they are in the log. */
interface Traced {
  readonly uuid: string
  readonly lines: readonly string[]
}

/** The most characters to search for: SMTP limits addresses, and log lines have limits too. */
const LONGEST = 1000

const ID = /^[\dA-F]{8}(-[\dA-F]{4}){3}-[\dA-F]{12}(\.\d+)*$/i

async function run(wanted: string, logs: string[], _: unknown, command: Command): Promise<void> {
  const options = command.optsWithGlobals<Options>()
  const question = wanted.trim().replace(/^<|>$/g, '')
  if (question.length > LONGEST) {
    throw new CannotRun(
      `what is asked for has ${question.length} characters; no address is so long`,
    )
  }
  if (!ID.test(question) && !/.@./.test(question)) {
    throw new CannotRun(`'${wanted}' is neither a mail address nor the id of a connection`)
  }
  const traced = await trace(question, logs)
  if (options.json) printJson({ asked: question, connections: traced })
  else printLines(traced.length > 0 ? inWords(traced) : [`the log has nothing about ${question}`])
  if (traced.length === 0) process.exitCode = 1
}

async function trace(question: string, logs: readonly string[]): Promise<readonly Traced[]> {
  const connections = new Connections(ID.test(question) ? ofId(question) : ofAddress(question))
  for (const log of logs) {
    for await (const line of linesOf(log)) connections.add(line)
  }
  return connections.traced()
}

type Wanted = (line: LogLine) => boolean

/** Selects a transaction or a part: its own lines, and those of the connection as a whole. */
function ofId(id: string): Wanted {
  const wanted = id.toUpperCase()
  return ({ uuid }) => uuid === wanted || uuid.startsWith(`${wanted}.`)
}

/** Characters that may continue an address on either side, which makes it another address. */
const ADDRESS_PART = "[\\w!#$%&'*+/=?^`{|}~.@-]"

function ofAddress(address: string): Wanted {
  const literal = address.toLowerCase().replace(/[.*+?^${}()|[\]\\]/g, '\\$&')
  // A name before it, as in recipient=, does not belong to it, nor does a full stop after it.
  const before = `(?<!${ADDRESS_PART.replace('=', '').replace("'", '')})`
  const pattern = new RegExp(`${before}${literal}(?!\\.?[\\w@-])`)
  return ({ text }) => pattern.test(text.toLowerCase())
}

/** The most connections open at a time; those of a killed process never end in the log. */
const OPEN_MOST = 50_000
/** The most lines kept of a connection before it is known whether it is wanted. */
const HELD_MOST = 1000

interface Transaction {
  readonly lines: HeldLine[]
  isWanted: boolean
}

interface HeldLine {
  readonly number: number
  readonly line: string
}

/**
 * Keeps the lines of each connection until it ends, because what was said before the recipient belongs to
 * it too. Of a connection with many transactions, only the wanted ones are shown.
 */
class Connections {
  readonly #isWanted: Wanted
  /** By connection id, then by transaction id; '' for the connection as a whole. */
  readonly #open = new LRUCache<string, Map<string, Transaction>>({ max: OPEN_MOST })
  readonly #wanted = new Map<string, Map<string, Transaction>>()
  #lines = 0

  constructor(isWanted: Wanted) {
    this.#isWanted = isWanted
  }

  add(line: string): void {
    const parsed = logLineOf(line)
    // Some lines, such as those at start, belong to no connection.
    if (!parsed || parsed.uuid === '-') return
    const held = { number: ++this.#lines, line }
    const [connection = '', number = ''] = parsed.uuid.split('.')
    const transactions =
      this.#wanted.get(connection) ?? this.#open.get(connection) ?? new Map<string, Transaction>()
    const transaction = transactions.get(number) ?? { lines: [], isWanted: false }
    transactions.set(number, transaction)
    if (transaction.isWanted || transaction.lines.length < HELD_MOST) transaction.lines.push(held)
    if (this.#isWanted(parsed)) {
      transaction.isWanted = true
      this.#wanted.set(connection, transactions)
      this.#open.delete(connection)
    } else if (!this.#wanted.has(connection)) {
      const isOver = parsed.origin === 'core' && /^(message=)?disconnect\b/.test(parsed.text)
      if (isOver) this.#open.delete(connection)
      else this.#open.set(connection, transactions)
    }
  }

  traced(): readonly Traced[] {
    if (this.#lines === 0) {
      throw new CannotRun("there is no line of Haraka's logger in the log")
    }
    return Array.from(this.#wanted, ([uuid, transactions]) => ({
      uuid,
      lines: [...transactions]
        .filter(([number, { isWanted }]) => isWanted || number === '')
        .flatMap(([, { lines }]) => lines)
        .sort((a, b) => a.number - b.number)
        .map(({ line }) => line),
    }))
  }
}

function inWords(traced: readonly Traced[]): string[] {
  return traced.flatMap(({ uuid, lines }) => [
    colour.bold(`${uuid}: ${counted(lines.length, 'line')}`),
    ...lines,
    '',
  ])
}
