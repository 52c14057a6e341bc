// The process that keeps the lists: started by one that answers mail (reader-process.ts), so that reading
// a million entries takes nothing from mail but what the operating system gives it, and neither memory
// nor a crash in here is theirs. It ends when its parent does.
import { readdirSync } from 'node:fs'
import { constants, getPriority, setPriority } from 'node:os'
import { isDeepStrictEqual } from 'node:util'
import { every, guard, later, onFailure, soon, unattended } from '../../guard'
import { countRefusal, type Refusal, shareRefusals } from '../../ldap/credentials'
import type { Log } from '../../log'
import type { ListSettings } from './list-settings'
import { machineTime } from './reading-lease'
import { ReadingTurns } from './reading-turns'
import { Receiver } from './receiver'
import { Sharing } from './sharing'
import type { FromSyncProcess, ToSyncProcess } from './sync-messages'
import { Syncer, type SyncReport } from './syncer'

const SECOND = 1000
const REPORT_EVERY = SECOND
/** Seconds without a sign of life, in which no other process has taken its place yet (keeper-choice.ts). */
const PARENT_SILENCE = 4
/** Reading a list costs the directory something. */
const AFTER_FAILURE = 5000
const ORDER_TIMEOUT = 500
/**
 * How much nicer than Haraka it is: a third of its share while all processors are busy. With the lowest
 * priority it had 1.5 %, and on such a machine a list that is not read makes every recipient a search.
 */
const NICER = 5

interface Keeping {
  readonly syncer: Pick<Syncer, 'run' | 'report'>
  readonly stop: AbortController
  reported: SyncReport | undefined
  readUntil: number
  /** It may have ended. */
  isDoubted: boolean
}

/** Seconds since the parent said something. */
let silent = 0
const turns = new ReadingTurns()
/** Of the event loop: what lies in the pipe from the parent is read in one. */
const TURNS = 3
/** By their numbers. */
const lists = new Map<number, Keeping>()
/** By file, the end of whoever wrote it last: two never write one file. */
const ends = new Map<string, Promise<void>>()

onFailure((what, thrown) => {
  const error = thrown instanceof Error ? thrown : new Error(String(thrown))
  sendToParent({ kind: 'failed', what, error })
})

const tellRefusal = (refusal: Refusal) => sendToParent({ kind: 'refused', refusal })
shareRefusals(tellRefusal)

function sendToParent(message: FromSyncProcess): void {
  // The channel may be closing; then nobody is there to be told.
  if (process.connected) process.send?.(message, undefined, undefined, () => {})
}

function logOf(list: number): Log {
  const level = (name: keyof Log) => (text: string) =>
    sendToParent({ kind: 'log', list, level: name, text })
  return {
    debug: level('debug'),
    info: level('info'),
    notice: level('notice'),
    warn: level('warn'),
    error: level('error'),
  }
}

function leaveProcessorsToMail(): void {
  try {
    const priority = Math.min(getPriority() + NICER, constants.priority.PRIORITY_LOW)
    for (const thread of threads()) setPriority(thread, priority)
  } catch {
    // not everywhere allowed
  }
}

/** On Linux each has a priority of its own, and V8's collector has begun some. 0: the whole process. */
function threads(): readonly number[] {
  try {
    return readdirSync('/proc/self/task').map(Number)
  } catch {
    return [0]
  }
}

// What ends a whole group of processes is for the parent, which ends us when it is done.
process.on('SIGINT', () => {})
process.on('SIGTERM', () => {})
const leave = () => process.exit(0)
process.once('disconnect', guard('end of the parent process', leave, leave))
process.once('message', guard('start of keeping the list', begin, endSoon))

function begin(first: ToSyncProcess): void {
  process.title = 'gal-relay sync'
  // One that only has lists that are shared reads none itself, and must not be late with what it says.
  const isShared = first.keep.every(({ settings }) => settings.snapshot.channel?.role === 'share')
  if (!isShared) leaveProcessorsToMail()
  if (first.isReplaceable) endWithoutParent()
  hear(first)
  process.on('message', guard('message of the parent process', hear))
  every(REPORT_EVERY, 'report to the parent process', report)
}

function hear(message: ToSyncProcess): void {
  silent = 0
  for (const [number, until] of message.leases ?? []) {
    const list = lists.get(number)
    if (list) list.readUntil = until
  }
  for (const refusal of message.refusals ?? []) countRefusal(refusal, tellRefusal)
  if (message.keep.length + message.drop.length === 0) return
  unattended('lists to be kept', () => take(message), endSoon)
}

function take({ keep, drop }: ToSyncProcess): void {
  for (const number of drop) {
    lists.get(number)?.stop.abort(new Error('no longer wanted'))
    lists.delete(number)
  }
  for (const { number, settings, readUntil = Number.POSITIVE_INFINITY } of keep) {
    const stop = new AbortController()
    const syncer = syncerFor(settings, logOf(number), () => mayAsk(number))
    lists.set(number, { syncer, stop, reported: undefined, readUntil, isDoubted: false })
    const { file } = settings.snapshot
    const before = ends.get(file) ?? Promise.resolve()
    const end = before.then(
      () => new Promise<void>((ended) => keepList(syncer, stop.signal, ended)),
    )
    ends.set(file, end)
  }
}

/** A list that another server may read after its lease has ended is asked for nothing further here. */
function mayAsk(number: number): boolean {
  const list = lists.get(number)
  if (!list || machineTime() < list.readUntil) return true
  if (!list.isDoubted) endUnlessRenewed(list, TURNS)
  return false
}

/** What the parent has said while this process was busy is read first. */
function endUnlessRenewed(list: Keeping, turns: number): void {
  list.isDoubted = machineTime() >= list.readUntil
  if (!list.isDoubted) return
  if (turns === 0) process.exit(0)
  soon('end of a lease', () => endUnlessRenewed(list, turns - 1), leave)
}

/** By what a list is kept. */
function syncerFor(settings: ListSettings, log: Log, mayAskNow: () => boolean): Keeping['syncer'] {
  const { channel } = settings.snapshot
  if (!channel) return new Syncer(settings, log, turns, mayAskNow)
  return channel.role === 'receive'
    ? new Receiver(settings, channel, log)
    : new Sharing(settings, channel, log)
}

function report(): void {
  const reports: [number, SyncReport][] = []
  for (const [number, list] of lists) {
    const now = list.syncer.report()
    if (isDeepStrictEqual(now, list.reported)) continue
    list.reported = now
    reports.push([number, now])
  }
  sendToParent({ kind: 'reports', reports })
}

function endWithoutParent(): void {
  every(SECOND, 'watch over the parent process', () => {
    if (++silent >= PARENT_SILENCE) process.exit(0)
    for (const number of lists.keys()) mayAsk(number)
  })
}

/** Without its order it has nothing to do: the parent is told why, and starts another one. */
function endSoon(): void {
  const end = () => process.exit(1)
  later(ORDER_TIMEOUT, 'end of a process that has no order', end, end)
}

/** Goes on until the signal, whatever fails. */
function keepList(syncer: Keeping['syncer'], signal: AbortSignal, ended: () => void): void {
  if (signal.aborted) {
    ended()
    return
  }
  const keep = () => keepList(syncer, signal, ended)
  unattended(
    'keeping the list',
    () => syncer.run(signal).then(ended),
    () => later(AFTER_FAILURE, 'keeping the list again', keep, keep),
  )
}
