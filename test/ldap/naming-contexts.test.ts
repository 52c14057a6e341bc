// Which DNs lie below which, however case and blanks are written.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { contextsBelow, contextsOf, isWithin } from '../../plugins/gal-relay/ldap/naming-contexts'

const CORP = 'DC=corp,DC=test'
const LONDON = 'DC=london,DC=corp,DC=test'
const OTHER = 'DC=othercorp,DC=test'

test('an entry lies within its base, however its name is written', () => {
  for (const dn of [CORP, 'cn=ann, ou=staff , dc = corp, dc=test', LONDON]) {
    assert.equal(isWithin(dn, CORP), true, dn)
    assert.equal(isWithin(dn, ''), true, dn)
  }
  for (const dn of [OTHER, 'DC=test', '']) assert.equal(isWithin(dn, CORP), false, dn)
})

test('the context of a base is the nearest that contains it', () => {
  const contexts = ['', 'DC=test', CORP, LONDON]
  const bases = ['ou=staff,dc=london,dc=corp,dc=test', 'ou=staff, dc=corp, dc=test']
  assert.deepEqual(contextsOf(bases, contexts), [LONDON, CORP])
  assert.equal(contextsOf(['dc=elsewhere'], contexts), undefined)
})

test('contexts below a base do not include the base', () => {
  assert.deepEqual(contextsBelow('dc=corp, dc=test', ['', CORP, LONDON, OTHER]), [LONDON])
  assert.deepEqual(contextsBelow('', ['', CORP, OTHER]), [CORP, OTHER])
})
