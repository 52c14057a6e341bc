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
    const inside = contexts.filter((context) => isWithin(normal(base), normal(context)))
    const [nearest] = inside.sort((one, other) => other.length - one.length)
    if (!nearest) return undefined
    found.add(nearest)
  }
  return [...found]
}

/** Whether an entry with this DN is below that one; everything but the top is below the top, ''. */
export function isBelow(dn: string, top: string): boolean {
  return normal(dn).endsWith(top === '' ? '' : `,${normal(top)}`)
}

function isWithin(dn: string, context: string): boolean {
  return context !== '' && (dn === context || dn.endsWith(`,${context}`))
}

const normal = (dn: string) => dn.toLowerCase().replace(/\s*([,=])\s*/g, '$1')
