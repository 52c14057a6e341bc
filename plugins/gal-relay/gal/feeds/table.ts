// The ways in which changes of a list arrive, the best first. A new one is a file in this folder and a
// line here.
import type { ChangeFeed } from './change-feed'

interface Line {
  /** Stands for it in list files: never changed, and never given to another one. */
  readonly number: number
  /** In logs, metrics and answers of the command. */
  readonly name: string
  /** For the status page. */
  readonly text: string
  /** Whoever only answers mail has no need of its code. */
  load(): Promise<{ readonly feed: ChangeFeed }>
}

// biome-ignore format: a line each
export const FEEDS = [
  { number: 1, name: 'syncrepl', text: 'Changes come by content synchronization (RFC 4533)', load: () => import('./syncrepl.js') },
  { number: 2, name: 'dirsync', text: 'Changes come by DirSync', load: () => import('./dirsync.js') },
  { number: 3, name: 'usn', text: 'Changes are found by uSNChanged', load: () => import('./usn.js') },
  { number: 4, name: 'timestamps', text: 'Changes are found by modifyTimestamp', load: () => import('./timestamps.js') },
] as const satisfies readonly Line[]

/** Before there is a list, and where a list file has a number that is not in the table. */
const NONE = 'none'
export type FeedName = (typeof FEEDS)[number]['name'] | typeof NONE

/** @returns 0 for none */
export function feedNumber(name: FeedName): number {
  return FEEDS.find((feed) => feed.name === name)?.number ?? 0
}

export function feedNumbered(number: number): FeedName {
  return FEEDS.find((feed) => feed.number === number)?.name ?? NONE
}

/** For people, as a sentence without its full stop. */
export function feedText(name: FeedName): string {
  const feed = FEEDS.find((one) => one.name === name)
  return feed?.text ?? 'Changes are not followed: the whole list is read again'
}
