// gal-relay trace: everything that Haraka and its plugins logged about one recipient or one connection.
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

/** Longer than any SMTP address. */
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

/** The lines of a transaction or part, together with those of the whole connection. */
function ofId(id: string): Wanted {
  const wanted = id.toUpperCase()
  return ({ uuid }) => uuid === wanted || uuid.startsWith(`${wanted}.`)
}

/** Characters that would make it part of a longer address. */
const ADDRESS_PART = "[\\w!#$%&'*+/=?^`{|}~.@-]"

function ofAddress(address: string): Wanted {
  const literal = address.toLowerCase().replace(/[.*+?^${}()|[\]\\]/g, '\\$&')
  // `recipient=` before it and a full stop after it are not part of the address.
  const before = `(?<!${ADDRESS_PART.replace('=', '').replace("'", '')})`
  const pattern = new RegExp(`${before}${literal}(?!\\.?[\\w@-])`)
  return ({ text }) => pattern.test(text.toLowerCase())
}

/** Open connections at a time. Connections of a killed process never end in the log. */
const OPEN_MOST = 50_000
/** Lines of a connection that are kept until it is known to be wanted. */
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
 * The lines of each connection are kept until it ends, because earlier lines belong to the recipient too. If a
 * connection has many transactions, only the matching ones are shown.
 */
class Connections {
  readonly #isWanted: Wanted
  /** By connection id, then by transaction id; '' for the whole connection. */
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
