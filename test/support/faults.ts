// Has all guarded work of a process throw, each once in a turn. A test begins turns and reads what was
// thrown; other processes load this file (`node --require`) and have both from the folder that
// TEST_FAULTS names.

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
  /** For a process that is to have them too. */
  readonly env: Readonly<Record<string, string>>
  /** Everything may throw once more, or this only. */
  begin(turn: string, only?: string): void
  /** Nothing throws any more. */
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

/** Those that this process has begun, by their folders. */
const turns = new Map<string, string>()

/**
 * Work is begun thousands of times a second: what other processes have begun is not read each time, but once
 * in so many milliseconds.
 */
export const READ_EVERY = 5

/** @returns a function that returns the turn that has begun last, or did some milliseconds ago */
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

/** What is thrown in place of work; its stack is to be in the log. */
export function throwIn(folder: string): void {
  const turnNow = turnIn(folder)
  let current = turnNow().split('\t')[0] ?? ''
  // A process that was started again because something threw goes on.
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
