// Log lines that come by the thousand, written together some milliseconds later: one write to
// standard output takes longer than all the rest of a refusal.

const LATER = 10

/** The part of Haraka's logger that is used here. */
export interface LineWriter {
  /** Whether a time stands before each line; the logger puts it before the first that it is given. */
  readonly timestamps: boolean
  log(level: 'NOTICE', lines: string): void
}

export class LogBatch {
  readonly #logger: LineWriter
  #lines: string[] = []

  constructor(logger: LineWriter) {
    this.#logger = logger
    process.once('exit', () => this.#flush())
  }

  /** @param line at level notice, without its end */
  add(line: string): void {
    if (this.#lines.push(line) === 1) setTimeout(() => this.#flush(), LATER)
  }

  #flush(): void {
    const lines = this.#lines
    if (lines.length === 0) return
    this.#lines = []
    const time = this.#logger.timestamps ? `${new Date().toISOString()} ` : ''
    this.#logger.log('NOTICE', lines.join(`\n${time}`))
  }
}
