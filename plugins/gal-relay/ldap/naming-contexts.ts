// Finds the naming contexts (in Active Directory, the domains) in which search bases lie.

/**
 * @param bases DNs
 * @param contexts DNs of all naming contexts of the server
 * @returns the contexts that contain the bases, each once; `undefined` if a base lies in none
 */
export function contextsOf(
  bases: readonly string[],
  contexts: readonly string[],
): readonly string[] | undefined {
  const found = new Set<string>()
  for (const base of bases) {
    const inside = contexts.filter((context) => context !== '' && isWithin(base, context))
    const [nearest] = inside.sort((one, other) => other.length - one.length)
    if (!nearest) return undefined
    found.add(nearest)
  }
  return [...found]
}

/** @returns those that lie below this base */
export function contextsBelow(base: string, contexts: readonly string[]): readonly string[] {
  return contexts.filter(
    (context) => context !== '' && isWithin(context, base) && !isWithin(base, context),
  )
}

/** Whether the entry is the base itself or lies below it, as all entries do if the base is ''. */
export function isWithin(dn: string, base: string): boolean {
  const [name, top] = [normal(dn), normal(base)]
  return top === '' || name === top || name.endsWith(`,${top}`)
}

const normal = (dn: string) => dn.toLowerCase().replace(/\s*([,=])\s*/g, '$1')
