// What the command prints: text, with colour for people, or one JSON object for programs.
import { randomBytes } from 'node:crypto'
import { createColors } from 'picocolors'
import { visible, visibleJson } from '../visible'

/** Colour only on a terminal, and not if NO_COLOR is set (no-color.org). */
const colours = createColors(
  process.stdout.isTTY === true && !process.env.NO_COLOR && process.env.TERM !== 'dumb',
)

/** Marks our own control sequences, so that sequences in text from outside have no effect. */
const MARK = `<${randomBytes(16).toString('hex')}>`

export const colour = {
  bold: painted(colours.bold),
  dim: painted(colours.dim),
  green: painted(colours.green),
  yellow: painted(colours.yellow),
  red: painted(colours.red),
}

function painted(paint: (text: string) => string): (text: string) => string {
  const [before = '', after = ''] = paint('|').replaceAll('\x1b[', MARK).split('|')
  return (text) => `${before}${text}${after}`
}

const forTerminal = (line: string) => visible(line).replaceAll(MARK, '\x1b[')

export function printLines(lines: readonly string[]): void {
  process.stdout.write(lines.map((line) => `${forTerminal(line)}\n`).join(''))
}

/** @param text one or more lines */
export function printError(text: string): void {
  process.stderr.write(`${text.split('\n').map(forTerminal).join('\n')}\n`)
}

/** Prints unknown values as null, and numbers too large for JSON as text. */
export function printJson(value: object): void {
  const text = JSON.stringify(value, (_key, one: unknown) => {
    if (one === undefined) return null
    return typeof one === 'bigint' ? one.toString() : one
  })
  process.stdout.write(`${visibleJson(text)}\n`)
}

/** Aligns the columns of all rows; the last column is not padded. */
export function columns(rows: readonly (readonly string[])[]): string[] {
  const widths: number[] = []
  for (const row of rows) {
    for (const [i, cell] of row.slice(0, -1).entries()) {
      widths[i] = Math.max(widths[i] ?? 0, cell.length)
    }
  }
  return rows.map((row) =>
    row.map((cell, i) => (i < row.length - 1 ? cell.padEnd(widths[i] ?? 0) : cell)).join('  '),
  )
}
