// Limits of the account that searches, as OpenLDAP has them: what can be answered is, and what cannot is
// said with what to do.
import { describe, test } from 'node:test'
import { skipWithout } from '../support/programs'
import { startSlapd, unitEntry } from '../support/slapd'
import { bothWays, type Questions } from './both-ways'

const BASE = 'dc=corp,dc=test'
const READER = `cn=reader,${BASE}`
const people = Array.from({ length: 300 }, (_, i) => ({
  dn: `cn=p${i},${BASE}`,
  mail: `p${i}@example.com`,
}))

async function limited(limits: string, questions: Questions): Promise<void> {
  const slapd = await startSlapd({
    entries: [...people, unitEntry(`ou=empty,${BASE}`)],
    database: [`limits dn.exact="${READER}" ${limits}`],
  })
  const ldap = { bind_dn: slapd.bindDn, bind_password: slapd.password }
  try {
    await bothWays(slapd, { ...questions, ldap })
  } finally {
    await slapd.stop()
  }
}

describe('limits of the account', {
  skip: skipWithout('slapd', 'slapadd', 'ldapmodify'),
  concurrency: 2,
}, () => {
  const live = {
    'p7@example.com': 'found',
    'p299@example.com': 'found',
    'no@example.com': 'absent',
  }
  for (const limits of ['size.pr=100', 'size.prtotal=50', 'size.prtotal=disabled', 'time=1']) {
    test(limits, () => limited(limits, { live, feed: 'syncrepl' }))
  }

  test('fewer entries at first than it may have: size.soft=5 size.hard=500', () =>
    limited('size.soft=5 size.hard=500', {
      live,
      feed: 'timestamps',
      check: /warning by syncrepl it gives this account only part of the list/,
    }))

  test('size.unchecked=100, and no index for presence', () =>
    limited('size.unchecked=100', {
      live: { 'p7@example.com': 'found', 'no@example.com': 'unavailable' },
      isUnlisted: true,
      log: /warn .*mail: entries with it cannot be listed: .*index the attributes/,
      check: /problem a search for entries with an address: .*size\.unchecked/,
    }))
})
