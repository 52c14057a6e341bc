// Servers that have their turns one after the other, A B C A B C …, all of them running all the time:
// what else the machine does, or how warm it is, touches all of them in the same way. A figure is the
// median of the turns; a ratio the median of the ratios within a round.
import { type Addressed, Clients, type Measured } from './client'
import type { Contender, Running } from './contenders'
import type { Sizes } from './sizes'

/** Connections of each server. */
const CONNECTIONS = 20

export interface Figures extends Omit<Measured, 'took'> {
  /** Microseconds of CPU for each recipient. */
  readonly cpu: number
}

/** A server and its clients. */
export class Subject {
  readonly name: string
  readonly turns: Figures[] = []
  readonly #server: Running
  readonly #clients: Clients
  readonly #next: () => Addressed

  private constructor(name: string, server: Running, clients: Clients, next: () => Addressed) {
    this.name = name
    this.#server = server
    this.#clients = clients
    this.#next = next
  }

  /** Its cache, if it has one, knows many recipients then, and the compiler has seen what is hot. */
  static async start(contender: Contender, next: () => Addressed, sizes: Sizes): Promise<Subject> {
    const server = await contender.start()
    const clients = await Clients.connect(server.port, CONNECTIONS)
    const subject = new Subject(contender.name, server, clients, next)
    await subject.unmeasured(sizes.before)
    return subject
  }

  async unmeasured(count: number): Promise<void> {
    await this.#measure(count)
  }

  async turn(count: number): Promise<void> {
    this.turns.push(await this.#measure(count))
  }

  async #measure(count: number): Promise<Figures> {
    this.#server.forget()
    const before = this.#server.cpu()
    const { took: _, ...sent } = await this.#clients.send(count, this.#next, true)
    return { ...sent, cpu: (this.#server.cpu() - before) / count }
  }

  async stop(): Promise<void> {
    this.#clients.close()
    await this.#server.stop()
  }
}

export async function takeTurns(subjects: readonly Subject[], sizes: Sizes): Promise<void> {
  for (let round = 0; round < sizes.rounds; round++) {
    for (const subject of subjects) await subject.turn(sizes.turn)
  }
}

export function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[values.length >> 1] ?? Number.NaN
}

export function medianOf({ turns }: Subject, key: keyof Figures): number {
  return median(turns.map((turn) => turn[key]))
}

/** How many times as much as the other, round by round. */
export function times(subject: Subject, other: Subject, key: keyof Figures): number {
  return median(subject.turns.map((turn, i) => turn[key] / (other.turns[i]?.[key] ?? Number.NaN)))
}
