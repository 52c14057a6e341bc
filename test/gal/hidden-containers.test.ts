// Entries that an account may not see at all are mentioned by check.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { probeDirectory } from '../../plugins/gal-relay/gal/directory/probe'
import { skipWithout } from '../support/programs'
import { startSlapd, unitEntry } from '../support/slapd'
import { GAL, LDAP, serverUrl } from './lists'

const BASE = 'dc=corp,dc=test'

test('a container whose entries are hidden', {
  skip: skipWithout('slapd', 'slapadd'),
}, async () => {
  const units = ['hidden', 'seen', 'empty'].map((ou) => `ou=${ou},${BASE}`)
  const slapd = await startSlapd({
    entries: [
      ...units.map(unitEntry),
      { dn: `cn=ann,ou=seen,${BASE}`, mail: 'ann@example.com' },
      { dn: `cn=bob,ou=hidden,${BASE}`, mail: 'bob@example.com' },
    ],
    access: [`access to dn.children="ou=hidden,${BASE}" by * none`],
  })
  try {
    const [server] = await probeDirectory(GAL, { ...LDAP, url: [serverUrl(slapd.url)] })
    const said = server?.findings.filter(({ text }) => text.includes('hidden from this account'))
    assert.deepEqual(said, [
      {
        level: 'note',
        text:
          `what is directly below ou=hidden,${BASE} is hidden from this account: ` +
          'recipients there, if any, are unknown recipients',
      },
    ])
  } finally {
    await slapd.stop()
  }
})
