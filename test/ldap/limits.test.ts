// A directory, or somebody in its place, that sends more than anybody needs: the look-up says that it
// could not be answered and why, reads no further, and others go on.
import assert from 'node:assert/strict'
import { type AddressInfo, createServer, type Socket } from 'node:net'
import { after, describe, it, test } from 'node:test'
import { integer, octets, TAG, tlv } from '../../plugins/gal-relay/ldap/ber'
import type { Connection } from '../../plugins/gal-relay/ldap/connection'
import type { Entry } from '../../plugins/gal-relay/ldap/entry'
import { present } from '../../plugins/gal-relay/ldap/filter'
import { Incoming } from '../../plugins/gal-relay/ldap/incoming'
import { bounded } from '../../plugins/gal-relay/ldap/limits'
import { openConnection } from '../../plugins/gal-relay/ldap/open'
import { attributeList, SCOPE, searchRequest } from '../../plugins/gal-relay/ldap/search-request'
import type { Sink } from '../../plugins/gal-relay/ldap/search-result'
import { LDAP, serverUrl, type TestList, testList } from '../gal/lists'

const SEARCH_ENTRY = 0x64
const SEARCH_DONE = 0x65
const REFERENCE = 0x73
const SUCCESS = Buffer.from('0a010004000400', 'hex')
const MIB = 1024 * 1024

const message = (id: number, ...parts: Buffer[]) => tlv(TAG.sequence, integer(id), ...parts)
const done = (id: number) => message(id, tlv(SEARCH_DONE, SUCCESS))

/** @param values encoded already */
function entry(id: number, dn: string, values: Buffer): Buffer {
  const attribute = tlv(TAG.sequence, octets('mail'), tlv(TAG.set, values))
  return message(id, tlv(SEARCH_ENTRY, octets(dn), tlv(TAG.sequence, attribute)))
}

const addresses = (...all: string[]) => Buffer.concat(all.map((address) => octets(address)))
/** Values of one byte. */
const shortValues = (count: number) => Buffer.alloc(3 * count, Buffer.from('040141', 'hex'))

interface Search {
  readonly id: number
  readonly socket: Socket
  has(address: string): boolean
}

interface RawLdap {
  readonly url: string
  readonly port: number
  readonly connections: number
  readonly abandoned: number
  stop(): Promise<void>
}

/** Answers with bytes. Binds always succeed. */
async function startRawLdap(answer: (search: Search) => void): Promise<RawLdap> {
  const sockets = new Set<Socket>()
  let connections = 0
  let abandoned = 0
  const server = createServer((socket) => {
    connections++
    sockets.add(socket)
    const incoming = new Incoming()
    socket.on('error', () => {})
    socket.on('data', (chunk) => {
      for (const outer of incoming.messages(chunk, () => true)) {
        const request = outer.expect(TAG.sequence).inside()
        const id = request.expect(TAG.integer).number()
        const tag = request.next()
        const body = request.bytes.subarray(request.start, request.end)
        if (tag === 0x60) socket.write(message(id, tlv(0x61, SUCCESS)))
        if (tag === 0x50) abandoned++
        if (tag === 0x63) answer({ id, socket, has: (address) => body.includes(address) })
      }
    })
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as AddressInfo
  return {
    port,
    url: `ldap://127.0.0.1:${port}`,
    get connections() {
      return connections
    },
    get abandoned() {
      return abandoned
    },
    stop: () =>
      new Promise((resolve) => {
        for (const socket of sockets) socket.destroy()
        server.close(() => resolve())
      }),
  }
}

/** Writes for as long as the other side reads, until `isEnough`. @returns bytes written, as a promise */
async function flood(socket: Socket, bytes: Buffer, isEnough: () => boolean): Promise<number> {
  let sent = 0
  while (!isEnough() && !socket.destroyed) {
    sent += bytes.length
    await new Promise<void>((resolve) => socket.write(bytes, () => resolve()))
  }
  return sent
}

describe('a look-up of which the answer is too large', () => {
  const stops: (() => Promise<unknown>)[] = []
  after(async () => {
    for (const stop of stops) await stop()
  })

  async function asked(
    answer: (search: Search) => void,
  ): Promise<{ list: TestList; server: RawLdap; warnings: () => string[] }> {
    const server = await startRawLdap((search) => {
      const { id, socket, has } = search
      // Somebody who is there whatever else is asked for.
      if (has('alice@corp.test')) socket.write(entry(id, 'cn=alice', addresses('alice@corp.test')))
      if (has('large@corp.test')) return answer(search)
      socket.write(done(id))
    })
    const list = testList(
      { url: [serverUrl(server.url)], connections: 1 },
      { attributes: ['mail'] },
    )
    stops.push(
      () => list.close(),
      () => server.stop(),
    )
    assert.equal(await list.ask('alice@corp.test'), 'found')
    const warnings = () => list.log.lines.filter((line) => line.startsWith('warn'))
    return { list, server, warnings }
  }

  for (const [what, answer, reason] of [
    [
      'a message of 15 MiB with five million values',
      ({ id, socket }: Search) => {
        socket.write(entry(id, 'cn=all', shortValues(5_000_000)))
        socket.write(done(id))
      },
      /an entry of 150000\d\d bytes is too large to be read/,
    ],
    [
      'an entry with a million values',
      ({ id, socket }: Search) => {
        socket.write(entry(id, 'cn=all', shortValues(1_000_000)))
        socket.write(done(id))
      },
      /cn=all has more than 25000 values/,
    ],
    [
      'many entries that hold much together',
      ({ id, socket }: Search) => {
        for (let i = 0; i < 900; i++) socket.write(entry(id, `cn=${i}`, shortValues(1000)))
      },
      /an answer of more than 50000 values is not read to its end/,
    ],
  ] as const) {
    it(`by ${what}`, async () => {
      const { list, server, warnings } = await asked(answer)
      const { state } = await list.answer('large@corp.test')
      assert.equal(state, 'unavailable')
      assert.equal(await list.ask('large@corp.test'), 'unavailable')
      assert.equal(warnings().length, 1, warnings().join('\n'))
      assert.match(warnings()[0] ?? '', reason)
      // The connection stays open, and answers for others.
      assert.equal(await list.ask('alice@corp.test'), 'found')
      assert.equal(await list.ask('nobody@corp.test'), 'absent')
      assert.equal(server.connections, 1)
    })
  }

  for (const [what, bytes] of [
    ['entries', (id: number) => entry(id, 'cn=one', addresses('one@corp.test'))],
    ['references', (id: number) => message(id, tlv(REFERENCE, octets('ldap://other.test')))],
    ['intermediate responses', (id: number) => message(id, tlv(0x79))],
  ] as const) {
    it(`by ${what} without end`, async () => {
      let sent: Promise<number> = Promise.resolve(0)
      let server: RawLdap | undefined
      const { list, ...rest } = await asked(({ id, socket }) => {
        const many = Buffer.concat(Array.from({ length: 100 }, () => bytes(id)))
        sent = flood(socket, many, () => server?.abandoned === 1)
      })
      server = rest.server
      assert.equal(await list.ask('large@corp.test'), 'unavailable')
      assert.ok((await sent) < 64 * MIB)
      assert.equal(await list.ask('alice@corp.test'), 'found')
      assert.equal(server.connections, 1)
    })
  }

  it('and yet shows the address: it is found', async () => {
    const { list } = await asked(({ id, socket }) => {
      socket.write(entry(id, 'cn=all', shortValues(1_000_000)))
      socket.write(entry(id, 'cn=large', addresses('large@corp.test')))
      socket.write(done(id))
    })
    assert.equal(await list.ask('large@corp.test'), 'found')
  })

  it('though it is a mailbox with 20,000 addresses: it is found', async () => {
    const all = Array.from({ length: 20_000 }, (_, i) => `large+${i}@branch-office.corp.test`)
    const { list } = await asked(({ id, socket }) => {
      socket.write(entry(id, 'cn=large', addresses(...all, 'large@corp.test')))
      socket.write(done(id))
    })
    assert.equal(await list.ask('large@corp.test'), 'found')
  })

  it('does not keep others from being looked up when it was asked for beside them', async () => {
    let size = 1
    const server = await startRawLdap(({ id, socket, has }) => {
      const grown = Buffer.concat([addresses('first@corp.test'), shortValues(size)])
      if (has('first@corp.test')) socket.write(entry(id, 'cn=first', grown))
      if (has('second@corp.test') || size === 1_000_000) {
        socket.write(entry(id, 'cn=second', addresses('second@corp.test')))
      }
      socket.write(done(id))
    })
    const list = testList({ url: [serverUrl(server.url)] }, { attributes: ['mail'] })
    stops.push(
      () => list.close(),
      () => server.stop(),
    )
    assert.equal(await list.ask('first@corp.test'), 'found')
    assert.equal(await list.ask('second@corp.test'), 'found')
    size = 1_000_000
    await list.ask('nobody@corp.test')
    assert.notEqual(await list.ask('second@corp.test'), 'absent')
    assert.equal(await list.ask('first@corp.test'), 'unavailable')
  })
})

describe('a connection', { timeout: 60_000 }, () => {
  const SEARCH = searchRequest({
    base: '',
    scope: SCOPE.base,
    filter: present('objectClass'),
    attributes: attributeList(['1.1']),
  })

  async function withServer(
    answer: (search: Search) => void,
    run: (connection: Connection) => Promise<void>,
  ): Promise<void> {
    const server = await startRawLdap(answer)
    const endpoint = { tls: false, host: '127.0.0.1', port: server.port, name: 'here' }
    const connection = await openConnection(endpoint, LDAP, new AbortController().signal)
    try {
      await run(connection)
    } finally {
      connection.close()
      await server.stop()
    }
  }

  it('ends when the server sends on and on what nobody asked for', () =>
    withServer(
      ({ socket }) => {
        const unasked = message(0x7ffffe, tlv(REFERENCE, octets('x'.repeat(10_000))))
        void flood(socket, unasked, () => false)
      },
      async (connection) => {
        await assert.rejects(connection.search(SEARCH, 60_000), /that nobody asked for/)
      },
    ))

  it('ends a reading of the list that has an entry without end', () =>
    withServer(
      ({ id, socket }) => socket.write(entry(id, 'cn=all', shortValues(5_000_000))),
      async (connection) => {
        const sink: Sink = { entry: () => assert.fail('no such entry is handed over') }
        const { result } = connection.stream(SEARCH, sink, { patience: 60_000 })
        await assert.rejects(result, /^DirectoryError: cn=all has more than 250000 values$/)
      },
    ))

  it('ends a reading of the list whose controls have no end', () =>
    withServer(
      ({ id, socket }) => {
        const controls = tlv(0xa0, ...Array(1000).fill(tlv(TAG.sequence, octets('1.2'))))
        socket.write(message(id, tlv(SEARCH_DONE, SUCCESS), controls))
      },
      async (connection) => {
        const { result } = connection.stream(SEARCH, { entry() {} }, { patience: 60_000 })
        await assert.rejects(result, /more than 100 controls/)
      },
    ))

  it('takes nothing that is nested for ever', () =>
    withServer(
      ({ id, socket }) => {
        let nested: Buffer = Buffer.alloc(0)
        for (let depth = 0; depth < 2000; depth++) nested = tlv(TAG.sequence, nested)
        socket.write(message(id, tlv(SEARCH_ENTRY, octets('cn=deep'), nested)))
      },
      async (connection) => {
        await assert.rejects(connection.search(SEARCH, 60_000), /not an LDAP answer/)
      },
    ))

  it('lets others have their turn while a large message comes', () =>
    withServer(
      ({ id, socket }) => {
        const large = entry(id, 'cn=all', shortValues(5_000_000))
        let at = 0
        const more = () => {
          socket.write(large.subarray(at, at + 65_536))
          at += 65_536
          if (at < large.length) setImmediate(more)
          else socket.write(done(id))
        }
        more()
      },
      async (connection) => {
        let turns = 0
        const timer = setInterval(() => turns++, 0)
        const { entries, leftOut } = await connection.search(SEARCH, 60_000)
        clearInterval(timer)
        assert.deepEqual(entries, [])
        assert.match(leftOut ?? '', /is too large to be read/)
        assert.ok(turns > 2)
      },
    ))
})

describe('messages that come in small parts', () => {
  // To copy for each part all that came before would take hours.
  it('are put together', { timeout: 60_000 }, () => {
    const incoming = new Incoming()
    const bytes = Buffer.concat([done(1), entry(2, 'cn=x', Buffer.alloc(2 * MIB, 'x')), done(3)])
    const ids: number[] = []
    for (let at = 0; at < bytes.length; at += 3) {
      for (const one of incoming.messages(bytes.subarray(at, at + 3), () => true)) {
        ids.push(one.expect(TAG.sequence).inside().expect(TAG.integer).number())
      }
    }
    assert.deepEqual(ids, [1, 2, 3])
    assert.ok(incoming.isEmpty)
  })

  it('are what they would be in one part, those left out that are not wanted', () => {
    const all = [10, 70_000, 5, 200_000, 0, 66_000, 30].map((size, i) =>
      message(i + 1, tlv(SEARCH_ENTRY, Buffer.alloc(size, i + 1))),
    )
    const bytes = Buffer.concat(all)
    for (const step of [1, 7, 1000, 65_536, 70_001, bytes.length]) {
      const incoming = new Incoming()
      const got: Buffer[] = []
      for (let at = 0; at < bytes.length; at += step) {
        const isWanted = (id: number) => id !== 4
        for (const one of incoming.messages(bytes.subarray(at, at + step), isWanted)) {
          got.push(Buffer.from(one.bytes.subarray(one.at, one.limit)))
        }
      }
      // Nobody is asked about a message that has come whole.
      const wanted = all.filter((_, i) => i !== 3 || step === bytes.length)
      assert.ok(Buffer.concat(got).equals(Buffer.concat(wanted)), `in parts of ${step}`)
      assert.ok(incoming.isEmpty)
    }
  })
})

test('a list that has no end is not read to it', () => {
  const seen: Entry[] = []
  const sink = bounded({ entry: (one) => void seen.push(one) }, { entries: 10, values: 15 })
  const one: Entry = { dn: 'cn=x', attributes: [{ type: 'mail', values: [Buffer.from('a')] }] }
  const two: Entry = { dn: 'cn=x', attributes: [{ type: 'mail', values: Array(2).fill('a') }] }
  for (let i = 0; i < 10; i++) sink.entry(one, [])
  assert.throws(() => sink.entry(one, []), /more than 10 entries or 15 values/)
  assert.equal(seen.length, 10)
  const another = bounded({ entry() {} }, { entries: 10, values: 15 })
  for (let i = 0; i < 7; i++) another.entry(two, [])
  assert.throws(() => another.entry(two, []), /more than 10 entries or 15 values/)
})
