// Where an attempt goes, from today's settings and what was kept with the message.
import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { type Attempt, nextAttempt, renamedTo } from '../../plugins/gal-relay/delivery/next-hops'
import { notedRoute, type RouteOfDomain } from '../../plugins/gal-relay/delivery/queue-note'
import { recipientOf } from '../../plugins/gal-relay/routing/recipient'
import { parseNextHop } from '../../plugins/gal-relay/routing/routes'
import { readIni } from '../../plugins/gal-relay/settings/ini'
import { readSettings, type Settings } from '../../plugins/gal-relay/settings/settings'

const LISTENERS = [
  { host: '::', port: 587 },
  { host: '10.0.0.5', port: 25 },
]

function attempt(
  routes: Readonly<Record<string, string>>,
  kept: RouteOfDomain | undefined,
  more: Readonly<Record<string, Record<string, string>>> = {},
  acceptedBy = OTHERS,
): string {
  return text(nextAttempt(settingsOf(routes, more, acceptedBy), ANN, kept, LISTENERS))
}

const ANN = recipientOf('ann', 'a.test')

/** Other plugins that accept recipients. */
const OTHERS: readonly string[] = ['rcpt_to.in_host_list']

function settingsOf(
  routes: Readonly<Record<string, string>>,
  more: Readonly<Record<string, Record<string, string>>> = {},
  acceptedBy = OTHERS,
): Settings {
  const ini = readIni('gal_relay.ini', { main: {}, routes, ...more, ...LDAP })
  return readSettings(ini, ['listed.test'], '/', undefined, acceptedBy)
}

const LDAP = { ldap: { url: 'ldap://127.0.0.1', base: 'dc=a' } }

function text(attempt: Attempt): string {
  if (attempt.to === 'nowhere-now') return attempt.reason
  if (attempt.to !== 'hops') return attempt.to
  return attempt.hops
    .map((hop) => (hop.user === undefined ? hop.text : `${hop.text} ${hop.user} ${hop.password}`))
    .join(', ')
}

function hops(...urls: string[]): RouteOfDomain {
  const parsed = urls.map(parseNextHop)
  return notedRoute(
    parsed.flatMap((hop) => ('problem' in hop ? [] : [hop])),
    false,
  )
}

describe('an attempt to deliver', () => {
  const kept = hops('smtp://old:26')
  const observing = { main: { enforce: 'false' } }
  const cases = [
    [
      'the row for the address comes first',
      { 'a.test': 'inbound smtp://new', 'Ann@a.test': 'inbound smtp://anns' },
      kept,
      'smtp://anns:25',
    ],
    [
      'a row that refuses the address says nothing of the way',
      { 'a.test': 'inbound smtp://new', 'ann@a.test': 'refuse' },
      kept,
      'smtp://new:25',
    ],
    [
      'a row for the address that names no hop',
      { 'a.test': 'inbound smtp://new', 'ann@a.test': 'accept' },
      kept,
      'smtp://old:26',
    ],
    ['today’s row decides', { 'a.test': 'inbound smtp://new' }, kept, 'smtp://new:25'],
    ['so does the row of a parent domain', { test: 'forward smtp://new' }, kept, 'smtp://new:25'],
    [
      'a row that came later moves mail for MX hosts',
      { 'a.test': 'forward lmtp://new' },
      hops(),
      'lmtp://new:24',
    ],
    ['always-relay without a host', { 'a.test': 'always-relay' }, kept, 'mx-before-us'],
    ['the row is gone', {}, kept, 'smtp://old:26'],
    [
      'the row was always-relay without a host, and is gone',
      {},
      notedRoute([], true),
      'mx-before-us',
    ],
    ['there was never a row', {}, hops(), 'mx'],
    ['the row has no host any more', { 'a.test': 'inbound' }, kept, 'smtp://old:26'],
    ['the row renames the domain now', { 'a.test': 'reroute b.test' }, kept, 'smtp://old:26'],
    ['of a hop with a password', { 'a.test': 'forward smtp://u:p@new' }, kept, 'smtp://new:25 u p'],
    [
      'whose password another row knows',
      { 'b.test': 'forward smtp://u:p@old:26' },
      hops('smtp://u:x@old:26'),
      'smtp://old:26 u p',
    ],
  ] as const
  for (const [what, routes, route, goes] of cases) {
    it(`goes to ${goes}: ${what}`, () => assert.equal(attempt(routes, route), goes))
  }

  it('waits when the password is gone, and says so without it', () => {
    const reason = attempt(
      { 'b.test': 'forward smtp://other:p@old:26' },
      hops('smtp://u:secret@old:26'),
    )
    assert.match(reason, /the row for a\.test is gone .* the password for u at smtp:\/\/old:26/)
    assert.doesNotMatch(reason, /secret/)
  })

  it('uses the hosts that need no password when that of another is gone', () => {
    assert.equal(attempt({}, hops('smtp://u:secret@one', 'smtp://two')), 'smtp://two:25')
  })

  it('heeds rows that do not exist, or that only observe, as if they were gone', () => {
    const routes = { 'a.test': 'forward smtp://new' }
    assert.equal(attempt(routes, kept, { routing: { reroute: 'false' } }), 'smtp://old:26')
    assert.equal(attempt(routes, kept, observing), 'smtp://old:26')
    assert.equal(
      attempt(routes, kept, {
        routing: { reroute: 'false' },
        'listener *:587': { reroute: 'true' },
      }),
      'smtp://new:25',
    )
  })
})

describe('where the plugin only observes', () => {
  const observing = { main: { enforce: 'false' } }
  const routes = { 'a.test': 'forward smtp://new' }

  it('mail that it has accepted still has its password', () => {
    const row = { 'a.test': 'forward smtp://u:p@old:26' }
    assert.equal(attempt(row, hops('smtp://u:x@old:26'), observing), 'smtp://old:26 u p')
  })

  it('rows count if it accepts recipients because nobody else does, or decides on relaying', () => {
    const kept = hops('smtp://old:26')
    assert.equal(attempt(routes, kept, observing, []), 'smtp://new:25')
    assert.equal(attempt(routes, kept, { main: { enforce: 'relaying' } }), 'smtp://new:25')
    const ours = { 'a.test': 'inbound' }
    assert.equal(attempt(ours, undefined, observing, []), 'smtp://10.0.0.5:25')
  })
})

describe('a bounce', () => {
  const cases = [
    ['a foreign domain', {}, 'mx'],
    ['a domain with a next hop', { 'a.test': 'inbound smtp://new' }, 'smtp://new:25'],
    ['a plain inbound domain', { 'a.test': 'inbound' }, 'smtp://10.0.0.5:25'],
    ['a shared domain', { 'a.test': 'shared smtp://new' }, 'smtp://10.0.0.5:25'],
  ] as const
  for (const [what, routes, goes] of cases) {
    it(`to ${what} goes to ${goes}`, () => assert.equal(attempt(routes, undefined), goes))
  }

  it('to a renamed domain goes to the other one, as far as rows exist', () => {
    const renamed = (more: Readonly<Record<string, Record<string, string>>> = {}) =>
      renamedTo(settingsOf({ 'a.test': 'reroute b.test' }, more), recipientOf('ann', 'x.a.test'))
        ?.domain
    assert.equal(renamed(), 'b.test')
    assert.equal(renamed({ main: { enforce: 'false' } }), undefined)
    assert.equal(renamed({ routing: { reroute: 'false' } }), undefined)
    assert.equal(renamedTo(settingsOf({ 'a.test': 'inbound' }), ANN), undefined)
  })

  it('goes by Haraka’s own rules where the plugin only observes', () => {
    assert.equal(attempt({ 'a.test': 'inbound' }, undefined, { main: { enforce: 'false' } }), 'mx')
  })
})
