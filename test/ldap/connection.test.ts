// How long a request waits: until its time is over for the server, not for a process that was busy
// with something else while the answer lay there.
import assert from 'node:assert/strict'
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'
import { test } from 'node:test'
import { integer, TAG, tlv } from '../../plugins/gal-relay/ldap/ber'
import { Connection } from '../../plugins/gal-relay/ldap/connection'
import { present } from '../../plugins/gal-relay/ldap/filter'
import { openConnection } from '../../plugins/gal-relay/ldap/open'
import { attributeList, SCOPE, searchRequest } from '../../plugins/gal-relay/ldap/search-request'
import { LDAP } from '../gal/lists'

const SEARCH = searchRequest({
  base: '',
  scope: SCOPE.base,
  filter: present('objectClass'),
  attributes: attributeList(['1.1']),
})
/** SearchResultDone with success, for the first request. */
const DONE = tlv(TAG.sequence, integer(1), Buffer.from('65070a010004000400', 'hex'))
/** BindResponse with success, for the first request. */
const BOUND = tlv(TAG.sequence, integer(1), Buffer.from('61070a010004000400', 'hex'))
const TIMEOUT = 100

function block(milliseconds: number): void {
  const end = performance.now() + milliseconds
  while (performance.now() < end);
}

async function withConnection(
  answer: (socket: Socket) => void,
  run: (connection: Connection) => Promise<void>,
): Promise<void> {
  const server = createServer((socket) => {
    socket.on('error', () => {}).on('data', () => answer(socket))
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const socket = connect((server.address() as AddressInfo).port, '127.0.0.1')
  await new Promise((resolve) => socket.once('connect', resolve))
  const connection = new Connection(socket)
  try {
    await run(connection)
  } finally {
    connection.close()
    await new Promise((resolve) => server.close(resolve))
  }
}

test('an answer that came in time counts, though this process was busy meanwhile', () =>
  withConnection(
    (socket) => {
      socket.write(DONE)
      block(3 * TIMEOUT)
    },
    async (connection) => {
      assert.equal((await connection.search(SEARCH, TIMEOUT)).code, 0)
    },
  ))

test('no answer in time is none', () =>
  withConnection(
    () => {},
    async (connection) => {
      await assert.rejects(connection.search(SEARCH, TIMEOUT), /no answer in 100 ms/)
      assert.equal(connection.inFlight, 0)
    },
  ))

test('a connection is opened, though this process was busy when that should have been over', async () => {
  const server = createServer((socket) => {
    socket.on('error', () => {}).on('data', () => socket.write(BOUND))
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as AddressInfo
  const endpoint = { tls: false, host: '127.0.0.1', port, name: 'here' }
  const settings = { ...LDAP, connect_timeout: TIMEOUT }
  const opened = openConnection(endpoint, settings, new AbortController().signal)
  block(3 * TIMEOUT)
  const connection = await opened.finally(() => server.close())
  assert.equal(connection.ended, undefined)
  connection.close()
})
