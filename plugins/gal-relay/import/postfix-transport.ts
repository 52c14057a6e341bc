// Postfix's transport_maps (transport(5)): where mail for a domain goes.
import { isIP } from 'node:net'
import { type Draft, differs, leaveOut, type ReadFile, takeRow } from './ini'
import { type MainCf, rowsOf, tableOf } from './postfix-files'

export interface Transports {
  /** Keyed as in the tables: `example.com`, `.example.com`. */
  readonly hops: ReadonlyMap<string, string>
  /** @param key `example.com` for the domain alone, `.example.com` for its subdomains */
  hopFor(key: string): string | undefined
}

const FROM = 'transport_maps'

export function transportsOf(draft: Draft, main: MainCf, read: ReadFile): Transports {
  const hops = new Map<string, string>()
  for (const item of main.list(FROM)) {
    const table = tableOf(item)
    const rows = table && rowsOf(table, read)
    if (!rows) {
      leaveOut(draft, FROM, `${item} is not a file of rows that can be read here`)
      continue
    }
    for (const [key, value] of rows) {
      const hop = hopOf(draft, key, value)
      if (hop && !hops.has(key.toLowerCase())) hops.set(key.toLowerCase(), hop)
    }
  }
  const isParent = main.list('parent_domain_matches_subdomains').includes(FROM)
  return {
    hops,
    hopFor(written) {
      const key = written.toLowerCase()
      const name = key.replace(/^\./, '')
      if (key === name) return hops.get(name) ?? nearest(hops, name, isParent)
      return (
        hops.get(key) ?? (isParent ? hops.get(name) : undefined) ?? nearest(hops, name, isParent)
      )
    },
  }
}

/** The transport of the nearest parent domain. */
function nearest(
  hops: ReadonlyMap<string, string>,
  name: string,
  isParent: boolean,
): string | undefined {
  for (let dot = name.indexOf('.'); dot >= 0; dot = name.indexOf('.', dot + 1)) {
    const hop = hops.get(name.slice(dot)) ?? (isParent ? hops.get(name.slice(dot + 1)) : undefined)
    if (hop) return hop
  }
  return undefined
}

/** Takes domains that have a transport and are not ours; mail from clients that may relay goes there. */
export function takeTransports(
  draft: Draft,
  { hops }: Transports,
  ours: ReadonlySet<string>,
): void {
  const isOurs = (name: string) => {
    for (
      let rest = name;
      rest;
      rest = rest.includes('.') ? rest.slice(rest.indexOf('.') + 1) : ''
    ) {
      if (ours.has(rest)) return true
    }
    return ours.has(`@${name}`)
  }
  for (const [key, hop] of hops) {
    const name = key.replace(/^\./, '')
    if (isOurs(name)) continue
    if (key !== name && !hops.has(name)) {
      differs(
        draft,
        FROM,
        `${key} means the subdomains of ${name}; the row is for ${name} itself too`,
      )
    }
    takeRow(draft, FROM, key === name ? `@${name}` : name, `forward ${hop}`)
  }
}

/** @returns the next hop as written in a row; `undefined` for a transport that names none */
function hopOf(draft: Draft, key: string, value: string): string | undefined {
  const from = `${FROM} ${key}`
  const [, transport = '', nexthop = ''] = /^([^:]*):?(.*)$/s.exec(value) ?? []
  if (key === '*') {
    leaveOut(
      draft,
      from,
      `${value}: a smart host has no row; Haraka's relay plugin has one (force_routing)`,
    )
    return undefined
  }
  if (key.includes('@')) {
    leaveOut(draft, from, `${value}: rows are for domains`)
    return undefined
  }
  if (!/^(smtp|relay|lmtp)?$/.test(transport)) {
    leaveOut(
      draft,
      from,
      `${value}: ${transport} is a program or service of Postfix; the queue plugins deliver here`,
    )
    return undefined
  }
  if (nexthop === '') return undefined
  const [, literal, name, port = ''] =
    /^(?:inet:)?(?:\[(?:ipv6:)?([^\]]+)\]|([^:\s[\]]+))(?::(\w+))?$/i.exec(nexthop) ?? []
  const host = literal ?? name
  if (!host || (port && !/^\d+$/.test(port))) {
    leaveOut(draft, from, `${value}: names no host and port by number`)
    return undefined
  }
  if (name && transport !== 'lmtp' && !isIP(name)) {
    differs(
      draft,
      from,
      `${value}: Postfix asks for the MX hosts of ${name}; here mail goes to ${name} itself`,
    )
  }
  const scheme = transport === 'lmtp' ? 'lmtp' : 'smtp'
  return `${scheme}://${isIP(host) === 6 ? `[${host}]` : host}${port ? `:${port}` : ''}`
}
