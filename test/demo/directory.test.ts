// The directory that the demo and the tests without slapd rely on answers as directories do.
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { after, before, test } from 'node:test'
import ldap from 'ldapjs'
import { type Directory, samplePeople, startDirectory } from '../../demo/directory'
import { readLdif } from '../../demo/ldif'

let directory: Directory
let client: ldap.Client

before(async () => {
  directory = await startDirectory(samplePeople())
  client = ldap.createClient({ url: directory.url })
  await once(client, 'connect')
})
after(async () => {
  client.destroy()
  await directory.stop()
})

interface Found {
  readonly names: string[]
  readonly entries: Record<string, string[]>[]
  readonly status: number
}

function search(options: ldap.SearchOptions, base = directory.base, by = client): Promise<Found> {
  return new Promise((resolve, reject) => {
    const names: string[] = []
    const entries: Record<string, string[]>[] = []
    by.search(base, { scope: 'sub', ...options }, (error, response) => {
      if (error) return reject(error)
      response.on('searchEntry', ({ pojo }) => {
        names.push(pojo.objectName.split(/[=,]/)[1] ?? '')
        entries.push(Object.fromEntries(pojo.attributes.map((a) => [a.type, a.values])))
      })
      response.on('error', ({ code }: { code: number }) =>
        resolve({ names, entries, status: code }),
      )
      response.on('end', (result) => resolve({ names, entries, status: result?.status ?? -1 }))
    })
  })
}

const named = async (filter: string) => (await search({ filter })).names

test('filters compare without regard to case', async () => {
  assert.deepEqual(await named('(proxyaddresses=smtp:ALICE@example.com)'), ['Alice Archer'])
  assert.deepEqual(await named('(mail=*@PARTNER.*)'), ['Petra Partner'])
  assert.deepEqual(await named('(mail=alice@*@example.com)'), [])
  assert.deepEqual(await named('(|(cn=Alice*)(&(cn=*smith)(mail=*)))'), [
    'Alice Archer',
    'Bob Smith',
  ])
  assert.deepEqual(await named('(&(objectClass=user)(!(cn=*a*)))'), ['Bob Smith'])
  assert.deepEqual(await named('(msExchRequireAuthToSendTo=*)'), ['All Staff'])
  assert.deepEqual(await named('(nonesuch=*)'), [])
})

test('scopes: the entry, its children, the whole tree', async () => {
  assert.equal((await search({ scope: 'base' })).names.length, 1)
  assert.deepEqual((await search({ scope: 'one' })).names, ['People'])
  const { length } = samplePeople()
  assert.equal((await search({})).names.length, length)
  assert.equal((await search({}, '')).names.length, length)
  assert.equal((await search({}, 'OU=people, DC=example, DC=com')).names.length, length - 1)
  const NO_SUCH_OBJECT = 32
  assert.equal((await search({}, 'dc=nowhere')).status, NO_SUCH_OBJECT)
})

test('the root entry tells of the tree and of paging', async () => {
  const { entries } = await search({ scope: 'base' }, '')
  assert.deepEqual(entries[0]?.namingContexts, ['dc=example,dc=com'])
  assert.deepEqual(entries[0]?.supportedControl, ['1.2.840.113556.1.4.319'])
})

test('only the attributes that were asked for', async () => {
  const filter = '(cn=Bob Smith)'
  const { entries } = await search({ filter, attributes: ['MAIL', 'cn'] })
  assert.deepEqual(entries, [{ cn: ['Bob Smith'], mail: ['bob.smith@example.com'] }])
  const all = await search({ filter })
  assert.deepEqual(all.entries[0]?.proxyAddresses, [
    'SMTP:bob.smith@example.com',
    'smtp:bob@example.com',
  ])
})

test('a size limit ends the search early, pages bring everything', async () => {
  const SIZE_LIMIT_EXCEEDED = 4
  const limited = await search({ sizeLimit: 3 })
  assert.deepEqual([limited.names.length, limited.status], [3, SIZE_LIMIT_EXCEEDED])
  const { length } = samplePeople()
  const before = directory.searches
  const paged = await search({ paged: { pageSize: 3 } })
  assert.deepEqual([paged.names.length, paged.status], [length, 0])
  assert.equal(directory.searches - before, Math.ceil(length / 3))
})

test('with an account, only who is bound may search', async () => {
  const closed = await startDirectory(samplePeople(), {
    bindDn: 'cn=reader,dc=example,dc=com',
    bindPassword: 'secret',
  })
  const reader = ldap.createClient({ url: closed.url })
  const bind = (dn: string, password: string) =>
    new Promise<number>((resolve) => {
      reader.bind(dn, password, (error) => resolve(error?.code ?? 0))
    })
  try {
    const [SUCCESS, INVALID_CREDENTIALS, INSUFFICIENT_ACCESS_RIGHTS] = [0, 49, 50]
    const mayRead = async () => (await search({}, closed.base, reader)).status
    assert.equal(await bind('', ''), SUCCESS)
    assert.equal(await mayRead(), INSUFFICIENT_ACCESS_RIGHTS)
    assert.equal(await bind('cn=reader,dc=example,dc=com', 'wrong'), INVALID_CREDENTIALS)
    assert.equal(await mayRead(), INSUFFICIENT_ACCESS_RIGHTS)
    assert.equal(await bind('CN=reader,DC=example,DC=com', 'secret'), SUCCESS)
    assert.equal(await mayRead(), SUCCESS)
  } finally {
    reader.destroy()
    await closed.stop()
  }
})

test('LDIF: comments, folded lines, base64, and what is none', () => {
  assert.deepEqual(
    readLdif('# a\ndn: cn=x\ncn: lo\n ng\n# b\nmail:: w7xAeC5kZQ==\nmail: b@x.de\n'),
    [{ dn: 'cn=x', attributes: { cn: ['long'], mail: ['ü@x.de', 'b@x.de'] } }],
  )
  assert.throws(() => readLdif('dn: cn=x\nwhat is this\n'), /not LDIF: what is this/)
  assert.throws(() => readLdif('cn: x\n'), /without a dn/)
})
