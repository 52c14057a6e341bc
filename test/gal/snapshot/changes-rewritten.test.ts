// A server that renames or rewrites values as entries are read tells of changes as it has them stored.
// The list in memory has what a search shows nevertheless.
import { describe, test } from 'node:test'
import { skipWithout } from '../../support/programs'
import { type Slapd, type SlapdOptions, startSlapd } from '../../support/slapd'
import { bothWays } from '../both-ways'

const BASE = 'dc=corp,dc=test'
const MODULES = ['modulepath /usr/lib/ldap', 'moduleload rwm', 'moduleload back_relay']
const entries = ['ann', 'bob'].map((name) => ({
  dn: `cn=${name},${BASE}`,
  otherMailbox: `${name}@example.com`,
}))

interface Layout {
  readonly what: string
  readonly base: string
  readonly options: SlapdOptions
  /** How the addresses are called where they are written. */
  readonly written: 'mail' | 'otherMailbox'
}

const LAYOUTS: readonly Layout[] = [
  {
    what: 'overlay rwm above syncprov',
    base: BASE,
    options: { schema: MODULES, database: ['overlay rwm', 'rwm-map attribute mail otherMailbox'] },
    written: 'mail',
  },
  {
    what: 'overlay rwm below syncprov, which tells of nothing',
    base: BASE,
    options: {
      syncprov: false,
      schema: [...MODULES, 'moduleload syncprov'],
      database: ['overlay rwm', 'rwm-map attribute mail otherMailbox', 'overlay syncprov'],
    },
    written: 'mail',
  },
  {
    what: 'another view of the database (back-relay)',
    base: 'dc=view,dc=test',
    options: {
      schema: MODULES,
      database: [
        ...['database relay', 'suffix "dc=view,dc=test"', `relay "${BASE}"`],
        ...['overlay rwm', `rwm-suffixmassage "${BASE}"`, 'rwm-map attribute mail otherMailbox'],
      ],
    },
    written: 'otherMailbox',
  },
]

describe('changes that are told as they are stored', {
  skip: skipWithout('slapd', 'slapadd', 'ldapmodify'),
  concurrency: 2,
}, () => {
  for (const { what, base, options, written } of LAYOUTS) {
    test(what, async () => {
      const slapd: Slapd = await startSlapd({ ...options, entries })
      try {
        await bothWays(slapd, {
          base,
          attributes: ['mail'],
          feed: 'syncrepl',
          live: {
            'ann@example.com': 'found',
            'bob@example.com': 'found',
            'no@example.com': 'absent',
          },
          after: {
            async change() {
              const behind = written === 'mail' ? {} : { mail: 'behind@example.com' }
              await slapd.add({ dn: `cn=cas,${BASE}`, [written]: 'cas@example.com', ...behind })
              await slapd.modify(`cn=bob,${BASE}`, { [written]: 'b@example.com' })
              await slapd.modify(`cn=ann,${BASE}`, { description: 'logged in' })
            },
            live: {
              'ann@example.com': 'found',
              'b@example.com': 'found',
              'cas@example.com': 'found',
            },
            snapshot: { 'bob@example.com': 'absent', 'behind@example.com': 'absent' },
          },
        })
      } finally {
        await slapd.stop()
      }
    })
  }
})
