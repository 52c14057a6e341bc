// `gal-relay check` finds and names each kind of faulty configuration and faulty directory, and passes sound
// ones, with OpenLDAP and with Active Directory.
import assert from 'node:assert/strict'
import {
  chmodSync,
  chownSync,
  mkdirSync,
  mkdtempSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { after, before, describe, test } from 'node:test'
import { type CertificateAuthority, makeAuthority } from '../support/certificates'
import { loadCommand, runCommand as runProcess } from '../support/command'
import { type EmbeddedLdap, startEmbeddedLdap } from '../support/embedded-ldap'
import { type HarakaOptions, writeInstall } from '../support/haraka'
import { freePort } from '../support/ports'
import { skipWithout } from '../support/programs'
import { type Samba, skipWithoutSamba, startSamba } from '../support/samba'
import { type Slapd, startSlapd, unitEntry } from '../support/slapd'
import { startStalledPort } from '../support/stalled-port'

const { runCommand, runJson } = loadCommand()

interface Finding {
  readonly level: 'ok' | 'note' | 'warning' | 'problem'
  readonly text: string
}

interface Report {
  readonly code: number
  readonly problems: number
  readonly warnings: number
  readonly sections: readonly { readonly about: string; readonly findings: readonly Finding[] }[]
  /** `level text` of all findings. */
  readonly lines: readonly string[]
}

async function check(options: HarakaOptions): Promise<Report> {
  const root = mkdtempSync(path.join(tmpdir(), 'install-'))
  try {
    writeInstall(root, [25], options)
    const { code, json } = await runJson<Omit<Report, 'lines' | 'code'>>([
      ...['check', '--config', root],
    ])
    const findings = json.sections.flatMap((section) => section.findings)
    return { code, ...json, lines: findings.map(({ level, text }) => `${level} ${text}`) }
  } finally {
    rmSync(root, { recursive: true, force: true })
  }
}

function has({ lines }: Report, ...patterns: RegExp[]): void {
  for (const pattern of patterns) {
    assert.ok(
      lines.some((line) => pattern.test(line)),
      `${pattern}\n${lines.join('\n')}`,
    )
  }
}

function hasNot({ lines }: Report, ...patterns: RegExp[]): void {
  for (const pattern of patterns) {
    assert.ok(!lines.some((line) => pattern.test(line)), `${pattern}\n${lines.join('\n')}`)
  }
}

const AS_ROOT = { skip: process.getuid?.() === 0 ? false : 'needs root' }

/** With this, plugin relay lets everybody relay. */
const ALL = { 'config/relay.ini': '[relay]\nall = true\n' }

describe('settings', () => {
  let ldap: EmbeddedLdap
  let directory: string
  before(async () => {
    ldap = await startEmbeddedLdap(['alice@example.com'])
    directory = `[ldap]\nurl[] = ${ldap.url}\nbase = ${ldap.base}\n`
  })
  after(() => ldap.stop())

  test('all problems at once, and none of their passwords', async () => {
    const ini = `[routes]
example.com = inbund
[restrictions]
hosts[] = 1.1.1.1;255.0.0.0
opne = true
[gal]
cache_found = 15
[ldap]
bind_pasword = hunter2
`
    const report = await check({ ini })
    assert.equal(report.code, 1)
    has(
      report,
      /^problem config\/gal_relay\.ini line 2: \[routes\] example\.com = inbund: .*probably meant: inbound/,
      /^problem .* line 4: .*can never match; probably meant: 1\.0\.0\.0;255\.0\.0\.0/,
      /^problem .*opne: .*probably meant: open/,
      /^problem .*cache_found = 15: has no unit; probably meant: 15s/,
      /^problem .*\[ldap\] url\[\]: is missing/,
      /^problem .*\[ldap\] base: is missing/,
    )
    assert.ok(!JSON.stringify(report).includes('hunter2'))
    assert.equal(report.problems, report.lines.filter((line) => line.startsWith('problem')).length)
  })

  test('lines that cannot be parsed are not printed, whatever their file', async () => {
    const root = mkdtempSync(path.join(tmpdir(), 'install-'))
    try {
      const ini = `${directory}bind password = hunter2\n*.a.test = forward smtp://joe:hunter2@gw.test\n`
      const files = {
        'config/smtp.ini': 'listen=127.0.0.1:25\n*auth = hunter2\n',
        'config/ldap.ini': 'bind pw = hunter2\n',
        'config/smtp_forward.ini': 'auth pass = hunter2\n',
      }
      const plugins = ['gal-relay', 'ldap', 'queue/smtp_forward']
      writeInstall(root, [25], { ini, files, plugins })
      const { stdout, stderr } = await runCommand(['check', '--config', root])
      assert.match(stdout, /line 4: \[ldap\]: Haraka cannot read the key 'bind password'/)
      assert.doesNotMatch(stdout + stderr, /hunter2/)
    } finally {
      rmSync(root, { recursive: true, force: true })
    }
  })

  test('no gal_relay.ini', async () => {
    const report = await check({})
    has(report, /^problem config\/gal_relay\.ini: there is no such file$/)
    has(report, /^problem .*\[ldap\] url\[\]: is missing/)
  })

  test('gal_relay.ini under another name', async () => {
    const report = await check({ files: { 'config/gal-relay.ini': directory } })
    has(
      report,
      /no such file; config\/gal-relay\.ini is not read, probably meant: config\/gal_relay\.ini$/,
    )
  })

  test('gal_relay.ini, and another file that may be mistaken for it', async () => {
    const files = { 'config/gal-relay.ini': directory, 'config/gal_relay.ini.bak': directory }
    const report = await check({ ini: directory, files })
    const said = report.lines.filter((line) => /config\/\S+ is not read/.test(line))
    assert.deepEqual(said, [
      'warning config/gal-relay.ini is not read, config/gal_relay.ini is: is that the file you edit?',
    ])
  })

  test('nobody else accepts while it only observes', async () => {
    const ini = `[main]\nenforce = false\n[routes]\nexample.com = inbound\n${directory}`
    const accepted = /^warning .*recipients are only observed .*no other plugin accepts them: /
    has(await check({ ini, plugins: ['gal-relay'] }), accepted)
    hasNot(await check({ ini, plugins: ['gal-relay', 'rcpt_to.in_host_list'] }), accepted)
  })

  test('the plugin is not loaded', async () => {
    const report = await check({ ini: directory, plugins: ['rcpt_to.in_host_list'] })
    assert.equal(report.code, 1)
    has(report, /^problem gal-relay is not listed in config\/plugins: Haraka does not load it$/)
  })

  test('other plugins answer before ours, or never', async () => {
    const plugins = ['rcpt_to.in_host_list', 'gal-relay', 'aliases']
    const report = await check({ ini: directory, plugins })
    assert.equal(report.code, 0)
    has(report, /^warning plugin rcpt_to\.in_host_list comes before gal-relay/)
    has(report, /^warning plugin aliases comes after gal-relay/)
  })

  test('other plugins will answer before ours, which only observes for now', async () => {
    const observe = `[main]\nenforce = false\n${directory}`
    const run = (...plugins: string[]) => check({ ini: observe, plugins, files: ALL })
    const before = await run('relay', 'rcpt_to.in_host_list', 'gal-relay', 'aliases')
    has(
      before,
      /^problem OPEN RELAY: .*\(all = true in config\/relay\.ini\); once enforced, gal-relay is not asked\./,
      /^warning .*host_list: once enforced, gal-relay is not asked about those\. Put it behind/,
      /^warning plugin aliases comes after gal-relay .* once enforced, is never asked: move it before$/,
    )
    hasNot(before, /for those, gal-relay is not asked/)
    // It observes recipients before other plugins do, except behind one that rewrites them.
    has(
      await run('aliases', 'rcpt_to.in_host_list', 'gal-relay'),
      /^warning .*host_list: for those, gal-relay is not asked\. Put it behind gal-relay$/,
    )
    const partly = `${observe}[listener *:587]\nenforce = true\n`
    has(
      await check({ ini: partly, plugins: ['rcpt_to.in_host_list', 'gal-relay'] }),
      /^warning .*host_list: for those, gal-relay is not asked\./,
    )
  })

  test('other plugins answer before ours because of how they are configured', async () => {
    const run = (plugin: string, files: Readonly<Record<string, string>>, behind = false) =>
      check({
        ini: directory,
        plugins: behind ? ['gal-relay', plugin] : [plugin, 'gal-relay'],
        files,
      })
    for (const name of ['relay', 'haraka-plugin-relay', 'relay_all']) {
      const open = await run(name, ALL)
      assert.equal(open.code, 1)
      has(open, /^problem OPEN RELAY: plugin relay comes before gal-relay .*relay\.ini/)
    }
    hasNot(await run('relay', ALL, true), /OPEN RELAY/, /stands/)
    const domains = { 'config/relay.ini': '[relay]\ndest_domains = true\n' }
    has(await run('relay', domains), /^warning plugin relay comes before .*relay_dest_domains\.ini/)
    hasNot(await run('relay', domains, true), /stands/)
    hasNot(await run('relay', { 'config/relay.ini': '[relay]\nacl = true\n' }), /stands/)
    has(
      await run('access', { 'config/access.ini': '[rcpt]\naccept = true\n' }),
      /^warning plugin access comes before .*access\.ini/,
    )
    hasNot(await run('access', {}), /stands/)
    hasNot(
      await run('access', {
        'config/access.ini': '[check]\nrcpt = false\n[rcpt]\naccept = true\n',
      }),
      /stands/,
    )
    has(
      await run('queue/smtp_forward', { 'config/smtp_forward.ini': 'check_recipient = true\n' }),
      /^warning plugin queue\/smtp_forward comes before .*smtp_forward\.ini/,
    )
    hasNot(await run('queue/smtp_forward', {}), /stands/)
    const ldap = (section: string) => ({ 'config/ldap.ini': `[${section}]\n` })
    has(await run('ldap', ldap('rcpt_to')), /^warning plugin ldap comes before .*ldap\.ini/)
    hasNot(await run('ldap', ldap('aliases')), /stands/)
    has(
      await run('ldap', ldap('aliases'), true),
      /^warning plugin ldap comes after gal-relay .* is never asked/,
    )
    hasNot(await run('ldap', ldap('authn'), true), /stands/)
    for (const name of ['rcpt_to.ldap', 'recipient-routes', 'qmail-deliverable']) {
      has(await run(name, {}), /^warning plugin \S+ comes before gal-relay /)
    }
  })

  test('the situation of Q256856', async () => {
    const left = '[routing]\nreroute = false\n[restrictions]\nhosts[] = 192.168.1.0/24\n'
    has(await check({ ini: left + directory }), /^warning reroute = false while .*\(Q256856\)$/)
  })

  test('open relays, by name and by list', async () => {
    const open = await check({ ini: `[restrictions]\nopen = true\n${directory}` })
    assert.equal(open.code, 1)
    has(open, /^problem OPEN RELAY on .*\(open = true\)$/)
    const halves = '[restrictions]\nhosts[] = 0.0.0.0/1\nhosts[] = 128.0.0.0/1\n'
    const listed = await check({ ini: halves + directory })
    assert.equal(listed.code, 1)
    has(listed, /^problem listener \*:\*: the internet may relay; gal-relay who-may-relay /)
  })

  test('rows and entries that another one makes redundant', async () => {
    const ini = `[routes]
example.com = inbound
sub.example.com = inbound
other.example.com = inbound smtp://192.0.2.25
@example.com = inbound
[restrictions]
hosts[] = 192.168.1.0/24
hosts[] = 192.168.1.77
hosts[] = 192.168.1.4
hosts[] = 10.0.0.1
never[] = 192.168.1.0;255.255.255.248
`
    const report = await check({ ini: ini + directory })
    assert.equal(report.code, 0)
    has(
      report,
      /^warning \[routes\] sub\.example\.com = inbound changes nothing: row example\.com says/,
      /^warning \[routes\] @example\.com = inbound changes nothing: row example\.com says/,
      /^warning hosts\[\] = 192\.168\.1\.77 changes nothing: it is in hosts\[\] = 192\.168\.1\.0\/24$/,
      /^warning hosts\[\] = 192\.168\.1\.4 lets nobody relay: it is in never\[\] = 192\.168\.1\.0;/,
    )
    hasNot(report, /^warning .*other\.example\.com/, /^warning .*10\.0\.0\.1/)
  })

  test('rows without effect, and host_list against a row', async () => {
    const routes =
      '[routes]\npartner.example = always-relay\nours.example = forward smtp://192.0.2.25\n'
    const off = await check({ ini: `${routes}[routing]\nreroute = false\n${directory}` })
    has(
      off,
      /^warning \[routes\] partner\.example = always-relay has no effect: with reroute = false/,
    )
    const on = await check({ ini: routes + directory, hostList: ['ours.example', '*.bad'] })
    has(
      on,
      /^warning config\/host_list: ours\.example is not inbound, because row ours\.example is forward$/,
    )
    has(on, /^warning config\/host_list: '\*\.bad' is not a domain name/)
  })

  test('rows for single addresses that make no difference', async () => {
    const routes = `[routes]
example.com = inbound
old.example = reroute new.example
new.example = inbound
ann.old@new.example = reroute ann@new.example
alice@example.com = inbound
postmaster@example.com = refuse
boss@foreign.example = refuse
nobody@example.com = refuse
scan@example.com = inbound smtp://192.0.2.25
moved.example = reroute example.com
alice@moved.example = refuse
nobody@moved.example = refuse
`
    const report = await check({ ini: routes + directory })
    has(
      report,
      /^warning \[routes\] alice@example\.com = inbound changes nothing: example\.com says the same/,
      /^warning \[routes\] postmaster@example\.com = refuse refuses nobody: postmaster is in always/,
      /^warning \[routes\] boss@foreign\.example = refuse .*: foreign\.example is foreign$/,
      /^warning \[routes\] nobody@example\.com = refuse makes no difference: the directory does not/,
      /^warning \[routes\] old\.example = reroute new\.example .*\(ann\.old@new\.example\)/,
    )
    hasNot(report, /scan@example\.com =/)
    // The address that it is rerouted to is looked up.
    hasNot(report, /alice@moved\.example = refuse/)
    has(report, /nobody@moved\.example = refuse makes no difference: the directory does not/)
    const open = `[restrictions]\nopen = true\n[routes]\nexample.com = inbound\na@example.com = refuse\n`
    has(await check({ ini: open + directory }), /a@example\.com = refuse refuses nobody: everybody/)
    const known = '[routes]\nexample.com = inbound\nalice@example.com = accept\n'
    has(
      await check({ ini: known + directory }),
      /^note \[routes\] \S+ = accept: the directory has this address too, but is not asked$/,
    )
  })

  test('domains that meet in one message under mixed = defer', async () => {
    const routes = '[routes]\nexample.com = inbound\nhop.example = inbound smtp://192.0.2.25\n'
    const deferred = await check({ ini: `[routing]\nmixed = defer\n${routes}${directory}` })
    has(deferred, /^warning mixed = defer on .* at example\.com .* and at hop\.example /)
    hasNot(await check({ ini: routes + directory }), /mixed/)
  })

  test('next hops: this Haraka, by name too, and names that do not resolve', async () => {
    const routes = (hop: string) => `[routes]\nexample.com = inbound smtp://${hop}\n${directory}`
    const self = await check({ ini: routes('127.0.0.1:25') })
    assert.equal(self.code, 1)
    has(self, /^problem .*example\.com = inbound smtp:\/\/127\.0\.0\.1:25: /)
    const unknown = await check({ ini: routes('nohost.invalid') })
    assert.equal(unknown.code, 1)
    has(unknown, /^problem smtp:\/\/nohost\.invalid:25: no address found: /)
    has(
      await check({ ini: routes('localhost:2525') }),
      /^ok smtp:\/\/localhost:2525 is 127\.0\.0\.1/,
    )
  })

  test('the hosts of mailboxes, as next hops', async () => {
    const hosts = (hop: string) =>
      `[routes]\nexample.com = inbound\n[hosts]\nex1 = ${hop}\n${directory}`
    const unknown = await check({ ini: hosts('smtp://nohost.invalid') })
    assert.equal(unknown.code, 1)
    has(unknown, /^problem smtp:\/\/nohost\.invalid:25: no address found: /)
    has(
      await check({ ini: hosts('lmtp://localhost') }),
      /^ok lmtp:\/\/localhost:24 is 127\.0\.0\.1/,
    )
    hasNot(await check({ ini: hosts('local') }), /next hops|local:/)
  })

  test('a status page without an HTTP server', async () => {
    const report = await check({ ini: `[http]\nenabled = true\n${directory}` })
    has(report, /^warning no metrics and no status page: config\/http\.ini has no address /)
  })

  test('express, in the install or beside a Haraka that is installed for all', async () => {
    const files = { 'config/http.ini': 'listen=127.0.0.1:8080\n' }
    interface Places {
      readonly install: string
      readonly besideHaraka: string
    }
    /** Uses a new folder each time, because the process caches which packages it has found. */
    const said = async (put: (places: Places) => void) => {
      const folder = mkdtempSync(path.join(tmpdir(), 'install-'))
      const root = path.join(folder, 'mx')
      const modules = path.join(folder, 'lib', 'node_modules')
      const bin = path.join(folder, 'bin')
      try {
        writeInstall(root, [25], { ini: `[http]\nenabled = true\n${directory}`, files })
        mkdirSync(path.join(modules, 'haraka', 'bin'), { recursive: true })
        mkdirSync(bin)
        writeFileSync(path.join(modules, 'haraka', 'bin', 'haraka'), '')
        symlinkSync(path.join(modules, 'haraka', 'bin', 'haraka'), path.join(bin, 'haraka'))
        put({ install: path.join(root, 'node_modules'), besideHaraka: modules })
        const args = ['check', '--config', root]
        const env = { PATH: bin }
        const { json } = await runJson<Omit<Report, 'lines' | 'code'>>(args, { env })
        const findings = json.sections.flatMap((section) => section.findings)
        return findings.filter(({ text }) => /express|status page/.test(text))
      } finally {
        rmSync(folder, { recursive: true, force: true })
      }
    }
    const express = (where: string, version?: string) => {
      mkdirSync(path.join(where, 'express'), { recursive: true })
      writeFileSync(path.join(where, 'express', 'index.js'), '')
      const file = path.join(where, 'express', 'package.json')
      if (version) writeFileSync(file, JSON.stringify({ version }))
    }
    const [missing, ...more] = await said(() => {})
    assert.deepEqual([missing?.level, more], ['note', []])
    assert.match(missing?.text ?? '', /^express was found neither in .*mx nor beside /)
    assert.deepEqual(await said(({ besideHaraka }) => express(besideHaraka)), [])
    assert.deepEqual(await said(({ install }) => express(install)), [])
    for (const fine of ['4.8.0', '4.21.2', '5.1.0', 'next']) {
      assert.deepEqual(await said(({ install }) => express(install, fine)), [], fine)
    }
    for (const old of ['2.5.11', '3.21.2', '4.7.4']) {
      const [found] = await said(({ install }) => express(install, old))
      assert.equal(found?.level, 'warning')
      assert.match(found?.text ?? '', new RegExp(`express ${old} \\(.*\\) is too old for Haraka`))
    }
  })

  test('files that root may read, and the user that Haraka runs as may not', {
    skip: process.getuid?.() === 0 ? false : 'needs root',
  }, async () => {
    const root = mkdtempSync(path.join(tmpdir(), 'install-'))
    const said = async (user: string) => {
      const credentials = 'bind_dn = cn=reader\nbind_password_file = secret\ntls_ca = ca.pem\n'
      const smtp = { 'config/smtp.ini': `listen=127.0.0.1:25\n${user}` }
      const files = { 'config/secret': 'hush\n', 'config/ca.pem': '', ...smtp }
      writeInstall(root, [25], { ini: directory + credentials, files })
      const args = ['check', '--config', root]
      const { json } = await runJson<Omit<Report, 'lines' | 'code'>>(args)
      const findings = json.sections.flatMap((section) => section.findings)
      return findings.filter(({ text }) => /belongs to root/.test(text))
    }
    const file = (name: string) => path.join(root, 'config', name)
    try {
      assert.deepEqual(await said('user=nobody\n'), [])
      const names = ['gal_relay.ini', 'host_list', 'secret', 'ca.pem']
      for (const name of names) chmodSync(file(name), 0o600)
      const warnings = await said('user=nobody\n')
      assert.deepEqual(
        warnings.map(({ level, text }) => [level, text.split(' ')[0]]),
        names.map((name) => ['warning', file(name)]),
      )
      assert.match(
        warnings[0]?.text ?? '',
        /\(mode 600\), but Haraka runs as nobody .*: chown nobody /,
      )
      for (const user of ['', 'user=root\n']) assert.deepEqual(await said(user), [])
      chownSync(file('secret'), 65534, 65534)
      assert.equal((await said('user=nobody\n')).length, names.length - 1)
    } finally {
      rmSync(root, { recursive: true, force: true })
    }
  })

  test('folders that the user that Haraka runs as may not write to', AS_ROOT, async () => {
    const root = mkdtempSync(path.join(tmpdir(), 'install-'))
    const queue = path.join(root, 'queue')
    const lists = path.join(root, 'lists')
    const said = async (smtp: string) => {
      const ini = `[gal]\nmode = snapshot\n[snapshot]\nfile = ../lists/list\n${directory}`
      const files = { 'config/smtp.ini': `listen=127.0.0.1:25\n${smtp}` }
      writeInstall(root, [25], { ini, files })
      const { json } = await runJson<Omit<Report, 'lines' | 'code'>>(['check', '--config', root])
      const findings = json.sections.flatMap((section) => section.findings)
      return findings
        .filter(({ text }) => /cannot be written by/.test(text))
        .map(({ level, text }) => `${level} ${text}`)
    }
    try {
      chmodSync(root, 0o755)
      mkdirSync(lists)
      for (const smtp of ['', 'user=root\n']) assert.deepEqual(await said(smtp), [])
      const [first = '', second = '', ...more] = await said('user=nobody\n')
      assert.match(
        first,
        /^problem the outbound queue .*queue cannot be written by nobody, the user that Haraka/,
      )
      assert.match(first, /has owner 0, group 0, mode 0755; chown nobody .*queue$/)
      assert.match(second, /^problem the folder of the list .*lists cannot be written by nobody/)
      assert.deepEqual(more, [])
      chownSync(queue, 65534, 65534)
      chownSync(lists, 0, 65534)
      chmodSync(lists, 0o775)
      assert.deepEqual(await said('user=nobody\ngroup=nogroup\n'), [])
      // Under systemd, Haraka probably runs as the owner of queue/.
      chmodSync(lists, 0o755)
      const [guessed = ''] = await said('')
      assert.match(guessed, /^warning .*lists cannot be written by nobody, who owns queue\//)
      chmodSync(root, 0o700)
      const [behind = ''] = await said('user=nobody\n')
      assert.match(behind, new RegExp(`: ${root} has owner 0, .*; chmod o\\+x ${root}$`))
    } finally {
      rmSync(root, { recursive: true, force: true })
    }
  })

  test('a list that another user has written, and one for other settings', AS_ROOT, async () => {
    const root = mkdtempSync(path.join(tmpdir(), 'install-'))
    const ini = `[gal]\nmode = snapshot\n${directory}`
    const said = async (smtp: string, text = ini) => {
      const files = { 'config/smtp.ini': `listen=127.0.0.1:25\n${smtp}` }
      writeInstall(root, [25], { ini: text, files })
      const { json } = await runJson<Omit<Report, 'lines' | 'code'>>(['check', '--config', root])
      const list = json.sections.find(({ about }) => about.startsWith('snapshot'))
      return list?.findings.map(({ level, text }) => `${level} ${text}`).join('\n') ?? ''
    }
    try {
      chmodSync(root, 0o755)
      const file = path.join(root, 'gal_relay.snapshot')
      assert.match(await said(''), /^note there is none yet/)
      assert.equal((await runCommand(['sync'], { cwd: root })).code, 0)
      assert.match(await said(''), /^ok 1 recipient, /)
      assert.match(
        await said('user=nobody\n'),
        /^warning it belongs to user 0 .*which may not read it: /,
      )
      chownSync(file, 12345, 12345)
      assert.match(
        await said('user=nobody\n'),
        /^warning it belongs to user 12345 .*does not use it: /,
      )
      chownSync(file, 65534, 65534)
      assert.match(await said('user=nobody\n'), /^ok 1 recipient, /)
      chownSync(file, 0, 0)
      const other = ini.replace('[ldap]', 'filter = (mail=*)\n[ldap]')
      assert.match(
        await said('', other),
        /^warning it is not used, .*a different base, filter or list of attributes; has gal-relay sync been run /,
      )
      const sync = await runCommand(['sync'], { cwd: root })
      assert.equal(sync.code, 0)
      assert.match(
        sync.stderr,
        /^the list before was made with a different base, .* reads its own again\n$/,
      )
      assert.equal((await runCommand(['sync'], { cwd: root })).stderr, '')
    } finally {
      rmSync(root, { recursive: true, force: true })
    }
  })

  test('files with a secret that everybody may read', async () => {
    const root = mkdtempSync(path.join(tmpdir(), 'install-'))
    const said = async (credentials: string) => {
      const ini = `${directory}bind_dn = cn=reader\n${credentials}\n`
      writeInstall(root, [25], { ini, files: { 'config/secret': 'hush\n' } })
      const { json } = await runJson<Report>(['check', '--config', root])
      const findings = json.sections.flatMap((section) => section.findings)
      return findings
        .filter(({ text }) => text.includes('by every user'))
        .map(({ level, text }) => `${level} ${text}`)
    }
    try {
      // Other users cannot enter the folder.
      assert.deepEqual(await said('bind_password_file = secret'), [])
      chmodSync(root, 0o755)
      const [named = '', ...more] = await said('bind_password_file = secret')
      assert.match(named, /^warning bind_password_file .*secret can be read .*\(mode 0644\): .*o-r/)
      assert.deepEqual(more, [])
      chmodSync(path.join(root, 'config', 'secret'), 0o640)
      assert.deepEqual(await said('bind_password_file = secret'), [])
      const [within = ''] = await said('bind_password = hush')
      assert.match(within, /^warning the password in .*gal_relay\.ini can be read by every/)
      assert.doesNotMatch(within, /hush/)
      const hosts = '[hosts]\nex1 = smtp://u:hush@127.0.0.2'
      const [ofHost = ''] = await said(`bind_password_file = secret\n${hosts}`)
      assert.match(ofHost, /^warning the password in .*gal_relay\.ini can be read by every/)
    } finally {
      rmSync(root, { recursive: true, force: true })
    }
  })

  test('a folder that is no install ends with 2', async () => {
    const { code, stderr } = await runCommand(['check', '--config', tmpdir()])
    assert.equal(code, 2)
    assert.match(
      stderr,
      /is not a Haraka install: it has no config folder\. Name the install with --config DIR\n$/,
    )
  })

  test('in words', async () => {
    const root = mkdtempSync(path.join(tmpdir(), 'install-'))
    try {
      writeInstall(root, [25], { ini: `[routes]\nexample.com = inbound\n${directory}` })
      for (const folder of [root, path.join(root, 'config')]) {
        const { code, stdout, stderr } = await runProcess(['check'], { env: { HARAKA: folder } })
        assert.equal(stderr, '')
        assert.equal(code, 0)
        assert.match(stdout, new RegExp(`^settings of ${root}\n`))
        assert.match(stdout, /^ {2}ok {7}inbound domains: example\.com$/m)
        assert.match(stdout, /^config\/plugins\n {2}ok {7}no other plugin answers first$/m)
        assert.match(
          stdout,
          /^directory ldap:.*\n {2}ok {7}connected without TLS and bound anonymously /m,
        )
        assert.match(stdout, /\n0 problems, \d warnings?\n$/)
      }
      assert.equal((await runProcess(['check'], { cwd: root })).code, 0)
    } finally {
      rmSync(root, { recursive: true, force: true })
    }
  })
})

describe('OpenLDAP', { skip: skipWithout('slapd', 'slapadd', 'openssl') }, () => {
  let authority: CertificateAuthority
  let strangers: CertificateAuthority
  let slapd: Slapd
  before(async () => {
    authority = makeAuthority()
    strangers = makeAuthority()
    slapd = await startSlapd({
      tls: authority.issue({ names: ['IP:127.0.0.1'] }),
      entries: ['alice@example.com', unitEntry('ou=empty,dc=corp,dc=test')],
      schema: [
        "attributetype ( 1.3.6.1.4.1.4203.666.1.950 NAME 'noRule' SYNTAX 1.3.6.1.4.1.1466.115.121.1.15 )",
      ],
      database: ['access to dn.subtree="ou=secret,dc=corp,dc=test" by * none'],
    })
  })
  after(async () => {
    await slapd.stop()
    authority.remove()
    strangers.remove()
  })

  const ini = (ldap: Readonly<Record<string, string>> = {}, gal = '') => {
    const all = {
      'url[]': slapd.tlsUrl,
      base: slapd.base,
      bind_dn: slapd.bindDn,
      bind_password: slapd.password,
      tls_ca: authority.ca,
      ...ldap,
    }
    const lines = Object.entries(all).map(([key, value]) => `${key} = ${value}`)
    return `[routes]\nexample.com = inbound\n[gal]\n${gal}\n[ldap]\n${lines.join('\n')}\n`
  }

  test('a sound one', async () => {
    const report = await check({ ini: ini() })
    assert.equal(report.code, 0, report.lines.join('\n'))
    assert.equal(report.warnings, 0)
    has(
      report,
      /^ok connected with TLS and bound as cn=reader,dc=corp,dc=test in \d+ ms$/,
      /^ok base dc=corp,dc=test is readable$/,
      /^ok proxyAddresses: entries have it, and are found by it$/,
      /^ok mail: entries have it, and are found by it$/,
      /^note a search for an address takes [\d.]+ ms; which attributes are indexed cannot be read$/,
      /^ok it returns long results in pages$/,
      /^ok it reports changes: syncrepl$/,
    )
    has(
      await check({ ini: ini({ 'url[]': slapd.url, starttls: 'true' }) }),
      /^ok connected with StartTLS/,
    )
  })

  test('TLS: the certificate is signed by another authority, or is for another name', async () => {
    const stranger = await check({ ini: ini({ tls_ca: strangers.ca }) })
    assert.equal(stranger.code, 1)
    has(stranger, /^problem TLS: .*; set tls_ca to the file with its authority's certificate$/)
    const name = await check({
      ini: ini({ 'url[]': slapd.tlsUrl.replace('127.0.0.1', 'localhost') }),
    })
    has(name, /^problem TLS: .*; url\[\] must have the name in the certificate$/)
    has(
      await check({ ini: ini({ tls_verify: 'false', tls_ca: strangers.ca }) }),
      /^warning tls_verify = false/,
    )
    has(
      await check({ ini: ini({ tls_ca: '/nowhere/ca.pem' }) }),
      /^problem tls_ca cannot be read: \/nowhere\/ca\.pem: ENOENT: no such file or directory/,
    )
    const folder = { bind_password: '', bind_password_file: '/tmp' }
    has(
      await check({ ini: ini(folder) }),
      /^problem bind_password_file is not used: \/tmp is a folder, not a file/,
    )
  })

  test('bind: a wrong password, which is not shown', async () => {
    const report = await check({ ini: ini({ bind_password: 'swordfish' }) })
    assert.equal(report.code, 1)
    has(report, /^problem invalid credentials \(49\).*; are bind_dn and bind_password right\?$/)
    assert.ok(!JSON.stringify(report).includes('swordfish'))
    const file = path.join(tmpdir(), `password-${process.pid}`)
    writeFileSync(file, `${slapd.password}\n`)
    try {
      const { bind_password_file, bind_password } = { bind_password_file: file, bind_password: '' }
      assert.equal((await check({ ini: ini({ bind_password, bind_password_file }) })).code, 0)
    } finally {
      rmSync(file)
    }
  })

  test('base: not there, or nothing in it', async () => {
    const wrong = await check({ ini: ini({ base: 'dc=crop,dc=test' }) })
    assert.equal(wrong.code, 1)
    has(wrong, /^problem base dc=crop,dc=test: .*; the server has dc=corp,dc=test$/)
    const empty = await check({ ini: ini({ base: 'ou=empty,dc=corp,dc=test' }) })
    assert.equal(empty.code, 1)
    has(empty, /^problem no entry has an address in proxyAddresses, mail: are base, filter /)
    const filter = await check({ ini: ini({}, 'filter = (objectClass=group)') })
    has(filter, /^problem no entry has an address .* correct\?$/)
  })

  test('the account may read the base, and none of the entries in it', async () => {
    const blind = await startSlapd({
      entries: ['alice@example.com'],
      access: [
        'access to dn.base="dc=corp,dc=test" by * read',
        'access to dn.children="dc=corp,dc=test" by * none',
      ],
    })
    try {
      const anonymous = { 'url[]': blind.url, bind_dn: '', bind_password: '', tls_ca: '' }
      const report = await check({ ini: ini(anonymous) })
      has(
        report,
        /^ok base dc=corp,dc=test is readable$/,
        /^problem no entry has an address .* shown to us: it is empty, or nobody may read entries there without/,
      )
    } finally {
      await blind.stop()
    }
  })

  test('attributes: unknown, without a rule, and the flag', async () => {
    const some = await check({ ini: ini({}, 'attributes[] = mail\nattributes[] = mailNickname2') })
    assert.equal(some.code, 1)
    has(some, /^problem mailNickname2: the server has no such attribute in its schema: is the name/)
    const none = await check({ ini: ini({}, 'attributes[] = mailNickname2') })
    assert.equal(none.code, 1)
    has(none, /^problem no entry has an address in mailNickname2/)
    const rule = await check({ ini: ini({}, 'attributes[] = mail\nattributes[] = noRule') })
    has(rule, /^problem noRule: it has no equality rule in the schema, so nobody is found by it/)
    const flag = await check({ ini: ini({}, 'authenticated_only_attribute = noSuchFlag') })
    has(flag, /^note its schema has no noSuchFlag: /)
  })

  test('a server that is not there, one that does not answer, and a password in clear', async () => {
    const port = await freePort()
    const stalled = await startStalledPort()
    try {
      const urls = `ldap://127.0.0.1:${port}\nurl[] = ldap://127.0.0.1:${stalled.port}`
      const report = await check({ ini: ini({ 'url[]': urls, connect_timeout: '300ms' }) })
      assert.equal(report.code, 1)
      has(report, /^problem connect ECONNREFUSED .*; nothing listens there$/)
      has(report, /^problem no connection in 300 ms; is the port right, and does a firewall/)
    } finally {
      await stalled.stop()
    }
  })
})

describe('Active Directory', { skip: skipWithoutSamba() }, () => {
  let samba: Samba
  before(async () => {
    samba = await startSamba()
    await samba.add({
      dn: `cn=alice,cn=Users,${samba.base}`,
      attributes: { objectClass: 'contact', mail: 'alice@example.com' },
    })
  })
  after(() => samba.stop())

  const ini = (url: string, base = samba.base) => `[ldap]
url[] = ${url}
base = ${base}
bind_dn = ${samba.bindDn}
bind_password = ${samba.password}
tls_ca = ${samba.ca}
[gal]
attributes[] = mail
attributes[] = proxyAddresses
`

  test('a sound one', async () => {
    const report = await check({ ini: ini(`ldaps://${samba.host}`) })
    assert.equal(report.code, 0, report.lines.join('\n'))
    has(
      report,
      /^ok connected with TLS and bound as cn=Administrator/,
      /^ok base dc=corp,dc=test is readable$/,
      /^ok mail: entries have it, and are found by it$/,
      /^note proxyAddresses: no entry has it; an entry that had it would be found$/,
      /^(ok the attributes are indexed; a search|warning \w+ is not indexed)/,
      /^ok it returns long results in pages$/,
      /^ok it reports changes: dirsync$/,
      /^note its schema has no msExchRequireAuthToSendTo/,
    )
  })

  test('a Global Catalog with an empty base', async () => {
    const more = 'host_attribute = wWWHomePage\nrouting_attribute = mail'
    const report = await check({ ini: `${ini(`ldap://${samba.host}:3268`, '')}${more}\n` })
    has(report, /^ok mail: entries have it, and are found by it$/)
    has(report, /^warning wWWHomePage is not marked for the Global Catalog$/)
    has(report, /^warning the bind password crosses the network in clear|^ok connected without TLS/)
  })
})
