// Settings, clients and recipients at random, of few enough names that they meet.
import fc from 'fast-check'
import type {
  Configuration,
  Directory,
  GalEntry,
  ListenerKeys,
  Row,
  Sent,
  Session,
} from './configuration'

const DOMAINS = ['a.test', 'sub.a.test', 'x.sub.a.test', 'ba.test', 'b.test', 'far.test']
const LITERALS = ['[192.0.2.7]', '[ipv6:2001:db8::7]']
const domain = fc.constantFrom('a.test', 'a.test', 'sub.a.test', ...DOMAINS)
const place = fc.oneof({ weight: 9, arbitrary: domain }, fc.constantFrom(...LITERALS))

const LOCALS = [
  'jürgen',
  'ann',
  'ann',
  'bob',
  'postmaster',
  'abuse',
  'ann+x',
  'bob-y',
  'ann+x+y',
  'ann%b.test',
]
const SPELLED = [
  ...[
    ...LOCALS,
    'ANN',
    '"ann"',
    '"a\\nn"',
    'Postmaster',
    'JU\u0308RGEN',
    '"ann+x"',
    'bob+x-y',
    'nobody',
    '+x',
  ],
  ...['b.test!ann', '"ann@far.test"', 'IMCEASMTP-ann+40far+2Etest', '"IMCEA ann@far.test"'],
  ...['"jo doe"', 'ann%b.test+x', 'ann+x%b.test', '"jo doe+x"'],
]
const address = fc.tuple(fc.constantFrom(...LOCALS), place).map((parts) => parts.join('@'))
/** Haraka's ini files have no other letters left of the `=`. */
const ROW_LOCALS = LOCALS.filter((local) => /^[\w+-]+$/.test(local))
const rowAddress = fc.tuple(fc.constantFrom(...ROW_LOCALS), place).map((parts) => parts.join('@'))

const HOPS = [['smtp://192.0.2.26:25'], ['lmtp://h1.test:2424', 'smtp://h2.test:25']]
const hops = fc.constantFrom(...HOPS)
const maybeHops = fc.oneof(fc.constant([]), hops)
const domainSentTo = fc.oneof(
  fc.tuple(fc.constantFrom('', '@'), domain).map(([at, name]) => `${at}${name}`),
  fc.constantFrom(...LITERALS),
)
type RouteTo = Omit<Row, 'sentTo'>
const hopped = (kind: Row['kind'], way: fc.Arbitrary<readonly string[]>) =>
  way.map((all): RouteTo => ({ kind, hops: all }))
const rerouteTo = (target: fc.Arbitrary<string>) =>
  target.map((to): RouteTo => ({ kind: 'reroute', hops: [], target: to }))
const anyKind = [
  ...[hopped('inbound', maybeHops), hopped('inbound', maybeHops), hopped('shared', hops)],
  ...[hopped('always-relay', maybeHops), hopped('forward', hops), hopped('accept', maybeHops)],
  fc.oneof(hopped('accept', maybeHops), rerouteTo(domain)),
]
const row: fc.Arbitrary<Row> = fc.oneof(
  fc.tuple(domainSentTo, fc.oneof(...anyKind)).map(([sentTo, routeTo]) => ({ sentTo, ...routeTo })),
  fc
    .tuple(
      rowAddress,
      fc.oneof(
        ...anyKind,
        ...[1, 2, 3].map(() => hopped('refuse', fc.constant([]))),
        rerouteTo(address),
      ),
    )
    .map(([sentTo, routeTo]) => ({ sentTo, ...routeTo })),
)

const NETWORKS = [
  ...['192.168.1.0/24', '192.168.1.7', '192.168.1.0;255.255.255.248', '192.168.0.7;255.255.0.255'],
  ...['203.0.113.8/31', '2001:db8::/32', '0.0.0.0/0', '::/0', '::ffff:192.168.1.7'],
]
const networks = fc.uniqueArray(fc.constantFrom(...NETWORKS), { maxLength: 2 })
const LOCAL = ['10.0.0.5', '198.51.100.5', '2001:db8:1::5']
const flag = (yes: number) => fc.nat(9).map((n) => n < yes)
const keys = {
  enabled: fc.constant(true),
  reroute: flag(8),
  host_list: flag(8),
  mixed: fc.constantFrom<ListenerKeys['mixed']>('split', 'defer'),
  authenticated: fc.boolean(),
  open: flag(1),
  hosts: networks,
  never: fc.oneof(networks, fc.constant([])),
  local_addresses: fc.uniqueArray(fc.constantFrom(...LOCAL), { maxLength: 1 }),
  never_accounts: fc.constantFrom(['guest', 'anonymous'], ['Carol'], []),
}
const overrides = fc.dictionary(
  fc.constantFrom('10.0.0.5:25', '10.0.0.5:*', '*:25', '*:2525', '2001:db8:1::5:25'),
  fc.record(
    {
      ...keys,
    },
    { requiredKeys: [] },
  ),
  { maxKeys: 2 },
)

const HOSTS = { ex01: ['smtp://ex01.test:25', 'smtp://ex02.test:25'], here: [] }
const OWN = ['mx.a.test', '192.0.2.200']
const HOST_VALUES = [
  ...['EX01', '/o=Corp/ou=X/cn=Configuration/cn=Servers/cn=Ex01', 'here', 'ex09.test'],
  ...['192.0.2.90', 'lmtp://ex03.test:2400', 'no host', 'mx.a.test', '2001:db8::9'],
]
const entry: fc.Arbitrary<GalEntry> = fc.record(
  {
    address: fc
      .tuple(fc.constantFrom('ann', 'ann', ...LOCALS, 'jo doe', 'b.test!ann'), place)
      .map((parts) => parts.join('@')),
    staffOnly: flag(2),
    host: fc.constantFrom(...HOST_VALUES),
    routing: fc.tuple(fc.constantFrom('', 'SMTP:'), address).map((parts) => parts.join('')),
  },
  { requiredKeys: ['address', 'staffOnly'] },
)
const directory = {
  delimiters: fc.constantFrom('', '', '+', '+-'),
  isDown: flag(1),
  entries: fc.array(entry, { maxLength: 16, size: 'max' }),
}
const named = fc.record({
  ...directory,
  domains: fc.uniqueArray(domainSentTo, { minLength: 1, maxLength: 2 }),
})
const directories = fc
  .tuple(
    fc.option(fc.record(directory), { nil: undefined, freq: 6 }),
    fc.array(named, { maxLength: 3 }),
  )
  .map(([first, others]): Directory[] => [
    ...(first ? [{ ...first, name: 'default', domains: [] }] : []),
    ...others.map((one, i) => ({ ...one, name: `d${i}` })),
  ])

export const configuration: fc.Arbitrary<Configuration> = fc.record({
  rows: fc.uniqueArray(row, { maxLength: 12, size: 'max', selector: ({ sentTo }) => sentTo }),
  hostList: fc.uniqueArray(domain, { maxLength: 2 }),
  general: fc.record(keys),
  listeners: overrides,
  anyDomain: flag(2),
  alwaysAccept: fc.constantFrom(['postmaster'], ['postmaster', 'abuse'], []),
  directories,
  hosts: fc.constant(HOSTS),
  own: fc.constant(OWN),
})
export const session: fc.Arbitrary<Session> = fc.record({
  client: fc.constantFrom('203.0.113.9', '192.168.1.7', '::ffff:192.168.1.9', '2001:db8::9'),
  address: fc.constantFrom(...LOCAL),
  port: fc.constantFrom(25, 2525),
  account: fc.constantFrom(
    undefined,
    undefined,
    'carol',
    'GUEST',
    'CORP\\guest',
    'guest@corp.test',
  ),
})
export const recipient: fc.Arbitrary<Sent> = fc.oneof(
  {
    weight: 30,
    arbitrary: fc.record({
      local: fc.constantFrom('ann', 'ann', ...SPELLED),
      domain: fc.oneof(place, fc.constantFrom('A.Test', '[IPv6:2001:DB8:0::7]', 'y.ba.test')),
    }),
  },
  fc.constantFrom('postmaster', 'PostMaster').map((local) => ({ local, domain: '' })),
)

function section(name: string, values: object): string {
  const lines = Object.entries(values).flatMap(([key, value]) =>
    Array.isArray(value) && key !== 'always_accept'
      ? (value.length > 0 ? value : ['']).map((one) => `${key}[] = ${one}`)
      : [`${key} = ${value}`],
  )
  return [`[${name}]`, ...lines, ''].join('\n')
}

const listenerSections = (values: Partial<ListenerKeys>): [string, Partial<ListenerKeys>][] => {
  const { enabled, reroute, host_list, mixed, ...restrictions } = values
  const given = (all: object) =>
    Object.fromEntries(Object.entries(all).filter(([, value]) => value !== undefined))
  return [
    ['main', given({ enabled })],
    ['routing', given({ reroute, host_list, mixed })],
    ['restrictions', given(restrictions)],
  ]
}

export function iniOf(config: Configuration): string {
  const route = ({ kind, hops, target }: Row) => [kind, ...(target ? [target] : hops)].join(' ')
  const own = (delimiters: string) => ({
    recipient_delimiter: delimiters,
    host_attribute: 'mailHost',
    routing_attribute: 'mailRoutingAddress',
  })
  const server = { url: ['ldap://127.0.0.1'], base: 'dc=x' }
  const first = config.directories.find(({ name }) => name === 'default')
  return [
    section('routes', Object.fromEntries(config.rows.map((one) => [one.sentTo, route(one)]))),
    ...listenerSections(config.general).map(([name, values]) => section(name, values)),
    ...Object.entries(config.listeners).map(([name, values]) =>
      section(`listener ${name}`, values),
    ),
    section('gal', {
      any_domain: config.anyDomain,
      always_accept: config.alwaysAccept.join(', ') || '[]',
      ...(first ? own(first.delimiters) : {}),
    }),
    ...(first ? [section('ldap', server)] : []),
    ...config.directories
      .filter((one) => one !== first)
      .map(({ name, domains, delimiters }) =>
        section(`directory ${name}`, { domains, ...server, ...own(delimiters) }),
      ),
    section(
      'hosts',
      Object.fromEntries(
        Object.entries(config.hosts).map(([name, all]) => [name, all.join(' ') || 'local']),
      ),
    ),
  ].join('')
}
