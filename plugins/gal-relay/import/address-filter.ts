// A search filter with a place for the recipient's address, as other systems have it, in the two parts
// that [gal] has: attributes that are compared with the address, and what else an entry must be.

export interface AddressFilter {
  readonly attributes: readonly string[]
  /** What is left of the filter, if anything. */
  readonly filter: string | undefined
  /** Comparisons with something else than the whole address, which have no equal. */
  readonly lost: readonly string[]
}

type Node =
  | { readonly operator: '&' | '|' | '!'; readonly parts: readonly Node[] }
  | { readonly comparison: string }

/** Stands for the whole address. */
export const ADDRESS = '%s'
const PLACE = /%[sudaSUD]/

/**
 * @param text with `%s` for the address, `%u` for its local part, `%d` for its domain
 * @returns what is wrong with it, when no attribute is compared with the address as a whole, or when the
 *   comparisons are used where the two parts cannot say the same
 */
export function splitAddressFilter(text: string): AddressFilter | { readonly problem: string } {
  const whole = text.trim().replace(/%u@%d/g, ADDRESS)
  const node = parsed(whole.startsWith('(') ? whole : `(${whole})`)
  if (!node) return { problem: 'is not a search filter' }
  const parts = flattened(node, '&')
  const placed = parts.filter((part) => PLACE.test(textOf(part)))
  const rest = parts.filter((part) => !placed.includes(part))
  const [alternatives] = placed
  if (!alternatives) return { problem: 'does not look for the address' }
  if (placed.length > 1) return { problem: 'compares the address in several ways at once' }
  const leaves = flattened(alternatives, '|')
  const attributes: string[] = []
  const lost: string[] = []
  for (const leaf of leaves) {
    const [, name = ''] =
      'comparison' in leaf
        ? (/^\s*([\w.;-]+)\s*=\s*(?:smtp[:$])?%s\s*$/i.exec(leaf.comparison) ?? [])
        : []
    if (name && !attributes.includes(name)) attributes.push(name)
    if (!name) lost.push(textOf(leaf))
  }
  if (attributes.length === 0) return { problem: 'compares no attribute with the whole address' }
  const texts = rest.map(textOf)
  const filter = texts.length > 1 ? `(&${texts.join('')})` : texts[0]
  return { attributes, filter, lost }
}

/** Filters of which one must hold, without duplicates. */
export function anyOf(filters: readonly string[]): string {
  const different = [...new Set(filters)]
  return different.length > 1 ? `(|${different.join('')})` : (different[0] ?? '')
}

function flattened(node: Node, operator: '&' | '|'): readonly Node[] {
  if (!('operator' in node) || node.operator !== operator) return [node]
  return node.parts.flatMap((part) => flattened(part, operator))
}

function textOf(node: Node): string {
  if ('comparison' in node) return `(${node.comparison})`
  return `(${node.operator}${node.parts.map(textOf).join('')})`
}

/** What the settings' reader would refuse it refuses later; here only the structure counts. */
function parsed(text: string): Node | undefined {
  let at = 0
  const blanks = () => {
    while (/\s/.test(text[at] ?? '')) at++
  }
  const node = (): Node | undefined => {
    blanks()
    if (text[at] !== '(') return undefined
    at++
    blanks()
    const operator = text[at]
    if (operator !== '&' && operator !== '|' && operator !== '!') {
      const end = text.slice(at).search(/[()]|$/) + at
      const comparison = text.slice(at, end)
      at = end
      return text[at++] === ')' ? { comparison } : undefined
    }
    at++
    const parts: Node[] = []
    for (let part = node(); part; part = node()) parts.push(part)
    blanks()
    return text[at++] === ')' ? { operator, parts } : undefined
  }
  const found = node()
  blanks()
  return at === text.length ? found : undefined
}
