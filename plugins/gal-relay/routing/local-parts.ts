// Local parts that compare without case. Nearly every recipient is asked for and in none of them, which
// mostly shows by the first letter: lower case takes longer.

export interface LocalParts {
  /** In lower case. */
  readonly names: ReadonlySet<string>
  readonly initials: ReadonlySet<number>
}

export function localParts(names: readonly string[]): LocalParts {
  const lower = names.map((name) => name.toLowerCase())
  return { names: new Set(lower), initials: new Set(lower.map(initialOf)) }
}

export function hasLocalPart({ names, initials }: LocalParts, local: string): boolean {
  // Beyond ASCII are letters that become one of ASCII in lower case.
  const initial = initialOf(local)
  return (initial > 0x7f || initials.has(initial)) && names.has(local.toLowerCase())
}

/** The same for a letter in upper and in lower case. */
function initialOf(name: string): number {
  return name.charCodeAt(0) | 0x20
}
