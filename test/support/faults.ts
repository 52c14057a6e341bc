// Makes all guarded work of a process throw, each kind once a turn. A test begins turns and reads what was
// thrown. Other processes load this file (`node --require`) and use the folder that TEST_FAULTS names.

import { setServers } from 'node:dns/promises'
import { appendFileSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { injectFaults } from '../../plugins/gal-relay/guard'

export interface Thrown {
  readonly turn: string
  readonly pid: number
  /** The name of the work. */
  readonly what: string
}

export interface Faults {
  /** The environment of a process that is to throw, too. */
  readonly env: Readonly<Record<string, string>>
  /** Begins a turn: everything may throw once more, or only this work. */
  begin(turn: string, only?: string): void
  /** Ends the throwing. */
  end(): void
  thrown(): Thrown[]
  remove(): void
}

export function makeFaults(): Faults {
  const folder = mkdtempSync(path.join(tmpdir(), 'faults-'))
  const begin = (turn: string, only = '') => {
    const text = only ? `${turn}\t${only}` : turn
    writeFileSync(path.join(folder, 'turn'), text)
    turns.set(folder, text)
  }
  begin('')
  writeFileSync(path.join(folder, 'thrown'), '')
  return {
    env: { TEST_FAULTS: folder, NODE_OPTIONS: `--require=${__filename}` },
    begin,
    end: () => begin(''),
    thrown() {
      const lines = readFileSync(path.join(folder, 'thrown'), 'utf8').split('\n').slice(0, -1)
      return lines.map((line) => {
        const [turn = '', pid, what = ''] = line.split('\t')
        return { turn, pid: Number(pid), what }
      })
    },
    remove() {
      turns.delete(folder)
      rmSync(folder, { recursive: true, force: true })
    },
  }
}

/** The turns that this process has begun, by folder. */
const turns = new Map<string, string>()

/**
 * How often a process reads which turn another process has begun, in milliseconds. Reading it for each piece of
 * work, thousands of times a second, would be too slow.
 */
export const READ_EVERY = 5

/** @returns a function that returns the current turn, or the one of some milliseconds ago */
function turnIn(folder: string): () => string {
  let text = ''
  let readAt = Number.NEGATIVE_INFINITY
  return () => {
    const begun = turns.get(folder)
    if (begun !== undefined) return begun
    const now = performance.now()
    if (now - readAt < READ_EVERY) return text
    readAt = now
    text = readFileSync(path.join(folder, 'turn'), 'utf8')
    return text
  }
}

/** The error thrown instead of the work. Its stack has to be in the log. */
export function throwIn(folder: string): void {
  const turnNow = turnIn(folder)
  let current = turnNow().split('\t')[0] ?? ''
  // A process that was restarted because something threw goes on with the turn.
  const before = readFileSync(path.join(folder, 'thrown'), 'utf8')
    .split('\n')
    .filter((line) => line.startsWith(`${current}\t`))
  const thrown = new Set(before.map((line) => line.split('\t')[2] ?? ''))
  injectFaults((what) => {
    const [turn = '', only = what] = turnNow().split('\t')
    if (turn !== current) thrown.clear()
    current = turn
    if (turn === '' || only !== what || thrown.has(what)) return
    thrown.add(what)
    appendFileSync(path.join(folder, 'thrown'), `${turn}\t${process.pid}\t${what}\n`)
    throw new Error(`fault in ${what}`)
  })
}

const { TEST_FAULTS, TEST_DNS } = process.env
if (TEST_FAULTS) throwIn(TEST_FAULTS)
if (TEST_DNS) setServers([TEST_DNS])
