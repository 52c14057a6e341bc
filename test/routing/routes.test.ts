import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import fc from 'fast-check'
import {
  findRow,
  parseNextHop,
  parseRouteTo,
  parseSentTo,
  type Row,
  redactUserinfo,
  routeTable,
} from '../../plugins/gal-relay/routing/routes'

function table(rows: Record<string, string>) {
  return routeTable(
    Object.entries(rows).map(([text, to]): Row => {
      const sentTo = parseSentTo(text)
      const routeTo = parseRouteTo(to)
      assert.ok(!('problem' in sentTo), text)
      assert.ok(!('problem' in routeTo), to)
      return { sentTo, routeTo, text }
    }),
  )
}

function problem(parsed: object): string {
  assert.ok('problem' in parsed && typeof parsed.problem === 'string', JSON.stringify(parsed))
  return parsed.problem
}

describe('the routing table (Q169683)', () => {
  const routes = table({
    'ms.com': 'forward smtp://host1.ms.com',
    '@ms.com': 'inbound',
    'x.ms.com': 'inbound',
    '[192.0.2.7]': 'inbound',
    '[IPv6:2001:db8::7]': 'inbound',
  })

  it('prefers the exact row, then the longest suffix on whole labels', () => {
    const rowOf = (domain: string) => findRow(routes, domain)?.text
    assert.equal(rowOf('ms.com'), '@ms.com')
    assert.equal(rowOf('sales.ms.com'), 'ms.com')
    assert.equal(rowOf('x.ms.com'), 'x.ms.com')
    assert.equal(rowOf('abc.x.ms.com'), 'x.ms.com')
    assert.equal(rowOf('pms.com'), undefined)
    assert.equal(rowOf('com'), undefined)
    assert.equal(rowOf(''), undefined)
    assert.equal(rowOf('[192.0.2.7]'), '[192.0.2.7]')
    assert.equal(rowOf('[192.0.2.8]'), undefined)
    assert.equal(rowOf('[ipv6:2001:db8::7]'), '[IPv6:2001:db8::7]')
  })

  it('finds what comparing every row would find', () => {
    const label = fc.constantFrom('a', 'b', 'c', 'ab')
    const domain = fc.array(label, { minLength: 1, maxLength: 4 }).map((labels) => labels.join('.'))
    const sentTo = fc
      .tuple(fc.boolean(), domain)
      .map(([exact, name]) => (exact ? `@${name}` : name))
    fc.assert(
      fc.property(fc.uniqueArray(sentTo, { maxLength: 12 }), domain, (rows, wanted) => {
        const oracle =
          rows.find((row) => row === `@${wanted}`) ??
          rows
            .filter((row) => !row.startsWith('@'))
            .filter((row) => `.${wanted}`.endsWith(`.${row}`))
            .sort((one, other) => other.length - one.length)[0]
        const made = table(Object.fromEntries(rows.map((row) => [row, 'inbound'])))
        assert.equal(findRow(made, wanted)?.text, oracle)
      }),
      { numRuns: 2000 },
    )
  })
})

describe('Sent to', () => {
  it('is a domain with its subdomains, a domain alone, or an address literal', () => {
    assert.deepEqual(parseSentTo('Example.COM'), { match: 'suffix', domain: 'example.com' })
    assert.deepEqual(parseSentTo('@example.com'), { match: 'exact', domain: 'example.com' })
    assert.deepEqual(parseSentTo('[192.0.2.7]'), { match: 'exact', domain: '[192.0.2.7]' })
    assert.deepEqual(parseSentTo('[IPv6:2001:DB8:0::7]'), {
      match: 'exact',
      domain: '[ipv6:2001:db8::7]',
    })
    assert.deepEqual(parseSentTo('XN--MLLER-KVA.example'), {
      match: 'suffix',
      domain: 'xn--mller-kva.example',
    })
  })

  it('is one address, in the form in which addresses compare', () => {
    const joe = { match: 'address', domain: 'example.com', local: 'joe' }
    assert.deepEqual(parseSentTo('Joe@Example.COM'), joe)
    assert.deepEqual(parseSentTo('"joe"@example.com'), joe)
    assert.deepEqual(parseSentTo('joe@[192.0.2.7]'), { ...joe, domain: '[192.0.2.7]' })
  })

  it('says what was probably meant', () => {
    assert.match(problem(parseSentTo('.example.com')), /meant: example\.com/)
    assert.match(problem(parseSentTo('example.com.')), /meant: example\.com/)
    assert.match(problem(parseSentTo('*@example.com')), /meant: @example\.com/)
    assert.match(problem(parseSentTo('joe@exa_mple..com')), /after the @ is not a domain name/)
    assert.match(problem(parseSentTo('jo.@example.com')), /not the local part of an address/)
    assert.match(problem(parseSentTo('192.0.2.7')), /meant: \[192\.0\.2\.7\]/)
    assert.match(problem(parseSentTo('[192.0.2]')), /not an IPv4 or IPv6 address literal/)
    assert.match(problem(parseSentTo('exa_mple..com')), /not a domain name/)
  })
})

describe('Route to', () => {
  it('reads hops in order', () => {
    const route = parseRouteTo(
      'forward smtp://A.example:2525 lmtp://[2001:DB8::1] smtps://192.0.2.1',
    )
    assert.ok('hops' in route)
    assert.deepEqual(
      route.hops.map(({ text }) => text),
      ['smtp://a.example:2525', 'lmtp://[2001:db8::1]:24', 'smtps://192.0.2.1:465'],
    )
  })

  it('decodes user and password, and shows them to nobody', () => {
    const hop = parseNextHop('smtp://a%40b:p%3Aw%2F@relay.example:587')
    assert.ok(!('problem' in hop))
    assert.equal(hop.user, 'a@b')
    assert.equal(hop.password, 'p:w/')
    assert.equal(hop.text, 'smtp://relay.example:587')
    assert.doesNotMatch(problem(parseNextHop('smtp://joe:geheim@bad host')), /geheim|joe/)
    assert.doesNotMatch(problem(parseNextHop('http://joe:ge@heim@host')), /heim/)
    assert.equal(
      redactUserinfo('smtp://u:p@ss@host:25 smtp://v:w@x'),
      'smtp://***@host:25 smtp://***@x',
    )
    assert.equal(redactUserinfo('inbound u:p@host'), 'inbound ***@host')
    assert.equal(redactUserinfo('forward smtp://u:p q@host'), 'forward smtp://***@host')
    assert.equal(redactUserinfo('reroute user@host'), 'reroute user@host')
    for (const text of ['smtp://joe:geheim', 'joe:geheim', 'geheim@host', 'joe:geheim@host']) {
      assert.doesNotMatch(problem(parseRouteTo(`inbound ${text}`)), /geheim/)
      assert.doesNotMatch(problem(parseRouteTo(text)), /geheim/)
    }
    assert.match(
      problem(parseNextHop('smtp://[2001:db8::1]:99999')),
      /'smtp:\/\/\[2001:db8::1\]:99999'/,
    )
  })

  it('says what is wrong', () => {
    assert.match(problem(parseRouteTo('')), /is empty; a route is one of inbound, accept, shared/)
    assert.match(problem(parseRouteTo('smtp://host')), /names a next hop but no route type/)
    assert.match(problem(parseRouteTo('always_relay')), /meant: always-relay/)
    assert.match(problem(parseRouteTo('forward')), /needs a next hop/)
    assert.match(problem(parseRouteTo('shared')), /needs a next hop/)
    assert.match(problem(parseRouteTo('forward host1.example')), /meant: smtp:\/\/host1\.example/)
    assert.match(problem(parseRouteTo('forward smtp://host:70000')), /port from 1 to 65535/)
    assert.match(problem(parseRouteTo('forward smtp://')), /host name/)
    assert.match(problem(parseRouteTo('forward smtp://user@host')), /user:password/)
    assert.match(problem(parseRouteTo('reroute')), /takes one domain/)
    assert.match(problem(parseRouteTo('reroute a.example b.example')), /takes one domain/)
    assert.match(problem(parseRouteTo('refuse')), /is for one address/)
    assert.match(problem(parseRouteTo('acept')), /meant: accept/)
    const sentTo = parseSentTo('user@example.com')
    assert.ok(!('problem' in sentTo))
    const toUser = (text: string) => parseRouteTo(text, sentTo)
    assert.deepEqual(toUser('refuse'), { kind: 'refuse' })
    assert.match(problem(toUser('refuse smtp://host')), /takes no next hop/)
    assert.match(problem(toUser('reufse')), /meant: refuse/)
    assert.match(problem(toUser('reroute')), /takes one address or domain/)
    assert.match(problem(toUser('reroute a@b@c..d')), /after the @ is not a domain name/)
  })
})
