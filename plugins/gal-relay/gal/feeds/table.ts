// The ways in which changes to a list arrive, best first. A new one needs a file in this folder and
// a line here.
import type { ChangeFeed } from './change-feed'

interface Line {
  /** Identifies the feed in list files; never changed, and never reused for another one. */
  readonly number: number
  /** For logs, metrics and the output of the command. */
  readonly name: string
  /** For the status page. */
  readonly text: string
  /** Loads the code, which a process that only answers look-ups does not need. */
  load(): Promise<{ readonly feed: ChangeFeed }>
}

// biome-ignore format: a line each
export const FEEDS = [
  { number: 1, name: 'syncrepl', text: 'Changes come by content synchronization (RFC 4533)', load: () => import('./syncrepl.js') },
  { number: 2, name: 'dirsync', text: 'Changes come by DirSync', load: () => import('./dirsync.js') },
  { number: 3, name: 'usn', text: 'Changes are found by uSNChanged', load: () => import('./usn.js') },
  { number: 4, name: 'timestamps', text: 'Changes are found by modifyTimestamp', load: () => import('./timestamps.js') },
] as const satisfies readonly Line[]

/** Used before there is a list, and for a number in a list file that is not in the table. */
const NONE = 'none'
export type FeedName = (typeof FEEDS)[number]['name'] | typeof NONE

/** @returns 0 for none */
export function feedNumber(name: FeedName): number {
  return FEEDS.find((feed) => feed.name === name)?.number ?? 0
}

export function feedNumbered(number: number): FeedName {
  return FEEDS.find((feed) => feed.number === number)?.name ?? NONE
}

/** For people: a sentence without its full stop. */
export function feedText(name: FeedName): string {
  const feed = FEEDS.find((one) => one.name === name)
  return feed?.text ?? 'Changes are not followed: the whole list is read again'
}
