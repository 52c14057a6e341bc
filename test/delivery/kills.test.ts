// 5,000 messages over three routes, while a next hop is killed and comes back, and Haraka is killed
// twice in the middle of its work: none is lost that was answered with 250, and none comes twice but
// those that were on their way when something was killed.
import assert from 'node:assert/strict'
import { after, before, describe, it } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { type Gateway, startGateway } from '../support/gateway'
import { skipWithout } from '../support/programs'
import { connectSmtp, type SmtpClient } from '../support/smtp'
import { type SmtpSink, startSink } from '../support/smtp-sink'
import { until } from '../support/until'

const MESSAGES = 5000
const CLIENTS = 20
const DOMAINS = ['a.test', 'b.test', 'c.test'] as const

describe('5,000 messages while servers are killed', { skip: skipWithout('smtp-sink') }, () => {
  let sinks: SmtpSink[]
  let gateway: Gateway

  before(async () => {
    sinks = [await startSink(), await startSink(), await startSink({ lmtp: true })]
    const [a, b, c] = sinks.map(({ port }) => port)
    gateway = await startGateway({
      people: DOMAINS.map((domain) => `r@${domain}`),
      routes: [
        `a.test = inbound smtp://127.0.0.1:${a}`,
        `b.test = always-relay smtp://127.0.0.1:${b}`,
        `c.test = inbound lmtp://127.0.0.1:${c}`,
      ],
      outboundIni: ['temp_fail_intervals=5s*1000', 'concurrency_max=50'],
      logLevel: 'warn',
    })
  })
  after(async () => {
    await gateway?.stop()
    for (const sink of sinks ?? []) await sink.stop()
  })

  it('arrive, each at its host', { timeout: 300_000 }, async (t) => {
    const started = Date.now()
    const waiting = Array.from({ length: MESSAGES }, (_, id) => id)
    const accepted = new Set<number>()
    /** Sent whole and not answered, or in Haraka's queue, at the moment of a kill. */
    const onTheirWay = new Set<number>()

    await Promise.all([
      ...Array.from({ length: CLIENTS }, () => sender(gateway.port, waiting, accepted, onTheirWay)),
      kills(accepted, onTheirWay),
    ])
    assert.equal(accepted.size, MESSAGES)
    await until(() => gateway.queueFiles().length === 0, 'the queue gets empty', 120_000)

    const arrived = () =>
      new Set(
        sinks.flatMap((sink) => sink.messages().map(({ headers }) => idOf(headers.join('\n')))),
      )
    await until(() => arrived().size >= MESSAGES, '').catch(() => {})
    const copies = new Map<number, number>()
    for (const [index, sink] of sinks.entries()) {
      for (const { headers, rcpt_to } of sink.messages()) {
        const id = idOf(headers.join('\n'))
        assert.deepEqual([id % 3, rcpt_to], [index, [`r@${DOMAINS[index]}`]])
        copies.set(id, (copies.get(id) ?? 0) + 1)
      }
    }
    const lost = [...accepted].filter((id) => !copies.has(id))
    const twice = [...copies].filter(([, count]) => count > 1).map(([id]) => id)
    t.diagnostic(
      `${MESSAGES} messages in ${((Date.now() - started) / 1000).toFixed(1)} s: ${lost.length} lost, ` +
        `${twice.length} more than once, of ${onTheirWay.size} that were on their way at a kill`,
    )
    assert.deepEqual(lost, [])
    assert.deepEqual(
      twice.filter((id) => !onTheirWay.has(id)),
      [],
    )
  })

  async function kills(accepted: Set<number>, onTheirWay: Set<number>): Promise<void> {
    const at = (count: number) =>
      until(() => accepted.size >= count, `${count} messages are accepted`, 120_000)
    const inQueue = () => {
      for (const { body } of gateway.outboundMessages())
        onTheirWay.add(idOf(body.toString('latin1')))
    }
    const killHaraka = async () => {
      await gateway.end('SIGKILL')
      inQueue()
      await gateway.restart()
    }
    await at(1000)
    await killHaraka()
    await at(2000)
    await sinks[0]?.end('SIGKILL')
    inQueue()
    await at(3000)
    await sinks[0]?.start()
    await at(4000)
    await killHaraka()
  }
})

const idOf = (text: string) => Number(/^Subject: (\d+)\r?$/m.exec(text)?.[1] ?? Number.NaN)

/** Sends until nothing is left, as a mail server does: what was not answered with 250 again. */
async function sender(
  port: number,
  waiting: number[],
  accepted: Set<number>,
  onTheirWay: Set<number>,
): Promise<void> {
  let client: SmtpClient | undefined
  for (let id = waiting.shift(); id !== undefined; id = waiting.shift()) {
    while (!accepted.has(id)) {
      try {
        client ??= await connected(port)
        const from = `s${id}@sender.test`
        const message = `Subject: ${id}\r\n\r\n${'Hello.\r\n'.repeat(50)}`
        const { data } = await client.transaction(from, [`r@${DOMAINS[id % 3]}`], message)
        if (data?.code === 250) accepted.add(id)
      } catch {
        onTheirWay.add(id)
        client?.close()
        client = undefined
        await sleep(100)
      }
    }
  }
  await client?.quit()
}

async function connected(port: number): Promise<SmtpClient> {
  const client = await connectSmtp({ port })
  await client.ehlo()
  return client
}
