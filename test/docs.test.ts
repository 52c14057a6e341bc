// The documentation is true: every configuration in it is valid, the whole ones run in a real Haraka with a
// directory of their kind, the commands are run, and log lines, metrics, replies and links are right.
// (docs/commands.md: test/cli/docs.test.ts; the layouts of certain mail systems: test/layouts.test.ts.)
import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir, userInfo } from 'node:os'
import path from 'node:path'
import { after, describe, test } from 'node:test'
import { promisify } from 'node:util'
import type { SnapshotReport } from '../plugins/gal-relay/gal/snapshot/snapshot-list'
import { registryOf } from '../plugins/gal-relay/report/metrics'
import { RULES } from '../plugins/gal-relay/routing/rules'
import { readIni } from '../plugins/gal-relay/settings/ini'
import { readSettings } from '../plugins/gal-relay/settings/settings'
import { makeAuthority } from './support/certificates'
import { COMMAND } from './support/command'
import {
  type Block,
  blocksOf,
  fileOf,
  isWhole,
  PAGES,
  type Replacements,
  readPage,
  real,
  wholeOf,
} from './support/docs'
import { type Haraka, REPOSITORY, startHaraka } from './support/haraka'
import { busyInstall } from './support/install-report'
import { freePort } from './support/ports'
import { skipWithout } from './support/programs'
import { skipWithoutSamba, startSamba } from './support/samba'
import { sharedHaraka } from './support/shared-haraka'
import { packedPackage, shell, shims, which } from './support/shell'
import { startSlapd, unitEntry } from './support/slapd'
import { connectSmtp } from './support/smtp'

const LDAP = '\n[ldap]\nurl[] = ldap://dc1.corp.example\nbase = dc=corp,dc=example\n'
const blocks = PAGES.flatMap(blocksOf)
const of = (page: string, language: string) =>
  blocksOf(`docs/${page}`).filter((block) => block.language === language)

describe('configurations in the docs', () => {
  for (const block of blocks.filter(
    (one) =>
      one.language === 'ini' && fileOf(one) === 'gal_relay.ini' && !/commands/.test(one.page),
  )) {
    test(`${block.page} line ${block.line}`, () => {
      const isReceived = /^mode = received$/m.test(block.text)
      const text = isWhole(block) || isReceived ? block.text : block.text + LDAP
      readSettings(readIni('config/gal_relay.ini', text), [], '/')
    })
  }

  test('every block is of a kind that is run', () => {
    const run = ['ini', 'sh', 'log', 'conf', 'ldif', 'yaml', 'console', 'old', 'js']
    const other = blocks.filter(({ language }) => !run.includes(language))
    assert.deepEqual(
      other.map(({ page, line }) => `${page}:${line}`),
      [],
    )
    const console_ = blocks.filter(({ language }) => language === 'console')
    assert.deepEqual([...new Set(console_.map(({ page }) => page))], ['docs/commands.md'])
  })
})

// ── Whole configurations in a real Haraka ────────────────────────────────────────────────────────

interface Expected {
  /** Addresses at example.com that the directory has, as the page says. */
  readonly known: readonly string[]
  /** Addresses that the directory has, but the page's filter leaves out. */
  readonly unknown?: readonly string[]
  /** A client that may relay. */
  readonly inside: string
  readonly files?: Readonly<Record<string, string>>
}

const shared = sharedHaraka({})
after(() => shared.stop())

function runs(ini: string, { known, unknown = [], inside, files = {} }: Expected): Promise<void> {
  const use = async (haraka: Haraka) => {
    await haraka.waitForLog(/directory .* is up/)
    const outside = '203.0.113.9'
    for (const address of known) assert.match(await rcpt(haraka, outside, address), /^250/, address)
    for (const address of ['nobody@example.com', ...unknown]) {
      assert.match(await rcpt(haraka, outside, address), /^550 5\.1\.1/, address)
    }
    assert.match(await rcpt(haraka, outside, 'friend@elsewhere.example'), /^550 5\.7\.1 Relaying/)
    assert.match(await rcpt(haraka, inside, 'friend@elsewhere.example'), /^250/)
  }
  return shared.with(ini, undefined, use, files)
}

/** @returns the reply to the recipient */
async function rcpt(haraka: Haraka, client: string, to: string): Promise<string> {
  const smtp = await connectSmtp({ port: haraka.port, proxy: { client, local: '10.0.0.5:25' } })
  try {
    await smtp.command('EHLO mail.isp.example')
    const { rcpt } = await smtp.transaction('news@shop.example', [to])
    return rcpt[0]?.line ?? ''
  } finally {
    await smtp.quit()
  }
}

const SECRET = 'Pa55-word!'

describe('Active Directory in the docs', { skip: skipWithoutSamba() }, () => {
  test('exchange-ad.md and samba.md: the configurations and the commands', async () => {
    const samba = await startSamba()
    const folder = mkdtempSync(path.join(tmpdir(), 'docs-'))
    const bin = shims(folder, {
      'samba-tool': `exec ${which('samba-tool')} "$@" -s ${samba.conf}`,
      npx: `shift; exec ${process.execPath} ${COMMAND} "$@"`,
    })
    try {
      const config = path.join(folder, 'config')
      mkdirSync(config)
      writeFileSync(path.join(folder, 'gal_relay.password'), `${SECRET}\n`)
      const alice = (name: string, attributes: Record<string, string | string[]>) => ({
        dn: `CN=${name},CN=Users,${samba.base}`,
        attributes: { objectClass: 'user', sAMAccountName: name, ...attributes },
      })
      await samba.add(
        alice('Alice', { mail: 'alice@example.com', proxyAddresses: 'SMTP:alice@example.com' }),
        alice('Bob', { mail: 'bob@example.com', proxyAddresses: ['SMTP:robert@example.com'] }),
      )
      const replacements: Replacements = [
        ['dc1.corp.example', samba.host],
        ['dc2.corp.example', '127.0.0.2'],
        ['dc=corp,dc=example', samba.base],
        ['DC=corp,DC=example', samba.base],
        ['@corp.example', '@corp.test'],
        [' -W ', ` -w '${samba.password}' `],
      ]
      const run = (block: Block) =>
        shell(real(block.text, replacements), folder, {
          PATH: `${bin}:${process.env.PATH}`,
          LDAPTLS_CACERT: samba.ca,
          NODE_EXTRA_CA_CERTS: samba.ca,
        })
      const [account, lockout, alias, ...more] = of('samba.md', 'sh')
      assert.ok(account && lockout && alias && more.length === 0)
      await run(account)
      await run(lockout)

      const files = {
        'config/gal_relay.password': `${SECRET}\n`,
        'config/corp-ca.pem': readFileSync(samba.ca, 'utf8'),
      }
      const exchange = real(wholeOf('exchange-ad.md'), replacements)
      // Only proxyAddresses count: the address in Bob's `mail` is not his.
      await runs(exchange, {
        known: ['alice@example.com', 'robert@example.com'],
        inside: '192.168.1.25',
        files,
      })
      await samba.add(
        {
          dn: `CN=Carol,CN=Users,${samba.base}`,
          attributes: { objectClass: 'contact', proxyAddresses: 'SMTP:carol@example.com' },
        },
        {
          dn: `CN=Team,CN=Users,${samba.base}`,
          attributes: { objectClass: 'group', proxyAddresses: 'SMTP:team@example.com' },
        },
      )
      const [narrow, ...others] = of('exchange-ad.md', 'ini').filter(({ text }) =>
        /^filter = /m.test(text),
      )
      assert.deepEqual(others, [])
      await runs(exchange.replace('[gal]\nattributes[] = proxyAddresses\n', narrow?.text ?? ''), {
        known: ['alice@example.com', 'team@example.com'],
        unknown: ['carol@example.com'],
        inside: '192.168.1.25',
        files,
      })
      const own = real(wholeOf('samba.md'), replacements)
      const known = ['alice@example.com', 'bob@example.com']
      await runs(own, { known, inside: '192.168.1.7', files })

      for (const [file, text] of Object.entries(files)) writeFileSync(path.join(folder, file), text)
      writeFileSync(path.join(config, 'gal_relay.ini'), own)
      const [ldif] = of('samba.md', 'ldif')
      writeFileSync(path.join(folder, 'alias.ldif'), real(ldif?.text ?? '', replacements))
      assert.match(await run(alias), /a\.adams@example\.com is in the directory/)
    } finally {
      await samba.stop()
      rmSync(folder, { recursive: true, force: true })
    }
  })
})

describe('LDAP servers in the docs', { skip: skipWithout('slapd', 'slapadd', 'openssl') }, () => {
  const account = (dn: string) => ({
    dn,
    objectClass: ['organizationalRole', 'simpleSecurityObject'],
    userPassword: SECRET,
    sn: undefined,
  })
  const PASSWORD = { 'config/gal_relay.password': `${SECRET}\n` }

  test('openldap.md', async () => {
    const base = 'dc=corp,dc=example'
    const authority = makeAuthority()
    const slapd = await startSlapd({
      suffix: base,
      tls: authority.issue(),
      entries: [
        ...['people', 'lists', 'services'].map((name) => unitEntry(`ou=${name},${base}`)),
        account(`cn=haraka,ou=services,${base}`),
        { dn: `uid=alice,ou=people,${base}`, mail: 'alice@example.com' },
        {
          dn: `cn=board,ou=lists,${base}`,
          objectClass: ['groupOfNames', 'galRecipient'],
          sn: undefined,
          member: `uid=alice,ou=people,${base}`,
          mail: 'board@example.com',
        },
        { dn: `uid=carol,ou=services,${base}`, mail: 'nobody@example.com' },
      ],
    })
    try {
      const ini = real(wholeOf('openldap.md'), [
        ['ldap://ldap1.corp.example', slapd.url],
        ['ldap://ldap2.corp.example', 'ldap://127.0.0.1:1'],
      ])
      const files = { ...PASSWORD, 'config/corp-ca.pem': readFileSync(authority.ca, 'utf8') }
      const known = ['alice@example.com', 'board@example.com']
      await runs(ini, { known, inside: '192.168.1.7', files })
    } finally {
      await slapd.stop()
      authority.remove()
    }
  })

  test('openldap.md: slapd accepts its lines', async () => {
    const folder = mkdtempSync(path.join(tmpdir(), 'slapd-'))
    try {
      for (const { text } of of('openldap.md', 'conf')) {
        const conf = path.join(folder, 'slapd.conf')
        writeFileSync(
          conf,
          `include /etc/ldap/schema/core.schema
include /etc/ldap/schema/cosine.schema
modulepath /usr/lib/ldap
moduleload back_mdb
moduleload syncprov
database mdb
suffix "dc=corp,dc=example"
directory ${folder}
${text}`,
        )
        await promisify(execFile)(which('slapd'), ['-T', 'test', '-u', '-f', conf])
      }
    } finally {
      rmSync(folder, { recursive: true, force: true })
    }
  })

  test('exchange-5.5.md', async () => {
    const slapd = await startSlapd({
      suffix: 'o=Corp',
      entries: [
        {
          dn: 'cn=Alice,o=Corp',
          mail: 'alice@example.com',
          otherMailbox: ['smtp$a.adams@example.com', 'x400$c=US;a= ;p=Corp;s=nobody@example.com'],
        },
      ],
    })
    try {
      const ini = real(wholeOf('exchange-5.5.md'), [
        ['ldap://exchange.corp.example', slapd.url],
        ['cn=haraka,cn=CORP', slapd.bindDn],
      ])
      const files = { 'config/gal_relay.password': slapd.password }
      const known = ['alice@example.com', 'a.adams@example.com']
      await runs(ini, { known, inside: '192.168.1.25', files })
    } finally {
      await slapd.stop()
    }
  })

  test('migrating.md: each configuration finds the recipients that the old one found', async () => {
    const authority = makeAuthority()
    const slapd = await startSlapd({
      schema: [
        `attributetype ( 1.3.6.1.4.1.7914.1.2.1.4 NAME 'mailAlternateAddress'
  EQUALITY caseIgnoreIA5Match SYNTAX 1.3.6.1.4.1.1466.115.121.1.26 )`,
        `attributetype ( 2.16.840.1.113730.3.1.13 NAME 'mailLocalAddress'
  EQUALITY caseIgnoreIA5Match SYNTAX 1.3.6.1.4.1.1466.115.121.1.26 )`,
        `objectclass ( 1.3.6.1.4.1.7914.1.2.2.1 NAME 'qmailUser' SUP top AUXILIARY
  MAY ( mail $ mailAlternateAddress $ mailLocalAddress ) )`,
      ],
      tls: authority.issue(),
      entries: ['one', 'two'].flatMap((name) => [
        unitEntry(`ou=${name},dc=corp,dc=test`),
        {
          dn: `uid=${name},ou=${name},dc=corp,dc=test`,
          objectClass: ['inetOrgPerson', 'qmailUser'],
          mail: `${name}@example.com`,
          mailAlternateAddress: `${name}.alternate@example.com`,
          mailLocalAddress: `${name}.local@example.com`,
        },
        // In the directory, but by the old filter no recipient
        ...(name === 'one'
          ? [
              {
                dn: `cn=printer,ou=${name},dc=corp,dc=test`,
                objectClass: ['device', 'galRecipient'],
                sn: undefined,
                mail: 'nobody@example.com',
              },
            ]
          : []),
      ]),
    })
    try {
      const [fromRcptLdap, fromLdap, fromRelay] = of('migrating.md', 'ini')
      assert.ok(fromRcptLdap && fromLdap && fromRelay)
      const common: Replacements = [
        ['ldap://127.0.0.1:389', slapd.url],
        ['ldap://ldap1.corp.example', slapd.url],
        ['ldap://ldap2.corp.example', 'ldap://127.0.0.1:1'],
        ['bind_password = secret', `bind_password = ${slapd.password}`],
        ['dc=example,dc=com', 'ou=one,dc=corp,dc=test'],
        ['dc=example2,dc=com', 'ou=two,dc=corp,dc=test'],
        ['cn=haraka,ou=services,dc=corp,dc=example', slapd.bindDn],
        ['dc=corp,dc=example', slapd.base],
      ]
      const more = '\n[restrictions]\nhosts[] = 192.168.1.0/24\n'
      const host = { inside: '192.168.1.7', files: { 'config/host_list': 'example.com\n' } }
      const qmail = real(fromRcptLdap.text, [
        ['cn=admin,dc=example,dc=com', slapd.bindDn],
        ...common,
      ])
      const byQmail = ['one@example.com', 'two.alternate@example.com']
      await runs(qmail + more, { known: byQmail, ...host })
      const ldap = real(fromLdap.text, [
        ['starttls = true', `starttls = true\ntls_ca = ${authority.ca}`],
        ...common,
      ])
      await runs(ldap + more, { known: ['one@example.com', 'two.local@example.com'], ...host })

      const acl = '192.168.1.0/24\n# a comment\n2001:db8:1::/48 # branch\n'
      const folder = mkdtempSync(path.join(tmpdir(), 'docs-'))
      mkdirSync(path.join(folder, 'config'))
      writeFileSync(path.join(folder, 'config', 'relay_acl_allow'), acl)
      const [importing, list] = of('migrating.md', 'sh')
      const bin = shims(folder, { npx: `shift; exec ${process.execPath} ${COMMAND} "$@"` })
      await shell(importing?.text ?? '', folder, { PATH: `${bin}:${process.env.PATH}` })
      const imported = readFileSync(path.join(folder, 'gal_relay.ini'), 'utf8')
      const lines = await shell(list?.text ?? '', folder)
      assert.ok(imported.includes(lines), imported)
      rmSync(folder, { recursive: true, force: true })
      assert.equal(lines, 'hosts[] = 192.168.1.0/24\nhosts[] = 2001:db8:1::/48\n')
      assert.ok(fromRelay.text.includes(lines))

      const relayIni = of('migrating.md', 'ini').find((one) => fileOf(one) === 'relay.ini')
      const haraka = await startHaraka({
        plugins: ['relay', 'gal-relay', 'test-queue'],
        ini: `${fromRelay.text}[ldap]\nurl[] = ${slapd.url}\nbase = ${slapd.base}\n`,
        files: {
          'config/relay.ini': relayIni?.text ?? '',
          'config/relay_acl_allow': '203.0.113.0/24\n',
        },
      })
      try {
        for (const [client, to, reply] of [
          ['192.168.1.7', 'x@partner.example', /^250/],
          ['2001:db8:1::7', 'x@partner.example', /^250/],
          ['203.0.113.9', 'x@partner.example', /^550 5\.7\.1/],
          ['203.0.113.9', 'x@backup.example', /^250/],
          ['203.0.113.9', 'x@branch.example', /^550 5\.1\.1/],
        ] as const) {
          assert.match(await rcpt(haraka, client, to), reply, `${client} ${to}`)
        }
      } finally {
        await haraka.stop()
      }
    } finally {
      await slapd.stop()
      authority.remove()
    }
  })
})

// ── Getting started, step by step ────────────────────────────────────────────────────────────────

describe('getting-started.md', { skip: skipWithout('slapd', 'slapadd', 'openssl', 'curl') }, () => {
  test('works as described, on a new install with npm', async () => {
    const folder = mkdtempSync(path.join(tmpdir(), 'docs-'))
    const dir = path.join(folder, 'mx')
    const authority = makeAuthority()
    const base = 'dc=corp,dc=example'
    const services = `ou=services,${base}`
    const slapd = await startSlapd({
      suffix: base,
      tls: authority.issue(),
      entries: [
        unitEntry(services),
        {
          dn: `cn=haraka,${services}`,
          objectClass: ['organizationalRole', 'simpleSecurityObject'],
          userPassword: SECRET,
          sn: undefined,
        },
        'alice@example.com',
      ],
    })
    const web = await freePort()
    const env = { NODE_EXTRA_CA_CERTS: authority.ca }
    let haraka: Haraka | undefined
    const file = (name: string) => path.join(dir, 'config', name)
    const restart = async () => {
      await haraka?.stop()
      const plugins = readFileSync(file('plugins'), 'utf8').trim().split('\n')
      haraka = await startHaraka({
        dir,
        env,
        hostList: ['example.com'],
        plugins: plugins.filter((name) => !name.startsWith('test-')).concat('test-queue'),
      })
      await haraka.waitForLog(/directory .* is up/)
    }
    try {
      const { file: tarball } = await packedPackage()
      const bin = path.join(path.dirname(require.resolve('haraka/package.json')), 'bin', 'haraka')
      await promisify(execFile)(process.execPath, [bin, '-i', dir])
      writeFileSync(file('plugins'), 'rcpt_to.in_host_list\n')
      const replacements: Replacements = [
        ['/srv/haraka', dir],
        ['-o haraka', `-o ${userInfo().username}`],
        ['/var/log/haraka.log', path.join(folder, 'haraka.log')],
        ['npm install', 'npm install --no-audit --no-fund --prefer-offline'],
        ['haraka-plugin-gal-relay', tarball],
        ['ldaps://dc1.corp.example', slapd.tlsUrl],
        ['ldaps://dc2.corp.example', `ldaps://localhost:${slapd.tlsPort}`],
        ['127.0.0.1:8080', `127.0.0.1:${web}`],
      ]
      let restarts = 0
      for (const block of blocksOf('docs/getting-started.md')) {
        const { before, language } = block
        if (/Restart Haraka/.test(before)) {
          restarts++
          await restart()
          if (restarts < 3) {
            assert.ok(haraka)
            for (const to of ['alice@example.com', 'nobody@example.com']) {
              assert.match(await rcpt(haraka, '203.0.113.9', to), /^250/)
            }
            await haraka.waitForLog(/observed DIFFERS .*nobody@/)
          }
        }
        writeFileSync(path.join(folder, 'haraka.log'), haraka?.log() ?? '')
        const text = real(block.text, replacements)
        const name = fileOf(block)
        if (language === 'sh') {
          const output = await shell(text, dir, env)
          if (/\| sort -rn/.test(text))
            assert.match(output, /1 +(rule=not-in-gal|recipient=nobody@)/)
          if (/curl/.test(text)) assert.match(output, /answer="accepted"\} 1\n/)
          if (/npx gal-relay check$/m.test(text)) {
            assert.match(output, restarts === 0 ? /\n0 problems, 1 warning\n/ : /\n0 problems, 0 w/)
          }
          if (/gal_relay\.password/.test(text)) writeFileSync(file('gal_relay.password'), SECRET)
        } else if (language === 'log') {
          for (const line of block.text.trim().split('\n')) {
            const said = (haraka?.log() ?? '').split('\n').map(spoken)
            assert.ok(said.includes(spoken(line)), `${line}\nis not in\n${said.join('\n')}`)
          }
        } else if (language === 'ini') {
          const so = /Write `config|in `config/.test(before) ? '' : /Add to/.test(before)
          if (so === '') writeFileSync(file(name), text)
          else if (so) writeFileSync(file(name), readFileSync(file(name), 'utf8') + text)
        }
      }
      assert.equal(restarts, 3)
      assert.ok(haraka)
      assert.match(await rcpt(haraka, '203.0.113.9', 'alice@example.com'), /^250/)
      assert.match(await rcpt(haraka, '203.0.113.9', 'nobody@example.com'), /^550 5\.1\.1/)
    } finally {
      await haraka?.stop()
      await slapd.stop()
      authority.remove()
      rmSync(folder, { recursive: true, force: true })
    }
  })
})

/** @returns a line of the log without what differs from install to install */
const spoken = (line: string) =>
  line
    .replace(/^.*\[gal-relay\] /, '')
    .replace(/ rdns=\S+ helo=\S+/, '')
    .trim()

// ── Reference ────────────────────────────────────────────────────────────────────────────────────

describe('reference in the docs', () => {
  test('every link to a file of the project leads to an existing file and heading', () => {
    const anchor = (heading: string) =>
      heading
        .toLowerCase()
        .replace(/[^\p{L}\p{N}\s_-]/gu, '')
        .replace(/\s/g, '-')
    let links = 0
    for (const page of PAGES) {
      for (const [link, target = ''] of readPage(page).matchAll(/\]\(([^)\s]+)\)/g)) {
        if (/^https?:/.test(target)) continue
        links++
        const [file = '', heading] = target.split('#')
        const there = file ? path.posix.join(path.posix.dirname(page), file) : page
        assert.ok(existsSync(path.join(REPOSITORY, there)), `${page}: ${link}`)
        if (heading === undefined) continue
        const headings = [...readPage(there).matchAll(/^#+ (.*)$/gm)].map(([, text = '']) => text)
        assert.ok(headings.map(anchor).includes(heading), `${page}: ${link}`)
      }
    }
    assert.ok(links > 10, `${links} links`)
  })

  const snapshot: SnapshotReport = {
    ...{ addresses: 1, isCurrent: true, asOf: 1, feed: 'usn', sync: undefined },
    ...{ answered: 1, asked: 1 },
  }
  const metrics = async () =>
    registryOf(busyInstall(Date.now(), snapshot), Date.now()).getMetricsAsJSON()

  test('metrics.md lists every metric with its type and labels, and no other', async () => {
    const rows = [
      ...readPage('docs/metrics.md').matchAll(/^\| `(gal_relay_\w+)` \| (\w+) \| (.*?) \|/gm),
    ]
    const told = new Map(
      rows.map(([, name = '', type = '', labels = '']) => [name, [type, labels]]),
    )
    const real = await metrics()
    assert.deepEqual([...told.keys()].sort(), real.map(({ name }) => name).sort())
    for (const { name, type, values } of real) {
      const [toldType, labels = ''] = told.get(name) ?? []
      assert.equal(toldType, String(type), name)
      const shown = [...labels.matchAll(/`(\w+)`/g)].map(([, label]) => label)
      for (const { labels } of values) {
        const others = Object.keys(labels).filter((label) => !shown.includes(label))
        assert.deepEqual(others, [], `labels of ${name}`)
      }
    }
  })

  test('the rules for Prometheus name metrics and labels that exist', async () => {
    const names = new Set((await metrics()).map(({ name }) => name))
    const yaml = of('metrics.md', 'yaml')
      .map(({ text }) => text)
      .join('')
    const used = [...yaml.matchAll(/\bgal_relay_\w+/g)].map(([name]) => name)
    assert.ok(used.length > 4)
    assert.deepEqual(
      used.filter((name) => !names.has(name)),
      [],
    )
    const rules = [...yaml.matchAll(/\brule[!=]~?"([^"]+)"/g)].flatMap(([, text = '']) =>
      text.split('|'),
    )
    const unknown = rules.filter(
      (rule) => !Object.keys(RULES).some((one) => new RegExp(`^${rule}$`).test(one)),
    )
    assert.ok(rules.length > 4)
    assert.deepEqual(unknown, [])
  })

  test('troubleshooting.md lists every rule that can refuse, and its reply', () => {
    const page = readPage('docs/troubleshooting.md')
    const refusing = Object.entries(RULES).flatMap(([rule, line]) =>
      'reply' in line ? [rule] : [],
    )
    assert.ok(refusing.length > 7)
    assert.deepEqual(
      refusing.filter((rule) => !page.includes(`| \`${rule}\` |`)),
      [],
    )
    const source = readFileSync(path.join(REPOSITORY, 'plugins/gal-relay/routing/rules.ts'), 'utf8')
    const texts = [...source.matchAll(/text: '([^']*)'/g)].map(([, text = '']) => text)
    assert.ok(texts.length > 4)
    assert.deepEqual(
      texts.filter((text) => !page.includes(text)),
      [],
    )
  })

  test('troubleshooting.md shows the line in the log, and its commands run', async () => {
    const ini = '[gal]\nattributes[] = mail\n[ldap]\nurl[] = ldap://127.0.0.1:1\nbase = dc=test\n'
    await shared.with(ini, ['example.com'], async (haraka) => {
      await rcpt(haraka, '203.0.113.9', 'nobody@example.com')
      const fields = (line: string) => [...line.matchAll(/ (\w+)=/g)].map(([, name]) => name)
      const line = await haraka.waitForLog(/deferred ip=/)
      const [shown] = of('troubleshooting.md', 'log')
      assert.deepEqual(fields(shown?.text ?? ''), fields(line.replace(/^.*deferred/, ' deferred')))
      const bin = shims(haraka.dir, { npx: `shift; exec ${process.execPath} ${COMMAND} "$@"` })
      // Commands that read a log file are run in log-formats.test.ts.
      const commands = of('troubleshooting.md', 'sh').filter(
        ({ text }) => !/haraka\.log/.test(text),
      )
      assert.ok(commands.length >= 2)
      for (const { text } of commands) {
        // The directory is away here, which check and explain report by their exit code.
        const output = await shell(
          text.replace(/check --json$/m, '$& || test $? = 1'),
          haraka.dir,
          {
            PATH: `${bin}:${process.env.PATH}`,
          },
        )
        assert.match(output, /451 4\.4\.3|"problems":/)
      }
    })
  })

  test('commands of other pages are among those that are run', () => {
    const run = [
      ...['getting-started', 'leaving', 'samba', 'migrating', 'troubleshooting', 'metrics'],
      // They are run in readme.test.ts and recipe.test.ts.
      ...['README', 'plugins'],
      // They are run in edge/docs.test.ts.
      'edge',
    ]
    const pages = new Set(
      blocks.filter(({ language }) => language === 'sh').map(({ page }) => page),
    )
    assert.deepEqual(
      [...pages].filter((page) => !run.some((name) => page.includes(name))),
      [],
    )
    // getting-started.md has this command too.
    assert.deepEqual(
      of('metrics.md', 'sh').map(({ text }) => text),
      ['npm install express\n'],
    )
  })
})
