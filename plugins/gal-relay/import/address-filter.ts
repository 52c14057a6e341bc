// Splits another system's search filter, which has a placeholder for the recipient's address, into
// the two parts of [gal]: the attributes to compare with the address, and the filter that entries
// must match.

export interface AddressFilter {
  readonly attributes: readonly string[]
  /** The rest of the filter, if any. */
  readonly filter: string | undefined
  /** Comparisons with something other than the whole address, which [gal] cannot express. */
  readonly lost: readonly string[]
}

type Node =
  | { readonly operator: '&' | '|' | '!'; readonly parts: readonly Node[] }
  | { readonly comparison: string }

/** The placeholder for the whole address. */
export const ADDRESS = '%s'
const PLACE = /%[sudaSUD]/

/**
 * @param text with `%s` for the address, `%u` for its local part and `%d` for its domain
 * @returns a problem if no attribute is compared with the whole address, or if the comparisons are
 *   combined in a way that the two parts cannot express
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

/** Joins filters, one of which must match, without duplicates. */
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

/** Only checks the structure; the settings' reader checks everything else later. */
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
