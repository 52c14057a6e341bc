// Alias objects (RFC 4512 §2.6): entries that stand for others, which may be outside the base.
import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import type { LdapSettings } from '../../plugins/gal-relay/settings/settings'
import { skipWithout } from '../support/programs'
import { type Slapd, type SlapdEntry, startSlapd, unitEntry } from '../support/slapd'
import { until } from '../support/until'
import { type KeepingProcess, serverUrl, startKeepingProcess, testList } from './lists'

const SUFFIX = 'dc=corp,dc=test'
const [PEOPLE, ELSEWHERE, OTHER_NAME] = ['people', 'elsewhere', 'other name'].map(
  (name) => `ou=${name},${SUFFIX}`,
) as [string, string, string]

const person = (dn: string, mail: string): SlapdEntry => ({ dn, mail })
const alias = (dn: string, aliasedObjectName: string): SlapdEntry => ({
  dn,
  objectClass: ['alias', 'extensibleObject'],
  aliasedObjectName,
  ...(dn.startsWith('ou=') ? { ou: 'other name' } : {}),
  cn: dn.startsWith('cn=') ? (/^cn=([^,]*)/.exec(dn)?.[1] ?? '') : undefined,
  sn: undefined,
})

const ENTRIES: readonly SlapdEntry[] = [
  unitEntry(PEOPLE),
  unitEntry(ELSEWHERE),
  person(`cn=alice,${PEOPLE}`, 'alice@example.com'),
  person(`cn=bob,${ELSEWHERE}`, 'bob@example.com'),
  person(`cn=carol,${ELSEWHERE}`, 'carol@example.com'),
  alias(`cn=bob here,${PEOPLE}`, `cn=bob,${ELSEWHERE}`),
  alias(OTHER_NAME, PEOPLE),
]

describe('alias objects', { skip: skipWithout('slapd', 'slapadd') }, () => {
  let slapd: Slapd
  let lists: KeepingProcess
  before(async () => {
    slapd = await startSlapd({ entries: ENTRIES })
    lists = startKeepingProcess()
  })
  after(async () => {
    await lists?.stop()
    await slapd?.stop()
  })

  const CASES: readonly (readonly [
    dereference: LdapSettings['dereference'],
    base: string,
    found: readonly string[],
  ])[] = [
    ['never', PEOPLE, ['alice']],
    ['find', PEOPLE, ['alice']],
    ['search', PEOPLE, ['alice', 'bob']],
    ['always', PEOPLE, ['alice', 'bob']],
    ['find', OTHER_NAME, ['alice']],
    ['always', OTHER_NAME, ['alice', 'bob']],
  ]
  for (const [dereference, base, found] of CASES) {
    for (const mode of ['live', 'snapshot'] as const) {
      test(`${dereference} below ${base}, ${mode}`, async () => {
        const list = testList(
          { url: [serverUrl(slapd.url)], base: [base], dereference },
          { mode, attributes: ['mail'] },
          { file: lists.newFile(), changes_every: 1000 },
        )
        try {
          list.start()
          if (mode === 'snapshot') await until(() => list.report().snapshot?.isCurrent === true)
          for (const name of ['alice', 'bob', 'carol', 'nobody']) {
            const expected = found.includes(name) ? 'found' : 'absent'
            assert.equal(await list.ask(`${name}@example.com`), expected, name)
          }
        } finally {
          await list.close()
        }
      })
    }
  }

  test('entries that an alias stands for are followed as they come, change and go', async () => {
    const list = testList(
      { url: [serverUrl(slapd.url)], base: [PEOPLE], dereference: 'search' },
      { mode: 'snapshot', attributes: ['mail'] },
      { file: lists.newFile(), changes_every: 1000 },
    )
    try {
      list.start()
      await list.becomes('bob@example.com', 'found')
      await slapd.add(alias(`cn=carol here,${PEOPLE}`, `cn=carol,${ELSEWHERE}`))
      await list.becomes('carol@example.com', 'found')
      await slapd.modify(`cn=carol,${ELSEWHERE}`, { mail: 'carol.new@example.com' })
      await list.becomes('carol.new@example.com', 'found')
      await list.becomes('carol@example.com', 'absent')
      await slapd.delete(`cn=carol here,${PEOPLE}`)
      await list.becomes('carol.new@example.com', 'absent')
    } finally {
      await list.close()
    }
  })
})
