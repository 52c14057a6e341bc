import assert from 'node:assert/strict'
import { test } from 'node:test'
import { isToldOfAll } from '../../../plugins/gal-relay/gal/feeds/change-feed'

test('only what an entry holds itself is told of whenever it changes', () => {
  const told = (filter: string) => isToldOfAll({ filterText: filter })
  for (const filter of [
    '(objectClass=*)',
    '(|(&(objectCategory=person)(objectClass=user))(objectCategory=group))',
    '(&(mail=*)(!(userAccountControl:1.2.840.113556.1.4.803:=2)))',
    '(!(msExchHideFromAddressLists=TRUE))',
  ]) {
    assert.equal(told(filter), true, filter)
  }
  for (const filter of [
    '(memberOf=cn=staff,dc=corp,dc=test)',
    '(&(objectClass=user)(memberOf:1.2.840.113556.1.4.1941:=cn=staff,dc=corp,dc=test))',
    '(!(memberOf=*))',
    '(uid:dn:=x)',
    '(msDS-parentdistname=ou=staff,dc=corp,dc=test)',
  ]) {
    assert.equal(told(filter), false, filter)
  }
})
