// The form in which addresses compare, and the spellings that are searched for.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { addressKey, recipientKey, spellings } from '../../plugins/gal-relay/gal/address-key'
import {
  plainLocalPart,
  quoted,
  recipientOf,
  sentLocalPart,
} from '../../plugins/gal-relay/routing/recipient'

const keyOf = (local: string, domain: string) => recipientKey(recipientOf(local, domain))

test('addresses that are one and the same', () => {
  const same: readonly (readonly [entry: string, local: string, domain: string])[] = [
    ['Alice.Smith@Example.COM', 'alice.smith', 'example.com'],
    ['info@Bücher.example', 'INFO', 'xn--bcher-kva.example'],
    ['info@XN--BCHER-KVA.example', 'info', 'xn--bcher-kva.example'],
    ['info@bu\u0308cher.example', 'info', 'xn--bcher-kva.example'],
    ['JÜRGEN@example.com', 'ju\u0308rgen', 'example.com'],
    ['alice@[192.0.2.7]', 'alice', '[192.0.2.7]'],
    ['alice@[IPv6:2001:DB8:0::7]', 'alice', '[IPv6:2001:db8::7]'],
    ['"John Doe"@example.com', '"john doe"', 'example.com'],
    ['"a@b"@example.com', '"a@b"', 'example.com'],
    // Quotes that are not needed mean nothing (RFC 5321 §4.1.2).
    ['"alice"@example.com', 'alice', 'example.com'],
    ['alice@example.com', '"Al\\ice"', 'example.com'],
    ['john doe@example.com', '"john doe"', 'example.com'],
    ['"a\\b"@example.com', '"ab"', 'example.com'],
    ['"\\"a\\\\"@example.com', '"\\"a\\\\"', 'example.com'],
    ['postmaster', 'Postmaster', ''],
    // Before a full stop the lower case of a capital sigma is another one than that at the end of a word.
    ['ΓΙΩΡΓΟΣ.ΠΑΠΠΑΣ@example.com', 'γιωργος.παππας', 'example.com'],
  ]
  for (const [entry, local, domain] of same) assert.equal(addressKey(entry), keyOf(local, domain))
})

test('addresses that are not', () => {
  const different: readonly (readonly [entry: string, local: string, domain: string])[] = [
    ['jurgen@example.com', 'jürgen', 'example.com'],
    ['straße@example.com', 'strasse', 'example.com'],
    ['"john  doe"@example.com', '"john doe"', 'example.com'],
    ['"\\"alice\\""@example.com', 'alice', 'example.com'],
    ['"alice@example.com', 'alice', 'example.com'],
    ['ａlice@example.com', 'alice', 'example.com'],
    ['alice @example.com', 'alice', 'example.com'],
    ['alice@example.com ', 'alice', 'example.com'],
    ['alice@example.com.', 'alice', 'example.com'],
  ]
  for (const [entry, local, domain] of different) {
    assert.notEqual(addressKey(entry), keyOf(local, domain))
  }
})

test('beyond ASCII both cases are spelled, and each label of a domain in both alphabets', () => {
  const forms: readonly (readonly [entry: string, local: string, domain: string])[] = [
    ['ΓΙΩΡΓΟΣ@example.com', 'γιωργος', 'example.com'],
    ['γιωργος@example.com', 'ΓΙΩΡΓΟΣ', 'example.com'],
    ['straße@example.com', 'STRA\u1e9eE', 'example.com'],
    ['ann@xn--mnchen-3ya.bücher.example', 'ann', 'xn--mnchen-3ya.xn--bcher-kva.example'],
    ['ann@münchen.xn--bcher-kva.example', 'ann', 'xn--mnchen-3ya.xn--bcher-kva.example'],
    ['ann@münchen.bücher.example', 'ann', 'xn--mnchen-3ya.xn--bcher-kva.example'],
  ]
  for (const [entry, local, domain] of forms) {
    assert.ok(spellings(recipientOf(local, domain)).includes(entry), entry)
  }
  const labels = Array.from({ length: 20 }, () => 'xn--bcher-kva').join('.')
  assert.equal(spellings(recipientOf('ann', labels)).length, 6)
})

test('every spelling has the key of the recipient', () => {
  const domain = fc.constantFrom(
    'example.com',
    'xn--bcher-kva.example',
    'xn--zz',
    'xn--mnchen-3ya.xn--bcher-kva.example',
    '[192.0.2.7]',
    '[IPv6:2001:db8::7]',
    '[IPv6:no address]',
  )
  fc.assert(
    fc.property(fc.string({ unit: 'grapheme', minLength: 1 }), domain, (local, name) => {
      const recipient = recipientOf(local, name)
      const all = spellings(recipient)
      assert.ok(all.includes(`${local}@${recipient.domain}`))
      for (const spelling of all) assert.equal(addressKey(spelling), recipientKey(recipient))
    }),
  )
})

test('the key of a key is the key', () => {
  fc.assert(
    // A plain local part that begins with a quote would be taken for a quoted one.
    fc.property(fc.string({ unit: 'grapheme' }).filter(isUnquoted), fc.domain(), (local, name) => {
      const key = addressKey(`${local}@${name}`)
      assert.equal(addressKey(key), key)
    }),
  )
})

const isUnquoted = (local: string) => !plainLocalPart(local).startsWith('"')

test('a local part in its plain form, and as it is sent', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'grapheme' }).filter(isUnquoted), (plain) => {
      const sent = sentLocalPart(plain)
      assert.equal(plainLocalPart(sent), plain)
      assert.equal(plainLocalPart(`"${[...plain].map((c) => `\\${c}`).join('')}"`), plain)
      const recipients = [recipientOf(sent, 'example.com'), recipientOf(plain, 'example.com')]
      for (const one of recipients) {
        for (const form of [sent, plain, quoted(plain)]) {
          const spelling = `${form}@example.com`
          assert.ok(spellings(one).includes(spelling), `${spelling} for ${one.local}`)
        }
      }
    }),
  )
})
