// A password that the directory refuses: the account is not locked by trying it over and over, and the
// right one counts as soon as it is there.
import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { after, before, describe, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { credentialsToTry } from '../../plugins/gal-relay/ldap/credentials'
import { LDAP, serverUrl, testList } from '../gal/lists'
import { startHaraka } from '../support/haraka'
import { skipWithout } from '../support/programs'
import { type Slapd, startSlapd } from '../support/slapd'
import { startTcpProxy } from '../support/tcp-proxy'
import { until } from '../support/until'

describe('a refused password', { skip: skipWithout('slapd', 'slapadd') }, () => {
  let slapd: Slapd
  let folder: string
  let file: string
  before(async () => {
    slapd = await startSlapd({ entries: ['alice@example.com'] })
    folder = mkdtempSync(path.join(tmpdir(), 'gal-credentials-'))
    file = path.join(folder, 'password')
  })
  after(async () => {
    await slapd?.stop()
    rmSync(folder, { recursive: true, force: true })
  })

  // Two connections may be tried at the same time, and a list is read by a process of its own.
  const MODES = [
    ['live', 4],
    ['snapshot', 6],
  ] as const
  for (const [mode, most] of MODES) {
    test(`is tried three times, by all servers and connections together (${mode})`, async () => {
      writeFileSync(file, 'wrong\n', { mode: 0o600 })
      let binds = 0
      const onRequest = (bytes: Buffer) => {
        if (bytes.includes(Buffer.from('wrong'))) binds++
      }
      const proxies = [
        await startTcpProxy(slapd.port, { onRequest }),
        await startTcpProxy(slapd.port, { onRequest }),
      ]
      const list = testList(
        {
          url: proxies.map(({ port }) => serverUrl(`ldap://127.0.0.1:${port}`)),
          bind_dn: slapd.bindDn,
          bind_password_file: file,
          retry_after: { least: 200, most: 300 },
        },
        { mode },
        { file: path.join(folder, 'list') },
      )
      const refusals = () =>
        list.log.lines.filter((line) => /^error .*invalid credentials/.test(line))
      try {
        list.start()
        assert.equal(await list.ask('alice@example.com'), 'unavailable')
        await until(() => binds >= 3)
        // Time for many more.
        await sleep(2000)
        assert.ok(binds <= most, `${binds} attempts`)
        assert.ok(refusals().some((line) => /tried again only every five minutes/.test(line)))
        assert.equal(await list.ask('alice@example.com'), 'unavailable')
        assert.equal(await list.ask('nobody@example.com'), 'unavailable')

        writeFileSync(file, `${slapd.password}\n`)
        await until(async () => (await list.ask('alice@example.com')) === 'found')
        assert.ok(binds <= most, `${binds} attempts`)
        assert.ok(!list.log.lines.join('\n').includes(slapd.password))
      } finally {
        await list.close()
        await Promise.all(proxies.map((proxy) => proxy.stop()))
      }
    })
  }

  test('is tried as often by many workers, but for those that try at the same moment', async () => {
    let binds = 0
    const onRequest = (bytes: Buffer) => {
      if (bytes.includes(Buffer.from('wrong'))) binds++
    }
    const proxy = await startTcpProxy(slapd.port, { onRequest })
    const nodes = 5
    const haraka = await startHaraka({
      nodes,
      ini: `[routes]
example.com = inbound
[ldap]
url[] = ldap://127.0.0.1:${proxy.port}
base = ${slapd.base}
bind_dn = ${slapd.bindDn}
bind_password = wrong
retry_after = 500ms to 1s
`,
    })
    try {
      await haraka.waitForLog(/tried again only every five minutes/)
      // Time for three attempts of each.
      await sleep(4000)
      assert.ok(binds >= 3 && binds < 3 * nodes, `${binds} attempts`)
    } finally {
      await haraka.stop()
      await proxy.stop()
    }
  })

  test('a password file is read as any editor writes it', async () => {
    const utf16 = (text: string) => Buffer.from(text, 'utf16le')
    const files: readonly (readonly [what: string, bytes: Buffer])[] = [
      ['a line', Buffer.from('gehéim\n')],
      ['no line end', Buffer.from('gehéim')],
      ['Windows', Buffer.from('gehéim\r\n')],
      ['old Macs', Buffer.from('gehéim\r')],
      ['more lines', Buffer.from('gehéim\nanother\n')],
      ['byte order mark', Buffer.from('\ufeffgehéim\r\n')],
      ['UTF-16, little-endian', utf16('\ufeffgehéim\r\n')],
      ['UTF-16, big-endian', utf16('\ufeffgehéim\r\n').swap16()],
    ]
    for (const [what, bytes] of files) {
      writeFileSync(file, bytes)
      const ldap = { ...LDAP, bind_dn: 'cn=reader', bind_password_file: file }
      assert.equal((await credentialsToTry(ldap)).password, 'gehéim', what)
    }
    writeFileSync(file, ' blanks count \n')
    const ldap = { ...LDAP, bind_dn: 'cn=reader', bind_password_file: file }
    assert.equal((await credentialsToTry(ldap)).password, ' blanks count ')
  })
})
