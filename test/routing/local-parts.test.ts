import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { hasLocalPart, localParts } from '../../plugins/gal-relay/routing/local-parts'

const holds = (names: readonly string[], local: string) => hasLocalPart(localParts(names), local)

test('local parts compare without case, whatever they begin with', () => {
  for (const local of ['postmaster', 'POSTMASTER', 'Postmaster', 'abuse', '_x', '2FA']) {
    assert.ok(holds(['postmaster', 'Abuse', '_X', '2fa'], local), local)
  }
  for (const local of ['', 'post', 'postmaster2', '"postmaster"', 'zabuse', '\u007fx']) {
    assert.ok(!holds(['postmaster', 'Abuse', '_X', '2fa'], local), local)
  }
  // In lower case, the sign of Kelvin is a k.
  assert.ok(holds(['kelvin'], '\u212aelvin'))
  assert.ok(holds(['größe', 'ångström'], 'Ångström'))
  assert.ok(!holds([], ''))
})

test('as the whole names in lower case would have it', () => {
  const name = fc.oneof(
    fc.string({ maxLength: 3 }),
    fc.string({ unit: fc.constantFrom('k', 'K', '\u212a', '@', '`', '_', '\u007f'), maxLength: 3 }),
  )
  fc.assert(
    fc.property(fc.array(name), name, (names, local) => {
      const lower = names.map((one) => one.toLowerCase())
      assert.equal(holds(names, local), lower.includes(local.toLowerCase()))
    }),
    { numRuns: 2000 },
  )
})
