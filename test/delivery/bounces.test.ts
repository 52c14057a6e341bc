// Bounces: a next hop that is down for good or says no comes back to the sender as a DSN, which
// names the recipient as the sender wrote it, whatever a row or an alias made of it on its way.
import assert from 'node:assert/strict'
import { after, before, describe, it } from 'node:test'
import { type Gateway, startGateway } from '../support/gateway'
import { type Haraka, startHaraka } from '../support/haraka'
import { freePort } from '../support/ports'
import { skipWithout } from '../support/programs'
import { type SinkMessage, type SmtpSink, startSink } from '../support/smtp-sink'
import { until } from '../support/until'

const CHOOSY = `const DSN = require('haraka-dsn')
exports.hook_rcpt = (next, connection, [{ user }]) =>
  user.startsWith('no') ? next(DENY, DSN.create(550, 'nobody here', 1, 1)) : next(OK)
`

describe('a bounce', { skip: skipWithout('smtp-sink') }, () => {
  let senders: SmtpSink
  let refusing: SmtpSink
  let choosy: Haraka
  let gateway: Gateway

  before(async () => {
    senders = await startSink()
    refusing = await startSink({ args: ['-f', 'RCPT', '-B', '550 5.1.1 nobody here'] })
    choosy = await startHaraka({
      plugins: ['choosy', 'test-queue'],
      proxy: false,
      files: { 'plugins/choosy.js': CHOOSY },
    })
    const down = await freePort()
    gateway = await startGateway({
      people: ['bob@down.test', 'bob@refusing.test', 'anna@plain.test', 'carl@shared.test'],
      plugins: ['test-retry', 'aliases', 'gal-relay', 'test-queue'],
      routes: [
        `sender.test = forward smtp://127.0.0.1:${senders.port}`,
        `down.test = inbound smtp://127.0.0.1:${down}`,
        `refusing.test = inbound smtp://127.0.0.1:${refusing.port}`,
        'old-down.test = reroute down.test',
        'plain.test = inbound',
        'old-plain.test = reroute plain.test',
        `shared.test = shared smtp://127.0.0.1:${senders.port}`,
        'old-refusing.test = reroute refusing.test',
        'old-sender.test = reroute sender.test',
        `choosy.test = forward smtp://127.0.0.1:${choosy.port}`,
        'old-choosy.test = reroute choosy.test',
      ],
      files: {
        // One attempt more after the first.
        'config/outbound.ini': 'temp_fail_intervals=5s\n',
        'config/aliases.json': JSON.stringify({
          'team@refusing.test': { action: 'alias', to: 'bob@refusing.test' },
        }),
      },
    })
  })
  after(async () => {
    await gateway?.stop()
    await senders?.stop()
    await refusing?.stop()
    await choosy?.stop()
  })

  async function send(
    to: string | readonly string[],
    sender: string,
    parameters = '',
  ): Promise<void> {
    const client = await gateway.client()
    assert.equal((await client.mail(sender)).code, 250)
    for (const one of [to].flat()) assert.equal((await client.rcpt(one, parameters)).code, 250)
    const data = await client.data(`From: ${sender}\r\nSubject: to bounce\r\n\r\nHello.\r\n`)
    assert.equal(data.code, 250, data.line)
    await client.quit()
  }

  async function bounceFor(
    to: string | readonly string[],
    sender: string,
    parameters = '',
    comesTo = sender,
  ): Promise<SinkMessage> {
    await send(to, sender, parameters)
    const found = () => senders.messages().filter(({ rcpt_to }) => rcpt_to.includes(comesTo))
    await until(
      () => found().length > 0,
      () => gateway.log().slice(-4000),
    )
    const [bounce] = found()
    assert.ok(bounce)
    assert.equal(found().length, 1)
    assert.equal(bounce.mail_from, '')
    return bounce
  }

  const cases = [
    ['a next hop that is down', 'bob@down.test', /Status: 4|Status: 5/],
    ['a next hop that says no', 'bob@refusing.test', /Diagnostic-Code: smtp;550 5\.1\.1/],
    ['a renamed domain whose next hop is down', 'bob@old-down.test', /Status: [45]/],
    [
      'a renamed domain whose next hop says no',
      'Bob@old-refusing.test',
      /Diagnostic-Code: smtp;550 5\.1\.1/,
    ],
    ['an alias', 'team@refusing.test', /Diagnostic-Code: smtp;550 5\.1\.1/],
  ] as const
  for (const [index, [what, recipient, field]] of cases.entries()) {
    it(`for ${what} names <${recipient}>, and no other recipient`, async () => {
      const { body } = await bounceFor(recipient, `s${index}@sender.test`)
      assert.ok(body.includes(`Final-Recipient: rfc822;${recipient}\n`), body)
      assert.match(body, field)
      const named = new Set(body.match(/[\w.]+@(old-)?(down|refusing)\.test/g))
      assert.deepEqual([...named], [recipient])
    })
  }

  it('names the recipient as written when the client gave ORCPT too', async () => {
    const { body } = await bounceFor(
      'bob@old-refusing.test',
      'orcpt@sender.test',
      'NOTIFY=FAILURE ORCPT=rfc822;bob@old-refusing.test',
    )
    assert.ok(body.includes('Final-Recipient: rfc822;bob@old-refusing.test\n'), body)
  })

  for (const sender of ['anna@plain.test', 'anna@old-plain.test', 'carl@shared.test']) {
    it(`to <${sender}>, who is ours, goes to the queue plugins`, async () => {
      await send('bob@refusing.test', sender)
      const found = () =>
        gateway.delivered().find(({ rcpt_to }) => rcpt_to.includes(sender.replace('old-', '')))
      await until(
        () => found() !== undefined,
        () => gateway.log().slice(-4000),
      )
      assert.match(found()?.body.toString() ?? '', /Final-Recipient: rfc822;bob@refusing\.test/)
    })
  }

  it('for some of several recipients says what became of each', async () => {
    const to = ['no1@choosy.test', 'yes@choosy.test', 'no2@old-choosy.test']
    const { body } = await bounceFor(to, 'several@sender.test')
    const fields = body.match(/^(Final-Recipient|Action|Status|Diagnostic-Code): .*$/gm)
    assert.deepEqual(
      fields?.map((field) => field.trim()),
      ['no1@choosy.test', 'no2@old-choosy.test'].flatMap((recipient) => [
        `Final-Recipient: rfc822;${recipient}`,
        'Action: failed',
        'Status: 5.1.1',
        'Diagnostic-Code: smtp;550 5.1.1 nobody here',
      ]),
    )
    assert.deepEqual(
      choosy.delivered().map(({ rcpt_to }) => rcpt_to),
      [['yes@choosy.test']],
    )
  })

  it('to a sender whose domain is renamed goes to the new one', async () => {
    await bounceFor('bob@refusing.test', 'x@old-sender.test', '', 'x@sender.test')
  })

  it('to a stranger of a shared domain goes to the shared host', async () => {
    await bounceFor('bob@refusing.test', 'stranger@shared.test')
  })
})
