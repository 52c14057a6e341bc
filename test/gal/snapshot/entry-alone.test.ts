import assert from 'node:assert/strict'
import { test } from 'node:test'
import { dependsOnEntryAlone } from '../../../plugins/gal-relay/gal/feeds/change-feed'

test('an entry changes whenever it enters or leaves the list only where the filter asks for what it holds itself', () => {
  const alone = (filter: string) => dependsOnEntryAlone({ filterText: filter })
  for (const filter of [
    '(objectClass=*)',
    '(|(&(objectCategory=person)(objectClass=user))(objectCategory=group))',
    '(&(mail=*)(!(userAccountControl:1.2.840.113556.1.4.803:=2)))',
    '(!(msExchHideFromAddressLists=TRUE))',
  ]) {
    assert.equal(alone(filter), true, filter)
  }
  for (const filter of [
    '(memberOf=cn=staff,dc=corp,dc=test)',
    '(&(objectClass=user)(memberOf:1.2.840.113556.1.4.1941:=cn=staff,dc=corp,dc=test))',
    '(!(memberOf=*))',
    '(uid:dn:=x)',
    '(msDS-parentdistname=ou=staff,dc=corp,dc=test)',
  ]) {
    assert.equal(alone(filter), false, filter)
  }
})
