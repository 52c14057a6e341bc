import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import {
  type Network,
  networkList,
  parseIp,
  parseNetwork,
} from '../../plugins/gal-relay/routing/networks'
import {
  type Restrictions,
  trustByAddress,
  trustOf,
} from '../../plugins/gal-relay/routing/restrictions'

const list = (...entries: string[]) =>
  networkList(entries.map((entry) => parseNetwork(entry) as Network))

const NOTHING: Restrictions = {
  reroute: true,
  never: list(),
  hosts: list(),
  localAddresses: list(),
  authenticated: false,
  neverAccounts: new Set(['guest', 'anonymous']),
  open: false,
}

function ruleFor(
  restrictions: Partial<Restrictions>,
  {
    client = '203.0.113.9',
    local = '10.0.0.5',
    account,
  }: { client?: string; local?: string; account?: string } = {},
) {
  const all = { ...NOTHING, ...restrictions }
  const trust = trustOf(all, trustByAddress(all, parseIp(client), parseIp(local)), account)
  return `${trust.mayRelay ? 'yes' : 'no'} ${trust.rule}`
}

describe('who may relay (Q193922)', () => {
  const everything = {
    never: list('192.0.2.66'),
    hosts: list('192.0.2.0/24'),
    localAddresses: list('10.0.0.6'),
    authenticated: true,
    open: true,
  }

  it('is nobody when nothing is ticked', () => {
    assert.equal(ruleFor({}), 'no nobody')
    assert.equal(ruleFor({}, { client: '127.0.0.1', account: 'carol' }), 'no nobody')
  })

  it('is decided by the first rule that applies', () => {
    assert.equal(
      ruleFor({ ...everything, reroute: false }, { client: '192.0.2.1' }),
      'no reroute-off',
    )
    assert.equal(
      ruleFor(everything, { client: '192.0.2.66', local: '10.0.0.6', account: 'carol' }),
      'no never',
    )
    assert.equal(ruleFor(everything, { client: '192.0.2.1', local: '10.0.0.6' }), 'yes hosts')
    assert.equal(
      ruleFor(everything, { local: '10.0.0.6', account: 'carol' }),
      'yes local-addresses',
    )
    assert.equal(ruleFor(everything, { account: 'carol' }), 'yes authenticated')
    assert.equal(ruleFor(everything), 'yes open')
  })

  it('is not an account that never relays, however it is written (Q251149)', () => {
    for (const account of [
      'guest',
      'GUEST',
      ' Guest ',
      'CORP\\Guest',
      'guest@corp.example',
      'anonymous',
    ]) {
      assert.equal(ruleFor({ authenticated: true }, { account }), 'no nobody', account)
    }
    assert.equal(ruleFor({ authenticated: true }, { account: 'guestbook' }), 'yes authenticated')
    const neverAccounts = new Set(['carol@corp.example'])
    assert.equal(
      ruleFor({ authenticated: true, neverAccounts }, { account: 'Carol@Corp.Example' }),
      'no nobody',
    )
    assert.equal(
      ruleFor({ authenticated: true, neverAccounts }, { account: 'carol@other.example' }),
      'yes authenticated',
    )
  })

  it('still lets a never-account relay by its address', () => {
    assert.equal(ruleFor(everything, { client: '192.0.2.1', account: 'guest' }), 'yes hosts')
  })

  it('is never a client whose address is not known', () => {
    assert.equal(ruleFor({ open: true }, { client: 'unknown' }), 'no never')
  })
})
