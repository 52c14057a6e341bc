// Whole messages to mailboxes on two servers, routed by the list in memory: a mailbox that moves is
// followed, and with the directory gone, and after a restart too, each message arrives where it should.
import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import { type Haraka, startHaraka } from './support/haraka'
import { skipWithout } from './support/programs'
import { type Slapd, startSlapd } from './support/slapd'
import { connectSmtp } from './support/smtp'
import { type SmtpSink, startSink } from './support/smtp-sink'
import { until } from './support/until'

const PROXY = { client: '203.0.113.9', local: '10.0.0.5:25' }
const MESSAGE = Buffer.from('From: <a@b.example>\r\nSubject: moved\r\n\r\nHello\r\n')

describe('mail to mailboxes on several servers', {
  skip: skipWithout('slapd', 'slapadd', 'smtp-sink'),
}, () => {
  let slapd: Slapd
  let haraka: Haraka
  let first: SmtpSink
  let second: SmtpSink
  const ann = 'uid=ann,dc=corp,dc=test'

  before(async () => {
    ;[first, second] = await Promise.all([startSink(), startSink()])
    slapd = await startSlapd({
      entries: [
        { dn: ann, mail: 'ann@example.com', mailHost: 'EX01' },
        {
          dn: 'uid=bob,dc=corp,dc=test',
          mail: 'bob@example.com',
          mailHost: 'EX02',
          mailRoutingAddress: 'bob@mailboxes.test',
        },
      ],
    })
    haraka = await startHaraka({
      outbound: true,
      ini: `
[gal]
mode = snapshot
recipient_delimiter = +
host_attribute = mailHost
routing_attribute = mailRoutingAddress
[snapshot]
changes_every = 10m
[ldap]
url[] = ${slapd.url}
base = ${slapd.base}
[routes]
example.com = inbound
[hosts]
ex01 = smtp://127.0.0.1:${first.port}
ex02 = smtp://127.0.0.1:${second.port}
`,
    })
    await haraka.waitForLog(/the list is in force/)
    await haraka.waitForLog(/snapshot: 2 recipients/)
  })
  after(async () => {
    await haraka?.stop()
    await Promise.all([slapd?.stop(), first?.stop(), second?.stop()])
  })

  async function send(to: string): Promise<void> {
    const smtp = await connectSmtp({ port: haraka.port, proxy: PROXY })
    try {
      await smtp.ehlo()
      const { data } = await smtp.transaction('a@b.example', [to], MESSAGE)
      assert.equal(data?.code, 250)
    } finally {
      await smtp.quit()
    }
  }
  const taken = ({ messages }: SmtpSink) => messages().flatMap(({ rcpt_to }) => rcpt_to)
  /** Each new message to Ann arrives at the second server, and none at the first. */
  async function annIsAtTheSecond(): Promise<void> {
    const [before, there] = [taken(first).length, taken(second).length]
    await send('ann+news@example.com')
    await until(() => taken(second).length === there + 1)
    assert.equal(taken(second).filter((one) => one === 'ann+news@example.com').length > 0, true)
    assert.equal(taken(first).length, before)
  }

  test('one that moves is followed', async () => {
    await send('ann@example.com')
    await until(() => taken(first).includes('ann@example.com'))
    assert.deepEqual(taken(second), [])
    await slapd.modify(ann, { mailHost: 'ex02' })
    await until(async () => {
      await send('ann@example.com')
      return until(() => taken(second).includes('ann@example.com'), undefined, 2000).then(
        () => true,
        () => false,
      )
    })
    await annIsAtTheSecond()
  })

  test('the directory is gone', async () => {
    await slapd.kill()
    await annIsAtTheSecond()
    await send('bob@example.com')
    await until(() => taken(second).includes('bob@mailboxes.test'))
  })

  test('and Haraka has been started anew', async () => {
    await haraka.restart()
    await annIsAtTheSecond()
    const bobs = () => taken(second).filter((one) => one === 'bob@mailboxes.test').length
    const before = bobs()
    await send('bob@example.com')
    await until(() => bobs() === before + 1)
  })
})
