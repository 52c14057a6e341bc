// Where the directory says that a recipient's mailbox is: on which server, and by which address that
// server knows it. As in sendmail's ldap_routing, a small table covers each combination of the two.
import { canonicalLiteral, type Recipient, recipientOf } from './recipient'
import { type NextHop, parseDomain, parseNextHop, redactUserinfo } from './routes'

/** What the entries with the address say; if there are several values, they agree. */
export interface Mailbox {
  /** The value of `host_attribute`, as the directory has it. */
  readonly host?: string
  /** The value of `routing_attribute`, as the directory has it. */
  readonly address?: string
  /** Whether several entries, or values, contradict each other. */
  readonly isAmbiguous?: boolean
}

/** Describes the mailbox in words, for people to read. */
export function mailboxText({ host, address, isAmbiguous }: Mailbox): string {
  if (isAmbiguous) return 'its entries contradict each other on where its mail goes'
  return [
    ...(host === undefined ? [] : [`its host is ${shown(host)}`]),
    ...(address === undefined ? [] : [`its routing address is ${shown(address)}`]),
  ].join(', ')
}

/** `[hosts]`: what a value of `host_attribute` means, by the value in lower case. */
export type MailboxHosts = ReadonlyMap<string, MailboxHost>

export interface MailboxHost {
  /** As written in `[hosts]`. */
  readonly text: string
  /** Tried in order; empty for the installed queue plugins (`local`). */
  readonly hops: readonly NextHop[]
}

/** Where the values of a mailbox send its mail. */
export interface MailboxPlace {
  /** The hops to its server, empty for the queue plugins; undefined if no server is named. */
  readonly hops: readonly NextHop[] | undefined
  /** The address by which its system knows it; undefined if that is the address as sent. */
  readonly leavesAs: Recipient | undefined
}

/**
 * @param isOwn whether a next hop is one of our own listeners
 * @returns the place, or why it cannot be known: a wrong guess is worse than no guess
 */
export function placeOf(
  mailbox: Mailbox,
  hosts: MailboxHosts,
  isOwn: (hop: NextHop) => boolean,
): MailboxPlace | { readonly problem: string } {
  if (mailbox.isAmbiguous) return { problem: 'its entries contradict each other' }
  const host = mailbox.host === undefined ? undefined : hostNamed(mailbox.host, hosts, isOwn)
  if (host && 'problem' in host) return host
  const leavesAs = mailbox.address === undefined ? undefined : addressFrom(mailbox.address)
  if (leavesAs && 'problem' in leavesAs) return leavesAs
  return { hops: host?.hops, leavesAs }
}

/** In a legacy DN the last `cn` is the server: `/o=Corp/…/cn=Servers/cn=EX01`. */
export function hostName(value: string): string {
  const text = value.trim()
  return /^\/o=/i.test(text) ? (/\/cn=([^/]+)$/i.exec(text)?.[1] ?? text) : text
}

function hostNamed(
  value: string,
  hosts: MailboxHosts,
  isOwn: (hop: NextHop) => boolean,
): { readonly hops: readonly NextHop[] } | { readonly problem: string } {
  // Most values are plain names in lower case.
  const plain = hosts.get(value)
  if (plain) return plain
  const name = hostName(value)
  const known = hosts.get(name.toLowerCase())
  if (known) return known
  const hop = parseNextHop(urlOf(name))
  if ('problem' in hop || hop.user !== undefined) {
    const what = 'is not in [hosts], and is not a host name, IP address or smtp:// URL'
    return { problem: `its host ${shown(name)} ${what}` }
  }
  if (isOwn(hop)) return { problem: `its host ${hop.text} is this Haraka itself` }
  return { hops: [hop] }
}

/** The value may be anything, even a URL with a password. */
const shown = (value: string) =>
  value.length > 255 ? `of ${value.length} characters` : `'${redactUserinfo(value)}'`

function urlOf(name: string): string {
  if (name.includes('://')) return name
  const bare = name.replace(/^\[(ipv6:)?|\]$/gi, '')
  const isIpv6 = canonicalLiteral(`[IPv6:${bare}]`) !== undefined
  if (isIpv6) return `smtp://[${bare}]`
  return canonicalLiteral(`[${bare}]`) || parseDomain(name) ? `smtp://${bare}` : name
}

/** `smtp:` may precede the address, as in `targetAddress`. */
function addressFrom(value: string): Recipient | { readonly problem: string } {
  const text = value.trim().replace(/^smtp:/i, '')
  const [, local, domain = ''] = /^("(?:[^"\\]|\\.)*"|[^"@\s\\]+)@([^@\s]+)$/.exec(text) ?? []
  const host = parseDomain(domain) ?? canonicalLiteral(domain)
  if (local === undefined || !host) {
    return { problem: `its routing address ${shown(text)} is not a mail address` }
  }
  return recipientOf(local, host)
}
