// What is hidden, or rewritten, in one container behind thousands of entries in another.
import { describe, test } from 'node:test'
import { skipWithout } from '../support/programs'
import { type SlapdOptions, startSlapd, unitEntry } from '../support/slapd'
import { bothWays, type Questions } from './both-ways'

const BASE = 'dc=corp,dc=test'
const FEW = `ou=few,${BASE}`
const MANY = `ou=many,${BASE}`
const person = (name: string, above: string) => ({
  dn: `cn=${name},${above}`,
  mail: `${name}@example.com`,
})

async function behindMany(options: SlapdOptions, mail: string[], questions: Questions) {
  const slapd = await startSlapd({
    ...options,
    entries: [
      ...[unitEntry(MANY), unitEntry(FEW)],
      ...Array.from({ length: 1500 }, (_, i) => person(`p${i}`, MANY)),
      { ...person('last', FEW), mail },
    ],
  })
  try {
    await bothWays(slapd, { attributes: ['mail'], ...questions })
  } finally {
    await slapd.stop()
  }
}

describe('one container of a large directory', {
  skip: skipWithout('slapd', 'slapadd', 'ldapmodify'),
  concurrency: 2,
}, () => {
  const FOUND = { 'p1@example.com': 'found', 'p1499@example.com': 'found' }

  test('whose addresses are hidden', () =>
    behindMany(
      { access: [`access to dn.subtree="${FEW}" attrs=mail by * none`] },
      ['last@example.com'],
      {
        live: { ...FOUND, 'last@example.com': 'unavailable', 'no@example.com': 'unavailable' },
        log: /warn .*mail: cn=last,ou=few,.* does not tell this account whether it has it/,
        check: /problem mail: cn=last,ou=few,/,
      },
    ))

  test('whose addresses are rewritten as they are read', () =>
    behindMany(
      {
        schema: ['modulepath /usr/lib/ldap', 'moduleload valsort'],
        database: ['overlay valsort', `valsort-attr mail ${FEW} weighted`],
      },
      ['{1}last@example.com'],
      {
        live: { ...FOUND, 'last@example.com': 'unavailable', 'no@example.com': 'unavailable' },
        snapshot: { 'last@example.com': 'found', 'no@example.com': 'absent' },
        check: /problem mail: cn=last,ou=few,.* shows an address/,
      },
    ))

  test('where all is well', () =>
    behindMany({}, ['last@example.com'], {
      live: { ...FOUND, 'last@example.com': 'found', 'no@example.com': 'absent' },
    }))
})
