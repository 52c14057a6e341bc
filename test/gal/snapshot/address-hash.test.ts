// A recipient is hashed without its normal form being made; whoever keeps the list hashes that form.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { recipientKey } from '../../../plugins/gal-relay/gal/address-key'
import { Hasher, newKey } from '../../../plugins/gal-relay/gal/snapshot/address-hash'
import { recipientOf } from '../../../plugins/gal-relay/routing/recipient'

test('a recipient has the hash of its normal form', () => {
  const hasher = new Hasher(newKey())
  const hashOf = ({ hi, lo }: Hasher) => [hi, lo]
  const local = fc.oneof(
    fc.string({ maxLength: 80 }),
    fc.string({ unit: 'binary', maxLength: 20 }),
    fc.constantFrom('Postmaster', 'Größe', 'Gro\u0308ße', '"John Doe"', 'x'.repeat(3000)),
  )
  const domain = fc.constantFrom('', 'Example.COM', '[192.0.2.7]', '[IPv6:2001:DB8:0::7]')
  fc.assert(
    fc.property(local, domain, (local, domain) => {
      const recipient = recipientOf(local, domain)
      const expected = hashOf(hasher.address(recipientKey(recipient)))
      assert.deepEqual(hashOf(hasher.recipient(recipient)), expected)
    }),
  )
})
