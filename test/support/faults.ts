// Makes all guarded work of a process throw, each once in a turn. A test begins turns and reads what was
// thrown; other processes load this file (`node --require`) and share both through the folder that
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
  /** The environment of another process that has these faults too. */
  readonly env: Readonly<Record<string, string>>
  /** Everything may throw once more or, if names are given, only the work of these names. */
  begin(turn: string, ...only: string[]): void
  /** Nothing throws any more. */
  end(): void
  thrown(): Thrown[]
  remove(): void
}

export function makeFaults(): Faults {
  const folder = mkdtempSync(path.join(tmpdir(), 'faults-'))
  const begin = (turn: string, ...only: string[]) => {
    const text = [turn, ...only].join('\t')
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

/** How often the turn of another process is read, in milliseconds: work starts thousands of times a second. */
export const READ_EVERY = 5

/** @returns a function that returns the current turn, which may be some milliseconds old */
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

/** Makes work in this process throw instead of running; the stack must appear in the log. */
export function throwIn(folder: string): void {
  const turnNow = turnIn(folder)
  let current = turnNow().split('\t')[0] ?? ''
  // A process that was restarted because something threw does not throw the same again.
  const before = readFileSync(path.join(folder, 'thrown'), 'utf8')
    .split('\n')
    .filter((line) => line.startsWith(`${current}\t`))
  const thrown = new Set(before.map((line) => line.split('\t')[2] ?? ''))
  injectFaults((what) => {
    const [turn = '', ...only] = turnNow().split('\t')
    if (turn !== current) thrown.clear()
    current = turn
    if (turn === '' || thrown.has(what) || (only.length > 0 && !only.includes(what))) return
    thrown.add(what)
    appendFileSync(path.join(folder, 'thrown'), `${turn}\t${process.pid}\t${what}\n`)
    throw new Error(`fault in ${what}`)
  })
}

const { TEST_FAULTS, TEST_DNS } = process.env
if (TEST_FAULTS) throwIn(TEST_FAULTS)
if (TEST_DNS) setServers([TEST_DNS])
