// A part of the tree in a database of its own, which is a proxy for another server: where that one cannot
// be asked, OpenLDAP answers searches of the whole with success, without the part.
import { describe, test } from 'node:test'
import { freePort } from '../support/ports'
import { skipWithout } from '../support/programs'
import { type Slapd, startSlapd } from '../support/slapd'
import { bothWays } from './both-ways'

const BASE = 'dc=corp,dc=test'
const FAR = `o=far,${BASE}`
const MODULES = ['back_ldap', 'back_meta', 'back_monitor', 'rwm']
const schema = ['modulepath /usr/lib/ldap', ...MODULES.map((name) => `moduleload ${name}`)]
const person = (name: string, above = BASE) => ({
  dn: `cn=${name},${above}`,
  mail: `${name}@example.com`,
})
const PEOPLE = ['ann', 'bob', 'cas', 'dee', 'eve', 'fay'].map((name) => person(name))
const ALL = { 'ann@example.com': 'found', 'zed@example.com': 'found', 'no@example.com': 'absent' }

const startFar = (suffix = FAR) => startSlapd({ suffix, entries: [person('zed', suffix)] })
const proxyFor = (url: string, ...more: string[]) => [
  ...['database ldap', `suffix "${FAR}"`, ...more, `uri ${url}`],
]

describe('a part of the tree that cannot be asked', {
  skip: skipWithout('slapd', 'slapadd', 'ldapmodify'),
  concurrency: 2,
}, () => {
  test('from now on: who was found is still there, and nobody is gone', async () => {
    const far = await startFar()
    const before = proxyFor(far.url, 'subordinate')
    const slapd = await startSlapd({ schema, before, entries: PEOPLE })
    try {
      await bothWays(slapd, {
        live: ALL,
        after: {
          change: () => far.kill(),
          live: { 'ann@example.com': 'found', 'zed@example.com': 'unavailable' },
          snapshot: { 'zed@example.com': 'found' },
        },
      })
    } finally {
      await Promise.all([slapd.stop(), far.stop()])
    }
  })

  for (const [how, options] of [
    ['which the server names', { subordinate: 'subordinate advertise', monitor: [] }],
    [
      'which it names in its monitor',
      { subordinate: 'subordinate', monitor: ['database monitor', 'access to * by * read'] },
    ],
  ] as const) {
    test(`from the start, ${how}`, async () => {
      const dead = `ldap://127.0.0.1:${await freePort()}`
      const before = [...options.monitor, ...proxyFor(dead, options.subordinate)]
      const slapd = await startSlapd({ schema, before, entries: PEOPLE })
      try {
        await bothWays(slapd, {
          live: {
            'ann@example.com': 'found',
            'zed@example.com': 'unavailable',
            'no@example.com': 'unavailable',
          },
          log: /warn .*o=far,dc=corp,dc=test: this part of the tree cannot be asked: unavailable/,
          check: /problem o=far,dc=corp,dc=test: this part of the tree cannot be asked/,
        })
      } finally {
        await slapd.stop()
      }
    })
  }

  test('an empty database below the base is none', async () => {
    const far = await startSlapd({ suffix: 'dc=else,dc=test' })
    const before = proxyFor(far.url, 'subordinate advertise')
    const slapd = await startSlapd({ schema, before, entries: PEOPLE })
    try {
      await bothWays(slapd, { live: { 'ann@example.com': 'found', 'no@example.com': 'absent' } })
    } finally {
      await Promise.all([slapd.stop(), far.stop()])
    }
  })

  test('two servers behind one proxy that has no entry at the base (back-meta)', async () => {
    const servers = await Promise.all([startSlapd({ entries: PEOPLE }), startFar('o=far,dc=test')])
    const target = ({ url, base }: Slapd, ou: string) => [
      `uri "${url}/ou=${ou},dc=meta,dc=test"`,
      `suffixmassage "ou=${ou},dc=meta,dc=test" "${base}"`,
    ]
    const slapd = await startSlapd({
      schema,
      suffix: 'dc=local,dc=test',
      database: [
        ...['database meta', 'suffix "dc=meta,dc=test"'],
        ...servers.flatMap((one, i) => target(one, `s${i}`)),
      ],
    })
    try {
      await bothWays(slapd, {
        base: 'dc=meta,dc=test',
        feed: 'timestamps',
        live: ALL,
        after: {
          change: async () => servers[1]?.kill(),
          live: { 'ann@example.com': 'found', 'zed@example.com': 'unavailable' },
          snapshot: { 'zed@example.com': 'found' },
        },
      })
    } finally {
      await Promise.all([slapd, ...servers].map((one) => one.stop()))
    }
  })

  // Where syncprov is, a search that goes on at the other server has no end.
  for (const syncprov of [false, true]) {
    const way = syncprov ? ', with syncprov' : ''
    test(`on a server that is asked for referrals (overlay chain)${way}`, async () => {
      const far = await startFar()
      const slapd = await startSlapd({
        schema: [...schema, 'overlay chain', `chain-uri ${far.url}`],
        syncprov,
        entries: [
          ...PEOPLE,
          {
            ...{ dn: FAR, objectClass: ['referral', 'extensibleObject'], o: 'far' },
            ...{ ref: `${far.url}/${FAR}??sub`, cn: undefined, sn: undefined },
          },
        ],
      })
      try {
        await bothWays(slapd, {
          feed: 'timestamps',
          live: ALL,
          after: {
            change: () => far.kill(),
            live: {
              'ann@example.com': 'found',
              'zed@example.com': 'unavailable',
              'no@example.com': 'unavailable',
            },
          },
        })
      } finally {
        await Promise.all([slapd.stop(), far.stop()])
      }
    })
  }
})
