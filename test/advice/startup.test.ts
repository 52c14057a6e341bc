// What is said at start about settings that are valid: which domains are inbound, and those that meet
// in one message.
import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { doubts, summary } from '../../plugins/gal-relay/advice/startup'
import { glanceAt } from '../../plugins/gal-relay/page/settings-section'
import { readIni } from '../../plugins/gal-relay/settings/ini'
import { readSettings } from '../../plugins/gal-relay/settings/settings'

const ROUTES = {
  'a.test': 'inbound',
  'b.test': 'inbound smtp://hop',
  'c.test': 'shared smtp://hop',
  'd.test': 'always-relay',
  'e.test': 'forward smtp://hop',
  'f.test': 'reroute a.test',
}

function said(sections: Readonly<Record<string, Record<string, string>>>): readonly string[] {
  const ldap = { url: 'ldap://127.0.0.1', base: 'dc=a' }
  const ini = readIni('gal_relay.ini', { routes: ROUTES, ldap, ...sections })
  return doubts(readSettings(ini, ['listed.test'], '/')).filter((line) => /^mixed/.test(line))
}

describe('inbound domains', () => {
  it('are named once, also where config/host_list has them too', () => {
    const sections = { routes: { 'A.test': 'inbound', '@b.test': 'inbound' } }
    const ini = readIni('gal_relay.ini', { ...sections, main: { enabled: 'false' } })
    const settings = readSettings(ini, ['a.test', 'B.TEST', 'c.test'], '/')
    assert.equal(summary(settings).at(-1), 'inbound domains: A.test, @b.test, c.test')
  })

  it('are not those of config/host_list whose row says otherwise', () => {
    const ldap = { url: 'ldap://127.0.0.1', base: 'dc=a' }
    const routes = { ...ROUTES, 'ann@listed.test': 'accept' }
    const hosts = ['x.a.test', 'd.test', 'x.e.test', 'f.test', 'listed.test']
    const settings = readSettings(readIni('gal_relay.ini', { ldap, routes }), hosts, '/')
    const inbound = ['a.test', 'b.test', 'x.a.test', 'listed.test']
    assert.equal(summary(settings).at(-1), `inbound domains: ${inbound.join(', ')}`)
    assert.deepEqual(glanceAt(settings).domains, inbound)
    const defer = readIni('gal_relay.ini', { ldap, routes, routing: { mixed: 'defer' } })
    const [line] = doubts(readSettings(defer, hosts, '/'))
    assert.match(
      line ?? '',
      /at listed\.test, a\.test, c\.test \(listed\), ann@listed\.test \(queue/,
    )
  })
})

describe('what is only observed', () => {
  const said = (enforce: string, acceptedBy: readonly string[]) => {
    const ldap = { url: 'ldap://127.0.0.1', base: 'dc=a' }
    const restrictions = { hosts: '10.0.0.0/8' }
    const ini = readIni('gal_relay.ini', { main: { enforce }, routes: ROUTES, restrictions, ldap })
    const settings = readSettings(ini, [], '/', undefined, acceptedBy)
    return [summary(settings)[0], ...doubts(settings)]
  }
  const LISTENER = 'listeners without a section of their own'

  it('is left to the plugins that accept recipients', () => {
    const others = ['rcpt_to.in_host_list']
    assert.deepEqual(said('false', others), [
      `${LISTENER}: only observes (enforce = false); if enforced: 10.0.0.0/8 may relay`,
    ])
    assert.deepEqual(said('relaying', others), [
      `${LISTENER}: 10.0.0.0/8 may relay; only observes recipients (enforce = relaying)`,
    ])
  })

  it('is accepted where there is none, which is told twice', () => {
    assert.deepEqual(said('false', []), [
      `${LISTENER}: only observes (enforce = false), and accepts recipients at our domains without a ` +
        'look-up; if enforced: 10.0.0.0/8 may relay',
      `${LISTENER}: recipients are only observed (enforce = false), and no other plugin accepts them: ` +
        'those at inbound, shared and always-relay domains are accepted without a look-up, even unknown ' +
        'ones, and the rules let nobody relay',
    ])
    assert.match(said('relaying', []).join(), /a look-up, even unknown ones$/)
  })

  it('names the plugins that may accept it, and the domains at which they do not', () => {
    const ldap = { url: 'ldap://127.0.0.1', base: 'dc=a' }
    const told = (enforce: string) => {
      const ini = readIni('gal_relay.ini', { main: { enforce }, routes: ROUTES, ldap })
      const others = ['rcpt_to.in_host_list']
      const settings = readSettings(ini, ['a.test'], '/', undefined, others)
      return [summary(settings).at(-1), ...doubts(settings)]
    }
    const [named, missing, ...more] = told('relaying')
    assert.equal(named, 'recipients that are only observed: rcpt_to.in_host_list may accept them')
    assert.match(missing ?? '', /recipients at b\.test are refused while they are only observed/)
    assert.deepEqual(more, [])
    assert.deepEqual(told('true'), ['inbound domains: a.test, b.test'])
  })
})

describe('mixed = defer', () => {
  it('names the domains of both kinds, on each listener where it holds', () => {
    assert.deepEqual(
      said({
        routing: { mixed: 'defer' },
        'listener *:587': { authenticated: 'true' },
        'listener *:25': { reroute: 'false' },
        'listener *:26': { mixed: 'split' },
      }),
      [
        [
          'listeners without a section of their own',
          'b.test, c.test (not listed), d.test',
          'listed.test, a.test, c.test (listed)',
        ],
        [
          'listener *:587',
          'b.test, c.test (not listed), d.test, e.test, foreign domains',
          'listed.test, a.test, c.test (listed)',
        ],
        ['listener *:25', 'b.test', 'listed.test, a.test'],
      ].map(
        ([listener, outbound, queue]) =>
          `mixed = defer on ${listener}: a message may be for recipients at ${queue} (queue plugins) and ` +
          `at ${outbound} (outbound queue); those of the second kind are answered 452, to be sent again`,
      ),
    )
  })

  it('is no matter where all mail goes one way, or is split', () => {
    const inbound = { 'a.test': 'inbound' }
    assert.deepEqual(said({ routing: { mixed: 'defer' }, routes: inbound }), [])
    assert.deepEqual(said({}), [])
  })
})
