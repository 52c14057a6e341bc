// `gal-relay who-may-relay` on an install: every listener, in words and as JSON. That the sets are
// exact is tested in test/advice/who-may-relay.test.ts.
import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { after, before, describe, test } from 'node:test'
import { loadCommand } from '../support/command'
import { writeInstall } from '../support/haraka'

const { runCommand, runJson } = loadCommand()

const INI = `[restrictions]
hosts[] = 192.168.0.0/24
hosts[] = 192.168.1.0/24
hosts[] = 198.51.100.3;255.255.255.123
never[] = 192.168.1.0;255.255.255.248
[listener *:587]
authenticated = true
[listener 10.0.0.9:25]
enabled = false
[listener 10.0.0.10:25]
reroute = false
[ldap]
url[] = ldap://127.0.0.1:1
base = dc=corp,dc=test
`
const OPEN = `${INI}[listener 10.0.0.11:25]\nopen = true\n`
const LOCAL = `${INI}[listener *:26]\nlocal_addresses[] = 10.0.0.5\nlocal_addresses[] = 8.8.8.8\n`

interface Listener {
  readonly listener: string
  readonly rule: string | null
  readonly clients: { readonly ipv4: string; readonly ipv6: string }
  readonly internet: boolean
}

describe('who-may-relay', () => {
  let root: string
  const config = () => ['--config', root]
  const configure = (ini: string) => writeInstall(root, [25], { ini })
  before(() => {
    root = mkdtempSync(path.join(tmpdir(), 'install-'))
    configure(INI)
  })
  after(() => rmSync(root, { recursive: true, force: true }))

  test('lists every listener with settings of its own', async () => {
    const { code, stdout, stderr } = await runCommand(['who-may-relay', ...config()])
    assert.equal(stderr, '')
    assert.equal(code, 0)
    const expected = `listener *:*, where no other section applies
  clients: 508 IPv4 addresses
    192.168.0.0/24               256 addresses
    192.168.1.8 - 192.168.1.255  248 addresses
    198.51.100.3                 1 address
    198.51.100.7                 1 address
    198.51.100.131               1 address
    198.51.100.135               1 address
  never: 8 IPv4 addresses
    192.168.1.0/29  8 addresses

${listener587('*:587')}
`
    assert.ok(stdout.startsWith(expected), stdout)
    const listeners = Array.from(stdout.matchAll(/^listener ([^\s,]+)/gm), ([, name]) => name)
    assert.deepEqual(listeners, ['*:*', '*:587', '10.0.0.9:25', '10.0.0.10:25'])
  })

  function listener587(name: string): string {
    return `listener ${name}
  clients: 508 IPv4 addresses
    192.168.0.0/24               256 addresses
    192.168.1.8 - 192.168.1.255  248 addresses
    198.51.100.3                 1 address
    198.51.100.7                 1 address
    198.51.100.131               1 address
    198.51.100.135               1 address
  any client that is not in never[] with an account, except guest, anonymous
  never: 8 IPv4 addresses
    192.168.1.0/29  8 addresses
`
  }

  test('one listener', async () => {
    const ask = async (listener: string) => {
      const args = ['who-may-relay', '--listener', listener, ...config()]
      return (await runCommand(args)).stdout
    }
    assert.equal(await ask('10.0.0.5:587'), `${listener587('10.0.0.5:587')}\n`)
    // By the names that it prints itself, too.
    assert.equal(await ask('*:587'), `${listener587('*:587')}\n`)
    assert.match(await ask('*:*'), /^listener \*:\*, where no other section applies\n/)
    const unknown = await runCommand(['who-may-relay', '--listener', '*:588', ...config()])
    assert.match(
      unknown.stderr,
      /^'\*:588' is not an address and port .* nor a listener with settings/,
    )
    assert.match(await ask('10.0.0.9:25'), /takes no part/)
    assert.match(await ask('10.0.0.10:25'), /nobody may relay \(reroute = false\)/)
  })

  test('one JSON object', async () => {
    const args = ['who-may-relay', '--listener', ' 10.0.0.5:25 ', ...config()]
    const { json } = await runJson<{ listeners: Listener[] }>(args)
    const [one, ...more] = json.listeners
    assert.deepEqual(more, [])
    assert.equal(one?.listener, '10.0.0.5:25')
    assert.equal(one?.clients.ipv4, '508')
    assert.equal(one?.internet, false)
  })

  test('an open relay is exit code 1', async () => {
    configure(OPEN)
    const { code, stdout } = await runCommand(['who-may-relay', ...config()])
    assert.equal(code, 1)
    assert.match(stdout, /^ {2}any client that is not in never\[\]: open = true$/m)
    assert.match(stdout, /^ {4}0\.0\.0\.0 - 192\.168\.0\.255 .*the internet$/m)
    assert.ok(!stdout.includes('\x1b'), 'no colour where nobody sees it')
  })

  test('a public address in local_addresses[] too, a private one is explained', async () => {
    configure(LOCAL)
    const { code, stdout } = await runCommand(['who-may-relay', ...config()])
    assert.equal(code, 1)
    assert.match(stdout, /connects to 8\.8\.8\.8, a public address$/m)
    assert.match(stdout, /connects to 10\.0\.0\.5, a private address: the internet too, if NAT /m)
    const behind = ['who-may-relay', '--listener', '10.0.0.5:26', ...config()]
    assert.equal((await runCommand(behind)).code, 0)
  })
})
