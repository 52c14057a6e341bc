import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import {
  type Client,
  decide,
  decideListed,
  destinationOf,
  type Listing,
  type RoutingPolicy,
} from '../../plugins/gal-relay/routing/decide'
import { localParts } from '../../plugins/gal-relay/routing/local-parts'
import { recipientOf } from '../../plugins/gal-relay/routing/recipient'
import {
  parseRouteTo,
  parseSentTo,
  type Row,
  routeTable,
} from '../../plugins/gal-relay/routing/routes'

const ROWS = {
  'ours.example': 'inbound',
  'hop.example': 'inbound lmtp://192.0.2.30',
  'shared.example': 'shared smtp://192.0.2.26',
  'backup.example': 'always-relay',
  'partner.example': 'forward smtp://192.0.2.50',
  'old.example': 'reroute ours.example',
  'gone.example': 'reroute foreign.example',
  'lists.example': 'accept',
  'tickets@ours.example': 'accept smtp://192.0.2.40',
  'Boss@ours.example': 'refuse',
  'boss+press@ours.example': 'accept',
  'scan@ours.example': 'inbound smtp://192.0.2.41',
  'moved@ours.example': 'reroute ann@hop.example',
  'left@ours.example': 'reroute foreign.example',
  'robot@foreign.example': 'forward smtp://192.0.2.42',
  'postmaster@hop.example': 'refuse',
  'boss@old.example': 'refuse',
  'p%q@ours.example': 'accept',
  'tickets+secret@ours.example': 'refuse',
}

function rowOf([text, to]: readonly [string, string]): Row {
  const sentTo = parseSentTo(text)
  assert.ok(!('problem' in sentTo), text)
  const routeTo = parseRouteTo(to, sentTo)
  assert.ok(!('problem' in routeTo), to)
  return { text, sentTo, routeTo }
}

function policy(changes: Partial<RoutingPolicy> = {}): RoutingPolicy {
  const rows = Object.entries(ROWS).map(rowOf)
  return {
    reroute: true,
    routes: routeTable(rows),
    hostList: new Set(['listed.example', 'sub.backup.example']),
    anyDomain: false,
    alwaysAccept: localParts(['postmaster']),
    mailboxHosts: new Map(),
    isOwn: () => false,
    delimitersFor: () => '+',
    ...changes,
  }
}

const STRANGER: Client = { trust: { mayRelay: false, rule: 'nobody' }, authenticated: false }
const GUEST: Client = { trust: { mayRelay: false, rule: 'nobody' }, authenticated: true }
const TRUSTED: Client = { trust: { mayRelay: true, rule: 'hosts' }, authenticated: false }

const FOUND: Listing = { state: 'found', authenticatedOnly: false }
const STAFF_ONLY: Listing = { state: 'found', authenticatedOnly: true }
const ABSENT: Listing = { state: 'absent' }
const AWAY: Listing = { state: 'unavailable' }

/** `ask` when the directory must be asked, else what is answered and where the mail goes. */
function verdict(address: string, client: Client, listing?: Listing, rules = policy()): string {
  const at = address.lastIndexOf('@')
  const recipient =
    at === -1 ? recipientOf(address, '') : recipientOf(address.slice(0, at), address.slice(at + 1))
  const destination = destinationOf(rules, recipient)
  const unasked = decide(rules, destination, client)
  const made = unasked ?? (listing && decideListed(rules, destination, client, listing))
  if (!made) return 'ask'
  if (!made.accept) return `${made.reply.code} ${made.reply.status.join('.')} ${made.rule}`
  return `${made.path}${made.hops.length > 0 ? ` ${made.hops[0]?.text}` : ''} ${made.rule}`
}

describe('the answer table', () => {
  it('asks the directory only where the answer depends on it', () => {
    for (const address of [
      'a@ours.example',
      'a@shared.example',
      'a@listed.example',
      'a@old.example',
    ]) {
      assert.equal(verdict(address, STRANGER), 'ask', address)
    }
    for (const address of [
      'a@foreign.example',
      'a@partner.example',
      'a@gone.example',
      'a@[192.0.2.8]',
    ]) {
      assert.equal(verdict(address, STRANGER), '550 7.1 no-relay-nobody', address)
    }
  })

  it('accepts recipients in the GAL from anyone', () => {
    assert.equal(verdict('a@ours.example', STRANGER, FOUND), 'queue in-gal')
    assert.equal(verdict('a@deep.sub.ours.example', STRANGER, FOUND), 'queue in-gal')
    assert.equal(verdict('a@hop.example', STRANGER, FOUND), 'outbound lmtp://192.0.2.30:24 in-gal')
    assert.equal(verdict('a%b@ours.example', STRANGER, FOUND), 'queue in-gal')
  })

  it('refuses what is not in the GAL, also from clients that may relay', () => {
    for (const client of [STRANGER, TRUSTED]) {
      assert.equal(verdict('x@ours.example', client, ABSENT), '550 1.1 not-in-gal')
      for (const local of [
        'x%y',
        'y!x',
        '"x@y"',
        'IMCEASMTP-x+40y',
        'imceaex-_o',
        '"IMCEAX400-x"',
        '"\\IM\\CEASMTP-x+40y"',
        '" IMCEASMTP-x+40y"',
      ]) {
        assert.equal(
          verdict(`${local}@ours.example`, client, ABSENT),
          '550 7.1 routes-onward',
          local,
        )
      }
    }
  })

  it('never answers 250 or 550 for a directory that could not be asked', () => {
    for (const address of [
      'x@ours.example',
      'x%y@ours.example',
      'x@shared.example',
      'x@old.example',
    ]) {
      for (const client of [STRANGER, TRUSTED]) {
        assert.equal(verdict(address, client, AWAY), '451 4.3 directory-unavailable', address)
      }
    }
    const rules = policy({ anyDomain: true })
    assert.equal(
      verdict('x@foreign.example', TRUSTED, AWAY, rules),
      '451 4.3 directory-unavailable',
    )
  })

  it('keeps recipients for authenticated senders from others', () => {
    assert.equal(verdict('all@ours.example', STRANGER, STAFF_ONLY), '550 7.1 authenticated-only')
    assert.equal(verdict('all@shared.example', STRANGER, STAFF_ONLY), '550 7.1 authenticated-only')
    assert.equal(verdict('all@ours.example', GUEST, STAFF_ONLY), 'queue in-gal')
    assert.equal(verdict('all@ours.example', TRUSTED, STAFF_ONLY), 'queue in-gal')
  })

  it('passes on what is shared or always relayed, unless it asks to be sent onward', () => {
    assert.equal(verdict('a@shared.example', STRANGER, FOUND), 'queue in-gal')
    assert.equal(
      verdict('x@shared.example', STRANGER, ABSENT),
      'outbound smtp://192.0.2.26:25 shared',
    )
    assert.equal(verdict('x%y@shared.example', STRANGER, FOUND), 'queue in-gal')
    assert.equal(verdict('x%y@shared.example', STRANGER, ABSENT), '550 7.1 routes-onward')
    assert.equal(
      verdict('x%y@shared.example', TRUSTED, ABSENT),
      'outbound smtp://192.0.2.26:25 shared',
    )
    assert.equal(verdict('x@backup.example', STRANGER), 'outbound always-relay')
    for (const local of ['x!y', '"\\IMCEASMTP-x+40y"']) {
      assert.equal(verdict(`${local}@backup.example`, STRANGER), '550 7.1 routes-onward', local)
    }
    assert.equal(verdict('x!y@backup.example', TRUSTED), 'outbound always-relay')
  })

  it('relays for those who may', () => {
    assert.equal(verdict('x@foreign.example', TRUSTED), 'outbound relay-hosts')
    assert.equal(verdict('x@partner.example', TRUSTED), 'outbound smtp://192.0.2.50:25 relay-hosts')
    assert.equal(verdict('x@gone.example', TRUSTED), 'outbound relay-hosts')
  })

  it('takes RCPT TO:<> from nobody: there is no such recipient', () => {
    assert.equal(verdict('', STRANGER), '550 7.1 no-relay-nobody')
    assert.equal(verdict('', TRUSTED), '550 1.3 no-recipient')
  })

  it('always reaches the postmaster of inbound domains', () => {
    assert.equal(verdict('postmaster', STRANGER), 'queue postmaster')
    assert.equal(verdict('PostMaster@ours.example', STRANGER), 'queue always-accept')
    assert.equal(
      verdict('postmaster@hop.example', STRANGER),
      'outbound lmtp://192.0.2.30:24 always-accept',
    )
    assert.equal(verdict('postmaster@old.example', STRANGER), 'queue always-accept')
    assert.equal(verdict('postmaster@foreign.example', STRANGER), '550 7.1 no-relay-nobody')
    assert.equal(verdict('root', STRANGER), '550 7.1 no-relay-nobody')
  })

  it('takes the row for the address first, as it was sent, then without the sub-address', () => {
    const tickets = 'outbound smtp://192.0.2.40:25 accept'
    for (const local of ['tickets', 'TICKETS', '"tickets"', '"tic\\kets"', 'tickets+42']) {
      assert.equal(verdict(`${local}@ours.example`, STRANGER), tickets, local)
    }
    for (const address of [
      'ticket@ours.example',
      'tickets@sub.ours.example',
      'tickets-1@ours.example',
    ]) {
      assert.equal(verdict(address, STRANGER), 'ask', address)
    }
    const plain = policy({ delimitersFor: () => '' })
    assert.equal(verdict('tickets+42@ours.example', STRANGER, undefined, plain), 'ask')
    assert.equal(verdict('boss+press@ours.example', STRANGER), 'queue accept')
    assert.equal(verdict('boss+other@ours.example', STRANGER), '550 1.1 refuse')
    assert.equal(
      verdict('scan@ours.example', STRANGER, FOUND),
      'outbound smtp://192.0.2.41:25 in-gal',
    )
    assert.equal(verdict('scan@ours.example', STRANGER, ABSENT), '550 1.1 not-in-gal')
  })

  it('accepts without a look-up what its row accepts, unless it asks to be sent onward', () => {
    assert.equal(verdict('any@lists.example', STRANGER), 'queue accept')
    assert.equal(verdict('any%x@lists.example', STRANGER), '550 7.1 routes-onward')
    assert.equal(verdict('any%x@lists.example', TRUSTED), 'queue accept')
    assert.equal(verdict('p%q@ours.example', STRANGER), '550 7.1 routes-onward')
    // Nothing is taken off a local part that tries to route onward.
    assert.equal(verdict('tickets+x%y@ours.example', STRANGER), 'ask')
  })

  it('refuses an address to strangers only, whatever the directory says', () => {
    assert.equal(verdict('boss@ours.example', STRANGER), '550 1.1 refuse')
    for (const client of [GUEST, TRUSTED]) {
      assert.equal(verdict('boss@ours.example', client), 'ask')
      assert.equal(verdict('boss@ours.example', client, FOUND), 'queue in-gal')
      assert.equal(verdict('boss@ours.example', client, ABSENT), '550 1.1 not-in-gal')
    }
    assert.equal(verdict('boss@old.example', STRANGER), '550 1.1 refuse')
    // For all others the row of the base address is next.
    assert.equal(verdict('tickets+secret@ours.example', STRANGER), '550 1.1 refuse')
    assert.equal(
      verdict('tickets+secret@ours.example', TRUSTED),
      verdict('tickets@ours.example', TRUSTED),
    )
    // RFC 5321 §4.5.1: always_accept comes first.
    assert.equal(
      verdict('postmaster@hop.example', STRANGER),
      'outbound lmtp://192.0.2.30:24 always-accept',
    )
  })

  it('takes one step, even if the other domain does not have the delimiter of a sub-address', () => {
    const rules = policy({
      routes: routeTable(
        Object.entries({
          'ann@ours.example': 'reroute new.example',
          'ann@new.example': 'always-relay',
          'new.example': 'reroute ours.example',
          'ours.example': 'inbound',
        }).map(rowOf),
      ),
      delimitersFor: (domain) => (domain === 'ours.example' ? '+' : ''),
    })
    const routeOf = (local: string) => {
      const { recipient, kind, row } = destinationOf(rules, recipientOf(local, 'ours.example'))
      return [recipient.domain, kind, row]
    }
    assert.deepEqual(routeOf('ann'), ['new.example', 'always-relay', 'ann@new.example'])
    assert.deepEqual(routeOf('ann+x'), ['new.example', 'foreign', undefined])
  })

  it('makes another recipient of an address, in one step', () => {
    assert.equal(verdict('moved@ours.example', STRANGER), 'ask')
    const hop = 'outbound lmtp://192.0.2.30:24 in-gal'
    assert.equal(verdict('moved@ours.example', STRANGER, FOUND), hop)
    assert.equal(verdict('moved+tag@ours.example', STRANGER, FOUND), hop)
    assert.equal(verdict('left@ours.example', STRANGER), '550 7.1 no-relay-nobody')
    const { recipient, rerouted } = destinationOf(policy(), recipientOf('moved', 'ours.example'))
    assert.equal(`${recipient.local}@${recipient.domain}`, 'ann@hop.example')
    assert.equal(rerouted, 'moved@ours.example')
    // The rows for single addresses at the new domain count too.
    assert.equal(verdict('tickets@old.example', STRANGER), 'outbound smtp://192.0.2.40:25 accept')
  })

  it('keeps foreign addresses with a row of their own under the restrictions', () => {
    assert.equal(verdict('robot@foreign.example', STRANGER), '550 7.1 no-relay-nobody')
    assert.equal(
      verdict('robot@foreign.example', TRUSTED),
      'outbound smtp://192.0.2.42:25 relay-hosts',
    )
  })

  it('passes over address rows that do not exist when rerouting is off', () => {
    const rules = policy({ reroute: false })
    assert.equal(verdict('moved@ours.example', STRANGER, undefined, rules), 'ask')
    assert.equal(
      verdict('robot@foreign.example', STRANGER, undefined, rules),
      '550 7.1 no-relay-nobody',
    )
    assert.equal(verdict('boss@ours.example', STRANGER, undefined, rules), '550 1.1 refuse')
    assert.equal(verdict('any@lists.example', STRANGER, undefined, rules), 'queue accept')
  })

  it('takes a row before host_list, and host_list exactly', () => {
    assert.equal(verdict('a@sub.backup.example', STRANGER), 'outbound always-relay')
    assert.equal(verdict('a@sub.listed.example', STRANGER), '550 7.1 no-relay-nobody')
  })

  it('knows no rows but inbound ones when rerouting is off', () => {
    const rules = policy({ reroute: false })
    for (const domain of ['shared', 'backup', 'partner', 'old', 'gone', 'sub.backup']) {
      assert.equal(
        verdict(`a@${domain}.example`, STRANGER, undefined, rules),
        '550 7.1 no-relay-nobody',
      )
    }
    assert.equal(
      verdict('a@hop.example', STRANGER, FOUND, rules),
      'outbound lmtp://192.0.2.30:24 in-gal',
    )
    assert.equal(verdict('a@listed.example', STRANGER, FOUND, rules), 'queue in-gal')
  })

  it('takes whatever is in the GAL for ours when any domain is', () => {
    const rules = policy({ anyDomain: true })
    assert.equal(verdict('a@foreign.example', STRANGER, undefined, rules), 'ask')
    assert.equal(verdict('a@foreign.example', STRANGER, FOUND, rules), 'queue in-gal')
    assert.equal(verdict('a@foreign.example', STRANGER, ABSENT, rules), '550 7.1 no-relay-nobody')
    assert.equal(verdict('a@foreign.example', TRUSTED, ABSENT, rules), 'outbound relay-hosts')
    assert.equal(verdict('a@backup.example', STRANGER, undefined, rules), 'outbound always-relay')
  })
})
