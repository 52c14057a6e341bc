// A directory server whose name has several addresses: far away, dead, or not listening.
import assert from 'node:assert/strict'
import { createServer, type Server } from 'node:net'
import { test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { connectTo } from '../../plugins/gal-relay/ldap/tcp'
import { startStalledPort } from '../support/stalled-port'

const never = () => new AbortController().signal
const named =
  (...addresses: string[]) =>
  async () =>
    addresses

async function listen(host: string, port = 0): Promise<Server & { readonly port: number }> {
  const server = createServer((socket) => socket.on('error', () => {}).end())
  await new Promise<void>((resolve) => server.listen(port, host, resolve))
  return Object.assign(server, { port: (server.address() as { port: number }).port })
}

test('an address that takes longer than Node gives one is reached, another being dead', async () => {
  const far = await startStalledPort(0, '127.0.0.2')
  const dead = await startStalledPort(far.port, '127.0.0.3')
  try {
    const connecting = connectTo('dir.test', far.port, never(), named('127.0.0.2', '127.0.0.3'))
    // Node gives up an address after 250 ms. The system asks again a second after the first time.
    await sleep(600)
    far.resume()
    const socket = await connecting
    assert.equal(socket.remoteAddress, '127.0.0.2')
    socket.destroy()
  } finally {
    await Promise.all([far.stop(), dead.stop()])
  }
})

test('an address after a dead one is reached without waiting for that', async () => {
  const dead = await startStalledPort(0, '127.0.0.2')
  const server = await listen('127.0.0.3', dead.port)
  try {
    const socket = await connectTo('dir.test', dead.port, never(), named('127.0.0.2', '127.0.0.3'))
    assert.equal(socket.remoteAddress, '127.0.0.3')
    socket.destroy()
  } finally {
    server.close()
    await dead.stop()
  }
})

test('where nothing listens is passed over, and said when that is all', async () => {
  const server = await listen('127.0.0.3')
  const { port } = server
  const socket = await connectTo('dir.test', port, never(), named('127.0.0.2', '127.0.0.3'))
  assert.equal(socket.remoteAddress, '127.0.0.3')
  socket.destroy()
  await new Promise((resolve) => server.close(resolve))
  const none = named('127.0.0.2', '127.0.0.3')
  await assert.rejects(connectTo('dir.test', port, never(), none), /ECONNREFUSED 127\.0\.0\.3/)
  await assert.rejects(connectTo('dir.test', port, never(), named()), /has no address/)
  await assert.rejects(connectTo('gal-relay.invalid', port, never()), /ENOTFOUND|EAI_AGAIN/)
})

test('an attempt ends when it is not wanted any more, at the name look-up too', async () => {
  const dead = await startStalledPort()
  try {
    for (const resolve of [named('127.0.0.1'), () => new Promise<string[]>(() => {})]) {
      const attempt = new AbortController()
      const connecting = connectTo('dir.test', dead.port, attempt.signal, resolve)
      attempt.abort()
      await assert.rejects(connecting, /too late/)
      await assert.rejects(connectTo('dir.test', dead.port, attempt.signal, resolve), /too late/)
    }
  } finally {
    await dead.stop()
  }
})
