// What is known about a directory server: the single source for the log, metrics and status page.
import type { DirectoryError, Failure } from './directory-error'

/** `idle`: it has no connection, because it has not been asked anything for a while, or ever. */
export type ServerState = 'idle' | 'starting' | 'up' | 'down'

/** The current state of one server; times are in milliseconds, dates in milliseconds since 1970. */
export interface ServerReport {
  readonly server: string
  readonly state: ServerState
  /** Since when it has been in this state. */
  readonly since: number
  /** The last error; kept after the server has recovered. */
  readonly lastError: string | undefined
  readonly lastErrorAt: number | undefined
  readonly connections: number
  readonly inFlight: number
  /** Searches sent, those without a usable answer, and the total time of the others. */
  readonly searches: number
  readonly failures: number
  readonly time: number
  /** The moving average of the last hundred answered searches or so. */
  readonly latency: number
  /** The number of failures of each kind. */
  readonly failuresBy: Readonly<Partial<Record<Failure, number>>>
  /** Answered searches by duration: a count for each of {@link DURATIONS}, one more for longer. */
  readonly durations: readonly number[]
}

/** Upper bounds in milliseconds of the classes in which answered searches are counted. */
export const DURATIONS: readonly number[] = [0.5, 1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000]

/** Keeps the state and counts of one server. */
export class ServerHealth {
  state: ServerState = 'starting'
  since = Date.now()
  lastError: string | undefined
  lastErrorAt: number | undefined
  searches = 0
  failures = 0
  time = 0
  latency = 0
  readonly failuresBy: Partial<Record<Failure, number>> = {}
  readonly durations = new Array<number>(DURATIONS.length + 1).fill(0)

  constructor(readonly server: string) {}

  enter(state: ServerState): void {
    if (this.state === state) return
    this.state = state
    this.since = Date.now()
  }

  down(reason: string): void {
    this.failed(reason)
    this.enter('down')
  }

  failed(reason: string): void {
    this.lastError = reason
    this.lastErrorAt = Date.now()
  }

  answered(milliseconds: number): void {
    this.searches++
    this.time += milliseconds
    const weight = Math.min(this.searches - this.failures, 100)
    this.latency += (milliseconds - this.latency) / weight
    const bound = DURATIONS.findIndex((most) => milliseconds <= most)
    const bucket = bound < 0 ? DURATIONS.length : bound
    this.durations[bucket] = (this.durations[bucket] ?? 0) + 1
  }

  unanswered({ failure, message }: DirectoryError): void {
    this.searches++
    this.failures++
    this.failuresBy[failure] = (this.failuresBy[failure] ?? 0) + 1
    this.failed(message)
  }

  report(connections: number, inFlight: number): ServerReport {
    const { server, state, since, lastError, lastErrorAt, searches, failures, time, latency } = this
    return {
      server,
      state,
      since,
      lastError,
      lastErrorAt,
      connections,
      inFlight,
      searches,
      failures,
      time,
      latency,
      failuresBy: { ...this.failuresBy },
      durations: [...this.durations],
    }
  }
}
