// [hosts]: what the values of host_attribute mean. Each line is `<value> = <next hops>`, or `local`
// for the install's queue plugins.
import { hostName, type MailboxHost, type MailboxHosts } from '../routing/mailbox'
import { type NextHop, parseNextHop } from '../routing/routes'
import { type OwnHost, ownListener } from './own-host'
import { type SectionReader, shown } from './sections'
import type { Steps } from './steps'

const SECTION = 'hosts'

export function* readMailboxHosts(
  sections: SectionReader,
  own: OwnHost | undefined,
): Steps<MailboxHosts> {
  const hosts = new Map<string, MailboxHost>()
  for (const [key, value] of sections.entries(SECTION)) {
    yield
    const report = (what: string) =>
      sections.report({ section: SECTION, key, value: shown(key, value), what })
    if (typeof value !== 'string') {
      report(`write ${key} = smtp://host1 smtp://host2, without []`)
      continue
    }
    const hops = parseHops(value)
    if (typeof hops === 'string') {
      report(hops)
      continue
    }
    for (const hop of hops) {
      const listener = own && ownListener(own, hop)
      if (listener)
        report(`${hop.text} is this Haraka itself, which listens on ${listener}: a loop`)
    }
    const name = hostName(key).toLowerCase()
    const twin = hosts.get(name)
    if (twin) report(`is the same host as '${twin.text}'`)
    else hosts.set(name, { text: key, hops })
  }
  return hosts
}

/** @returns no hops for `local`; a text if the value is wrong */
function parseHops(value: string): readonly NextHop[] | string {
  const words = value.split(/[\s,]+/).filter(Boolean)
  if (words.length === 1 && words[0]?.toLowerCase() === 'local') return []
  if (words.length === 0) return 'is empty; it is smtp://host[:port], or local'
  const hops: NextHop[] = []
  for (const word of words) {
    const hop = parseNextHop(word)
    if ('problem' in hop) return hop.problem
    hops.push(hop)
  }
  return hops
}
