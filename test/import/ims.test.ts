// What regedit exports of an Internet Mail Service, byte by byte, and its routing table as text.
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { importIms } from '../../plugins/gal-relay/import/ims'
import { textOf } from '../../plugins/gal-relay/import/text'
import { importedLines, LEFT_OUT, withDirectory } from '../support/imported'

const KEY = 'HKEY_LOCAL_MACHINE\\SYSTEM\\CurrentControlSet\\Services\\MSExchangeIMC\\Parameters'

/** As regedit wraps it: at most 80 columns, two blanks before what goes on. */
function wrapped(name: string, bytes: Buffer): string {
  const all = [...bytes].map((byte) => byte.toString(16).padStart(2, '0'))
  let lines = `"${name}"=hex(7):`
  let width = lines.length
  for (const [index, byte] of all.entries()) {
    const text = index < all.length - 1 ? `${byte},` : byte
    if (width + text.length > 77) {
      lines += '\\\r\n  '
      width = 2
    }
    lines += text
    width += text.length
  }
  return lines
}

const multi = (values: readonly string[], encoding: 'latin1' | 'utf16le') =>
  Buffer.from([...values, ''].map((one) => `${one}\0`).join(''), encoding)

interface Values {
  readonly flags?: number
  readonly allow?: readonly string[]
  readonly deny?: readonly string[]
  readonly local?: readonly string[]
}

/** Windows NT 4: ANSI. */
const regedit4 = (values: Values) =>
  Buffer.from(`REGEDIT4\r\n\r\n${body(values, 'latin1')}`, 'latin1')

/** Windows 2000: UTF-16 with a byte order mark. */
const regedit5 = (values: Values) =>
  Buffer.concat([
    Buffer.from([0xff, 0xfe]),
    Buffer.from(
      `Windows Registry Editor Version 5.00\r\n\r\n${body(values, 'utf16le')}`,
      'utf16le',
    ),
  ])

function body({ flags, allow, deny, local }: Values, encoding: 'latin1' | 'utf16le'): string {
  const list = (name: string, values?: readonly string[]) =>
    values ? [wrapped(name, multi(values, encoding))] : []
  return [
    `[${KEY.replace(/\\Parameters$/, '')}]`,
    '"RelayFlags"=dword:0000000f',
    '',
    `[${KEY}]`,
    '"Domain"="example.com"',
    ...(flags === undefined ? [] : [`"RelayFlags"=dword:${flags.toString(16).padStart(8, '0')}`]),
    ...list('RelayAllowList', allow),
    ...list('RelayDenyList', deny),
    ...list('RelayLocalIPList', local),
    '',
    '',
  ].join('\r\n')
}

const ALLOW = ['192.168.1.0;255.255.255.0', '10.20.30.40', '172.16.0.0;255.240.0.0']

const imported = (bytes: Buffer, name = 'exchange.reg') =>
  importIms([{ name, text: textOf(bytes) }], name)

describe('the routing restrictions of IMS', () => {
  for (const [form, exported] of [
    ['REGEDIT4', regedit4],
    ['version 5.00', regedit5],
  ] as const) {
    test(`come out of a file of ${form}`, () => {
      const bytes = exported({
        flags: 15,
        allow: ALLOW,
        deny: ['192.168.1.66'],
        local: ['10.0.0.5'],
      })
      assert.match(textOf(bytes), /,\\\r\n {2}[\da-f]{2},/, 'lines go on')
      const result = imported(bytes)
      assert.deepEqual(importedLines(result), [
        '[restrictions] never[] = 192.168.1.66',
        ...ALLOW.map((entry) => `[restrictions] hosts[] = ${entry}`),
        '[restrictions] local_addresses[] = 10.0.0.5',
        '[restrictions] authenticated = true',
      ])
      assert.doesNotMatch(result.ini, /open/)
      withDirectory(result)
    })
  }

  test('without a byte order mark', () => {
    const bytes = regedit5({ flags: 2, allow: ALLOW })
    assert.deepEqual(imported(bytes.subarray(2)), imported(bytes))
  })

  test('count only where their bit is set', () => {
    const result = imported(regedit5({ flags: 2, allow: ALLOW, deny: ['192.168.1.66'] }))
    assert.equal(importedLines(result).length, ALLOW.length)
    const [left] = result.remarks.filter(LEFT_OUT)
    assert.match(left?.text ?? '', /the entry: RelayFlags lacks 1/)
  })

  test('an empty list that is ticked lets nobody relay, and is no open relay (Q256856)', () => {
    const result = imported(regedit4({ flags: 2 }))
    assert.deepEqual(importedLines(result), [])
    assert.doesNotMatch(result.ini, /open/)
  })

  for (const [what, values] of [
    ['no flags', { allow: ALLOW }],
    ['flags of 0', { flags: 0 }],
    ['nobody but the denied refused', { flags: 1, deny: ['192.168.1.66'] }],
    ['a network of all', { flags: 2, allow: ['0.0.0.0;0.0.0.0'] }],
  ] as const) {
    test(`${what}: the open relay that IMS was is said, and not taken`, () => {
      const result = imported(regedit4(values))
      assert.match(result.ini, /^;open = true$/m)
      assert.ok(result.remarks.filter(LEFT_OUT).some(({ text }) => /open relay/.test(text)))
      const { restrictions } = withDirectory(result)
      assert.equal(restrictions.open, false)
      assert.equal(restrictions.hosts.entries.length, 0)
    })
  }

  test('an entry with bits outside its mask never matched, and is left out with what was meant', () => {
    const result = imported(
      regedit4({ flags: 2, allow: ['1.1.1.1;255.0.0.0', '10.0.0.0;255.0.0.0'] }),
    )
    assert.deepEqual(importedLines(result), ['[restrictions] hosts[] = 10.0.0.0;255.0.0.0'])
    assert.match(
      result.remarks.filter(LEFT_OUT)[0]?.text ?? '',
      /probably meant: 1\.0\.0\.0;255\.0\.0\.0/,
    )
  })

  test('another key of the registry is said to be another', () => {
    const text = `REGEDIT4\r\n\r\n[HKEY_LOCAL_MACHINE\\SOFTWARE\\X]\r\n"RelayFlags"=dword:00000002\r\n`
    const result = imported(Buffer.from(text, 'latin1'))
    assert.deepEqual(importedLines(result), [])
    assert.match(result.remarks[0]?.text ?? '', /MSExchangeIMC/)
  })
})

describe('the routing table of IMS', () => {
  const table = (text: string) => importIms([{ name: 'routing.txt', text }], 'routing.txt')

  test('rows are taken with their meaning', () => {
    const result = table(
      'Sent to\tRoute to\r\nexample.com\t<inbound>\r\n#hq.example.com\thq.corp.example\r\n' +
        'partner.example\tmail.partner.example\tAlways relay\r\n[192.0.2.7]\t<inbound>\r\n' +
        'supplier.example\t[192.0.2.25]\r\n',
    )
    assert.deepEqual(importedLines(result), [
      '[routes] example.com = inbound',
      '[routes] @hq.example.com = forward smtp://hq.corp.example',
      '[routes] partner.example = always-relay smtp://mail.partner.example',
      '[routes] [192.0.2.7] = inbound',
      '[routes] supplier.example = forward smtp://192.0.2.25',
    ])
    withDirectory(result)
  })

  test('columns may stand apart by blanks, and what is no row is said', () => {
    const result = table(
      'Sent to            Route to\n-----\nexample.com        <inbound>\nnonsense\n*.example.org   <inbound>\n',
    )
    assert.deepEqual(importedLines(result), ['[routes] example.com = inbound'])
    const left = result.remarks.filter(LEFT_OUT).map(({ from, text }) => `${from}: ${text}`)
    assert.match(left[0] ?? '', /routing\.txt line 4: 'nonsense' is not a row/)
    assert.match(left[1] ?? '', /line 5: \[routes\] \*\.example\.org: .*example\.org/)
  })
})
