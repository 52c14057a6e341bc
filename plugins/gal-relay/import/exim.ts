// Exim: the domain and host lists, the manualroute routers, the redirect or accept routers with
// LDAP lookups, and who may relay according to the ACL at RCPT (spec.txt, chapters 7, 9, 15, 20 and
// 43).
import { isIP } from 'node:net'
import { type Lookup, takeLookups } from './directory'
import { type EximConfig, itemsOf, listOf, type Router, readExim } from './exim-files'
import { lookupsIn } from './exim-ldap'
import {
  type Draft,
  differs,
  finish,
  type Imported,
  leaveOut,
  newDraft,
  type ReadFile,
  take,
  takeOpenRelay,
  takeRow,
} from './ini'
import { takeOrdered } from './networks'

/** @param read reads a file that the configuration names */
export function importExim(text: string, read: ReadFile, title: string): Imported {
  const draft = newDraft()
  const config = readExim(text)
  for (const directive of config.directives) {
    leaveOut(
      draft,
      directive,
      'is not followed: lines between .ifdef and .endif are taken as they are',
    )
  }
  takeRelaying(draft, config, read)
  const found = config.routers.flatMap((router) => lookupsOf(draft, config, router))
  const taken = takeLookups(
    draft,
    found.map(({ lookup }) => lookup),
  )
  const lookupRouters = found
    .filter(({ lookup }) => taken.includes(lookup))
    .map(({ router }) => router)
  takeDomains(draft, config, read, lookupRouters)
  return finish(draft, title)
}

function takeRelaying(draft: Draft, config: EximConfig, read: ReadFile): void {
  const name = 'relay_from_hosts'
  const { acl, lists } = config
  const list = lists.get(`hostlist ${name}`)
  const isUsed = acl === '' || /hosts\s*=[^\n]*\+relay_from_hosts/.test(acl)
  if (list !== undefined && !isUsed) {
    leaveOut(draft, name, 'no ACL names +relay_from_hosts, so these clients may not relay')
  } else if (list !== undefined) {
    const items = itemsOf(config, 'hostlist', list, read)
    if (items.includes('*')) takeOpenRelay(draft, name, '* is every client')
    const networks = items.filter((item) => item !== '*')
    for (const item of networks.filter((one) => !isNetwork(one))) {
      leaveOut(draft, name, `${item}: hosts[] takes addresses and networks`)
    }
    takeOrdered(draft, name, networks.filter(isNetwork))
  }
  if (/authenticated\s*=\s*\*/.test(acl)) {
    take(draft, 'acl: authenticated = *', 'restrictions', 'authenticated', 'true')
  }
}

const isNetwork = (item: string) => isIP(item.replace(/^!\s*/, '').replace(/\/\d+$/, '')) > 0

interface Found {
  readonly router: Router
  readonly lookup: Lookup
}

function lookupsOf(draft: Draft, { main }: EximConfig, router: Router): Found[] {
  const from = `router ${router.name}`
  const text = ['condition', 'data', 'local_parts', 'address_data', 'senders']
    .map((name) => router.options.get(name) ?? '')
    .join('\n')
  return lookupsIn(text, from, main.get('ldap_default_servers') ?? '').flatMap((lookup) => {
    if (!('problem' in lookup)) {
      if (router.options.get('driver') === 'redirect') {
        differs(
          draft,
          from,
          'its addresses are accepted unchanged: where the directory sends their mail is not followed',
        )
      }
      return [{ router, lookup }]
    }
    leaveOut(draft, from, `${lookup.problem}; recipients that only it finds would be refused`)
    return []
  })
}

/** A domain, or `*` for all, and where its mail goes. */
interface Route {
  readonly domain: string
  /** Domains excluded from the route. */
  readonly except: readonly string[]
  readonly hop: string | undefined
}

function takeDomains(
  draft: Draft,
  config: EximConfig,
  read: ReadFile,
  lookupRouters: readonly Router[],
): void {
  const routes = config.routers.flatMap((router) => routesOf(draft, config, router, read))
  const ours = new Set<string>()
  const isLookedUp = (domain: string) =>
    lookupRouters.some((router) => {
      const domains = router.options.get('domains')
      return domains === undefined || matches(itemsOf(config, 'domainlist', domains, read), domain)
    })
  const isVerified = config.acl === '' || /verify\s*=\s*recipient/.test(config.acl)
  for (const list of ['local_domains', 'relay_to_domains']) {
    const isRelayed = list === 'relay_to_domains'
    for (const domain of itemsOf(
      config,
      'domainlist',
      config.lists.get(`domainlist ${list}`) ?? '',
      read,
    )) {
      const sentTo = sentToOf(draft, config, list, domain)
      if (!sentTo || ours.has(sentTo)) continue
      ours.add(sentTo)
      const isKnown = isLookedUp(domain)
      const isInbound = (isKnown && isVerified) || !isRelayed
      if (!isKnown && !isRelayed) {
        differs(
          draft,
          list,
          `${domain}: recipients were looked up elsewhere; here those in the directory are accepted`,
        )
      } else if (!isVerified && !isRelayed) {
        differs(
          draft,
          list,
          `${domain}: no ACL has verify = recipient, so every recipient was accepted; here only those in the directory are`,
        )
      }
      const hop = routes.find((route) => isFor(route, domain))?.hop
      takeRow(
        draft,
        list,
        sentTo,
        `${isInbound ? 'inbound' : 'always-relay'}${hop ? ` ${hop}` : ''}`,
      )
    }
  }
  for (const { domain, hop } of routes) {
    if (!hop) continue
    if (domain === '*') {
      leaveOut(
        draft,
        'route_list *',
        `${hop}: a smart host has no row; Haraka's relay plugin has one (force_routing)`,
      )
      continue
    }
    const sentTo = sentToOf(draft, config, 'route_list', domain)
    if (sentTo && !ours.has(sentTo)) takeRow(draft, 'route_list', sentTo, `forward ${hop}`)
  }
}

/** `example.com` is the domain alone; `*.example.com` is its subdomains. */
function sentToOf(
  draft: Draft,
  { main }: EximConfig,
  from: string,
  item: string,
): string | undefined {
  if (item === '@') {
    const own = main.get('primary_hostname')
    if (own) return `@${own}`
    leaveOut(draft, from, "@ is the machine's own name, which is not known here: add a row for it")
    return undefined
  }
  const [, wildcard, name = ''] = /^(\*\.)?([\w.-]+)$/.exec(item) ?? []
  if (!name) {
    leaveOut(draft, from, `${item}: rows are for domains and their subdomains`)
    return undefined
  }
  if (wildcard)
    differs(
      draft,
      from,
      `${item} means the subdomains of ${name}; the row is for ${name} itself too`,
    )
  const domain = name.toLowerCase()
  return wildcard ? domain : `@${domain}`
}

/** Whether a list has the domain; the first item that matches decides. */
function matches(items: readonly string[], written: string): boolean {
  const domain = written.toLowerCase()
  for (const item of items) {
    const [, not = '', name = ''] = /^(!?)\s*(.*)$/.exec(item.toLowerCase()) ?? []
    const isSame =
      name === '*' || name === domain || (name.startsWith('*') && domain.endsWith(name.slice(1)))
    if (isSame) return not === ''
  }
  return items.at(-1)?.startsWith('!') ?? false
}

/** Where a manualroute router sends mail. */
function routesOf(draft: Draft, config: EximConfig, router: Router, read: ReadFile): Route[] {
  if (router.options.get('driver') !== 'manualroute') return []
  const from = `router ${router.name}`
  const data = router.options.get('route_data')
  const rules =
    data === undefined
      ? rulesOf(router.options.get('route_list') ?? '')
      : rulesFrom(draft, from, data, config, router, read)
  const domains = router.options.get('domains')
  return rules.flatMap(({ domain, hosts }) => {
    const hop = nextHopOf(draft, from, hosts)
    const isAll = domain === '*' && domains !== undefined
    const names = isAll ? itemsOf(config, 'domainlist', domains, read) : [domain]
    const except = names.filter((name) => name.startsWith('!')).map((name) => name.slice(1).trim())
    // A router for everything except some domains is a smart host.
    if (except.length > 0) return [{ domain: '*', except, hop }]
    return names.map((name) => ({ domain: name, except, hop }))
  })
}

const isFor = ({ domain, except }: Route, asked: string) =>
  matches([domain], asked) && !(except.length > 0 && matches(except, asked))

interface Rule {
  readonly domain: string
  readonly hosts: string
}

/** `domain hosts options; domain …` */
function rulesOf(text: string): Rule[] {
  return text.split(/\s*;\s*/).flatMap((rule) => {
    const [, domain, quoted, plain = ''] = /^\s*(\S+)\s*(?:"([^"]*)"|(\S+))?/.exec(rule) ?? []
    return domain ? [{ domain, hosts: quoted ?? plain }] : []
  })
}

/** `${lookup{$domain}lsearch{/file}}`, or hosts for all domains of the router. */
function rulesFrom(
  draft: Draft,
  from: string,
  data: string,
  config: EximConfig,
  router: Router,
  read: ReadFile,
): Rule[] {
  if (!data.includes('$')) return [{ domain: '*', hosts: data.split(/\s/)[0] ?? '' }]
  const [, file] =
    /^\$\{lookup\s*\{\$\{?domain\}?\}\s*(?:partial-)?lsearch\*?\s*\{([^}]+)\}/.exec(data) ?? []
  const text = file && read(file)
  if (text === undefined || text === '') {
    leaveOut(draft, from, `route_data = ${data}: is not a file of rows that can be read here`)
    return []
  }
  const domains = itemsOf(config, 'domainlist', router.options.get('domains') ?? '*', read)
  return listFrom(text).filter(({ domain }) => matches(domains, domain))
}

const listFrom = (text: string): Rule[] =>
  text.split(/\r?\n/).flatMap((line) => {
    const [, domain = '', hosts = ''] = /^\s*([^\s:#]+)\s*:?\s*(\S*)/.exec(line) ?? []
    return domain ? [{ domain, hosts }] : []
  })

/** @returns the next hops of a row, or `undefined` */
function nextHopOf(draft: Draft, from: string, hosts: string): string | undefined {
  const hops = listOf(hosts).flatMap((host) => {
    // Two colons precede a port; the list has made one of them.
    const [, literal, name = '', port] = /^(?:\[([^\]]+)\]|([\w.-]+))(?::(\d+))?$/.exec(host) ?? []
    const target = literal ?? name
    if (target)
      return [`smtp://${isIP(target) === 6 ? `[${target}]` : target}${port ? `:${port}` : ''}`]
    leaveOut(draft, from, `${host}: is not a host that can be named in a row`)
    return []
  })
  return hops.length > 0 ? hops.join(' ') : undefined
}
