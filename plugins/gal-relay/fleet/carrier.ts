// What carries a list from the server that publishes it to those that receive it: Redis (redis-carrier.ts)
// or a file (file-carrier.ts). To a carrier the pieces are bytes: it neither reads nor believes them.

export interface NumberedList {
  readonly number: number
  /** How many it has. */
  readonly parts: number
}

/** A list as it is handed over. */
export interface PublishedList extends NumberedList {
  readonly head: Buffer
}

/** The side of the publisher. To be closed. */
export interface ListSink {
  /** Above all numbers that have been given. */
  nextNumber(): Promise<number>
  /** In place of the list that is there, when all of it is. */
  put(list: PublishedList, part: (at: number) => Promise<Buffer>): Promise<void>
  /**
   * A change of the list that was put there last.
   * @param at its place, from 1 on
   * @throws ListGone
   */
  append(at: number, change: Buffer): Promise<void>
  /** @param at of the last change. @throws ListGone when not all of the list is there any more */
  look(at: number): Promise<void>
  close(): Promise<void>
}

/** The list is not there any more, or not whole: it must be put there again. */
export class ListGone extends Error {}

export interface News {
  /** In their order, from the one that was asked for on. */
  readonly changes: readonly Buffer[]
  /** Another list is there. */
  readonly isReplaced: boolean
}

/** The side of a receiver. To be closed. */
export interface ListSource {
  /** Of the list that is there; undefined: there is none. */
  head(): Promise<Buffer | undefined>
  /** Of the list whose head was read last. @returns undefined when it is not there (any more) */
  part(list: NumberedList, at: number): Promise<Buffer | undefined>
  /**
   * What has come since.
   * @param from the place of the first change that is wanted
   * @param patience how long to wait when there is nothing, milliseconds
   */
  news(list: NumberedList, from: number, patience: number): Promise<News>
  close(): void
}
