// Log lines that come by the thousand, written together some milliseconds later: one write to
// standard output takes longer than all the rest of a refusal.

const LATER = 10

export interface LineWriter {
  /** Whether a time stands before each line; {@link write} puts it before the first that it is given. */
  readonly timestamps: boolean
  /** @param lines without the last one's end */
  write(lines: string): void
}

export class LogBatch {
  readonly #writer: LineWriter
  #lines: string[] = []

  constructor(writer: LineWriter) {
    this.#writer = writer
    process.once('exit', () => this.#flush())
  }

  /** @param line at level notice, without a line's end in it or behind it */
  add(line: string): void {
    if (this.#lines.push(line) === 1) setTimeout(() => this.#flush(), LATER)
  }

  #flush(): void {
    const lines = this.#lines
    if (lines.length === 0) return
    this.#lines = []
    const time = this.#writer.timestamps ? `${new Date().toISOString()} ` : ''
    this.#writer.write(lines.join(`\n${time}`))
  }
}
