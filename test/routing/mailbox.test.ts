import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { type RoutingPolicy, routeOfMailbox } from '../../plugins/gal-relay/routing/decide'
import { localParts } from '../../plugins/gal-relay/routing/local-parts'
import type { Mailbox, MailboxHost } from '../../plugins/gal-relay/routing/mailbox'
import { addressText } from '../../plugins/gal-relay/routing/recipient'
import {
  type NextHop,
  parseNextHop,
  parseRouteTo,
  parseSentTo,
  type Row,
  routeTable,
} from '../../plugins/gal-relay/routing/routes'

const hop = (url: string): NextHop => {
  const parsed = parseNextHop(url)
  if ('problem' in parsed) throw new Error(parsed.problem)
  return parsed
}

const host = (text: string, ...urls: string[]): [string, MailboxHost] => [
  text.toLowerCase(),
  { text, hops: urls.map(hop) },
]

const rows = Object.entries({
  'alpha.example': 'inbound',
  'far.example': 'forward smtp://vpn.alpha.example',
  'both.example': 'shared smtp://unix.alpha.example',
  'store.example': 'inbound smtp://store.alpha.example',
  'backup.example': 'always-relay',
}).map(([text, to]): Row => {
  const [sentTo, routeTo] = [parseSentTo(text), parseRouteTo(to)]
  if ('problem' in sentTo || 'problem' in routeTo) throw new Error(text)
  return { sentTo, routeTo, text }
})

const POLICY: RoutingPolicy = {
  reroute: true,
  routes: routeTable(rows),
  hostList: new Set(),
  anyDomain: false,
  alwaysAccept: localParts([]),
  delimitersFor: () => '',
  mailboxHosts: new Map([host('EX01', 'smtp://ex01.alpha.example:2525'), host('Here')]),
  isOwn: ({ text }) => text === 'smtp://mx.alpha.example:25',
}

/** The way, the hop and the address as they were written down, or why there is none. */
function routed(mailbox: Mailbox, ...row: string[]): string {
  const route = routeOfMailbox(POLICY, mailbox, row.map(hop))
  if ('problem' in route) return route.problem
  const { path, hops, leavesAs } = route
  return [path, ...hops.map(({ text }) => text), leavesAs && addressText(leavesAs)]
    .filter(Boolean)
    .join(' ')
}

describe('the mailbox that the directory names (rulebook §7)', () => {
  it('goes the way of its row where no host and no address is said', () => {
    assert.equal(routed({}), 'queue')
    assert.equal(routed({}, 'smtp://a.example'), 'outbound smtp://a.example:25')
  })

  it('is on the host that [hosts] names, without case', () => {
    assert.equal(routed({ host: 'ex01' }), 'outbound smtp://ex01.alpha.example:2525')
    assert.equal(routed({ host: 'EX01 ' }), 'outbound smtp://ex01.alpha.example:2525')
    assert.equal(routed({ host: 'here' }, 'smtp://a.example'), 'queue')
  })

  it('is on the server whose legacy DN is given', () => {
    const dn = '/o=Corp/ou=Site/cn=Configuration/cn=Servers/cn=EX01'
    assert.equal(routed({ host: dn }), 'outbound smtp://ex01.alpha.example:2525')
  })

  for (const [value, url] of [
    ['ex2.alpha.example', 'smtp://ex2.alpha.example:25'],
    ['192.0.2.7', 'smtp://192.0.2.7:25'],
    ['[192.0.2.7]', 'smtp://192.0.2.7:25'],
    ['2001:db8::7', 'smtp://[2001:db8::7]:25'],
    ['[IPv6:2001:db8::7]', 'smtp://[2001:db8::7]:25'],
    ['smtp://ex2.alpha.example', 'smtp://ex2.alpha.example:25'],
    ['lmtp://store.alpha.example:2003', 'lmtp://store.alpha.example:2003'],
  ] as const) {
    it(`is on a host that is in no line of [hosts]: ${value}`, () => {
      assert.equal(routed({ host: value }), `outbound ${url}`)
    })
  }

  for (const value of [
    'not a host',
    '',
    'smtp://user:secret@ex2.alpha.example',
    'http://ex2.alpha.example',
    '/o=Corp/ou=Site',
    'a@b.example',
    'ex2.alpha.example:99999',
    'mx.alpha.example',
  ]) {
    it(`is nowhere rather than somewhere wrong: '${value}'`, () => {
      assert.match(routed({ host: value }), /^its host /)
    })
  }

  it('has the address by which its system knows it', () => {
    assert.equal(
      routed({ host: 'EX01', address: 'b.oth@ex1.example' }),
      'outbound smtp://ex01.alpha.example:2525 b.oth@ex1.example',
    )
    assert.equal(routed({ host: 'here', address: 'x@inside.example' }), 'queue x@inside.example')
  })

  it('goes where the row of that address says', () => {
    const to = (address: string) => routed({ address }, 'smtp://row.example')
    assert.equal(to('SMTP:a@alpha.example'), 'queue a@alpha.example')
    assert.equal(to('a@far.example'), 'outbound smtp://vpn.alpha.example:25 a@far.example')
    assert.equal(to('a@both.example'), 'outbound smtp://unix.alpha.example:25 a@both.example')
    assert.equal(to('a@store.example'), 'outbound smtp://store.alpha.example:25 a@store.example')
    assert.equal(to('a@backup.example'), 'outbound a@backup.example')
    assert.equal(to('a@no-row.example'), 'outbound a@no-row.example')
    assert.equal(to('"a b"@no-row.example'), 'outbound "a b"@no-row.example')
  })

  for (const address of [
    'nobody',
    'a@b@c.example',
    'a b@c.example',
    'a@c_d e',
    'X400:c=de',
    '@x.example',
  ]) {
    it(`has no address that is none: ${address}`, () => {
      assert.match(routed({ address }), /^its routing address/)
    })
  }

  it('is nowhere when its entries contradict each other', () => {
    assert.match(routed({ isAmbiguous: true }), /contradict/)
  })
})
