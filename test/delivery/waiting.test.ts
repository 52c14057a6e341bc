// Mail that waits for its next hop survives restarts. Each attempt goes by the rows of that moment, and
// when the row is gone, to the next hops that the message was accepted with.
import assert from 'node:assert/strict'
import { after, afterEach, before, describe, it } from 'node:test'
import { type Gateway, startGateway } from '../support/gateway'
import { startLmtp } from '../support/lmtp-server'
import { freePort } from '../support/ports'
import { skipWithout } from '../support/programs'
import { type SmtpSink, startSink } from '../support/smtp-sink'
import { until } from '../support/until'

const MESSAGE = 'From: a@sender.test\r\nSubject: waiting\r\n\r\nHello.\r\n'

describe('mail that waits', { skip: skipWithout('smtp-sink') }, () => {
  let other: SmtpSink
  let gateway: Gateway
  let down: number
  // Each test has its own domains.
  const row = (domain: string, port: number) => `${domain} = inbound smtp://127.0.0.1:${port}`
  const people = ['stays', 'moves', 'gone', 'plain', 'lmtp', 'full', 'renamed'].flatMap((name) => [
    `one@${name}.test`,
    `two@${name}.test`,
    `three@${name}.test`,
  ])

  before(async () => {
    other = await startSink()
    down = await freePort()
    gateway = await startGateway({ people, routes: [] })
  })
  after(async () => {
    await gateway?.stop()
    await other?.stop()
  })
  afterEach(() => empty())

  async function send(...to: string[]): Promise<void> {
    const client = await gateway.client()
    const { data } = await client.transaction('a@sender.test', to, MESSAGE)
    assert.equal(data?.code, 250, data?.line)
    await client.quit()
  }
  const deferred = async (from = 0) => {
    await gateway.waitForLog(/Temp failing/, undefined, from)
  }
  /** The recipients of its messages, once that many have arrived. */
  const sunk = async (sink: SmtpSink, count: number) =>
    (await sink.taken(count)).flatMap(({ rcpt_to }) => rcpt_to).sort()
  const empty = () => until(() => gateway.queueFiles().length === 0, 'the queue gets empty')

  it('survives a shutdown and a kill', async () => {
    await gateway.setRoutes([row('stays.test', down)])
    await send('one@stays.test')
    await deferred()
    await gateway.restart()
    await send('two@stays.test')
    await deferred()
    await gateway.restart('SIGKILL')
    const sink = await startSink({ port: down })
    try {
      await empty()
      assert.deepEqual(await sunk(sink, 2), ['one@stays.test', 'two@stays.test'])
    } finally {
      await sink.stop()
    }
  })

  it('moves if its row names another host, and keeps its host if the row is gone', async () => {
    const routes = [row('gone.test', down), row('plain.test', down), row('renamed.test', down)]
    await gateway.setRoutes([row('moves.test', down), ...routes])
    const from = gateway.log().length
    await send('one@moves.test', 'one@gone.test', 'one@plain.test', 'one@renamed.test')
    await deferred(from)
    await gateway.setRoutes([
      row('moves.test', other.port),
      'plain.test = inbound',
      'renamed.test = reroute plain.test',
    ])
    await until(() => gateway.queueFiles().length === 3, 'one of them has moved')
    assert.deepEqual(await sunk(other, 1), ['one@moves.test'])
    const sink = await startSink({ port: down })
    try {
      await empty()
      assert.deepEqual(await sunk(sink, 3), ['one@gone.test', 'one@plain.test', 'one@renamed.test'])
    } finally {
      await sink.stop()
    }
  })

  it('goes recipient by recipient after its row has been changed to an LMTP host', async () => {
    let full = true
    const lmtp = await startLmtp((recipient) =>
      full && recipient.startsWith('two') ? '452 4.2.2 mailbox full' : '250 2.0.0 OK',
    )
    try {
      await gateway.setRoutes([row('lmtp.test', down)])
      const from = gateway.log().length
      await send('one@lmtp.test', 'two@lmtp.test', 'three@lmtp.test')
      await deferred(from)
      await gateway.setRoutes([`lmtp.test = inbound lmtp://127.0.0.1:${lmtp.port}`])
      await until(() => lmtp.taken.length === 2, 'two of three are taken')
      full = false
      await empty()
      assert.deepEqual([...lmtp.taken].sort(), [
        'one@lmtp.test',
        'three@lmtp.test',
        'two@lmtp.test',
      ])
      assert.doesNotMatch(gateway.log().slice(from), /\[CRIT\]|bouncing mail/)
    } finally {
      await lmtp.stop()
    }
  })

  it('reaches each recipient behind an LMTP host once, whichever of them is deferred', async () => {
    let full = true
    const lmtp = await startLmtp((recipient) =>
      full && recipient.startsWith('two') ? '452 4.2.2 mailbox full' : '250 2.0.0 OK',
    )
    try {
      await gateway.setRoutes([`full.test = inbound lmtp://127.0.0.1:${lmtp.port}`])
      const from = gateway.log().length
      await send('one@full.test', 'two@full.test', 'three@full.test')
      await until(() => lmtp.taken.length === 2, 'two of three are taken')
      await deferred(from)
      full = false
      await empty()
      assert.deepEqual([...lmtp.taken].sort(), [
        'one@full.test',
        'three@full.test',
        'two@full.test',
      ])
    } finally {
      await lmtp.stop()
    }
  })
})
