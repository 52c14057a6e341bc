// Commands between the processes of one server. A command is a name with an argument, and each process has
// handlers for the commands it knows. In a cluster the master, which answers no mail, passes on commands that
// are for all processes.
import cluster, { type Worker } from 'node:cluster'
import { guard, later } from '../guard'

/** The argument or the answer of a command: plain JSON data. */
export type Data = unknown
export type Handler = (request: Data) => Data | Promise<Data>

/** Messages between processes. Haraka's own messages are told apart by `event` too. */
type Message =
  | { readonly event: 'gal-relay: ready' }
  | {
      readonly event: 'gal-relay: do'
      readonly call: number
      readonly command: string
      readonly request: Data
    }
  | { readonly event: 'gal-relay: done'; readonly call: number; readonly answer?: Data }

/** No answer is expected. */
const UNANSWERED = 0
/** How long to wait for answers, in milliseconds. */
const DONE_WITHIN = 2000
/** The number of the master; workers have higher numbers. */
const MASTER = 0

export interface Processes {
  handle(command: string, handler: Handler): void
  /** Runs the command in the master. @returns undefined if it does not answer in time */
  ask(command: string, request: Data): Promise<Data>
  /**
   * Runs the command in all processes that answer mail; in a worker, only in this process.
   * @param within milliseconds
   * @returns the answers that came in time
   */
  everywhere(command: string, request: Data, within?: number): Promise<Data[]>
  /** Runs the command in all other processes, including the master. */
  tellOthers(command: string, request: Data): void
}

class Handlers {
  readonly #handlers = new Map<string, Handler>()

  handle(command: string, handler: Handler): void {
    this.#handlers.set(command, handler)
  }

  async run(command: string, request: Data): Promise<Data> {
    const handler = this.#handlers.get(command)
    if (!handler) throw new Error(`there is no command ${command}`)
    return handler(request)
  }
}

interface Call {
  readonly missing: Set<number>
  readonly answers: Data[]
  finish(): void
}

/** Commands that other processes have not answered yet. */
class Calls {
  readonly #calls = new Map<number, Call>()
  #number = UNANSWERED

  /** @param send sends to the given processes; their answers carry its number */
  open(asked: readonly number[], send: (call: number) => void, within: number): Promise<Data[]> {
    return new Promise((resolve) => {
      const call = ++this.#number
      const answers: Data[] = []
      const finish = () => {
        clearTimeout(timer)
        this.#calls.delete(call)
        resolve(answers)
      }
      const timer = later(within, 'answers of other processes', finish, finish)
      this.#calls.set(call, { missing: new Set(asked), answers, finish })
      send(call)
      if (asked.length === 0) finish()
    })
  }

  answered(call: number, by: number, answer: Data): void {
    const one = this.#calls.get(call)
    if (!one?.missing.delete(by)) return
    one.answers.push(answer)
    if (one.missing.size === 0) one.finish()
  }

  ended(id: number): void {
    for (const { missing, finish } of [...this.#calls.values()]) {
      if (missing.delete(id) && missing.size === 0) finish()
    }
  }
}

/** For a server that is one process. */
export function onlyProcess(): Processes {
  const handlers = new Handlers()
  return {
    handle: (command, handler) => handlers.handle(command, handler),
    ask: (command, request) => handlers.run(command, request),
    everywhere: async (command, request) => [await handlers.run(command, request)],
    tellOthers: () => {},
  }
}

export function workerProcess(): Processes {
  const handlers = new Handlers()
  const calls = new Calls()
  const send = (message: Message) => {
    // The channel may be closing; then there is nobody to tell.
    if (process.connected) process.send?.(message, undefined, undefined, () => {})
  }
  const receive = async (message: Message) => {
    if (message?.event === 'gal-relay: done') calls.answered(message.call, MASTER, message.answer)
    if (message?.event !== 'gal-relay: do') return
    const { call, command, request } = message
    const answer = await handlers.run(command, request)
    if (call !== UNANSWERED) send({ event: 'gal-relay: done', call, answer })
  }
  process.on('message', guard('message of the master process', receive))
  send({ event: 'gal-relay: ready' })
  return {
    handle: (command, handler) => handlers.handle(command, handler),
    async ask(command, request) {
      const ask = (call: number) => send({ event: 'gal-relay: do', call, command, request })
      const [answer] = await calls.open([MASTER], ask, DONE_WITHIN)
      return answer
    },
    everywhere: async (command, request) => [await handlers.run(command, request)],
    tellOthers: (command, request) =>
      send({ event: 'gal-relay: do', call: UNANSWERED, command, request }),
  }
}

export function masterProcess(): Processes {
  const handlers = new Handlers()
  const calls = new Calls()
  /** A process that has just started has no handlers yet. */
  const ready = new Set<number>()
  const send = (to: Worker, message: Message) => {
    if (to.isConnected()) to.send(message, () => {})
  }
  const workers = () =>
    Object.values(cluster.workers ?? {}).filter((one): one is Worker => one?.isConnected() ?? false)
  const tellAll = (command: string, request: Data, except?: Worker) => {
    const message: Message = { event: 'gal-relay: do', call: UNANSWERED, command, request }
    for (const one of workers()) if (one.id !== except?.id) send(one, message)
  }
  const receive = async (from: Worker, message: Message) => {
    if (message?.event === 'gal-relay: ready') ready.add(from.id)
    else if (message?.event === 'gal-relay: done') {
      calls.answered(message.call, from.id, message.answer)
    } else if (message?.event === 'gal-relay: do') {
      const { call, command, request } = message
      if (call === UNANSWERED) tellAll(command, request, from)
      const answer = await handlers.run(command, request)
      if (call !== UNANSWERED) send(from, { event: 'gal-relay: done', call, answer })
    }
  }
  const forget = ({ id }: Worker) => {
    ready.delete(id)
    calls.ended(id)
  }
  cluster.on('message', guard('message of a worker', receive))
  // Not 'exit': Haraka removes all listeners of that event when it restarts its workers gracefully.
  cluster.on('disconnect', guard('end of a worker', forget))
  return {
    handle: (command, handler) => handlers.handle(command, handler),
    ask: (command, request) => handlers.run(command, request),
    everywhere(command, request, within = DONE_WITHIN) {
      const asked = workers().filter(({ id }) => ready.has(id))
      const ask = (call: number) => {
        for (const one of asked) send(one, { event: 'gal-relay: do', call, command, request })
      }
      return calls.open(
        asked.map(({ id }) => id),
        ask,
        within,
      )
    },
    tellOthers: (command, request) => tellAll(command, request),
  }
}
