// A carrier takes a list from the server that publishes it to those that receive it: Redis
// (redis-carrier.ts) or a file (file-carrier.ts). It treats pieces as bytes, and neither reads nor
// trusts them.

export interface NumberedList {
  readonly number: number
  /** How many parts the list has. */
  readonly parts: number
}

/** A list as it is handed to a carrier. */
export interface PublishedList extends NumberedList {
  readonly head: Buffer
}

/** The publisher's side. The caller must close it. */
export interface ListSink {
  /** @returns a number above all previous ones */
  nextNumber(): Promise<number>
  /** Replaces the list that is there, once all of the new one is in place. */
  put(list: PublishedList, part: (at: number) => Promise<Buffer>): Promise<void>
  /**
   * Appends a change of the list that was last put there.
   * @param at its place, from 1 on
   * @throws ListGone
   */
  append(at: number, change: Buffer): Promise<void>
  /**
   * Checks that the list is still there.
   * @param at the place of the last change
   * @throws ListGone if not all of the list is there any more
   */
  look(at: number): Promise<void>
  close(): Promise<void>
}

/** The list is no longer there, or no longer whole: it must be put there again. */
export class ListGone extends Error {}

export interface News {
  /** In order, starting with the one that was asked for. */
  readonly changes: readonly Buffer[]
  /** Another list is there now. */
  readonly isReplaced: boolean
}

/** A receiver's side. The caller must close it. */
export interface ListSource {
  /** @returns the head of the list that is there; `undefined` if there is none */
  head(): Promise<Buffer | undefined>
  /**
   * Reads a part of the list whose head was last read.
   * @returns `undefined` if the part is not there (any more)
   */
  part(list: NumberedList, at: number): Promise<Buffer | undefined>
  /**
   * Gets what has come since.
   * @param from the place of the first change that is wanted
   * @param patience how long to wait if there is nothing, milliseconds
   */
  news(list: NumberedList, from: number, patience: number): Promise<News>
  close(): void
}
