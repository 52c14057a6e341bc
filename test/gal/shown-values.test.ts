// Entries that show addresses which no search finds, because the server adds or rewrites them as entries
// are read: that somebody is absent is then not known, and what to do is said.
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, test } from 'node:test'
import { skipWithout } from '../support/programs'
import { type SlapdEntry, type SlapdOptions, startSlapd, unitEntry } from '../support/slapd'
import { bothWays, type Questions } from './both-ways'

const BASE = 'dc=corp,dc=test'
const modules = (...names: string[]) => [
  'modulepath /usr/lib/ldap',
  ...names.map((name) => `moduleload ${name}`),
]
const person = (name: string, attributes = {}, above = BASE): SlapdEntry => ({
  dn: `cn=${name},${above}`,
  mail: `${name}@example.com`,
  ...attributes,
})
const PEOPLE = [
  person('ann', { proxyAddresses: 'smtp:a@example.com' }),
  person('bob', { proxyAddresses: 'smtp:b@example.com' }),
  person('cas'),
]
const FOUND = { 'ann@example.com': 'found', 'a@example.com': 'found' }

async function on(options: SlapdOptions, questions: Questions): Promise<void> {
  const slapd = await startSlapd(options)
  try {
    await bothWays(slapd, questions)
  } finally {
    await slapd.stop()
  }
}

const skip = skipWithout('slapd', 'slapadd', 'ldapmodify')

describe('addresses that no search finds', { skip, concurrency: 2 }, () => {
  for (const syncprov of [true, false]) {
    const way = syncprov ? '' : ', without syncprov'

    test(`an address of the unit in all below (overlay collect)${way}`, () =>
      on(
        {
          syncprov,
          schema: modules('collect'),
          entries: [
            ...PEOPLE,
            {
              ...{ dn: `ou=sales,${BASE}`, ou: 'sales', mail: 'sales@example.com' },
              ...{ objectClass: ['organizationalUnit', 'extensibleObject'] },
              ...{ cn: undefined, sn: undefined },
            },
            person('dan', {}, `ou=sales,${BASE}`),
          ],
          database: ['overlay collect', `collectinfo "ou=sales,${BASE}" mail`],
        },
        {
          gal: { filter: '(objectClass=inetOrgPerson)' },
          live: {
            ...FOUND,
            'dan@example.com': 'found',
            'sales@example.com': 'unavailable',
            'no@example.com': 'unavailable',
          },
          snapshot: { 'sales@example.com': 'found', 'no@example.com': 'absent' },
          log: /warn .*mail: cn=dan,ou=sales,.* shows an address .*set mode = snapshot/,
          check: /problem mail: cn=dan,ou=sales,.* shows an address/,
        },
      ))

    test(`values that are stored with their weight (overlay valsort) in one unit${way}`, () =>
      on(
        {
          syncprov,
          schema: modules('valsort'),
          entries: [
            ...PEOPLE,
            unitEntry(`ou=w,${BASE}`),
            person('wil', { mail: ['{1}wil@example.com', '{2}w@example.com'] }, `ou=w,${BASE}`),
          ],
          database: ['overlay valsort', `valsort-attr mail ou=w,${BASE} weighted`],
        },
        {
          live: {
            ...FOUND,
            'wil@example.com': 'unavailable',
            'no@example.com': 'unavailable',
          },
          snapshot: {
            'wil@example.com': 'found',
            'w@example.com': 'found',
            'no@example.com': 'absent',
          },
          check: /problem mail: cn=wil,ou=w,.* shows an address/,
        },
      ))
  }

  for (const { local, live, snapshot, isUnlisted } of [
    {
      local: [],
      live: { ...FOUND, 'c@example.com': 'unavailable', 'no@example.com': 'unavailable' },
      snapshot: { 'c@example.com': 'found', 'no@example.com': 'absent' },
    },
    {
      // Whoever is found by one of both attributes is not found by either of them.
      local: ['translucent_local proxyAddresses'],
      live: { 'b@example.com': 'unavailable', 'no@example.com': 'unavailable' },
      isUnlisted: true,
    },
  ]) {
    const what = local.length > 0 ? 'searched for alone' : 'not searched for'
    test(`an attribute that is kept beside those of another server (overlay translucent), ${what}`, async () => {
      const remote = await startSlapd({ entries: PEOPLE })
      const folder = mkdtempSync(join(tmpdir(), 'slapd-'))
      const slapd = await startSlapd({
        suffix: 'dc=local,dc=test',
        syncprov: false,
        schema: modules('back_ldap', 'translucent'),
        database: [
          ...['database mdb', `suffix "${BASE}"`, `directory ${folder}`, 'maxsize 1073741824'],
          ...['rootdn "cn=admin,dc=local,dc=test"', 'access to * by * read'],
          ...['overlay translucent', 'translucent_no_glue', ...local, `uri ${remote.url}`],
        ],
      })
      try {
        await slapd.modify(`cn=cas,${BASE}`, { proxyAddresses: 'smtp:c@example.com' })
        await bothWays(slapd, {
          live,
          ...(snapshot ? { snapshot } : {}),
          ...(isUnlisted ? { isUnlisted } : {}),
          check: /problem (mail|proxyAddresses): cn=\w+,dc=corp,dc=test shows an address/,
        })
      } finally {
        await Promise.all([slapd.stop(), remote.stop()])
        rmSync(folder, { recursive: true, force: true })
      }
    })
  }

  test('dynamic groups whose addresses are searched for like all others', () =>
    on(
      {
        schema: ['include /etc/ldap/schema/dyngroup.schema', ...modules('dynlist')],
        entries: [
          ...PEOPLE,
          {
            dn: `cn=all,${BASE}`,
            mail: 'all@example.com',
            objectClass: ['groupOfURLs', 'galRecipient'],
            memberURL: `ldap:///${BASE}?mail?sub?(cn=ann)`,
            sn: undefined,
          },
        ],
        database: ['overlay dynlist', 'dynlist-attrset groupOfURLs memberURL'],
      },
      { live: { ...FOUND, 'all@example.com': 'found', 'no@example.com': 'absent' } },
    ))
})
