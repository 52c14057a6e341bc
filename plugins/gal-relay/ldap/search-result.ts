// What a search brings: all at once when it has ended, or one by one as it comes.
import type { Control } from './controls'
import type { Entry } from './entry'

/** How a request ended, and the entries that came before that. */
export interface Result {
  readonly code: number
  readonly diagnostic: string
  readonly entries: readonly Entry[]
  /** URLs where parts of the answer, or all of it, can be found (RFC 4511 §4.5.3, §4.1.10). */
  readonly references: readonly string[]
  /** What was larger than is read, as a sentence: whatever is not among the entries may be there. */
  readonly leftOut?: string
}

/** Takes what a search brings as it comes; what it throws ends the connection. */
export interface Sink {
  entry(entry: Entry, controls: readonly Control[]): void
  /** An IntermediateResponse (RFC 4511 §4.13). */
  intermediate?(name: string, value: Buffer): void
  /** URLs of a SearchResultReference. */
  reference?(urls: readonly string[]): void
}

export interface StreamOptions {
  readonly controls?: readonly Control[]
  /** How long nothing may come before the search has failed, milliseconds; 0: for ever. */
  readonly patience: number
}

/** A search whose entries go to a sink. */
export interface Stream {
  /** How it ended, with the controls of the result. */
  readonly result: Promise<Omit<Result, 'entries'> & { readonly controls: readonly Control[] }>
  /** Tells the server to stop; the result never comes. */
  abandon(): void
}
