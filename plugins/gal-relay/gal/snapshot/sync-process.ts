// The process that keeps the lists. A process that answers mail starts it (reader-process.ts), and
// it ends when its parent does. Reading a million entries thus takes from mail only what the
// operating system grants, and mail is affected neither by the memory used here nor by a crash.
import { readdirSync } from 'node:fs'
import { constants, getPriority, setPriority } from 'node:os'
import { isDeepStrictEqual } from 'node:util'
import { every, guard, later, onFailure, soon, unattended } from '../../guard'
import {
  countPasswordRefusal,
  type PasswordRefusal,
  sharePasswordRefusals,
} from '../../ldap/credentials'
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
/** Silent seconds after which the parent cannot have been replaced yet (keeper-choice.ts). */
const PARENT_SILENCE = 4
/** Milliseconds before another attempt, because reading a list is a load on the directory. */
const AFTER_FAILURE = 5000
const ORDER_TIMEOUT = 500
/**
 * How much nicer than Haraka this process is. It gets a third of Haraka's share while all
 * processors are busy. With the lowest priority it got 1.5 %; if a machine that busy gets no list,
 * every recipient costs a search.
 */
const NICER = 5

interface Keeping {
  readonly syncer: Pick<Syncer, 'run' | 'report'>
  readonly stop: AbortController
  reported: SyncReport | undefined
  readUntil: number
  /** The lease may have ended. */
  isDoubted: boolean
}

/** Seconds since the parent said something. */
let silent = 0
const turns = new ReadingTurns()
/** Turns of the event loop to wait: one of them reads what is in the pipe from the parent. */
const TURNS = 3
/** Lists by their numbers. */
const lists = new Map<number, Keeping>()
/** By file: when its last writer ends. Two must never write the same file. */
const ends = new Map<string, Promise<void>>()

onFailure((what, thrown) => {
  const error = thrown instanceof Error ? thrown : new Error(String(thrown))
  sendToParent({ kind: 'failed', what, error })
})

const tellRefusal = (refusal: PasswordRefusal) => sendToParent({ kind: 'refused', refusal })
sharePasswordRefusals(tellRefusal)

function sendToParent(message: FromSyncProcess): void {
  // The channel may be closing. There is then nobody to tell.
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
    // not allowed everywhere
  }
}

/** On Linux, each thread has its own priority, and V8 has started some. 0: the whole process. */
function threads(): readonly number[] {
  try {
    return readdirSync('/proc/self/task').map(Number)
  } catch {
    return [0]
  }
}

// A signal to the whole process group is meant for the parent, which ends us when it is done.
process.on('SIGINT', () => {})
process.on('SIGTERM', () => {})
const leave = () => process.exit(0)
process.once('disconnect', guard('end of the parent process', leave, leave))
process.once('message', guard('start of keeping the list', begin, endSoon))

function begin(first: ToSyncProcess): void {
  process.title = 'gal-relay sync'
  // If all lists are shared, this process reads none itself, and its messages must not be late.
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
  for (const refusal of message.refusals ?? []) countPasswordRefusal(refusal, tellRefusal)
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

/** Once the lease of a list has ended, another server may read it, and this one must not ask. */
function mayAsk(number: number): boolean {
  const list = lists.get(number)
  if (!list || machineTime() < list.readUntil) return true
  if (!list.isDoubted) endUnlessRenewed(list, TURNS)
  return false
}

/** First lets the process read what the parent sent while it was busy. */
function endUnlessRenewed(list: Keeping, turns: number): void {
  list.isDoubted = machineTime() >= list.readUntil
  if (!list.isDoubted) return
  if (turns === 0) process.exit(0)
  soon('end of a lease', () => endUnlessRenewed(list, turns - 1), leave)
}

/** @returns the object that keeps a list */
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

/** Without its order the process has nothing to do. The parent is told why, and starts another. */
function endSoon(): void {
  const end = () => process.exit(1)
  later(ORDER_TIMEOUT, 'end of a process that has no order', end, end)
}

/** Keeps the list until `signal` is aborted, whatever fails. */
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
