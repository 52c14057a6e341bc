// Next hops with a password or smtps://: another Haraka takes the mail over TLS and after AUTH; and
// where TLS or the right name is not to be had, the password is not sent at all. It is in no log,
// though Haraka logs every line of the protocol here, and in no file of the queue.
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { existsSync, readFileSync, rmSync } from 'node:fs'
import { type AddressInfo, createServer } from 'node:net'
import path from 'node:path'
import { after, before, describe, it } from 'node:test'
import { createServer as createTlsServer } from 'node:tls'
import { type CertificateAuthority, makeAuthority } from '../support/certificates'
import { type Gateway, startGateway } from '../support/gateway'
import { type Haraka, startHaraka, whileRenamed } from '../support/haraka'
import { freePorts } from '../support/ports'
import { skipWithout } from '../support/programs'
import { until } from '../support/until'

const PASSWORD = 'pass/word@1:%'
const AUTH = `relay:${encodeURIComponent(PASSWORD)}@`
const SECRETS = [
  PASSWORD,
  encodeURIComponent(PASSWORD),
  Buffer.from(PASSWORD).toString('base64'),
  Buffer.from(`\0relay\0${PASSWORD}`).toString('base64'),
]
const MESSAGE = 'From: a@sender.test\r\nSubject: secure\r\n\r\nHello.\r\n'

describe('a next hop', { skip: skipWithout('openssl') }, () => {
  let authority: CertificateAuthority
  const hops: Haraka[] = []
  let gateway: Gateway
  let routes: Record<string, string>

  // Takes mail for anybody from whoever has authenticated, and for open.test from all.
  const HOP = `
exports.hook_rcpt = (next, connection, [address]) =>
  next(connection.relaying || address.host === 'open.test' ? OK : DENY)
exports.hook_data_post = (next, connection) => {
  connection.relaying = true
  next()
}`

  async function startHop(certificate?: { cert: string; key: string }): Promise<Haraka> {
    const [port = 0, smtps = 0] = await freePorts(2)
    const hop = await startHaraka({
      plugins: [...(certificate ? ['tls'] : []), 'hop'],
      proxy: false,
      auth: { relay: PASSWORD },
      ports: [port, smtps],
      logLevel: 'protocol',
      files: {
        'plugins/hop.js': HOP,
        'config/smtp.ini': `listen=127.0.0.1:${port},127.0.0.1:${smtps}\nnodes=0\nsmtps_port=${certificate ? smtps : 465}\n`,
        ...(certificate
          ? {
              'config/tls_cert.pem': readFileSync(certificate.cert, 'utf8'),
              'config/tls_key.pem': readFileSync(certificate.key, 'utf8'),
              'config/dhparams.pem': DH_PARAMETERS,
            }
          : {}),
      },
    })
    hops.push(hop)
    return hop
  }

  const hop = (index: number): Haraka => {
    const found = hops[index]
    if (!found) throw new Error('no such hop')
    return found
  }

  before(async () => {
    authority = makeAuthority()
    const good = await startHop(authority.issue())
    const plain = await startHop()
    const stranger = await startHop(authority.issue({ isSelfSigned: true }))
    const [down] = await freePorts(1)
    routes = {
      'open.test': `forward smtps://localhost:${good.ports[1]}`,
      'smtps.test': `forward smtps://${AUTH}localhost:${good.ports[1]}`,
      'starttls.test': `forward smtp://${AUTH}127.0.0.1:${good.ports[0]}`,
      'clear.test': `forward smtp://${AUTH}127.0.0.1:${plain.ports[0]}`,
      'stranger.test': `forward smtps://${AUTH}localhost:${stranger.ports[1]}`,
      'wrong.test': `forward smtps://relay:wrong-password@localhost:${good.ports[1]}`,
      'second.test': `forward smtp://${AUTH}127.0.0.1:${plain.ports[0]} smtps://${AUTH}localhost:${down} smtps://${AUTH}localhost:${good.ports[1]}`,
    }
    gateway = await startGateway({
      routes: Object.entries(routes).map((row) => row.join(' = ')),
      logLevel: 'data',
      env: { NODE_EXTRA_CA_CERTS: authority.ca },
    })
  })
  after(async () => {
    await gateway?.stop()
    for (const one of hops) await one.stop()
    authority?.remove()
  })

  async function send(to: string): Promise<void> {
    const client = await gateway.client()
    const { data } = await client.transaction('a@sender.test', [to], MESSAGE)
    assert.equal(data?.code, 250, data?.line)
    await client.quit()
  }

  const at = (index: number, recipient: string) =>
    hop(index)
      .outboundMessages()
      .filter(({ rcpt_to }) => rcpt_to.includes(recipient))
  const waiting = (recipient: string) =>
    gateway.outboundMessages().some(({ rcpt_to }) => rcpt_to.includes(recipient))

  /** The one it made last. */
  const folderOfSockets = () =>
    [...gateway.log().matchAll(/"path":"([^"]*gal-relay-[^/"]*)\//g)].at(-1)?.[1] ?? ''

  const reached = [
    ['smtps:// without a password', 'x@open.test', /with ESMTPS id/],
    ['smtps:// with a password', 'x@smtps.test', /with ESMTPSA id/],
    ['smtp:// with a password and STARTTLS', 'x@starttls.test', /with ESMTPSA id/],
    [
      'the third, when the first has no TLS and the second is down',
      'x@second.test',
      /with ESMTPSA id/,
    ],
  ] as const
  for (const [what, recipient, received] of reached) {
    it(`${what} is reached`, async () => {
      await send(recipient)
      await until(
        () => at(0, recipient).length > 0,
        () => gateway.log().slice(-4000),
      )
      const [message] = at(0, recipient)
      assert.match(message?.body.toString() ?? '', received)
      await until(() => !waiting(recipient), `${recipient} is still in the queue`)
      assert.equal(at(0, recipient).length, 1)
    })
  }

  const refused = [
    [
      'without STARTTLS',
      'x@clear.test',
      1,
      /127\.0\.0\.1:\d+ cannot be used: it does not offer STARTTLS/,
    ],
    [
      'with a certificate nobody vouches for',
      'x@stranger.test',
      2,
      /cannot be used: .*self-signed/,
    ],
    [
      'that does not take the password',
      'x@wrong.test',
      0,
      /cannot be used: it answered AUTH PLAIN with 535/,
    ],
  ] as const
  for (const [what, recipient, index, reason] of refused) {
    it(`${what} gets nothing`, async () => {
      const from = gateway.log().length
      await send(recipient)
      await gateway.waitForLog(reason, undefined, from)
      await gateway.waitForLog(/Temp failing .*Tried all MXs/, undefined, from)
      assert.equal(at(index, recipient).length, 0)
      assert.ok(waiting(recipient))
      const heard = hop(index).logLines(/C: (AUTH|MAIL)/)
      if (index !== 0) assert.deepEqual(heard, [])
    })
  }

  it('that says more than it should before TLS gets nothing', async () => {
    const injecting = createServer((socket) => {
      socket.on('error', () => {})
      socket.write('220 hop.test\r\n')
      socket.on('data', (data) => {
        const starts = data.toString().startsWith('STARTTLS')
        socket.write(starts ? '220 go\r\n235 you are in\r\n' : '250-hop.test\r\n250 STARTTLS\r\n')
      })
    })
    injecting.listen(0, '127.0.0.1')
    await once(injecting, 'listening')
    const { port } = injecting.address() as AddressInfo
    try {
      const rows = { ...routes, 'injecting.test': `forward smtp://${AUTH}127.0.0.1:${port}` }
      await gateway.setRoutes(Object.entries(rows).map((row) => row.join(' = ')))
      const from = gateway.log().length
      await send('x@injecting.test')
      await gateway.waitForLog(
        /cannot be used: it sent no proper reply to STARTTLS/,
        undefined,
        from,
      )
    } finally {
      injecting.close()
    }
  })

  it('that answers with control characters, in clear, has none in the log', async () => {
    // An escape, a line end that is none, C1 controls, and U+202E, which turns the text around.
    const words = `5.7.0 \x1b[2J\x1b]0;owned\x07 a\rb \u009b31m \u202e ${'long '.repeat(100)}`
    const rude = createServer((socket) => {
      socket.on('error', () => {})
      socket.end(`554 ${words}\r\n`)
    })
    rude.listen(0, '127.0.0.1')
    await once(rude, 'listening')
    const { port } = rude.address() as AddressInfo
    try {
      const rows = { ...routes, 'rude.test': `forward smtp://${AUTH}127.0.0.1:${port}` }
      await gateway.setRoutes(Object.entries(rows).map((row) => row.join(' = ')))
      const from = gateway.log().length
      await send('x@rude.test')
      await gateway.waitForLog(
        /cannot be used: it answered greeting with 554 5\.7\.0 <U\+001B>\[2J<U\+001B>.* a<U\+000D>b /,
        undefined,
        from,
      )
      const lines = gateway.log().slice(from).split('\n')
      const line = lines.find((one) => one.includes('cannot be used')) ?? ''
      assert.match(line, /^[\x20-\x7e\xa1-\uffff]*$/)
      assert.doesNotMatch(line, /[\u202e]/)
      assert.ok(line.length < 600, `${line.length} characters`)
    } finally {
      rude.close()
    }
  })

  it('that repeats the password has it in no log', async () => {
    const { cert, key } = authority.issue()
    const parrot = createTlsServer(
      { cert: readFileSync(cert), key: readFileSync(key) },
      (socket) => {
        socket.on('error', () => {})
        socket.write('220 hop.test\r\n')
        socket.on('data', (data) => {
          const line = data.toString().trim()
          const repeats = `535 5.7.8 ${line} ${Buffer.from(line.slice(11), 'base64')}\r\n`
          socket.write(line.startsWith('AUTH') ? repeats : '250-hop.test\r\n250 AUTH PLAIN\r\n')
        })
      },
    )
    parrot.listen(0, '127.0.0.1')
    await once(parrot, 'listening')
    const { port } = parrot.address() as AddressInfo
    try {
      const password = 'pässwörd-77'
      const row = `forward smtps://relay:${encodeURIComponent(password)}@localhost:${port}`
      const rows = Object.entries({ ...routes, 'parrot.test': row })
      await gateway.setRoutes(rows.map((each) => each.join(' = ')))
      const from = gateway.log().length
      await send('x@parrot.test')
      await gateway.waitForLog(/it answered AUTH PLAIN with 535 5\.7\.8$/, undefined, from)
      const bytes = Buffer.from(password)
      const base64 = Buffer.from(`\0relay\0${password}`).toString('base64')
      for (const secret of [password, bytes.toString('latin1'), base64]) {
        assert.ok(!gateway.log().slice(from).includes(secret), `${secret} in the log`)
      }
    } finally {
      parrot.close()
    }
  })

  it('has its password in no log and no file', () => {
    const files = whileRenamed(() =>
      gateway
        .queueFiles()
        .map((file) => readFileSync(path.join(gateway.dir, 'queue', file), 'latin1')),
    )
    assert.ok(files.length > 0)
    for (const secret of [...SECRETS, 'wrong-password']) {
      assert.ok(!gateway.log().includes(secret), `${secret} in the log`)
      for (const file of files) assert.ok(!file.includes(secret), `${secret} in the queue`)
    }
  })

  it('whose row is gone has no password any more: the message waits for it', async () => {
    const row = routes['clear.test']
    delete routes['clear.test']
    // The same host and user in another row would do.
    delete routes['second.test']
    const from = gateway.log().length
    await gateway.setRoutes(Object.entries(routes).map((each) => each.join(' = ')))
    await gateway.waitForLog(
      /the row for clear\.test is gone from \[routes\], or the host from \[hosts\], and with it the password/,
      undefined,
      from,
    )
    assert.ok(waiting('x@clear.test'))
    routes['clear.test'] = (row ?? '').replace(/127\.0\.0\.1:\d+/, `127.0.0.1:${hop(0).ports[0]}`)
    await gateway.setRoutes(Object.entries(routes).map((each) => each.join(' = ')))
    await until(() => at(0, 'x@clear.test').length === 1, 'the row moves the message')
  })

  it('is reached though somebody has removed the folder of its socket', async () => {
    rmSync(folderOfSockets(), { recursive: true })
    await send('again@smtps.test')
    await until(() => at(0, 'again@smtps.test').length === 1, 'it is reached')
  })

  it('leaves nothing behind when Haraka ends, and does not keep it from ending', async () => {
    const folder = folderOfSockets()
    assert.ok(existsSync(folder), folder)
    const { code } = await gateway.end()
    assert.equal(code, 0)
    assert.ok(!existsSync(folder))
  })
})

// RFC 7919, ffdhe2048: Haraka would make its own, which takes a minute.
const DH_PARAMETERS = `-----BEGIN DH PARAMETERS-----
MIIBCAKCAQEA//////////+t+FRYortKmq/cViAnPTzx2LnFg84tNpWp4TZBFGQz
+8yTnc4kmz75fS/jY2MMddj2gbICrsRhetPfHtXV/WVhJDP1H18GbtCFY2VVPe0a
87VXE15/V8k1mE8McODmi3fipona8+/och3xWKE2rec1MKzKT0g6eXq8CrGCsyT7
YdEIqUuyyOP7uWrat2DX9GgdT0Kj3jlN9K5W7edjcrsZCwenyO4KbXCeAvzhzffi
7MA0BM0oNC9hkXL+nOmFg/+OTxIy7vKBg8P+OxtMb61zO7X8vC7CIAXFjvGDfRaD
ssbzSibBsu/6iGtCOGEoXJf//////////wIBAg==
-----END DH PARAMETERS-----
`
