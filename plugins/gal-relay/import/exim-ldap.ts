// Exim's LDAP lookups, `${lookup ldap{…}}`, anywhere in a router (spec.txt, chapter 9).
import type { Lookup } from './directory'
import { listOf } from './exim-files'

/** @returns the lookups in the text, or the problem if one cannot be read */
export function lookupsIn(
  text: string,
  from: string,
  defaultServers: string,
): (Lookup | { readonly problem: string })[] {
  const starts = [...text.matchAll(/(?:lookup\s+(ldap[md]?n?)\s*\{|\b(ldapm?)\s*;)/g)]
  return starts.map(({ index, 0: start }) => {
    const query = start.endsWith('{')
      ? balanced(text.slice(index + start.length))
      : text.slice(index + start.length)
    return lookupOf(query.trim(), from, defaultServers)
  })
}

/** The text up to the brace that closes the one before it. */
function balanced(text: string): string {
  let depth = 1
  for (let at = 0; at < text.length; at++) {
    if (text[at] === '{') depth++
    if (text[at] === '}' && --depth === 0) return text.slice(0, at)
  }
  return text
}

function lookupOf(
  query: string,
  from: string,
  defaultServers: string,
): Lookup | { readonly problem: string } {
  const url =
    /\b(ldaps?|ldapi):\/\/([^/?]*)\/([^?]*)(?:\?([^?]*))?(?:\?([^?]*))?(?:\?(.*))?$/s.exec(query)
  if (!url) return { problem: 'an LDAP lookup without a URL that can be read' }
  const [whole, scheme = 'ldap', host = '', base = '', wanted = '', scope = '', filter = ''] = url
  const before = query.slice(0, query.length - whole.length)
  const parameter = (name: string) => {
    const [, quoted, plain = ''] =
      new RegExp(`\\b${name}=(?:"([^"]*)"|(\\S*))`, 'i').exec(before) ?? []
    return quoted ?? plain
  }
  const urls = host
    ? [`${scheme}://${host}`]
    : listOf(defaultServers).map((server) => `${scheme}://${server.split(/\s*,/)[0]}`)
  if (urls.length === 0)
    return { problem: 'an LDAP lookup that names no server, and no ldap_default_servers' }
  if (/\$/.test(base)) return { problem: `a base that depends on the address: ${base}` }
  if (/\$\{/.test(parameter('user') + parameter('pass')))
    return { problem: 'an account that an expression gives' }
  return {
    from,
    urls,
    base: decoded(base),
    // RFC 4516 §2
    scope: scope || 'base',
    filter: placed(filter || '(objectClass=*)'),
    mustHave: wanted
      .split(',')
      .map((name) => name.trim())
      .filter((name) => name && name !== '*'),
    bindDn: decoded(parameter('user')),
    bindPassword: parameter('pass'),
  }
}

/** Replaces Exim's variables for the address and its parts. */
function placed(filter: string): string {
  return filter
    .replace(/\$\{(?:quote_ldap|quote_ldap_dn|lc|quote):((?:[^{}]|\{[^{}]*\})*)\}/g, '$1')
    .replace(/\$\{(?:quote_ldap|lc):((?:[^{}]|\{[^{}]*\})*)\}/g, '$1')
    .replace(/\$\{(\w+)\}/g, '$$$1')
    .replace(/\$local_part@\$domain/g, '%s')
    .replace(/\$local_part\b/g, '%u')
    .replace(/\$domain\b/g, '%d')
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text)
  } catch {
    return text
  }
}
