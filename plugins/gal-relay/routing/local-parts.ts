// Sets of local parts that ignore case. Nearly every recipient is checked and found in none of them. Its
// first letter usually shows that, and is faster to check than a lower-case copy of the local part.

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
  // Some letters beyond ASCII become ASCII letters in lower case.
  const initial = initialOf(local)
  return (initial > 0x7f || initials.has(initial)) && names.has(local.toLowerCase())
}

/** Returns the same number for a letter in upper and in lower case. */
function initialOf(name: string): number {
  return name.charCodeAt(0) | 0x20
}
