import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import fc from 'fast-check'
import ipaddr from 'ipaddr.js'
import {
  type Network,
  networkList,
  parseIp,
  parseNetwork,
} from '../../plugins/gal-relay/routing/networks'
import { canonicalLiteral } from '../../plugins/gal-relay/routing/recipient'

function networkOf(text: string): Network {
  const network = parseNetwork(text)
  assert.ok(!('problem' in network), `${text}: ${'problem' in network && network.problem}`)
  return network
}

function problemOf(text: string): string {
  const network = parseNetwork(text)
  assert.ok('problem' in network, `${text} was taken for a network`)
  return network.problem
}

const matches = (entries: string[], client: string) =>
  networkList(entries.map(networkOf)).has(parseIp(client))

/** Q193922 word for word, on bytes: ANDing the client with the mask gives the net. */
function q193922(client: number[], { net, mask }: Entry): boolean {
  return (
    client.length === net.length && client.every((byte, i) => (byte & (mask[i] ?? 0)) === net[i])
  )
}

interface Entry {
  readonly net: number[]
  readonly mask: number[]
}

const text = (bytes: number[]) => ipaddr.fromByteArray(bytes).toString()
const entryText = ({ net, mask }: Entry) => `${text(net)};${text(mask)}`

// Bytes that often agree, so that matches are about as frequent as misses.
const byte = fc.oneof(fc.constantFrom(0, 1, 192, 255), fc.integer({ min: 0, max: 255 }))
const maskByte = fc.oneof(fc.constantFrom(0, 255, 254, 128, 123), fc.integer({ min: 0, max: 255 }))
const bytes = (length: number, of: fc.Arbitrary<number>) =>
  fc.array(of, { minLength: length, maxLength: length })
// A first byte other than 0 keeps IPv6 clear of ::ffff:0:0/96, which is IPv4 (its own test).
const address = (length: number) =>
  bytes(length, byte).map(([first = 0, ...rest]) => [length === 16 ? first | 0x20 : first, ...rest])
const entry = (length: number) =>
  fc.tuple(address(length), bytes(length, maskByte)).map(([from, mask]) => ({
    net: from.map((one, i) => one & (mask[i] ?? 0)),
    mask,
  }))

describe('network lists', () => {
  it('of a client are written out: 25 is no address', () => {
    for (const text of ['25', '0.1', '0x7f.1', '010.0.0.1', '::1%', '', 'localhost']) {
      assert.equal(parseIp(text), undefined, text)
    }
    assert.ok(parseIp('fe80::1%eth0'))
  })

  for (const [family, length] of [
    ['IPv4', 4],
    ['IPv6', 16],
  ] as const) {
    it(`match ${family} clients as Q193922 says, whatever the masks`, () => {
      fc.assert(
        fc.property(
          fc.array(entry(length), { maxLength: 20 }),
          address(length),
          fc.nat(),
          (entries, anyClient, pick) => {
            // Half of the clients are made from an entry, or nothing would ever match.
            const chosen = entries[pick % (entries.length * 2 || 1)]
            const client = chosen
              ? anyClient.map((one, i) => (chosen.net[i] ?? 0) | (one & ~(chosen.mask[i] ?? 0)))
              : anyClient
            const expected = entries.some((one) => q193922(client, one))
            assert.equal(matches(entries.map(entryText), text(client)), expected)
          },
        ),
        { numRuns: 2000 },
      )
    })

    it(`write ${family} prefixes as the same entry as their mask`, () => {
      fc.assert(
        fc.property(address(length), fc.integer({ min: 0, max: length * 8 }), (from, bits) => {
          const mask = from.map((_, i) => (0xff00 >> Math.min(8, Math.max(0, bits - 8 * i))) & 0xff)
          const net = from.map((one, i) => one & (mask[i] ?? 0))
          const { text: _, ...byBits } = networkOf(`${text(net)}/${bits}`)
          const { text: __, ...byMask } = networkOf(entryText({ net, mask }))
          assert.deepEqual(byBits, byMask)
        }),
      )
    })
  }

  it('take an entry without a mask for one host', () => {
    assert.ok(matches(['192.168.1.18'], '192.168.1.18'))
    assert.ok(!matches(['192.168.1.18'], '192.168.1.19'))
    assert.ok(matches(['2001:db8::1'], '2001:DB8:0::1'))
  })

  it('take a mapped client for the IPv4 client, and a mapped entry for the IPv4 entry', () => {
    assert.ok(matches(['192.168.1.0/24'], '::ffff:192.168.1.9'))
    assert.ok(matches(['::ffff:192.168.1.0/120'], '192.168.1.9'))
    assert.ok(!matches(['::/0'], '192.168.1.9'), '::/0 is about IPv6')
  })

  it('read an address by its bits, however it is spelled', () => {
    const leading = fc.oneof(fc.constant(Array<number>(12).fill(0)), bytes(12, byte))
    const groups = (from: number[]) =>
      from.flatMap((one, i) => (i % 2 ? [] : [(one * 256 + (from[i + 1] ?? 0)).toString(16)]))
    fc.assert(
      fc.property(leading, bytes(4, byte), (from, to) => {
        const whole = [...from, ...to]
        const bits = BigInt(`0x${Buffer.from(whole).toString('hex')}`)
        const address =
          bits >> 32n === 0xffffn
            ? { family: 4, bits: Number(bits & 0xffffffffn) }
            : { family: 6, bits }
        const dotted = `${groups(from).join(':')}:${to.join('.')}`
        const spellings = [groups(whole).join(':'), dotted, dotted.replace(/^(0:){6}/, '::')]
        for (const one of spellings) {
          assert.deepEqual(parseIp(one), address)
          assert.ok(matches([one], text(whole)))
          assert.ok(matches([text(whole)], one))
          assert.equal(canonicalLiteral(`[IPv6:${one}]`), canonicalLiteral(`[IPv6:${text(whole)}]`))
        }
      }),
    )
    assert.ok(!matches(['10.1.2.3'], '::10.1.2.3'))
    assert.ok(!matches(['::10.1.2.3'], '10.1.2.3'))
  })

  it('know the mask of Q258140 with holes', () => {
    assert.ok(matches(['10.0.0.1;255.255.255.123'], '10.0.0.5'))
    assert.ok(matches(['10.0.0.1;255.255.255.123'], '10.0.0.129'))
    assert.ok(!matches(['10.0.0.1;255.255.255.123'], '10.0.0.3'))
  })

  it('say what was probably meant by a net with bits outside its mask', () => {
    assert.match(
      problemOf('1.1.1.1;255.0.0.0'),
      /never match; .*1\.0\.0\.0;255\.0\.0\.0.* or 1\.1\.1\.1 /,
    )
    assert.match(problemOf('192.168.1.7/24'), /192\.168\.1\.0\/24.* or 192\.168\.1\.7 /)
    assert.match(problemOf('2001:db8::1/32'), /2001:db8::\/32.* or 2001:db8::1 /)
  })

  it('take nothing for an address that another program might read otherwise', () => {
    for (const wrong of [
      '010.0.0.1',
      '0x7f.0.0.1',
      '127.1',
      '10',
      '',
      'fe80::1%eth0',
      'mail.example',
    ]) {
      assert.match(problemOf(wrong), /is not an IPv4 or IPv6 address/)
    }
  })

  it('know / from ;', () => {
    assert.match(problemOf('10.0.0.0/255.0.0.0'), /a mask is written with ';'/)
    assert.match(problemOf('10.0.0.0;8'), /a number of bits is written with '\/'/)
    assert.match(problemOf('10.0.0.0/33'), /from 0 to 32/)
    assert.match(problemOf('10.0.0.0;ffff::'), /not an IPv4 mask/)
  })

  it('match nobody whose address is not known', () => {
    assert.ok(!networkList([networkOf('0.0.0.0/0')]).has(undefined))
  })
})
