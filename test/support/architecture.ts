// Reads the tables of ARCHITECTURE.md.
import { readFileSync } from 'node:fs'
import path from 'node:path'
import { REPOSITORY } from './haraka'

export const architecture = readFileSync(path.join(REPOSITORY, 'ARCHITECTURE.md'), 'utf8')

/** @returns the cells of each row of the first table below the heading */
export function tableBelow(heading: string): string[][] {
  const below = architecture.slice(architecture.indexOf(heading) + heading.length)
  const lines = below.slice(below.indexOf('\n|') + 1).split('\n')
  const end = lines.findIndex((line) => !line.startsWith('|'))
  return lines.slice(2, end).map((line) =>
    line
      .split('|')
      .slice(1, -1)
      .map((cell) => cell.trim()),
  )
}

/** Rooms that each room may import from, besides its own. */
export function roomsAllowed(): Record<string, string[]> {
  return Object.fromEntries(
    tableBelow('## Rooms').map(([room = '', , from = '']) => [
      room.replaceAll('`', ''),
      from.split(', ').filter(Boolean),
    ]),
  )
}
