// A row `always-relay` without a host: we are a backup for the domain, and its mail goes to the MX
// hosts of better preference than ourselves, never back to this host. With a real DNS server.
import assert from 'node:assert/strict'
import { after, before, describe, it } from 'node:test'
import { type DnsServer, startDns } from '../support/dns-server'
import { type Gateway, startGateway } from '../support/gateway'
import { skipWithout } from '../support/programs'
import { type SmtpSink, startSink } from '../support/smtp-sink'
import { until } from '../support/until'

describe('always-relay without a host', { skip: skipWithout('smtp-sink') }, () => {
  // 127.0.0.1 is an address of this host; the others of 127.0.0.0/8 are on no interface.
  const hosts = ['127.0.0.1', '127.0.0.2', '127.0.0.3', '127.0.0.4'] as const
  const sinks = new Map<string, SmtpSink>()
  let dns: DnsServer
  let gateway: Gateway

  const names = {
    'primary.test': { a: ['127.0.0.2'] },
    'second.test': { a: ['127.0.0.3'] },
    'worse.test': { a: ['127.0.0.4'] },
    'ourselves.test': { a: ['127.0.0.1'] },
    'down.test': { a: ['127.0.0.9'] },
    // Our name, at an address nobody told us of.
    'mx.test': { a: ['127.0.0.4'] },
  }
  const domains = {
    'backup.test': {
      mx: [
        [10, 'primary.test'],
        [20, 'ourselves.test'],
        [30, 'worse.test'],
      ],
    },
    'next.test': {
      mx: [
        [10, 'down.test'],
        [15, 'second.test'],
        [20, 'ourselves.test'],
      ],
    },
    'named.test': {
      mx: [
        [10, 'primary.test'],
        [20, 'mx.test'],
      ],
    },
    'equal.test': {
      mx: [
        [10, 'ourselves.test'],
        [10, 'worse.test'],
        [20, 'worse.test'],
      ],
    },
    'first.test': {
      mx: [
        [5, 'ourselves.test'],
        [10, 'worse.test'],
      ],
    },
    'without.test': { mx: [[10, 'primary.test']] },
    'implicit.test': { a: ['127.0.0.3'] },
    'failing.test': { fails: true },
    'sender.test': { mx: [[10, 'worse.test']] },
  } as const

  before(async () => {
    for (const address of hosts) sinks.set(address, await startSink({ address }))
    dns = await startDns({ ...names, ...domains })
    gateway = await startGateway({
      plugins: ['test-dns', 'test-retry', 'gal-relay', 'test-queue'],
      routes: [...Object.keys(domains), 'nowhere.test', '[127.0.0.3]'].map(
        (domain) => `${domain} = always-relay`,
      ),
      outboundIni: ['local_mx_ok=true'],
      env: {
        TEST_DNS: dns.address,
        TEST_PORT_25: [...sinks].map(([address, { port }]) => `${address}=${port}`).join(' '),
      },
    })
  })
  after(async () => {
    await gateway?.stop()
    await dns?.stop()
    for (const sink of sinks.values()) await sink.stop()
  })

  async function send(to: string): Promise<void> {
    const client = await gateway.client()
    const { data } = await client.transaction('', [to], 'Subject: x\r\n\r\nHello.\r\n')
    assert.equal(data?.code, 250, data?.line)
    await client.quit()
  }
  const whoHas = (recipient: string) =>
    [...sinks].flatMap(([address, sink]) =>
      sink.messages().some(({ rcpt_to }) => rcpt_to.includes(recipient)) ? [address] : [],
    )

  const goes = [
    ['backup.test', '127.0.0.2', 'the primary, not to hosts behind us'],
    ['next.test', '127.0.0.3', 'the next better one when the first is down'],
    ['named.test', '127.0.0.2', 'hosts before the one that has our name'],
    ['without.test', '127.0.0.2', 'every MX host when we are none'],
    ['implicit.test', '127.0.0.3', 'the domain’s own address when it has no MX record'],
    ['[127.0.0.3]', '127.0.0.3', 'the address of a literal'],
  ] as const
  for (const [domain, address, what] of goes) {
    it(`goes to ${what}`, async () => {
      await send(`x@${domain}`)
      await until(
        () => whoHas(`x@${domain}`).length > 0,
        () => gateway.log().slice(-3000),
      )
      assert.deepEqual(whoHas(`x@${domain}`), [address])
    })
  }

  const waits = [
    ['first.test', /no MX host of first\.test has a better preference than this host/],
    ['equal.test', /no MX host of equal\.test has a better preference than this host/],
    ['failing.test', /MX hosts of failing\.test could not be looked up/],
  ] as const
  for (const [domain, reason] of waits) {
    it(`waits when ${reason.source.replaceAll('\\', '')}`, async () => {
      const from = gateway.log().length
      await send(`x@${domain}`)
      await gateway.waitForLog(reason, undefined, from)
      await gateway.waitForLog(/Temp failing/, undefined, from)
      assert.deepEqual(whoHas(`x@${domain}`), [])
    })
  }

  it('bounces for a domain that does not exist', async () => {
    const from = gateway.log().length
    await send('x@nowhere.test')
    await gateway.waitForLog(/nowhere\.test has neither MX hosts nor addresses/, undefined, from)
    await gateway.waitForLog(/bouncing mail/, undefined, from)
  })

  it('asks DNS again at the next attempt', async () => {
    dns.setRecords({ ...names, 'first.test': domains['backup.test'] })
    await until(
      () => whoHas('x@first.test').length > 0,
      () => gateway.log().slice(-3000),
    )
    assert.deepEqual(whoHas('x@first.test'), ['127.0.0.2'])
  })
})
