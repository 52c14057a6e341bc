// Two servers take short turns, one right after the other, so that other load and the machine's temperature
// affect both alike; a ratio compares two such turns. Each server is several processes in succession,
// because one may be compiled and laid out in memory more luckily than the next: the figure of a process is
// the median of its turns, and the figure shown is the median of the processes. No other servers run
// meanwhile, because a process that waits long for its turn is slow when it comes.
import type { Load, Measured, Sender } from './client'
import type { Contender, Running } from './contenders'
import type { Sizes } from './sizes'

/** Connections per server. */
const CONNECTIONS = 20

export interface Figures extends Omit<Measured, 'took'> {
  /** Microseconds of CPU time per recipient or message. */
  readonly cpu: number
}

/** A server in its own process, and its clients. */
export class Subject {
  readonly turns: Figures[] = []
  readonly #server: Running
  readonly #sender: Sender

  private constructor(server: Running, sender: Sender) {
    this.#server = server
    this.#sender = sender
  }

  /** Warms the server up: its cache, if any, knows many recipients, and the compiler has seen the hot code. */
  static async start(contender: Contender, load: Load, { before, awake }: Sizes): Promise<Subject> {
    const server = await contender.start()
    try {
      const subject = new Subject(server, await load.connect(server.port, CONNECTIONS, awake))
      await subject.unmeasured(before)
      return subject
    } catch (error) {
      await server.stop()
      throw error
    }
  }

  async unmeasured(count: number): Promise<void> {
    await this.#measure(count)
  }

  async turn(count: number): Promise<void> {
    this.turns.push(await this.#measure(count))
  }

  async stop(): Promise<void> {
    this.#sender.close()
    await this.#server.stop()
  }

  async #measure(count: number): Promise<Figures> {
    this.#server.forget()
    const before = this.#server.cpu()
    const { took: _, ...sent } = await this.#sender.send(count)
    return { ...sent, cpu: (this.#server.cpu() - before) / count }
  }
}

/** The turns of one process, each right next to a turn of the server that counts as 1. */
export interface Pair {
  readonly turns: readonly Figures[]
  readonly beside: readonly Figures[]
}

export interface Compared {
  readonly name: string
  readonly pairs: readonly Pair[]
}

export async function compared(
  ceiling: Contender,
  row: Contender,
  load: () => Load,
  sizes: Sizes,
): Promise<Compared> {
  const pairs: Pair[] = []
  for (let i = 0; i < sizes.processes; i++) {
    const own: Subject[] = []
    const start = async (contender: Contender) => {
      const subject = await Subject.start(contender, load(), sizes)
      own.push(subject)
      return subject
    }
    try {
      const both = [await start(ceiling), await start(row)] as const
      // V8 returns memory of an idle process, which the first one was while the second started.
      for (const subject of both) await subject.unmeasured(sizes.before)
      for (let round = 0; round < sizes.rounds / sizes.processes; round++) {
        const pair = round % 2 === 0 ? both : both.toReversed()
        for (const subject of pair) await subject.turn(sizes.turn)
      }
      pairs.push({ beside: both[0].turns, turns: both[1].turns })
    } finally {
      for (const subject of own) await subject.stop()
    }
  }
  return { name: row.name, pairs }
}

/** Compares each row with the same server, which counts as 1. */
export async function comparedAll(
  ceiling: Contender,
  rows: readonly Contender[],
  load: () => Load,
  sizes: Sizes,
): Promise<Compared[]> {
  const measured: Compared[] = []
  for (const row of rows) measured.push(await compared(ceiling, row, load, sizes))
  return measured
}

export function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[values.length >> 1] ?? Number.NaN
}

export function medianOf({ pairs }: Compared, key: keyof Figures): number {
  return median(pairs.map(({ turns }) => median(turns.map((turn) => turn[key]))))
}

/** How many times the ceiling's value. */
export function times({ pairs }: Compared, key: keyof Figures): number {
  const ratios = ({ turns, beside }: Pair) =>
    turns.map((turn, i) => turn[key] / (beside[i]?.[key] ?? Number.NaN))
  return median(pairs.map((pair) => median(ratios(pair))))
}
