// What must hold on every release of Haraka and of Node.js that is supported: the rulebook's cases, and mail
// that really goes out, by each way that the plugin knows.
import assert from 'node:assert/strict'
import { after, before, describe, it } from 'node:test'
import { startEmbeddedLdap } from '../support/embedded-ldap'
import { type Gateway, startGateway } from '../support/gateway'
import type { Haraka } from '../support/haraka'
import { freePort } from '../support/ports'
import { skipWithout } from '../support/programs'
import { type SinkMessage, type SmtpSink, startSink } from '../support/smtp-sink'
import { until } from '../support/until'
import { describeVectors } from '../support/vector-suite'

/** @param release undefined: as releases.ts in support says */
export function describeRelease(release: string | undefined): void {
  const name = release ? `Haraka ${release}` : 'this Haraka'
  describeVectors(`${name}, embedded LDAP directory`, (entries) => startEmbeddedLdap(entries), {
    release,
  })
  describe(`mail through ${name}`, { skip: skipWithout('smtp-sink') }, () => describeMail(release))
}

function describeMail(release: string | undefined): void {
  let hop: SmtpSink
  let foreign: SmtpSink
  let lmtp: SmtpSink
  let refusing: SmtpSink
  let gateway: Gateway
  let isRunning: () => boolean

  before(async () => {
    hop = await startSink()
    foreign = await startSink()
    lmtp = await startSink({ lmtp: true })
    refusing = await startSink({ args: ['-f', 'RCPT', '-B', '550 5.1.1 nobody here'] })
    const dead = await freePort()
    const url = (sink: SmtpSink) => `smtp://127.0.0.1:${sink.port}`
    gateway = await startGateway({
      release,
      people: [
        ...['anna@in.test', 'bob@hop.test', 'carl@lmtp.test', 'dora@lmtp.test'],
        ...['eve@refusing.test', 'fay@second.test'],
      ],
      plugins: ['test-retry', 'aliases', 'gal-relay', 'test-queue'],
      routes: [
        'in.test = inbound',
        `hop.test = inbound ${url(hop)}`,
        'old.test = reroute hop.test',
        `foreign.test = forward ${url(foreign)}`,
        `lmtp.test = inbound lmtp://127.0.0.1:${lmtp.port}`,
        `second.test = inbound smtp://127.0.0.1:${dead} ${url(hop)}`,
        `refusing.test = inbound ${url(refusing)}`,
        'old-refusing.test = reroute refusing.test',
      ],
      files: {
        'config/aliases.json': JSON.stringify({
          'team@in.test': { action: 'alias', to: 'eve@refusing.test' },
        }),
      },
    })
    isRunning = running(gateway)
  })
  after(async () => {
    await gateway?.stop()
    for (const sink of [hop, foreign, lmtp, refusing]) await sink?.stop()
  })

  async function send(subject: string, sender: string, ...to: string[]): Promise<void> {
    const client = await gateway.client()
    const text = `From: ${sender}\r\nSubject: ${subject}\r\n\r\nHello.\r\n.dot\r\n`
    const { rcpt, data } = await client.transaction(sender, to, text)
    for (const { code, line } of rcpt) assert.equal(code, 250, line)
    assert.equal(data?.code, 250, data?.line)
    await client.quit()
  }

  async function taken(sink: SmtpSink, subject: string, count = 1): Promise<SinkMessage[]> {
    const found = () =>
      sink.messages().filter(({ headers }) => headers.includes(`Subject: ${subject}`))
    await until(
      () => found().length >= count,
      () => gateway.log().slice(-4000),
    )
    for (const { body } of found()) assert.equal(body, 'Hello.\n.dot\n')
    return found()
  }

  it('goes to the queue plugins, a next hop and a foreign host, each its own recipients', async () => {
    await send('three', 'a@sender.test', 'anna@in.test', 'Bob@old.test', 'x@foreign.test')
    const arrived = [
      ...gateway.delivered().map(({ rcpt_to }) => rcpt_to),
      ...(await taken(hop, 'three')).map(({ rcpt_to }) => rcpt_to),
      ...(await taken(foreign, 'three')).map(({ rcpt_to }) => rcpt_to),
    ]
    assert.deepEqual(arrived, [['anna@in.test'], ['Bob@hop.test'], ['x@foreign.test']])
  })

  it('goes by LMTP once for each recipient', async () => {
    await send('lmtp', 'a@sender.test', 'carl@lmtp.test', 'dora@lmtp.test')
    const arrived = (await taken(lmtp, 'lmtp', 2)).flatMap(({ rcpt_to }) => rcpt_to)
    assert.deepEqual(arrived.sort(), ['carl@lmtp.test', 'dora@lmtp.test'])
  })

  it('goes to the second next hop when the first is down', async () => {
    await send('second', 'a@sender.test', 'fay@second.test')
    assert.equal((await taken(hop, 'second')).length, 1)
  })

  it('says SMTPUTF8 to the next hop', async () => {
    const client = await gateway.client()
    assert.equal((await client.mail('a@sender.test', 'SMTPUTF8')).code, 250)
    assert.equal((await client.rcpt('bob@hop.test')).code, 250)
    const { code, line } = await client.data('Subject: utf8\r\n\r\nHello.\r\n.dot\r\n')
    assert.equal(code, 250, line)
    await client.quit()
    const [message] = await taken(hop, 'utf8')
    assert.equal(message?.mail_from, 'a@sender.test')
  })

  it('that a next hop refuses comes back, and names its recipient as it was written', async () => {
    for (const to of ['Eve@old-refusing.test', 'team@in.test']) {
      const count = gateway.delivered().length
      await send(`no ${to}`, 'anna@in.test', to)
      await until(
        () => gateway.delivered().length > count,
        () => gateway.log().slice(-4000),
      )
      const bounce = gateway.delivered().at(-1)
      assert.deepEqual([bounce?.mail_from, bounce?.rcpt_to], ['', ['anna@in.test']])
      const text = bounce?.body.toString() ?? ''
      assert.match(text, new RegExp(`^Final-Recipient: rfc822;${to}\r$`, 'm'))
      assert.match(text, /^Diagnostic-Code: smtp;550 5\.1\.1/m)
    }
  })

  it('leaves an empty queue, a log without exceptions and a running server', async () => {
    const client = await gateway.client()
    const { rcpt } = await client.transaction('a@sender.test', ['nobody@in.test'])
    assert.equal(rcpt[0]?.line, '550 5.1.1 Recipient unknown')
    await client.quit()
    await gateway.waitForLog(/\] refused .*recipient=nobody@in\.test .*rule=not-in-gal/)
    await until(() => gateway.queueFiles().length === 0, 'outbound delivers')
    assert.deepEqual(gateway.logLines(/exception|TypeError|\[CRIT\]|\[gal-relay\] failed:/i), [])
    assert.ok(isRunning())
  })
}

/** @returns whether the process has not ended */
export function running(haraka: Pick<Haraka, 'exited'>): () => boolean {
  let isRunning = true
  void haraka.exited.then(() => {
    isRunning = false
  })
  return () => isRunning
}
