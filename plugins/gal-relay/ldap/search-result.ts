// The result of a search: as a whole when it has ended, or entry by entry as it arrives.
import type { Control } from './controls'
import type { Entry } from './entry'

/** How a request ended, and the entries that it returned before that. */
export interface Result {
  readonly code: number
  readonly diagnostic: string
  readonly entries: readonly Entry[]
  /** URLs where parts of the answer, or all of it, can be found (RFC 4511 §4.5.3, §4.1.10). */
  readonly references: readonly string[]
  /** What was too large to read, as a sentence: it may contain what the entries lack. */
  readonly leftOut?: string
}

/** Receives the results of a search as they arrive; an exception ends the connection. */
export interface Sink {
  entry(entry: Entry, controls: readonly Control[]): void
  /** An IntermediateResponse (RFC 4511 §4.13). */
  intermediate?(name: string, value: Buffer): void
  /** URLs of a SearchResultReference. */
  reference?(urls: readonly string[]): void
}

export interface StreamOptions {
  readonly controls?: readonly Control[]
  /** Milliseconds of silence after which the search fails; 0 for no limit. */
  readonly patience: number
}

/** A search that passes its entries to a sink. */
export interface Stream {
  /** How it ended, with the controls of the result. */
  readonly result: Promise<Omit<Result, 'entries'> & { readonly controls: readonly Control[] }>
  /** Tells the server to stop; `result` then never settles. */
  abandon(): void
}
