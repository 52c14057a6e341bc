// What the processes of one server have each other do. In a cluster the master passes everything on; it
// answers no mail itself. A command is a name with what it is given, and each process has handlers for those
// it knows. For as long as the process lives.
import cluster, { type Worker } from 'node:cluster'
import { guard, later } from '../guard'

/** What goes with a command, and what comes back: plain data, as JSON has it. */
export type Data = unknown
export type Handler = (request: Data) => Data | Promise<Data>

/** Messages between the processes; `event` is how Haraka's own are told apart too. */
type Message =
  | {
      readonly event: 'gal-relay: do'
      readonly call: number
      readonly command: string
      readonly request: Data
    }
  | { readonly event: 'gal-relay: done'; readonly call: number; readonly answer?: Data }

/** Nobody waits for an answer. */
const UNANSWERED = 0
/** How long the master waits for the workers. */
const DONE_WITHIN = 2000

export interface Processes {
  handle(command: string, handler: Handler): void
  /**
   * Has all processes that answer mail do it. In a worker: by this process alone.
   * @returns what those have answered that did in time and did not fail
   */
  everywhere(command: string, request: Data): Promise<Data[]>
  /** Has all other processes do it, the master included. */
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

/** For a server that is one process. */
export function onlyProcess(): Processes {
  const handlers = new Handlers()
  return {
    handle: (command, handler) => handlers.handle(command, handler),
    everywhere: async (command, request) => [await handlers.run(command, request)],
    tellOthers: () => {},
  }
}

export function workerProcess(): Processes {
  const handlers = new Handlers()
  const send = (message: Message) => {
    // The channel may be closing; then nobody is there to be told.
    if (process.connected) process.send?.(message, undefined, undefined, () => {})
  }
  const receive = async (message: Message) => {
    if (message?.event !== 'gal-relay: do') return
    const { call, command, request } = message
    const answer = await handlers.run(command, request)
    if (call !== UNANSWERED) send({ event: 'gal-relay: done', call, answer })
  }
  process.on('message', guard('command of the master process', receive))
  return {
    handle: (command, handler) => handlers.handle(command, handler),
    everywhere: async (command, request) => [await handlers.run(command, request)],
    tellOthers: (command, request) =>
      send({ event: 'gal-relay: do', call: UNANSWERED, command, request }),
  }
}

interface Call {
  readonly missing: Set<number>
  readonly answers: Data[]
  finish(): void
}

export function masterProcess(): Processes {
  const handlers = new Handlers()
  const calls = new Map<number, Call>()
  let number = UNANSWERED
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
    if (message?.event === 'gal-relay: do') {
      tellAll(message.command, message.request, from)
      await handlers.run(message.command, message.request)
    } else if (message?.event === 'gal-relay: done') {
      const call = calls.get(message.call)
      if (!call?.missing.delete(from.id)) return
      call.answers.push(message.answer)
      if (call.missing.size === 0) call.finish()
    }
  }
  const forget = ({ id }: Worker) => {
    for (const call of [...calls.values()]) {
      if (call.missing.delete(id) && call.missing.size === 0) call.finish()
    }
  }
  cluster.on('message', guard('command of a worker', receive))
  // Not 'exit': Haraka takes all listeners off that one when it restarts its workers gracefully.
  cluster.on('disconnect', guard('end of a worker that had a command', forget))
  return {
    handle: (command, handler) => handlers.handle(command, handler),
    everywhere: (command, request) =>
      new Promise((resolve) => {
        const call = ++number
        const asked = workers()
        const answers: Data[] = []
        const finish = () => {
          clearTimeout(timer)
          calls.delete(call)
          resolve(answers)
        }
        const timer = later(DONE_WITHIN, 'answers of the workers', finish, finish)
        calls.set(call, { missing: new Set(asked.map(({ id }) => id)), answers, finish })
        for (const one of asked) send(one, { event: 'gal-relay: do', call, command, request })
        if (asked.length === 0) finish()
      }),
    tellOthers: (command, request) => tellAll(command, request),
  }
}
