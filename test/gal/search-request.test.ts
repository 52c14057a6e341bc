// Searches and filters as they go over the wire, read back by ldapjs; and answers of every kind of
// nonsense, which must never end the process.
import assert from 'node:assert/strict'
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'
import { test } from 'node:test'
import fc from 'fast-check'
import * as ldapjs from 'ldapjs'
import { AddressSearch } from '../../plugins/gal-relay/gal/directory/address-search'
import { listDefinition } from '../../plugins/gal-relay/gal/directory/list-definition'
import { integer, TAG, tlv } from '../../plugins/gal-relay/ldap/ber'
import { Connection } from '../../plugins/gal-relay/ldap/connection'
import { DirectoryError } from '../../plugins/gal-relay/ldap/directory-error'
import { attributesOfFilter, filterFromText } from '../../plugins/gal-relay/ldap/filter'
import {
  abandonRequest,
  bindRequest,
  startTlsRequest,
  unbindRequest,
} from '../../plugins/gal-relay/ldap/ldapjs'
import { dnProblem, filterProblem } from '../../plugins/gal-relay/ldap/syntax'
import { GAL, LDAP } from './lists'

interface ReadBack {
  readonly baseObject: { toString(): string }
  readonly scope: number
  readonly attributes: readonly string[]
  readonly filter: {
    readonly clauses: readonly { readonly attribute: string; readonly raw?: Buffer }[]
  }
}
const { LdapMessage, BerReader } = {
  // biome-ignore lint/suspicious/noExplicitAny: ldapjs' types leave out its messages
  ...(ldapjs as any),
  ...require('@ldapjs/messages'),
  ...require('@ldapjs/asn1'),
} as {
  LdapMessage: { parse(reader: unknown): ReadBack & { filter: { toBer(): { buffer: Buffer } } } }
  BerReader: new (bytes: Buffer) => unknown
}

function readBack(operation: Buffer) {
  return LdapMessage.parse(new BerReader(tlv(TAG.sequence, integer(7), operation)))
}

const searchOf = (ldap: typeof LDAP) =>
  new AddressSearch(listDefinition(GAL, ldap), ldap.query_timeout)

test('a search says what it should, whatever the address', () => {
  const search = searchOf({ ...LDAP, base: ['dc=corp,dc=test', 'ou=x,dc=corp'] })
  fc.assert(
    fc.property(fc.string({ unit: 'binary', minLength: 1, maxLength: 400 }), (address) => {
      const [one, two, ...more] = search.forAddresses([address, 'second@example.com'])
      assert.ok(one && two && more.length === 0)
      const request = readBack(one)
      assert.equal(request.baseObject.toString(), 'dc=corp,dc=test')
      assert.equal(request.scope, 2)
      assert.deepEqual(request.attributes, ['proxyaddresses', 'mail', 'msexchrequireauthtosendto'])
      const bytes = one.toString('latin1')
      // A value that is of another type, or loses its blanks, cannot be this address.
      const isTyped = address === address.trimEnd()
      const isAlone = address === address.trim() && !/^[^"@\s]+:/.test(address)
      for (const value of [
        ...(isTyped ? [`smtp:${address}`] : []),
        ...(isAlone ? [address] : []),
      ]) {
        assert.ok(bytes.includes(Buffer.from(value).toString('latin1')))
      }
      assert.deepEqual(
        request.filter.clauses.map(({ attribute }) => attribute),
        [
          ...(isTyped ? ['proxyAddresses'] : []),
          ...(isAlone ? ['proxyAddresses', 'mail'] : []),
          ...['proxyAddresses', 'proxyAddresses', 'mail'],
        ],
      )
    }),
  )
})

test('requests that open and close a connection are those of ldapjs', () => {
  const { BindRequest, ExtendedRequest, UnbindRequest, AbandonRequest } =
    ldapjs as unknown as Record<
      string,
      new (
        options: object,
      ) => { toBer(): { readonly buffer: Buffer } }
    >
  const expected = (Request: typeof BindRequest, options: object) => {
    assert.ok(Request)
    return new Request(options).toBer().buffer.toString('hex')
  }
  for (const messageId of [1, 127, 128, 70_000, 2 ** 31 - 1]) {
    for (const [name, credentials] of [
      ['cn=reader,dc=corp,dc=test', 'secret'],
      ['CORP\\läser', 'pässwörd'.repeat(40)],
    ] as const) {
      assert.equal(
        bindRequest(messageId, name, credentials).toString('hex'),
        expected(BindRequest, { messageId, name, credentials }),
      )
    }
    assert.equal(
      startTlsRequest(messageId).toString('hex'),
      expected(ExtendedRequest, { messageId, requestName: '1.3.6.1.4.1.1466.20037' }),
    )
    assert.equal(unbindRequest(messageId).toString('hex'), expected(UnbindRequest, { messageId }))
    assert.equal(
      abandonRequest(messageId, 300).toString('hex'),
      expected(AbandonRequest, { messageId, abandonId: 300 }),
    )
  }
})

test('filters are encoded as ldapjs does, where it does so rightly', () => {
  const FILTERS = [
    '(objectClass=*)',
    '(mail=alice@example.com)',
    '(&(objectClass=person)(|(a=b)(c>=d)(!(e<=f)))(g~=h))',
    '(cn=a*b*c)',
    '(cn=*b*)',
    '(cn:dn:=x)',
    '(userAccountControl:1.2.840.113556.1.4.803:=2)',
    '(memberOf:1.2.840.113556.1.4.1941:=CN=Mail Users,OU=Groups,DC=corp,DC=test)',
  ]
  for (const filter of FILTERS) {
    const theirs = (
      ldapjs.parseFilter(filter) as unknown as { toBer(): { buffer: Buffer } }
    ).toBer()
    assert.equal(filterFromText(filter).toString('hex'), theirs.buffer.toString('hex'), filter)
  }
})

test('filters that ldapjs does not parse', () => {
  const bytes = (filter: string) => filterFromText(filter).toString('latin1')
  // RFC 4526 §2: absolute true and false.
  assert.equal(bytes('(&)'), '\u00a0\u0000')
  assert.equal(bytes('(|)'), '\u00a1\u0000')
  assert.equal(bytes('(l=)'), '\u00a3\u0005\u0004\u0001l\u0004\u0000')
  assert.equal(bytes('(2.5.4.7=q)'), '\u00a3\u000c\u0004\u00072.5.4.7\u0004\u0001q')
  assert.equal(bytes('(& (a=b) (c=d) )'), bytes('(&(a=b)(c=d))'))
  const names = attributesOfFilter('(&(a=b)(!(|(c;x=*)(2.5.4.7>=1)))(:2.4.6:=v)(d:dn:=v)(a=c))')
  assert.deepEqual(names, ['a', 'c;x', '2.5.4.7', 'd'])
})

test('escapes in filters are the bytes they stand for', () => {
  const value = (filter: string) => filterFromText(filter).toString('latin1')
  assert.ok(value('(cn=a\\2ab\\28c\\29\\5c)').endsWith('a*b(c)\\'))
  assert.ok(value('(cn=ü)').endsWith('\u00c3\u00bc'))
  assert.ok(value('(cn=\\c3\\bc*)').endsWith('\u00c3\u00bc'))
  assert.ok(value('(cn=*ü*\\2a*)').endsWith('\u00c3\u00bc\u0081\u0001*'))
  assert.ok(value('(objectGUID=\\00\\ff\\80)').endsWith('\u0000\u00ff\u0080'))
  assert.ok(value('(memberOf:1.2.3:=CN=x \\28y\\29,DC=a)').endsWith('CN=x (y),DC=a'))
})

test('what is wrong with a filter or a DN is said', () => {
  const RIGHT = [
    ...['(mail=*)', 'objectClass=person', '(&(a=b)(!(c=d)))', '(|)', '(&)', '(&(|)(a=b))'],
    ...['(l=)', '(2.5.4.7=q)', '(2.5.4.7;lang-en=q)', '(cn;lang-en=x)', '(l>=)', '(:dn:2.4.6:=x)'],
    ...['( & (a=b) ( ! (c=d) ) )', '(cn:=x)', '(a=b:=c)', '(cn=a b*)', '(a= b)'],
  ]
  for (const right of RIGHT) assert.equal(filterProblem(right), undefined, right)
  const WRONG = [
    ...['', '(', '()', '(mail=*', '((a=b))', '(a=\\zz)', 'nonsense', '(a=b))', '(a=b)(c=d)'],
    ...[
      '(!)',
      '(!(a=b)(c=d))',
      '(!a=b)',
      '(=x)',
      '(2=x)',
      '(a=**)',
      '(&(a=b)c=d)',
      '(:=x)',
      '(a b=c)',
    ],
  ]
  for (const wrong of WRONG) {
    assert.equal(typeof filterProblem(wrong), 'string', wrong)
  }
  for (const right of ['', 'dc=corp,dc=test', 'OU=Müller\\, Söhne,DC=corp', 'CN=a+SN=b,DC=x']) {
    assert.equal(dnProblem(right), undefined)
  }
  for (const wrong of ['corp.test', 'dc=corp,', ',dc=corp']) {
    assert.equal(typeof dnProblem(wrong), 'string', wrong)
  }
})

test('no bytes that a server can send do more than end the connection', async () => {
  let answer = Buffer.alloc(0)
  const server = createServer((socket) => {
    socket.on('error', () => {})
    socket.on('data', () => socket.end(answer))
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as AddressInfo
  const [operation = Buffer.alloc(0)] = searchOf(LDAP).forNobody()
  const socket = () =>
    new Promise<Socket>((resolve, reject) => {
      const connected = connect(port, '127.0.0.1', () => resolve(connected)).once('error', reject)
    })

  const done = Buffer.from('300c02010165070a010004000400', 'hex')
  const entry = Buffer.from(
    '30140201016 40f0403636e3d30083006040161310161'.replaceAll(' ', ''),
    'hex',
  )
  const piece = fc.oneof(
    fc.uint8Array({ maxLength: 60 }).map((bytes) => Buffer.from(bytes)),
    fc.constantFrom(done, entry),
    // One byte changed, or the end missing.
    fc.tuple(fc.constantFrom(done, entry), fc.nat(30), fc.nat(255)).map(([bytes, at, value]) => {
      const changed = Buffer.from(bytes)
      changed[at % changed.length] = value
      return changed
    }),
    fc.tuple(fc.constantFrom(done, entry), fc.nat(30)).map(([bytes, at]) => bytes.subarray(0, at)),
  )
  await fc.assert(
    fc.asyncProperty(fc.array(piece, { maxLength: 5 }), async (pieces) => {
      answer = Buffer.concat(pieces)
      const connection = new Connection(await socket())
      try {
        const result = await connection.search(operation, 1000)
        assert.equal(typeof result.code, 'number')
      } catch (error) {
        assert.ok(error instanceof DirectoryError, String(error))
      }
      connection.close()
    }),
    { numRuns: 400 },
  )
  await new Promise((resolve) => server.close(resolve))
})
