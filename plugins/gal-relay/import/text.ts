// Reads the lines of files that other systems write.

/** Windows writes UTF-16, usually with a byte order mark, or its own code page. */
export function textOf(bytes: Uint8Array): string {
  const [first, second] = bytes
  const isLittle = (first === 0xff && second === 0xfe) || (first !== 0 && second === 0)
  if (isLittle) return new TextDecoder('utf-16le').decode(bytes)
  if (first === 0xfe && second === 0xff) return new TextDecoder('utf-16be').decode(bytes)
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes)
  } catch {
    return new TextDecoder('windows-1252').decode(bytes)
  }
}

export interface Line {
  readonly text: string
  /** Counted from 1; a joined line has the number of its first part. */
  readonly number: number
}

/** Lines that are not blank and do not begin with `#`. */
export function contentLines(text: string): Line[] {
  return text
    .split(/\r\n|\r|\n/)
    .map((line, index) => ({ text: line, number: index + 1 }))
    .filter((line) => !/^\s*(#|$)/.test(line.text))
}

/** The same, but a line that begins with a blank continues the one before it, as in Postfix's files. */
export function joinedLines(text: string): Line[] {
  const joined: Line[] = []
  for (const line of contentLines(text)) {
    const last = joined.at(-1)
    if (last && /^\s/.test(line.text)) {
      joined[joined.length - 1] = { ...last, text: `${last.text} ${line.text.trim()}` }
    } else {
      joined.push({ ...line, text: line.text.trim() })
    }
  }
  return joined
}
