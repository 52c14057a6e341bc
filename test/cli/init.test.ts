// gal-relay init: from an empty Haraka and a directory to the first correct answers, without any question.
import assert from 'node:assert/strict'
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { after, before, describe, test } from 'node:test'
import { loadCommandAfterFirst } from '../support/command'
import { startDns } from '../support/dns-server'
import { skipWithoutDs389, startDs389 } from '../support/ds389'
import { type HarakaOptions, startHaraka, writeInstall } from '../support/haraka'
import { skipWithout } from '../support/programs'
import { skipWithoutSamba, startSamba } from '../support/samba'
import { startSlapd } from '../support/slapd'
import { connectSmtp } from '../support/smtp'

const { runCommand } = loadCommandAfterFirst()

describe('gal-relay init', () => {
  let folder: string
  let count = 0
  before(() => {
    folder = mkdtempSync(path.join(tmpdir(), 'init-'))
  })
  after(() => rmSync(folder, { recursive: true, force: true }))

  function install(options: HarakaOptions = {}): string {
    const dir = path.join(folder, `install${++count}`)
    writeInstall(dir, [25], { plugins: ['test-queue'], ...options })
    return dir
  }

  const init = (dir: string, ...args: string[]) =>
    runCommand(['init', '--yes', '--config', dir, ...args])

  const iniOf = (dir: string) => readFileSync(path.join(dir, 'config', 'gal_relay.ini'), 'utf8')

  /** The replies of a Haraka there, first while the plugin observes, then while it enforces. */
  async function answers(dir: string, to: readonly string[]) {
    const hostList = readFileSync(path.join(dir, 'config', 'host_list'), 'utf8').split('\n')
    const haraka = await startHaraka({ dir, hostList: hostList.filter(Boolean), proxy: false })
    const ask = async () => {
      const smtp = await connectSmtp({ port: haraka.port })
      await smtp.ehlo()
      const { rcpt } = await smtp.transaction('news@shop.example', to)
      await smtp.quit()
      return rcpt.map(({ line }) => line.slice(0, 9))
    }
    try {
      const observed = await ask()
      await haraka.reload(iniOf(dir).replace('enforce = false', 'enforce = true'))
      return { observed, enforced: await ask() }
    } finally {
      await haraka.stop()
    }
  }

  async function leadsToAnswers(dir: string, known: string, unknown: string): Promise<void> {
    const { observed, enforced } = await answers(dir, [known, unknown, 'friend@elsewhere.example'])
    assert.deepEqual(observed, ['250 recip', '250 recip', '550 I can'])
    assert.deepEqual(enforced, ['250 recip', '550 5.1.1', '550 5.7.1'])
  }

  test('with slapd', { skip: skipWithout('slapd', 'slapadd') }, async () => {
    const slapd = await startSlapd({
      entries: [
        { mail: 'alice@example.com', proxyAddresses: 'SMTP:alice@example.com' },
        { mail: 'bob@example.com', proxyAddresses: undefined },
      ],
    })
    try {
      const dir = install({ hostList: ['example.com'] })
      const { code, stdout, stderr } = await init(dir, '--url', slapd.url)
      assert.equal(code, 0, stdout + stderr)
      assert.match(stdout, /^1 problem, .*\n\nto do: echo gal-relay >> config\/plugins/m)
      assert.equal(stderr, '')
      writeFileSync(path.join(dir, 'config', 'plugins'), 'gal-relay\ntest-queue\n')
      const checked = await runCommand(['check', '--config', dir])
      assert.equal(checked.code, 0, checked.stdout)
      const ini = iniOf(dir)
      assert.match(ini, /^enforce = false$/m)
      assert.match(ini, /^; OpenLDAP, as it was named$/m)
      assert.match(ini, /^base = dc=corp,dc=test$/m)
      assert.match(ini, /^; inbound by config\/host_list, without a row: example\.com$/m)
      await leadsToAnswers(dir, 'alice@example.com', 'nobody@example.com')

      // No file of the install says which domains are ours; nearly all addresses of the directory do.
      const empty = install()
      assert.equal((await init(empty, '--url', slapd.url)).code, 0)
      assert.match(iniOf(empty), /^; most addresses .*\n@example\.com = inbound$/m)
    } finally {
      await slapd.stop()
    }
  })

  test('with Samba, found by DNS', { skip: skipWithoutSamba() }, async () => {
    const samba = await startSamba()
    const dns = await startDns({
      '_ldap._tcp.corp.test': {
        srv: [{ priority: 0, weight: 100, port: 389, target: samba.host }],
      },
    })
    try {
      await samba.add({
        dn: `CN=Alice,CN=Users,${samba.base}`,
        attributes: {
          objectClass: 'contact',
          mail: 'alice@corp.test',
          proxyAddresses: ['SMTP:alice@corp.test', 'smtp:a@corp.test'],
        },
      })
      const setDns = path.join(folder, 'set-dns.cjs')
      writeFileSync(setDns, `require('node:dns').promises.setServers(['${dns.address}'])\n`)
      const dir = install({
        hostList: ['corp.test'],
        files: {
          'config/gal_relay.password': samba.password,
          'config/ca.pem': readFileSync(samba.ca, 'utf8'),
        },
      })
      const account = ['--bind-dn', samba.bindDn, '--bind-password-file', 'gal_relay.password']
      const env = { NODE_OPTIONS: `--require ${setDns}` }
      const args = ['init', '--yes', '--config', dir]
      const stranger = await runCommand(args, { env })
      assert.equal(stranger.code, 2)
      assert.match(
        stranger.stderr,
        /clients without an account.*name it with --bind-dn and --bind-password-file/,
      )
      assert.ok(!existsSync(path.join(dir, 'config', 'gal_relay.ini')))
      const { stdout, stderr } = await runCommand([...args, ...account, '--tls-ca', 'ca.pem'], {
        env,
      })
      assert.match(stdout, /is written$/m, stderr)
      const ini = iniOf(dir)
      assert.match(ini, /^; Active Directory, which DNS names \(_ldap\._tcp\.corp\.test\)$/m)
      assert.match(ini, /^url\[\] = srv:\/\/corp\.test$/m)
      assert.match(ini, /^base = DC=corp,DC=test$/m)
      assert.match(ini, /\n\[gal\]\n; .*\nattributes\[\] = proxyAddresses\n\[ldap\]\n/)
      // Haraka asks the DNS of the system.
      const known = ini.replace('srv://corp.test', `ldap://${samba.host}`)
      writeFileSync(path.join(dir, 'config', 'gal_relay.ini'), known)
      await leadsToAnswers(dir, 'a@corp.test', 'nobody@corp.test')
    } finally {
      await dns.stop()
      await samba.stop()
    }
  })

  test('with 389 Directory Server, which rcpt_to.ldap already asks', {
    skip: skipWithoutDs389(),
  }, async () => {
    const ds = await startDs389({
      entries: [
        {
          dn: 'uid=alice,dc=corp,dc=test',
          attributes: {
            objectClass: 'inetOrgPerson',
            cn: 'Alice',
            sn: 'A',
            mail: 'alice@example.com',
          },
        },
      ],
    })
    try {
      const dir = install({
        plugins: ['rcpt_to.ldap', 'relay', 'test-queue'],
        hostList: ['example.com'],
        files: {
          'config/rcpt_to.ldap.ini': `server=${ds.url}\nbasedn=${ds.base}\nbinddn=${ds.bindDn}\nbindpw=${ds.password}\nobjectclass=inetOrgPerson\n`,
          'config/relay_acl_allow': '192.168.1.0/24\n',
        },
      })
      const { code, stdout, stderr } = await init(dir)
      assert.equal(code, 0, stdout + stderr)
      const ini = iniOf(dir)
      assert.match(ini, /which another plugin asks already$/m)
      assert.match(ini, /^hosts\[\] = 192\.168\.1\.0\/24$/m)
      assert.match(ini, /^filter = \(objectClass=inetOrgPerson\)$/m)
      writeFileSync(path.join(dir, 'config', 'plugins'), 'gal-relay\ntest-queue\n')
      await leadsToAnswers(dir, 'alice@example.com', 'nobody@example.com')
    } finally {
      await ds.stop()
    }
  })

  test('overwrites no file, and writes none if something is wrong', async () => {
    const there = install({ ini: '; mine\n' })
    const twice = await init(there, '--url', 'ldap://127.0.0.1:9')
    assert.equal(twice.code, 2)
    assert.match(twice.stderr, /gal_relay\.ini is there already and stays as it is/)
    assert.equal(iniOf(there), '; mine\n')
    for (const [args, sentence] of [
      [['--url', 'ldap://127.0.0.1:9'], /^ldap:\/\/127\.0\.0\.1:9 cannot be asked: /m],
      [['--url', 'dc1.corp.example'], /\[ldap\] url/],
      [['--url', 'ldap://127.0.0.1:9', '--bind-dn', 'cn=x'], /bind_password/],
      [['--url', 'ldaps://127.0.0.1:9', '--tls-ca', 'no-such.pem'], /no-such\.pem/],
      [[], /^no directory was found: .*; name it with --url$/m],
    ] as const) {
      const dir = install()
      const { code, stdout, stderr } = await init(dir, ...args)
      assert.match(stderr, sentence)
      assert.equal(code, 2, stderr)
      assert.equal(stdout, '')
      assert.ok(!existsSync(path.join(dir, 'config', 'gal_relay.ini')))
    }
  })
})
