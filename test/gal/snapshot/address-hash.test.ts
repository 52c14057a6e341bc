// A recipient is hashed without its normal form being made; whoever keeps the list hashes that form.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { recipientKey } from '../../../plugins/gal-relay/gal/address-key'
import { Hasher, KEY_BYTES, newKey } from '../../../plugins/gal-relay/gal/snapshot/address-hash'
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

/** The vectors of those who made SipHash-2-4: key and text are 00 01 02 …; by the text's length. */
const VECTORS: Readonly<Record<number, string>> = {
  0: '310e0edd47db6f72',
  1: 'fd67dc93c539f874',
  7: '37d1018bf50002ab',
  8: '6224939a79f5f593',
  15: 'e545be4961ca29a1',
  63: '724506eb4c328a95',
}

test('the hash is SipHash-2-4, whichever hasher was used before', () => {
  const upTo = (length: number) => Uint8Array.from({ length }, (_, i) => i)
  const hasher = new Hasher(upTo(KEY_BYTES))
  const other = new Hasher(newKey())
  for (const [length, expected] of Object.entries(VECTORS)) {
    other.address('somebody.with.a.long.name@example.com')
    const { hi, lo } = hasher.bytes(upTo(Number(length)))
    const hash = Buffer.from(expected, 'hex')
    assert.deepEqual([hi, lo], [hash.readUInt32LE(4), (hash.readUInt32LE(0) & ~1) >>> 0], length)
  }
})

test('what is longer than any command of SMTP is hashed too', () => {
  const hasher = new Hasher(newKey())
  const { hi, lo } = hasher.address('ü'.repeat(500_000))
  assert.notDeepEqual([hi, lo], [0, 0])
})
