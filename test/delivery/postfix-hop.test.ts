// A real Postfix as the next hop: what it puts into its mailboxes came with the envelope that the
// sender gave to Haraka, whatever alphabet that is in.
import assert from 'node:assert/strict'
import { after, before, describe, it } from 'node:test'
import { type Gateway, startGateway } from '../support/gateway'
import { type KeptMail, type Postfix, skipWithoutPostfix, startPostfix } from '../support/postfix'
import { until } from '../support/until'

const message = (subject: string) => `From: a@sender.test\r\nSubject: ${subject}\r\n\r\nHello.\r\n`

describe('Postfix as the next hop', { skip: skipWithoutPostfix() }, () => {
  let postfix: Postfix
  let gateway: Gateway

  before(async () => {
    postfix = await startPostfix()
    gateway = await startGateway({
      people: ['anna@in.test'],
      plugins: ['gal-relay', 'test-queue', 'nowhere'],
      files: {
        'plugins/nowhere.js': `exports.hook_get_mx = (next, item, domain) =>
  next(domain === 'nowhere.test' ? DENY : CONT)`,
      },
      routes: [
        `in.test = inbound smtp://127.0.0.1:${postfix.port}`,
        `forward.test = forward smtp://127.0.0.1:${postfix.port}`,
        `xn--bcher-kva.test = always-relay smtp://127.0.0.1:${postfix.port}`,
      ],
    })
  })
  after(async () => {
    await gateway?.stop()
    await postfix?.stop()
  })

  async function arrived(subject: string, count = 1): Promise<KeptMail[]> {
    const found = () =>
      postfix.mailboxes().filter(({ text }) => text.includes(`Subject: ${subject}\n`))
    await until(
      () => found().length >= count,
      () => `${gateway.log().slice(-3000)}\n${postfix.log().slice(-3000)}`,
    )
    return found()
  }

  async function send(
    from: string,
    parameters: string,
    to: readonly string[],
    subject: string,
  ): Promise<void> {
    const client = await gateway.client()
    assert.equal((await client.mail(from, parameters)).code, 250)
    for (const recipient of to) assert.equal((await client.rcpt(recipient)).code, 250)
    const data = await client.data(message(subject))
    assert.equal(data.code, 250, data.line)
    await client.quit()
  }

  it('takes a message for several recipients in one transaction', async () => {
    await send('a@sender.test', '', ['anna@in.test', 'x@forward.test', 'y@forward.test'], 'several')
    const mails = await arrived('several', 3)
    assert.deepEqual(mails.map(({ recipient }) => recipient).sort(), [
      'anna@in.test',
      'x@forward.test',
      'y@forward.test',
    ])
    for (const { text } of mails) assert.match(text, /^Return-Path: <a@sender\.test>$/m)
  })

  const utf8 = [
    ['a sender of ASCII only', 'a@sender.test'],
    ['the null sender', ''],
    ['a sender that is not ASCII', 'ærø@sender.test'],
  ] as const
  for (const [who, from] of utf8) {
    it(`hears SMTPUTF8 for a recipient that is not ASCII, from ${who}`, async () => {
      const from_log = postfix.log().length
      await send(from, 'SMTPUTF8', ['søren@forward.test'], `utf8 ${who}`)
      const [mail] = await arrived(`utf8 ${who}`)
      assert.equal(mail?.recipient, 'søren@forward.test')
      assert.match(mail?.text ?? '', /with UTF8SMTP/)
      assert.doesNotMatch(postfix.log().slice(from_log), /reject/)
    })
  }

  it('hears SMTPUTF8 for a bounce to a sender that is not ASCII', async () => {
    await send('ærø@forward.test', 'SMTPUTF8', ['x@nowhere.test'], 'lost')
    const [mail] = await arrived('lost')
    assert.equal(mail?.recipient, 'ærø@forward.test')
    assert.match(mail?.text ?? '', /with UTF8SMTP/)
  })

  it('hears SMTPUTF8 for headers that are not ASCII', async () => {
    await send('a@sender.test', 'SMTPUTF8', ['anna@in.test'], 'grüße')
    const [mail] = await arrived('grüße')
    assert.equal(mail?.recipient, 'anna@in.test')
    assert.match(mail?.text ?? '', /with UTF8SMTP/)
  })

  it('a U-label is the row of its A-label', async () => {
    await send('a@sender.test', 'SMTPUTF8', ['x@bücher.test'], 'label')
    const [mail] = await arrived('label')
    assert.equal(mail?.recipient, 'x@bücher.test')
  })
})
