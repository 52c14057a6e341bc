// Messages whose recipients go different ways. A real Postfix sends them, and sends deferred recipients
// again by itself. Each recipient gets one copy, and no copy names the recipients of another.
import assert from 'node:assert/strict'
import { after, before, beforeEach, describe, it } from 'node:test'
import { type Gateway, LET_LOCAL_RELAY, startGateway } from '../support/gateway'
import type { DeliveredMessage } from '../support/haraka'
import { type Postfix, skipWithoutPostfix, startPostfix } from '../support/postfix'
import { skipWithout } from '../support/programs'
import { connectSmtp } from '../support/smtp'
import { type SmtpSink, startSink } from '../support/smtp-sink'
import { until } from '../support/until'

const message = (subject: string) =>
  `From: a@sender.test\r\nTo: anna@in.test\r\nSubject: ${subject}\r\nMessage-Id: <${subject}@sender.test>\r\n\r\nHello.\r\n`

describe('a split message', { skip: skipWithout('smtp-sink') }, () => {
  let sinks: SmtpSink[]
  let hop: SmtpSink
  let foreign: SmtpSink
  let gateway: Gateway
  let delivered: number
  const domains = Array.from({ length: 10 }, (_, index) => `d${index}.test`)
  const people = domains.flatMap((domain) =>
    Array.from({ length: 10 }, (_, index) => `r${index}@${domain}`),
  )

  before(async () => {
    sinks = await Promise.all(domains.map(() => startSink()))
    const lmtp = await startSink({ lmtp: true })
    await sinks[9]?.stop()
    sinks[9] = lmtp
    hop = await startSink()
    foreign = await startSink()
    const routeTo = (index: number) => {
      const url = `${index === 9 ? 'lmtp' : 'smtp'}://127.0.0.1:${sinks[index]?.port}`
      return [`inbound ${url}`, `shared ${url}`, `always-relay ${url}`, `forward ${url}`][index % 4]
    }
    gateway = await startGateway({
      people: [
        ...people.filter((address) => !/@d[159]\./.test(address)),
        ...['anna@in.test', 'bob@hop.test'],
      ],
      routes: [
        'in.test = inbound',
        `hop.test = inbound smtp://127.0.0.1:${hop.port}`,
        `foreign.test = forward smtp://127.0.0.1:${foreign.port}`,
        ...domains.map((domain, i) => `${domain} = ${routeTo(i)}`),
      ],
    })
  })
  beforeEach(() => {
    delivered = gateway.delivered().length
  })
  after(async () => {
    await gateway?.stop()
    for (const sink of [...(sinks ?? []), hop, foreign]) await sink?.stop()
  })

  async function send(subject: string, ...to: string[]): Promise<void> {
    const client = await gateway.client()
    const { rcpt, data } = await client.transaction('a@sender.test', to, message(subject))
    for (const { code, line } of rcpt) assert.equal(code, 250, line)
    assert.equal(data?.code, 250, data?.line)
    await client.quit()
    await until(
      () => gateway.queueFiles().length === 0,
      () => gateway.log().slice(-3000),
    )
  }

  it('to 100 recipients over 10 routes reaches each at its host, once', async () => {
    // In an order that mixes the routes.
    const mixedUp = [...people].sort((a, b) => a.localeCompare(b))
    await send('hundred', ...mixedUp)
    for (const [index, sink] of sinks.entries()) {
      const arrived = await sink.taken(index === 9 ? 10 : 1)
      assert.deepEqual(
        arrived.flatMap(({ rcpt_to }) => rcpt_to).sort(),
        people.filter((address) => address.endsWith(`@${domains[index]}`)),
      )
      // By LMTP each recipient has its own transaction.
      assert.equal(arrived.length, index === 9 ? 10 : 1)
      for (const { body, mail_from } of arrived) {
        assert.deepEqual([mail_from, body], ['a@sender.test', 'Hello.\n'])
      }
    }
    assert.equal(gateway.delivered().length, delivered)
  })

  it('names no other recipient in any copy, and has the same headers as an unsplit message', async () => {
    await send('alone', 'anna@in.test')
    await send('alone', 'anna@in.test', 'bcc@d3.test', 'r1@d0.test')
    const [alone, split, ...others] = gateway.delivered().slice(delivered)
    assert.ok(alone && split && others.length === 0)
    const headers = ({ body }: DeliveredMessage) =>
      body
        .toString()
        .replace(/\r\n\r\n[\s\S]*$/, '')
        .replace(/\r\n\t/g, ' ')
        // These differ from one transaction to the next.
        .replace(/ id \S+| \(gal-relay [^)]*\)|;[^;]*$/gm, '')
    assert.equal(headers(split), headers(alone))
    const copies = () => [
      split.body.toString(),
      ...sinks.flatMap((sink) =>
        sink
          .messages()
          .filter(({ headers }) => headers.includes('Subject: alone'))
          .map((copy) => [...copy.headers, copy.body].join('\n')),
      ),
    ]
    await until(() => copies().length >= 3, 'two sinks have it')
    assert.equal(copies().length, 3)
    for (const copy of copies()) assert.doesNotMatch(copy, /bcc@|r1@/)
  })

  describe('by a real Postfix', { skip: skipWithoutPostfix() }, () => {
    let postfix: Postfix
    before(async () => {
      postfix = await startPostfix({ relayTo: gateway.port })
    })
    after(() => postfix?.stop())

    for (const mixed of ['split', 'defer'] as const) {
      it(`to an inbound, a hop and a foreign recipient reaches each once, with mixed = ${mixed}`, async () => {
        await gateway.setIni(`[routing]\nmixed = ${mixed}\n${LET_LOCAL_RELAY}`)
        const from = postfix.log().length
        const client = await connectSmtp({ port: postfix.port })
        await client.ehlo()
        const to = ['x@foreign.test', 'anna@in.test', 'bob@hop.test']
        const { data } = await client.transaction('a@sender.test', to, message(mixed))
        assert.equal(data?.code, 250)
        await client.quit()
        await until(
          async () => (await postfix.queue()).length === 0,
          () => `${postfix.log().slice(-3000)}\n${gateway.log().slice(-2000)}`,
        )
        await until(() => gateway.queueFiles().length === 0, 'outbound delivers')
        const copies = (sink: SmtpSink) =>
          sink.messages().filter(({ headers }) => headers.includes(`Subject: ${mixed}`))
        await until(() => [hop, foreign].every((sink) => copies(sink).length > 0))
        const arrived = [
          ...gateway
            .delivered()
            .slice(delivered)
            .map(({ rcpt_to }) => ['queue', ...rcpt_to]),
          ...copies(hop).map(({ rcpt_to }) => ['hop', ...rcpt_to]),
          ...copies(foreign).map(({ rcpt_to }) => ['foreign', ...rcpt_to]),
        ]
        assert.deepEqual(arrived, [
          ['queue', 'anna@in.test'],
          ['hop', 'bob@hop.test'],
          ['foreign', 'x@foreign.test'],
        ])
        const deferred =
          postfix
            .log()
            .slice(from)
            .match(/452[ -]4\.5\.3/g)?.length ?? 0
        assert.equal(deferred > 0, mixed === 'defer')
        await gateway.setIni(LET_LOCAL_RELAY)
      })
    }
  })
})
