// Settings edited while Haraka runs: a valid edit takes effect everywhere without a restart, an invalid
// one changes nothing and is said loudly, and no message that was under way goes astray.
import assert from 'node:assert/strict'
import { mkdirSync, mkdtempSync, renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { after, before, describe, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { type EmbeddedLdap, startEmbeddedLdap } from './support/embedded-ldap'
import { type Haraka, startHaraka } from './support/haraka'
import { connectSmtp, type SmtpClient } from './support/smtp'

const WORKERS = 2
const RELOAD = 60_000
const FIRST = `[routes]
example.com = inbound
[restrictions]
hosts[] = 10.1.0.0/16
[listener *:26]
enabled = false
`
const MESSAGE = 'Subject: hello\r\n\r\nhello\r\n'

describe('settings edited while Haraka runs', () => {
  let directory: EmbeddedLdap
  let haraka: Haraka
  /** One for each worker, open from beginning to end. */
  let strangers: SmtpClient[]
  const ini = (text: string) =>
    `${text}[ldap]\nurl[] = ${directory.url}\nbase = ${directory.base}\n`

  before(async () => {
    directory = await startEmbeddedLdap([
      'alice@example.com',
      'alice@host.example',
      'alice@second.example',
    ])
    haraka = await startHaraka({
      nodes: WORKERS,
      // rcpt_to.in_host_list reads host_list too, after ours.
      plugins: ['gal-relay', 'rcpt_to.in_host_list', 'test-queue'],
      hostList: ['host.example'],
      ini: ini(FIRST),
    })
    strangers = [await connect('203.0.113.9'), await connect('203.0.113.9')]
  })
  after(async () => {
    for (const smtp of strangers) await smtp.quit()
    await haraka.stop()
    await directory.stop()
  })

  async function connect(client: string, port = 25): Promise<SmtpClient> {
    const smtp = await connectSmtp({
      port: haraka.port,
      proxy: { client, local: `10.0.0.5:${port}` },
    })
    await smtp.ehlo()
    return smtp
  }

  /** Codes for each recipient, as open connections and new ones get them. */
  async function codes(client: string, to: readonly string[], port = 25): Promise<number[][]> {
    const connections = client === '203.0.113.9' && port === 25 ? [...strangers] : []
    const fresh = [await connect(client, port), await connect(client, port)]
    const all = []
    for (const smtp of [...connections, ...fresh]) {
      const { rcpt } = await smtp.transaction('a@b.example', to)
      all.push(rcpt.map(({ code }) => code))
      await smtp.rset()
    }
    for (const smtp of fresh) await smtp.quit()
    return [...new Set(all.map((one) => one.join(' ')))].map((one) => one.split(' ').map(Number))
  }

  /** Waits until all of them get these codes. */
  async function until(client: string, to: readonly string[], wanted: number[][], port = 25) {
    const end = Date.now() + RELOAD
    let got = await codes(client, to, port)
    while (got.join('|') !== wanted.join('|') && Date.now() < end) {
      await sleep(250)
      got = await codes(client, to, port)
    }
    assert.deepEqual(got, wanted)
  }

  /** Waits until that many processes have said it. */
  async function said(pattern: RegExp, times: number): Promise<void> {
    const end = Date.now() + RELOAD
    while (haraka.logLines(pattern).length < times) {
      assert.ok(Date.now() < end, `${times} lines like ${pattern}:\n${haraka.log()}`)
      await sleep(100)
    }
  }

  test('to something invalid: the last good ones stay, and the log says why', async () => {
    const former = [[250, 250, 550, 550]]
    const to = [
      'alice@example.com',
      'alice@host.example',
      'alice@second.example',
      'x@foreign.example',
    ]
    assert.deepEqual(await codes('203.0.113.9', to), former)

    haraka.writeConfig(
      'gal_relay.ini',
      ini(
        '[routes]\nexample.com = inbund\n[restrictions]\nopen = maybe\n' +
          'bind_password geheim\nsmtps://joe:geheim@gw.example = x y\n',
      ),
    )
    await said(/\[ERROR\].*the settings were not reloaded/, 1 + WORKERS)
    for (const problem of [
      /\[ERROR\] \[-\] \[gal-relay\].* line 2: \[routes\] example\.com = inbund: /,
      /\[ERROR\] \[-\] \[gal-relay\].* line 4: \[restrictions\] open = maybe: /,
    ]) {
      await said(problem, 1 + WORKERS)
      assert.equal(haraka.logLines(problem).length, 1 + WORKERS)
    }
    assert.doesNotMatch(haraka.log(), /geheim/)
    assert.deepEqual(await codes('203.0.113.9', to), former)
    assert.deepEqual(await codes('10.1.2.3', ['x@foreign.example']), [[250]])
  })

  test('to no file at all: the last good ones stay, and a file that comes again is read', async () => {
    const file = path.join(haraka.dir, 'config', 'gal_relay.ini')
    const missing = /\[ERROR\].* \[ldap\] url\[\]: is missing/
    rmSync(file)
    await said(missing, 1 + WORKERS)
    assert.deepEqual(await codes('203.0.113.9', ['alice@example.com']), [[250]])
    haraka.writeConfig('gal_relay.ini', ini('[routes]\nexample.com = always-relay\n'))
    await until('203.0.113.9', ['nobody@example.com'], [[250]])
  })

  test('config/host_list alone: all processes and connections follow, other plugins too', async () => {
    haraka.writeConfig('gal_relay.ini', ini(FIRST))
    haraka.writeConfig('host_list', '# ours\n\nsecond.example\n')
    const to = ['alice@example.com', 'alice@host.example', 'alice@second.example']
    await until('203.0.113.9', to, [[250, 550, 250]])
    // Where the plugin takes no part, rcpt_to.in_host_list answers, without an address list.
    await until('203.0.113.9', ['nobody@host.example', 'nobody@second.example'], [[550, 250]], 26)
  })

  test('to very long lists, and again before those are read: the last edit is in force', async () => {
    const lists = (to: string) => {
      const lines = (line: (i: number) => string) =>
        Array.from({ length: 20_000 }, (_, i) => line(i))
      const rows = lines((i) => `d${i}.example = ${to}`)
      const hosts = lines((i) => `hosts[] = 10.3.${i >> 8}.${i & 255}`)
      return ini(['[routes]', ...rows, '[restrictions]', ...hosts, ''].join('\n'))
    }
    haraka.writeConfig('gal_relay.ini', lists('always-relay'))
    // Read a moment before or after the lists, which begins that anew.
    haraka.writeConfig('host_list', 'host.example\n')
    await until('203.0.113.9', ['a@d0.example', 'a@d19999.example'], [[250, 250]])
    await until('203.0.113.9', ['alice@host.example', 'alice@second.example'], [[250, 550]])
    haraka.writeConfig('host_list', 'second.example\n')
    haraka.writeConfig('gal_relay.ini', lists('inbound'))
    await until('203.0.113.9', ['a@d0.example', 'a@d19999.example'], [[550, 550]])
    await until('203.0.113.9', ['alice@host.example', 'alice@second.example'], [[550, 250]])
    assert.deepEqual(await codes('10.3.78.31', ['x@foreign.example']), [[250]])
  })

  test('to something valid: all processes and connections follow', async () => {
    haraka.writeConfig(
      'gal_relay.ini',
      ini('[routes]\npartner.example = always-relay\n[restrictions]\nhosts[] = 10.2.0.0/16\n'),
    )
    await until(
      '203.0.113.9',
      ['alice@example.com', 'alice@second.example', 'friend@partner.example'],
      [[550, 250, 250]],
    )
    assert.deepEqual(await codes('10.1.2.3', ['x@foreign.example']), [[550]])
    assert.deepEqual(await codes('10.2.2.3', ['x@foreign.example']), [[250]])
  })

  test('under a message that is half sent: it goes where its recipients were accepted for', async () => {
    const [smtp] = strangers
    assert.ok(smtp)
    const to = ['alice@second.example', 'friend@partner.example']
    const { rcpt } = await smtp.transaction('a@b.example', to)
    assert.deepEqual(
      rcpt.map(({ code }) => code),
      [250, 250],
    )

    haraka.writeConfig('gal_relay.ini', 'enabled = false\n')
    // Now rcpt_to.in_host_list answers, and knows no address list.
    await until('203.0.113.10', ['nobody@second.example'], [[250]])
    assert.equal((await smtp.data(MESSAGE)).code, 250)
    assert.deepEqual(
      haraka.delivered().map(({ rcpt_to }) => rcpt_to),
      [['alice@second.example']],
    )
    assert.deepEqual(
      haraka.outboundMessages().map(({ rcpt_to }) => rcpt_to),
      [['friend@partner.example']],
    )
  })
})

test('settings that a link leads to, as in Kubernetes, are read when it leads elsewhere', async () => {
  const directory = await startEmbeddedLdap(['alice@example.com'])
  const folder = mkdtempSync(path.join(tmpdir(), 'reload-linked-'))
  const config = path.join(folder, 'config')
  // A file is a link through `..data`, which is put in the place of the former one as a whole.
  const version = (name: string, ini: string) => {
    mkdirSync(path.join(config, name), { recursive: true })
    const ldap = `[ldap]\nurl[] = ${directory.url}\nbase = ${directory.base}\n`
    writeFileSync(path.join(config, name, 'gal_relay.ini'), `${ini}${ldap}`)
    symlinkSync(name, path.join(config, '..new'))
    renameSync(path.join(config, '..new'), path.join(config, '..data'))
  }
  version('..first', FIRST)
  symlinkSync('..data/gal_relay.ini', path.join(config, 'gal_relay.ini'))
  const haraka = await startHaraka({ dir: folder, ini: undefined })
  const answer = async () => {
    const smtp = await connectSmtp({
      port: haraka.port,
      proxy: { client: '203.0.113.9', local: '10.0.0.5:25' },
    })
    await smtp.ehlo()
    const { rcpt } = await smtp.transaction('a@sender.example', ['x@new.example'])
    await smtp.quit()
    return rcpt[0]?.line ?? ''
  }
  try {
    assert.match(await answer(), /^550 5\.7\.1/)
    version('..second', FIRST.replace('example.com = inbound', 'new.example = inbound'))
    await haraka.waitForLog(/settings reloaded/, RELOAD)
    assert.match(await answer(), /^550 5\.1\.1/)
  } finally {
    await haraka.stop()
    await directory.stop()
    rmSync(folder, { recursive: true, force: true })
  }
})
