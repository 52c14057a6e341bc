// Each listener has its own settings, found by the address and port that the client really connected
// to, and where the plugin is switched off Haraka is as it was without it.
import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import { type EmbeddedLdap, startEmbeddedLdap } from './support/embedded-ldap'
import { type Haraka, startHaraka } from './support/haraka'
import { freePorts } from './support/ports'
import { connectSmtp, type SmtpClient } from './support/smtp'

const PASSWORDS = { carol: 'carol-secret' }
const FOREIGN = 'friend@elsewhere.example'

describe('listeners without a proxy in front', () => {
  let directory: EmbeddedLdap
  let haraka: Haraka
  let ports: readonly number[]
  before(async () => {
    directory = await startEmbeddedLdap(['alice@example.com'])
    ports = await freePorts(4)
    haraka = await startHaraka({
      proxy: false,
      ports,
      auth: PASSWORDS,
      hostList: ['host.example'],
      plugins: ['relay', 'gal-relay', 'rcpt_to.in_host_list', 'test-queue'],
      files: { 'config/relay_acl_allow': '127.0.0.1/32\n' },
      ini: `[routes]
example.com = inbound
[listener *:${ports[1]}]
hosts[] = 127.0.0.1
[listener 127.0.0.1:${ports[2]}]
enabled = false
[listener *:${ports[3]}]
local_addresses[] = 127.0.0.0/8
host_list = false
[listener 127.0.0.2:*]
open = true
[ldap]
url[] = ${directory.url}
base = ${directory.base}
`,
    })
  })
  after(async () => {
    await haraka.stop()
    await directory.stop()
  })

  async function answers(port: number | undefined, to: readonly string[]): Promise<string[]> {
    const smtp: SmtpClient = await connectSmtp({ port: port ?? 0 })
    await smtp.ehlo()
    const { rcpt } = await smtp.transaction('a@b.example', to)
    await smtp.quit()
    return rcpt.map(({ line }) => line.slice(0, 9).trim())
  }

  const to = ['alice@example.com', 'nobody@example.com', 'nobody@host.example', FOREIGN]

  test('the general settings: nobody relays, whatever the relay plugin says', async () => {
    assert.deepEqual(await answers(ports[0], to), [
      '250 recip',
      '550 5.1.1',
      '550 5.1.1',
      '550 5.7.1',
    ])
  })

  test('a section for a port', async () => {
    assert.deepEqual(await answers(ports[1], to), [
      '250 recip',
      '550 5.1.1',
      '550 5.1.1',
      '250 recip',
    ])
  })

  test('a section that trusts whoever connects to this address, and no host_list', async () => {
    assert.deepEqual(await answers(ports[3], to), [
      '250 recip',
      '550 5.1.1',
      '250 recip',
      '250 recip',
    ])
  })

  test('a section that switches the plugin off: Haraka and its plugins decide', async () => {
    // The relay plugin trusts the client, so that Haraka takes everything.
    assert.deepEqual(await answers(ports[2], to), [
      '250 recip',
      '250 recip',
      '250 recip',
      '250 recip',
    ])
    const smtp = await connectSmtp({ port: ports[2] ?? 0 })
    await smtp.ehlo()
    const { data } = await smtp.transaction('a@b.example', to, 'Subject: x\r\n\r\nx\r\n')
    assert.equal(data?.code, 250)
    await smtp.quit()
    assert.deepEqual(haraka.delivered(), [])
    assert.deepEqual(
      haraka
        .outboundMessages()
        .flatMap(({ rcpt_to }) => rcpt_to)
        .sort(),
      [...to].sort(),
    )
    // The refusals before this test are all that are logged: none is of this listener.
    await haraka.end()
    assert.equal(haraka.logLines(/\[gal-relay\] refused/).length, 3 + 2 + 1)
  })
})
