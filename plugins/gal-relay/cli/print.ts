// What the command prints: text with colour where a person reads it, one JSON object where a program
// does.
import { createColors } from 'picocolors'

/** Colour on a terminal only, and not where NO_COLOR is set (no-color.org). */
export const colour = createColors(
  process.stdout.isTTY === true && !process.env.NO_COLOR && process.env.TERM !== 'dumb',
)

export function printLines(lines: readonly string[]): void {
  process.stdout.write(lines.map((line) => `${line}\n`).join(''))
}

/** What is unknown is null; numbers too large for JSON are text. */
export function printJson(value: object): void {
  const text = JSON.stringify(value, (_key, one: unknown) => {
    if (one === undefined) return null
    return typeof one === 'bigint' ? one.toString() : one
  })
  process.stdout.write(`${text}\n`)
}

/** Rows with their columns under each other; the last one is as long as it is. */
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
