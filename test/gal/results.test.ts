// What a server's results mean, from a server that answers as the test wants.
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import type { GalSettings, LdapSettings } from '../../plugins/gal-relay/settings/settings'
import {
  type FakeAnswer,
  type FakeLdap,
  type FakeSearch,
  startFakeLdap,
} from '../support/fake-ldap'
import { serverUrl, type TestList, testList } from './lists'

const TIMES = { retry_after: { least: 100, most: 500 } } satisfies Partial<LdapSettings>
/** For a server that never answers. */
const SOON = { query_timeout: 1500 } satisfies Partial<LdapSettings>

const ALICE = { dn: 'cn=alice,dc=corp,dc=test', attributes: { mail: 'alice@example.com' } }
const BOB = { dn: 'cn=bob,dc=corp,dc=test', attributes: { mail: 'bob@example.com' } }
const PEOPLE = [ALICE, BOB]

/** A directory that is as it should be. */
function rightAnswer({ filter, values }: FakeSearch): FakeAnswer {
  const isPresence = filter.includes('=*')
  return {
    entries: PEOPLE.filter(({ attributes }) => isPresence || values.includes(attributes.mail)),
  }
}

const peopleOf = (count: number) =>
  Array.from({ length: count }, (_, i) => ({
    dn: `cn=user${i},dc=corp,dc=test`,
    attributes: { mail: `user${i}@example.com` },
  }))

/** A server that finds these, whoever they are at the moment. */
const shows =
  (people: () => typeof PEOPLE) =>
  ({ values, filter }: FakeSearch): FakeAnswer => ({
    entries: people().filter(
      ({ attributes }) => filter.includes('=*') || values.includes(attributes.mail),
    ),
  })

const isCheck = ({ values }: FakeSearch) => values.some((value) => value.includes('.invalid'))
const asksFor = ({ values }: FakeSearch, address: string) => values.includes(address)

async function withServers(
  answers: readonly ((search: FakeSearch) => FakeAnswer | undefined)[],
  run: (list: TestList, servers: readonly FakeLdap[]) => Promise<void>,
  gal: Partial<GalSettings> = {},
  ldap: Partial<LdapSettings> = {},
): Promise<void> {
  const servers = await Promise.all(answers.map(startFakeLdap))
  const list = testList({ ...TIMES, ...ldap, url: servers.map(({ url }) => serverUrl(url)) }, gal)
  try {
    await run(list, servers)
  } finally {
    await list.close()
    await Promise.all(servers.map((server) => server.stop()))
  }
}

const CODES = {
  operationsError: 1,
  protocolError: 2,
  timeLimitExceeded: 3,
  sizeLimitExceeded: 4,
  strongerAuthRequired: 8,
  referral: 10,
  adminLimitExceeded: 11,
  confidentialityRequired: 13,
  noSuchAttribute: 16,
  inappropriateMatching: 18,
  invalidAttributeSyntax: 21,
  noSuchObject: 32,
  invalidDNSyntax: 34,
  invalidCredentials: 49,
  insufficientAccessRights: 50,
  busy: 51,
  unavailable: 52,
  unwillingToPerform: 53,
  other: 80,
  'a code of its own': 4242,
}

describe('result codes', { concurrency: 8 }, () => {
  for (const [name, code] of Object.entries(CODES)) {
    test(`${name} is no answer, with or without entries of others`, () =>
      withServers(
        [
          (search) =>
            asksFor(search, 'nobody@example.com')
              ? { entries: [BOB], code }
              : asksFor(search, 'alice@example.com') && !asksFor(search, 'nobody@example.com')
                ? { code }
                : rightAnswer(search),
        ],
        async (list) => {
          assert.equal(await list.ask('bob@example.com'), 'found')
          assert.equal(await list.ask('alice@example.com'), 'unavailable')
          assert.equal(await list.ask('nobody@example.com'), 'unavailable')
          // The server is well for others.
          assert.equal(await list.ask('bob@example.com'), 'found')
          assert.equal(list.report().servers[0]?.state, 'up')
        },
      ))

    test(`${name} from a server for every search: it is down, the next one answers`, () =>
      withServers([() => ({ code }), rightAnswer], async (list) => {
        for (let i = 0; i < 20; i++) {
          assert.equal(await list.ask('alice@example.com'), 'found')
          assert.equal(await list.ask('nobody@example.com'), 'absent')
        }
        assert.equal(list.report().servers[0]?.state, 'down')
      }))
  }

  test('an entry that came before sizeLimitExceeded is found', () =>
    withServers(
      [
        (search) =>
          isCheck(search)
            ? {}
            : asksFor(search, 'alice@example.com')
              ? { entries: [BOB, ALICE], code: 4 }
              : rightAnswer(search),
      ],
      async (list) => {
        assert.equal(await list.ask('bob@example.com'), 'found')
        assert.equal(await list.ask('alice@example.com'), 'found')
      },
    ))

  test('an entry that came before another failure is not believed', () =>
    withServers(
      [(search) => (isCheck(search) ? {} : { entries: [ALICE], code: 51 })],
      async (list) => assert.equal(await list.ask('alice@example.com'), 'unavailable'),
    ))

  test('references are neither followed nor an error', () =>
    withServers(
      [
        (search) => ({
          ...rightAnswer(search),
          references: ['ldap://127.0.0.1:1/DC=DomainDnsZones,DC=corp,DC=test'],
        }),
      ],
      async (list) => {
        assert.equal(await list.ask('alice@example.com'), 'found')
        assert.equal(await list.ask('nobody@example.com'), 'absent')
      },
    ))
})

describe('broken answers', { concurrency: 8 }, () => {
  const BYTES: Readonly<Record<string, Buffer>> = {
    'not LDAP': Buffer.from('220 mx.example.com ESMTP\r\n'),
    'an endless length': Buffer.from([0x30, 0x84, 0x7f, 0xff, 0xff, 0xff, 0x02]),
    'an indefinite length': Buffer.from([0x30, 0x80, 0x02, 0x01, 0x02]),
    'a length of five bytes': Buffer.from([0x30, 0x85, 1, 1, 1, 1, 1, 2]),
    'an empty message': Buffer.from([0x30, 0x00]),
    'a message without an ID': Buffer.from([0x30, 0x03, 0x65, 0x01, 0x00]),
    'a negative number': Buffer.from([0x30, 0x05, 0x02, 0x01, 0xff, 0x65, 0x00]),
    'a long number': Buffer.from([0x30, 0x09, 0x02, 0x05, 1, 1, 1, 1, 1, 0x65, 0x00]),
    'a notice of disconnection': Buffer.from(
      '3024020100781f0a0134040004008a16312e332e362e312e342e312e313436362e3230303336',
      'hex',
    ),
    'half a message and nothing more': Buffer.from([0x30, 0x20, 0x02, 0x01]),
  }
  for (const [name, bytes] of Object.entries(BYTES)) {
    test(`${name}: unavailable, and the next server answers`, async () => {
      const broken = (search: FakeSearch) => (isCheck(search) ? rightAnswer(search) : { bytes })
      const alone = async (list: TestList) => {
        assert.equal(await list.ask('alice@example.com'), 'unavailable')
        assert.equal(await list.ask('nobody@example.com'), 'unavailable')
      }
      const beside = async (list: TestList) => {
        assert.equal(await list.ask('alice@example.com'), 'found')
        assert.equal(await list.ask('nobody@example.com'), 'absent')
      }
      await Promise.all([
        withServers([broken], alone, {}, SOON),
        withServers([broken, rightAnswer], beside, {}, SOON),
      ])
    })
  }

  test('cut behind an entry: asked again elsewhere', () =>
    withServers(
      [
        (search) => (isCheck(search) ? rightAnswer(search) : { entries: [ALICE], isCut: true }),
        rightAnswer,
      ],
      async (list) => {
        assert.equal(await list.ask('alice@example.com'), 'found')
        assert.equal(await list.ask('nobody@example.com'), 'absent')
      },
    ))

  test('entries without end are not kept', () =>
    withServers(
      [(search) => (isCheck(search) ? {} : { entries: Array.from({ length: 3000 }, () => BOB) })],
      async (list) => assert.equal(await list.ask('alice@example.com'), 'unavailable'),
    ))

  test('a large server that knows no size limit is asked all the same', () =>
    withServers(
      [
        (search) =>
          search.filter.includes('=*')
            ? { entries: Array.from({ length: 3000 }, () => BOB) }
            : rightAnswer(search),
      ],
      async (list) => {
        assert.equal(await list.ask('nobody@example.com'), 'absent')
        assert.equal(await list.ask('alice@example.com'), 'found')
        assert.deepEqual(
          list.report().servers.map(({ state }) => state),
          ['up'],
        )
      },
    ))

  test('the first entry that somebody finds may have addresses of other kinds only', () => {
    const phone = { dn: 'cn=phone', attributes: { proxyAddresses: 'SIP:phone@example.com' } }
    return withServers(
      [
        (search) =>
          search.filter.includes('=*')
            ? { entries: [phone, ALICE], code: CODES.sizeLimitExceeded }
            : search.filter.toLowerCase().includes('sip:phone')
              ? { entries: [phone] }
              : rightAnswer(search),
      ],
      async (list) => assert.equal(await list.ask('nobody@example.com'), 'absent'),
    )
  })

  test('blanks around an address are not part of it', () =>
    withServers(
      [
        (search) =>
          asksFor(search, 'trail@example.com')
            ? { entries: [{ dn: 'cn=trail', attributes: { mail: 'trail@example.com ' } }] }
            : rightAnswer(search),
      ],
      async (list) => assert.equal(await list.ask('trail@example.com'), 'found'),
    ))
})

describe('answers that prove nothing', { concurrency: 8 }, () => {
  test('a directory without any entry says nothing about anyone', () =>
    withServers([() => ({})], async (list) => {
      assert.equal(await list.ask('alice@example.com'), 'unavailable')
      assert.equal(await list.ask('nobody@example.com'), 'unavailable')
      const warnings = list.log.lines.filter((line) => line.startsWith('warn'))
      assert.equal(warnings.length, 1)
      assert.match(String(warnings[0]), /shows no entry with an address/)
    }))

  test('one that lost most of what it had says nothing about anyone, until it is back', async () => {
    const people = peopleOf(20)
    let left = people
    await withServers([shows(() => left)], async (list) => {
      for (const { attributes } of people) assert.equal(await list.ask(attributes.mail), 'found')
      assert.equal(await list.ask('nobody@example.com'), 'absent')
      left = people.slice(16)
      assert.equal(await list.ask('user0@example.com'), 'unavailable')
      assert.equal(await list.ask('nobody@example.com'), 'unavailable')
      assert.equal(await list.ask('user19@example.com'), 'found')
      left = people
      assert.equal(await list.ask('user0@example.com'), 'found')
      assert.equal(await list.ask('nobody@example.com'), 'absent')
    })
  })

  test('what it shows after it was refilled says nothing about an answer from before', async () => {
    const people = peopleOf(20)
    let isEmpty = false
    await withServers(
      [
        (search) => {
          const { values, filter } = search
          const entries = people.filter(
            ({ attributes }) => filter.includes('=*') || values.includes(attributes.mail),
          )
          if (!isEmpty) return { entries }
          isEmpty = !asksFor(search, 'user0@example.com')
          return {}
        },
      ],
      async (list) => {
        for (const { attributes } of people) assert.equal(await list.ask(attributes.mail), 'found')
        isEmpty = true
        assert.equal(await list.ask('user0@example.com'), 'found')
        assert.equal(await list.ask('nobody@example.com'), 'absent')
      },
    )
  })

  test('one entry that is deleted is absent, though it was the first that was found', async () => {
    let left = PEOPLE
    await withServers([shows(() => left)], async (list) => {
      assert.equal(await list.ask('alice@example.com'), 'found')
      assert.equal(await list.ask('bob@example.com'), 'found')
      left = [BOB]
      // More may follow.
      assert.equal(await list.ask('alice@example.com'), 'unavailable')
      assert.equal(await list.ask('nobody@example.com'), 'absent')
      await sleep(2100)
      assert.equal(await list.ask('alice@example.com'), 'absent')
      assert.equal(await list.ask('nobody@example.com'), 'absent')
      assert.equal(await list.ask('bob@example.com'), 'found')
    })
  })

  test('entries that go and come back one by one: nobody who was found lately is absent', async () => {
    const people = peopleOf(12)
    let left = people
    await withServers([shows(() => left)], async (list) => {
      const askAll = async () => {
        for (const { attributes } of people) {
          assert.notEqual(await list.ask(attributes.mail), 'absent')
        }
      }
      await askAll()
      for (let gone = 1; gone <= people.length; gone++) {
        left = people.slice(gone)
        await askAll()
      }
      await sleep(2100)
      for (let back = 0; back < people.length - 1; back++) {
        left = people.slice(0, back)
        await askAll()
      }
      assert.equal(await list.ask('nobody@example.com'), 'absent')
    })
  })

  test('the entries of one base of two are lost', async () => {
    const lost = { base: 'ou=two,dc=corp,dc=test', isLost: false }
    const inBase = (base: string) =>
      Array.from({ length: 8 }, (_, i) => ({
        dn: `cn=user${i},${base}`,
        attributes: { mail: `user${i}@${base.slice(3, 6)}.example` },
      }))
    await withServers(
      [
        ({ base, values, filter }) => ({
          entries:
            lost.isLost && base === lost.base
              ? []
              : inBase(base).filter(
                  ({ attributes }) => filter.includes('=*') || values.includes(attributes.mail),
                ),
        }),
      ],
      async (list) => {
        for (let i = 0; i < 4; i++) {
          assert.equal(await list.ask(`user${i}@one.example`), 'found')
          assert.equal(await list.ask(`user${i}@two.example`), 'found')
        }
        assert.equal(await list.ask('nobody@two.example'), 'absent')
        lost.isLost = true
        // Found lately or never: nobody knows.
        assert.equal(await list.ask('user0@two.example'), 'unavailable')
        assert.equal(await list.ask('user7@two.example'), 'unavailable')
        assert.equal(await list.ask('user7@one.example'), 'found')
        lost.isLost = false
        assert.equal(await list.ask('user7@two.example'), 'found')
        assert.equal(await list.ask('nobody@two.example'), 'absent')
      },
      {},
      { base: ['ou=one,dc=corp,dc=test', 'ou=two,dc=corp,dc=test'] },
    )
  })

  test('an entry that came for the address and does not show it may hold it', () =>
    withServers(
      [
        (search) =>
          asksFor(search, 'alice@example.com')
            ? { entries: [{ dn: ALICE.dn, attributes: { mail: [] } }, BOB] }
            : rightAnswer(search),
      ],
      async (list) => {
        assert.equal(await list.ask('alice@example.com'), 'unavailable')
        assert.equal(await list.ask('alice@example.com'), 'unavailable')
        const warnings = list.log.lines.filter((line) => line.startsWith('warn'))
        assert.equal(warnings.length, 1)
        assert.match(
          String(warnings[0]),
          /cn=alice,dc=corp,dc=test was returned for alice@example.com/,
        )
      },
    ))

  test('more values than Active Directory sends at once', async () => {
    const proxies = Array.from({ length: 4000 }, (_, i) => `smtp:list${i}@example.com`)
    const entry = (attributes: Record<string, string[]>) => ({
      dn: 'cn=list,dc=corp,dc=test',
      attributes: { mail: 'list@example.com', ...attributes },
    })
    await withServers(
      [
        (search) => {
          const wanted = search.attributes.find((name) => /;range=/.test(name))
          const first = Number(/range=(\d+)/.exec(wanted ?? '')?.[1] ?? 0)
          const isLast = first + 1500 >= proxies.length
          const range = `${first}-${isLast ? '*' : first + 1499}`
          const values = { [`proxyAddresses;range=${range}`]: proxies.slice(first, first + 1500) }
          if (wanted) return { entries: [{ dn: search.base, attributes: values }] }
          const isFor = search.values.some((value) => proxies.includes(value))
          return isFor ? { entries: [entry(values)] } : rightAnswer(search)
        },
      ],
      async (list) => {
        assert.equal(await list.ask('list0@example.com'), 'found')
        assert.equal(await list.ask('list1600@example.com'), 'found')
        assert.equal(await list.ask('list3999@example.com'), 'found')
        assert.equal(await list.ask('list4000@example.com'), 'absent')
      },
    )
  })
})

describe('what a search is', () => {
  test('it asks for the addresses and the flag only, and names every spelling', () =>
    withServers(
      [rightAnswer],
      async (list, [server]) => {
        await list.ask('Info@xn--bcher-kva.example')
        const search = server?.searches.find(({ values }) => values.includes('Info@bücher.example'))
        assert.deepEqual(
          search?.attributes.map((name) => name.toLowerCase()),
          ['proxyaddresses', 'mail', 'othermailbox', 'flag'],
        )
        // In quotes as well, which are not needed and mean nothing.
        const inEachForm = (times: number, type = '') =>
          ['bu\u0308cher.example', 'bücher.example', 'xn--bcher-kva.example'].flatMap((domain) => [
            ...Array(times).fill(`${type}Info@${domain}`),
            ...Array(times).fill(`${type}"Info"@${domain}`),
          ])
        assert.deepEqual(
          [...(search?.values ?? [])].sort(),
          [
            'person',
            // proxyAddresses, mail and otherMailbox may hold it alone,
            ...inEachForm(3),
            // otherMailbox as in Exchange 5.5,
            ...inEachForm(1, 'smtp$'),
            // proxyAddresses and otherMailbox with a type.
            ...inEachForm(2, 'smtp:'),
          ].sort(),
        )
        assert.match(String(search?.filter), /^\(&\(objectClass=person\)\(\|/)
      },
      {
        attributes: ['proxyAddresses', 'mail', 'otherMailbox'],
        filter: '(objectClass=person)',
        authenticated_only_attribute: 'flag',
      },
    ))
})
