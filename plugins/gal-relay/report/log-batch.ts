// Log lines that come by the thousand, written together at the end of each turn of the event loop:
// one write to standard output takes longer than all the rest of a refusal.

export class LogBatch {
  readonly #write: (lines: string) => void
  #lines: string[] = []

  /** @param write takes one or more lines, without the last line's end */
  constructor(write: (lines: string) => void) {
    this.#write = write
    process.once('exit', () => this.#flush())
  }

  /** @param line without its end */
  add(line: string): void {
    if (this.#lines.push(line) === 1) setImmediate(() => this.#flush())
  }

  #flush(): void {
    const lines = this.#lines
    if (lines.length === 0) return
    this.#lines = []
    this.#write(lines.join('\n'))
  }
}
