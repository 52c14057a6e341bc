// Every kind of row brings the message to the host it names, with the envelope and the body that the
// sender gave it: to real servers, Postfix's smtp-sink by SMTP and LMTP.
import assert from 'node:assert/strict'
import { after, before, describe, it } from 'node:test'
import { type Gateway, startGateway } from '../support/gateway'
import { skipWithout } from '../support/programs'
import { type SinkMessage, type SmtpSink, startSink } from '../support/smtp-sink'
import { until } from '../support/until'

const BODY = [
  'A line.',
  '.',
  '..two dots',
  'trailing blanks  ',
  `long ${'x'.repeat(900)}`,
  'ünïcödé: grüße',
  '',
  '',
  'From the end.',
  '',
].join('\r\n')
const MESSAGE = `From: a@sender.test\r\nSubject: rows\r\nMessage-Id: <rows@sender.test>\r\n\r\n${BODY}`
const SUNK_BODY = Buffer.from(BODY).toString('latin1').replaceAll('\r\n', '\n')

describe('each kind of row', { skip: skipWithout('smtp-sink') }, () => {
  const sinks: Record<string, SmtpSink> = {}
  let gateway: Gateway

  const sink = (name: string): SmtpSink => {
    const found = sinks[name]
    if (!found) throw new Error(`no sink ${name}`)
    return found
  }
  const messagesFor = (name: string, recipient: string) =>
    sink(name)
      .messages()
      .filter(({ rcpt_to }) => rcpt_to.includes(recipient))
  async function arrived(name: string, recipient: string): Promise<SinkMessage> {
    await until(
      () => messagesFor(name, recipient).length > 0,
      () => gateway.log().slice(-3000),
    )
    const [first, ...others] = messagesFor(name, recipient)
    assert.equal(others.length, 0, `${recipient} came ${others.length + 1} times`)
    assert.ok(first)
    return first
  }

  before(async () => {
    for (const name of ['inbound', 'shared', 'backup', 'forward', 'second', 'renamed']) {
      sinks[name] = await startSink()
    }
    sinks.lmtp = await startSink({ lmtp: true })
    sinks.busy = await startSink({ args: ['-r', 'CONNECT'] })
    sinks.later = await startSink({ args: ['-r', 'MAIL'] })
    sinks.ipv6 = await startSink({ address: '::1' })
    gateway = await startGateway({
      people: [
        'anna@in.test',
        'bert@lmtp.test',
        'carl@shared.test',
        'dora@new.test',
        'emil@plain.test',
        'scan@in.test',
      ],
      routes: [
        `in.test = inbound smtp://127.0.0.1:${sink('inbound').port}`,
        `lmtp.test = inbound lmtp://127.0.0.1:${sink('lmtp').port}`,
        `shared.test = shared smtp://127.0.0.1:${sink('shared').port}`,
        `backup.test = always-relay smtp://localhost:${sink('backup').port}`,
        `forward.test = forward smtp://127.0.0.1:1 smtp://127.0.0.1:${sink('second').port}`,
        `busy.test = forward smtp://127.0.0.1:${sink('busy').port} smtp://127.0.0.1:${sink('second').port}`,
        `later.test = forward smtp://127.0.0.1:${sink('later').port} smtp://127.0.0.1:${sink('second').port}`,
        `six.test = forward smtp://[::1]:${sink('ipv6').port}`,
        `[192.0.2.7] = forward smtp://127.0.0.1:${sink('forward').port}`,
        'old.test = reroute new.test',
        `new.test = inbound smtp://127.0.0.1:${sink('renamed').port}`,
        'plain.test = inbound',
        'gone.test = reroute plain.test',
        'moved.test = reroute forward.test',
        `scan@in.test = inbound smtp://127.0.0.1:${sink('second').port}`,
        `tickets@in.test = accept smtp://127.0.0.1:${sink('backup').port}`,
        'list@in.test = accept',
        'anna.old@in.test = reroute anna@in.test',
      ],
    })
  })
  after(async () => {
    await gateway?.stop()
    await Promise.all(Object.values(sinks).map((one) => one.stop()))
  })

  const rows = [
    ['inbound', 'anna@in.test'],
    ['lmtp', 'bert@lmtp.test'],
    ['shared', 'unknown@shared.test'],
    ['backup', 'anybody@backup.test'],
    ['second', 'somebody@forward.test'],
    ['second', 'somebody@busy.test'],
    ['second', 'somebody@later.test'],
    ['ipv6', 'somebody@six.test'],
    ['forward', 'user@[192.0.2.7]'],
  ] as const
  for (const [name, recipient] of rows) {
    it(`<${recipient}> reaches the ${name} host, envelope and body as they were sent`, async () => {
      const client = await gateway.client()
      const { data } = await client.transaction('a@sender.test', [recipient], MESSAGE)
      assert.equal(data?.code, 250, data?.line)
      await client.quit()
      const message = await arrived(name, recipient)
      assert.equal(message.mail_from, 'a@sender.test')
      assert.deepEqual(message.rcpt_to, [recipient])
      assert.equal(message.body, SUNK_BODY)
    })
  }

  it('the null sender stays the null sender', async () => {
    const client = await gateway.client()
    const { data } = await client.transaction('', ['null@backup.test'], MESSAGE)
    assert.equal(data?.code, 250)
    await client.quit()
    assert.equal((await arrived('backup', 'null@backup.test')).mail_from, '')
  })

  it('a listed recipient of a shared domain goes to the queue plugins', async () => {
    const client = await gateway.client()
    const { data } = await client.transaction('a@sender.test', ['carl@shared.test'], MESSAGE)
    assert.equal(data?.code, 250)
    await client.quit()
    const [message] = gateway.delivered()
    assert.deepEqual(message?.rcpt_to, ['carl@shared.test'])
    assert.equal(messagesFor('shared', 'carl@shared.test').length, 0)
  })

  it('a rerouted recipient leaves with the new address', async () => {
    const client = await gateway.client()
    const { data } = await client.transaction('a@sender.test', ['dora@old.test'], MESSAGE)
    assert.equal(data?.code, 250)
    await client.quit()
    assert.deepEqual((await arrived('renamed', 'dora@new.test')).rcpt_to, ['dora@new.test'])
  })

  it('a rerouted recipient of a plain inbound domain goes to the queue plugins, renamed', async () => {
    const client = await gateway.client()
    const { rcpt, data } = await client.transaction(
      'a@sender.test',
      ['emil@gone.test', 'emil@plain.test'],
      MESSAGE,
    )
    assert.deepEqual(
      rcpt.map(({ code }) => code),
      [250, 250],
    )
    assert.equal(data?.code, 250)
    await client.quit()
    assert.deepEqual(gateway.delivered().at(-1)?.rcpt_to, ['emil@plain.test'])
  })

  it('recipients of one domain, each with a row of its own, go each its own way', async () => {
    const client = await gateway.client()
    const to = ['scan', 'tickets', 'Anna.Old', 'list'].map((local) => `${local}@in.test`)
    const { rcpt, data } = await client.transaction('b@sender.test', to, MESSAGE)
    assert.deepEqual(
      rcpt.map(({ code }) => code),
      [250, 250, 250, 250],
    )
    assert.equal(data?.code, 250, data?.line)
    await client.quit()
    assert.deepEqual((await arrived('second', 'scan@in.test')).rcpt_to, ['scan@in.test'])
    assert.deepEqual((await arrived('backup', 'tickets@in.test')).rcpt_to, ['tickets@in.test'])
    await until(
      () => messagesFor('inbound', 'anna@in.test').some((one) => one.mail_from === 'b@sender.test'),
      () => gateway.log().slice(-3000),
    )
    assert.deepEqual(gateway.delivered().at(-1)?.rcpt_to, ['list@in.test'])
  })

  it('a mailbox whose domain is spelled in two ways gets one copy', async () => {
    const client = await gateway.client()
    const to = ['twice@Backup.test', 'twice@BACKUP.TEST', 'emil@Plain.test', 'emil@plain.test']
    const { data } = await client.transaction('a@sender.test', to, MESSAGE)
    assert.equal(data?.code, 250)
    await client.quit()
    assert.deepEqual(gateway.delivered().at(-1)?.rcpt_to, ['emil@Plain.test'])
    const { rcpt_to } = await arrived('backup', 'twice@backup.test')
    assert.deepEqual(rcpt_to, ['twice@backup.test'])
  })

  it('a rerouted recipient of a foreign domain takes that domain’s next hop', async () => {
    const client = await gateway.client()
    const { data } = await client.transaction('a@sender.test', ['x@moved.test'], MESSAGE)
    assert.equal(data?.code, 250)
    await client.quit()
    assert.deepEqual((await arrived('second', 'x@forward.test')).rcpt_to, ['x@forward.test'])
  })
})
