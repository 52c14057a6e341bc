// One line on a terminal, rewritten while a command works.
import { visible } from '../visible'

const WIDTH = 30

/** @param share between 0 and 1; `undefined` if not known */
export function progressBar(share: number | undefined): string {
  if (share === undefined) return ''
  const done = Math.round(Math.min(1, share) * WIDTH)
  return `${'█'.repeat(done).padEnd(WIDTH, '░')} ${Math.floor(Math.min(1, share) * 100)}%  `
}

/** Writes nothing if standard error is not a terminal. */
export function progressLine() {
  const { stderr } = process
  const write = (line: string) => {
    if (stderr.isTTY) stderr.write(`\r\x1b[K${visible(line)}`)
  }
  return { show: write, end: () => write('') }
}
