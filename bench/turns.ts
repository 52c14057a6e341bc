// Servers that have short turns, all of them running all the time. Each turn has one of the server that
// counts as 1 right before it or right after it: what else the machine does, or how warm it is, touches
// both in the same way. A figure is the median of the turns; a ratio the median of the ratios of two
// such turns.
import { type Addressed, Clients, type Measured } from './client'
import type { Contender, Running } from './contenders'
import type { Sizes } from './sizes'

/** Connections of each server. */
const CONNECTIONS = 20

export interface Figures extends Omit<Measured, 'took'> {
  /** Microseconds of CPU for each recipient. */
  readonly cpu: number
}

/** A server, in one process or in several of the same kind, each with clients of its own. */
export class Subject {
  readonly name: string
  readonly turns: Figures[] = []
  /** The ceiling's, one for each. */
  readonly beside: Figures[] = []
  readonly #instances: Instance[] = []
  readonly #next: () => Addressed

  private constructor(name: string, next: () => Addressed) {
    this.name = name
    this.#next = next
  }

  /**
   * Its cache, if it has one, knows many recipients then, and the compiler has seen what is hot.
   *
   * @param processes which have their turns one after the other: one may be compiled and laid out in
   *   memory more luckily than the next
   */
  static async start(
    contender: Contender,
    next: () => Addressed,
    sizes: Sizes,
    processes = 1,
  ): Promise<Subject> {
    const subject = new Subject(contender.name, next)
    try {
      for (let i = 0; i < processes; i++) {
        const instance: Instance = { server: await contender.start(), clients: undefined }
        subject.#instances.push(instance)
        await subject.#measure(instance, sizes.before)
        // Until all servers are started it may take longer than one of them waits for a client.
        instance.clients?.close()
        instance.clients = undefined
      }
    } catch (error) {
      await subject.stop()
      throw error
    }
    return subject
  }

  async unmeasured(count: number): Promise<void> {
    await this.#measure(this.#inTurn(), count)
  }

  async turn(count: number): Promise<void> {
    this.turns.push(await this.#measure(this.#inTurn(), count))
  }

  async stop(): Promise<void> {
    for (const { server, clients } of this.#instances) {
      clients?.close()
      await server.stop()
    }
  }

  #inTurn(): Instance {
    return this.#instances[this.turns.length % this.#instances.length] as Instance
  }

  async #measure(instance: Instance, count: number): Promise<Figures> {
    const { server } = instance
    instance.clients ??= await Clients.connect(server.port, CONNECTIONS)
    const { clients } = instance
    server.forget()
    const before = server.cpu()
    const { took: _, ...sent } = await clients.send(count, this.#next, true)
    return { ...sent, cpu: (server.cpu() - before) / count }
  }
}

interface Instance {
  readonly server: Running
  clients: Clients | undefined
}

export async function takeTurns(
  ceiling: Subject,
  rows: readonly Subject[],
  sizes: Sizes,
): Promise<void> {
  for (let round = 0; round < sizes.rounds; round++) {
    for (const row of rows) {
      const pair = round % 2 === 0 ? [ceiling, row] : [row, ceiling]
      for (const subject of pair) await subject.turn(sizes.turn)
      row.beside.push(ceiling.turns.at(-1) as Figures)
    }
  }
}

export function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[values.length >> 1] ?? Number.NaN
}

export function medianOf({ turns }: Subject, key: keyof Figures): number {
  return median(turns.map((turn) => turn[key]))
}

/** How many times as much as the ceiling. */
export function times({ turns, beside }: Subject, key: keyof Figures): number {
  return median(turns.map((turn, i) => turn[key] / (beside[i]?.[key] ?? Number.NaN)))
}
