// `gal-relay explain` says what the server says: each case is asked of a running Haraka and of the
// command, and the replies must be the same word for word. Most are asked of a process that has
// the command loaded, the others as a postmaster asks. The rulebook's cases are asked so in
// vectors.test.ts.
import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { after, before, describe, test } from 'node:test'
import { loadCommand, loadCommandAfterFirst } from '../support/command'
import { type EmbeddedLdap, startEmbeddedLdap } from '../support/embedded-ldap'
import { type Answer, agree, argumentsOf } from '../support/explain'
import { type Haraka, startHaraka, writeInstall } from '../support/haraka'
import { PASSWORDS } from '../support/vectors'

interface Asked {
  readonly client: string
  readonly listener: string
  readonly assumed: readonly string[]
  readonly recipients: readonly { readonly rule: string }[]
}

const command = loadCommand()
const { runCommand } = loadCommandAfterFirst()

describe('explain, where the rulebook has no case', () => {
  const ini = `[routes]
example.com = inbound
hop.example = inbound smtp://192.0.2.25
[restrictions]
hosts[] = 192.168.1.0/24
[listener 10.0.0.9:*]
enabled = false
[listener 10.0.0.6:25]
enforce = false
[listener 10.0.0.7:25]
mixed = defer
hosts[] = 192.168.1.0/24
`
  const client = '192.168.1.7'
  const stranger = '203.0.113.9'
  const local = '10.0.0.5:25'
  let ldap: EmbeddedLdap
  let haraka: Haraka
  before(async () => {
    ldap = await startEmbeddedLdap(['alice@example.com', 'josé@example.com', 'bob@hop.example'])
    const directory = `[ldap]\nurl[] = ${ldap.url}\nbase = ${ldap.base}\n`
    haraka = await startHaraka({ ini: ini + directory, auth: PASSWORDS })
  })
  after(async () => {
    await haraka.stop()
    await ldap.stop()
  })

  test('addresses that Haraka cannot read, and those that it reads its own way', async () => {
    const to = [
      'user@a@b.example',
      'no-domain',
      '',
      'alice@',
      '@example.com',
      'a b@example.com',
      '"a b"@example.com',
      'alice@[1.2.3]',
      'alice@example.com NOTIFY=NEVER',
      'postmaster',
      'PostMaster@example.com',
      '@relay.example,@other.example:alice@Example.COM',
      'alice@[192.0.2.7]',
      'alice@[IPv6:2001:DB8::7]',
      'josé@example.com',
      'x@münchen.example',
      `${'x'.repeat(250)}@example.com`,
      '<alice@example.com> SIZE',
      '<>',
      '< >',
      '<@relay.example:>',
      '<postmaster>',
      '"alice"@example.com',
      '"al\\ice"@EXAMPLE.COM',
      '"a\\"b"@example.com',
      '""@example.com',
      '"alice@elsewhere.example"@example.com',
      'alice@example.com.',
      'alice@[IPv6:::ffff:192.0.2.7]',
      'alice@[example.com]',
      '\u202ealice@example.com',
      'alice@elsewhere.example@example.com',
      '<alice@example.com',
      'alice@example.com>',
    ]
    for (const who of [stranger, client]) {
      await agree(haraka, { client: who, local, to }, command)
    }
  })

  test('a sender that Haraka cannot read', async () => {
    const [one] = await agree(
      haraka,
      { client, local, from: 'a@b@c', to: 'alice@example.com' },
      command,
    )
    assert.equal(one?.rule, 'syntax')
    assert.equal(one?.may_relay, true)
  })

  test('submission ports want authentication before MAIL', async () => {
    const to = 'alice@example.com'
    const [one] = await agree(haraka, { client: stranger, local: '10.0.0.5:587', to }, command)
    assert.equal(one?.reply, '550 Authentication required')
    assert.equal(one?.rule, 'authentication-required')
    await agree(haraka, { client: stranger, local: '10.0.0.5:465', to }, command)
    await agree(haraka, { client, local: '10.0.0.5:587', to }, command)
    await agree(haraka, { client: stranger, local: '10.0.0.5:587', auth: 'carol', to }, command)
  })

  test('a listener on which the plugin takes no part', async () => {
    const to = ['alice@example.com', 'friend@elsewhere.example']
    for (const port of [25, 587]) {
      for (const auth of [undefined, 'carol']) {
        const [one] = await agree(haraka, { client, local: `10.0.0.9:${port}`, auth, to }, command)
        assert.equal(one?.rule, port === 587 && !auth ? 'authentication-required' : 'not-enabled')
      }
    }
  })

  test('both kinds of recipient in one transaction', async () => {
    const to = [
      'alice@example.com',
      'nobody@example.com',
      'friend@elsewhere.example',
      'b@hop.example',
    ]
    const deferred = await agree(haraka, { client, local: '10.0.0.7:25', to }, command)
    assert.deepEqual(
      deferred.map(({ rule }) => rule),
      ['in-gal', 'not-in-gal', 'mixed', 'not-in-gal'],
    )
    const split = await agree(haraka, { client, local, to }, command)
    assert.deepEqual(
      split.map(({ path }) => path),
      ['queue', null, 'outbound', null],
    )
    const outboundFirst = ['friend@elsewhere.example', 'bob@hop.example', 'alice@example.com']
    const [, , last] = await agree(
      haraka,
      { client, local: '10.0.0.7:25', to: outboundFirst },
      command,
    )
    assert.equal(last?.rule, 'mixed')
  })

  test('a listener on which the plugin only observes: what it would answer', async () => {
    const args = ['--config', haraka.dir, '--client', stranger, '--listener', '10.0.0.6:25']
    const ask = ['explain', 'alice@example.com', 'friend@elsewhere.example', ...args]
    const { json } = await command.runJson<Answer>(ask)
    assert.deepEqual(
      json.recipients.map(({ code, enforced }) => [code, enforced]),
      [
        [250, false],
        [550, false],
      ],
    )
    assert.match((await command.runCommand(ask)).stdout, /enforce = false: it only observes/)
  })

  test('other plugins that may answer otherwise are named, and the reply stays what ours is', async () => {
    const root = mkdtempSync(path.join(tmpdir(), 'install-'))
    const directory = `[ldap]\nurl[] = ${ldap.url}\nbase = ${ldap.base}\n`
    const files = { 'config/relay.ini': '[relay]\nall = true\n' }
    const asked = ['--config', root, '--client', stranger, '--listener', local]
    const said = async (...plugins: string[]) => {
      writeInstall(root, [25], { ini: ini + directory, plugins, files })
      const { code, json } = await command.runJson<Answer>([
        'explain',
        'nobody@example.com',
        ...asked,
      ])
      assert.equal(code, 1)
      assert.equal(json.recipients[0]?.rule, 'not-in-gal')
      const steps = json.recipients[0]?.steps ?? []
      return steps.filter(({ step }) => step === 'plugins').map(({ text }) => text)
    }
    try {
      assert.deepEqual(await said('gal-relay', 'aliases', 'rcpt_to.in_host_list', 'relay'), [])
      assert.deepEqual(await said('test-queue'), [
        'gal-relay is not listed in config/plugins: Haraka does not load it',
      ])
      const all = await said('relay', 'aliases', 'rcpt_to.in_host_list', 'gal-relay')
      assert.deepEqual(
        all.map((text) => /^(?:OPEN RELAY: )?plugin \S+ comes before gal-relay/.exec(text)?.[0]),
        [
          'OPEN RELAY: plugin relay comes before gal-relay',
          'plugin rcpt_to.in_host_list comes before gal-relay',
          'plugin aliases comes before gal-relay',
        ],
      )
      const { stdout } = await command.runCommand(['explain', 'nobody@example.com', ...asked])
      assert.match(stdout, /^550 5\.1\.1 .*\n(?: .*\n)+ {2}plugins +OPEN RELAY: plugin relay /m)
    } finally {
      rmSync(root, { recursive: true, force: true })
    }
  })

  test('a directory that is away: what a running server may still remember', async () => {
    const root = mkdtempSync(path.join(tmpdir(), 'install-'))
    const asked = ['--config', root, '--client', stranger, '--listener', local]
    const away = '[ldap]\nurl[] = ldap://127.0.0.1:1\nbase = dc=test\n'
    const said = async (gal: string) => {
      writeInstall(root, [25], { ini: `${ini}${gal}${away}` })
      const { stdout } = await command.runCommand(['explain', 'alice@example.com', ...asked])
      assert.match(stdout, /^451 4\.4\.3 /m)
      return /^ {2}directory +(.*)$/m.exec(stdout)?.[1] ?? ''
    }
    try {
      assert.match(
        await said(''),
        /ECONNREFUSED.* ms\); a running server may remember an answer \(cache_stale\) /,
      )
      assert.match(
        await said('[gal]\nmode = snapshot\n'),
        /ms\); a running server may have it in its snapshot, or remember an answer \(cache_stale\) /,
      )
    } finally {
      rmSync(root, { recursive: true, force: true })
    }
  })

  test('IPv4-mapped clients and IPv6 listeners', async () => {
    const to = 'friend@elsewhere.example'
    const [one] = await agree(haraka, { client: `::ffff:${client}`, local: '[2001:db8::5]:25', to })
    assert.equal(one?.may_relay, true)
  })

  test('in words: the reply, and each step with its source', async () => {
    const to = 'other%elsewhere.example@example.com'
    const question = { client: stranger, local, to }
    const { code, stdout, stderr } = await runCommand(['explain', ...argumentsOf(question, haraka)])
    assert.equal(code, 1)
    assert.equal(stderr, '')
    assert.match(
      stdout,
      /^RCPT TO:<other%elsewhere\.example@example\.com>\n550 5\.7\.1 Relaying is prohibited\n/,
    )
    assert.match(stdout, /^ {2}client +203\.0\.113\.9 is in no list .*\[Q193922, Q260562\]$/m)
    assert.match(stdout, /^ {2}route +example\.com takes row example\.com = inbound /m)
    assert.match(
      stdout,
      /^ {2}directory +other%elsewhere\.example@example\.com is not in the directory /m,
    )
    assert.match(stdout, /^ {2}answer +routes-onward: .*\[Q237927, Q244346, Q264330\]$/m)
    assert.ok(!stdout.includes('\x1b'), 'no colour where nobody sees it')
  })

  test('a recipient alone is asked about as by a stranger on port 25', async () => {
    const root = mkdtempSync(path.join(tmpdir(), 'install-'))
    const as = async (never: string, listen: string, ...args: string[]) => {
      const restrictions = `[restrictions]\nhosts[] = 192.168.1.0/24\n${never}\n`
      const directory = `[ldap]\nurl[] = ${ldap.url}\nbase = ${ldap.base}\n`
      const files = { 'config/smtp.ini': `listen=${listen}\npublic_ip=198.51.100.5\n` }
      writeInstall(root, [25], { ini: `${restrictions}${directory}`, files })
      const { code, json } = await command.runJson<Asked>([
        ...['explain', 'friend@far.example', '--config', root, ...args],
      ])
      const [explained] = json.recipients
      return [code, explained?.rule, json.client, json.listener, json.assumed.join()]
    }
    try {
      const listen = '127.0.0.2:587,10.0.0.8:25'
      const rule = 'no-relay-nobody'
      const assumed = 'client,listener'
      assert.deepEqual(await as('', listen), [1, rule, '192.0.2.1', '10.0.0.8:25', assumed])
      assert.deepEqual(await as('never[] = 192.0.2.0/24', '[2001:db8::7]:2525'), [
        ...[1, rule, '198.51.100.1', '[2001:db8::7]:2525', assumed],
      ])
      assert.deepEqual(await as('', listen, '--client', client), [
        ...[0, 'relay-hosts', client, '10.0.0.8:25', 'listener'],
      ])
      assert.deepEqual(await as('', listen, '--listener', local), [
        ...[1, rule, '192.0.2.1', local, 'client'],
      ])
      // The address that the world sees, unless anybody who connects to it may relay.
      const [, , , everywhere = ''] = await as('', '[::0]:25')
      assert.match(String(everywhere), /^[\d.]+:25$/)
      assert.doesNotMatch(String(everywhere), /^127\./)
      const open = `local_addresses[] = ${String(everywhere).replace(':25', '')}`
      const [, outside] = await as(open, '[::0]:25')
      assert.equal(outside, rule)
      const { code, stdout } = await runCommand(['explain', 'alice@example.com'], {
        cwd: haraka.dir,
      })
      assert.equal(code, 0)
      assert.match(
        stdout,
        /^as a stranger, 192\.0\.2\.1, who connects to 127\.0\.0\.1:\d+ \(--client and --listener name others\)\n\nRCPT TO:/,
      )
    } finally {
      rmSync(root, { recursive: true, force: true })
    }
  })

  test('what cannot be asked ends with 2 and one sentence', async () => {
    const config = ['--config', haraka.dir]
    const wrong = [
      ['--client', 'mail.example', '--listener', local],
      ['--client', client, '--listener', '10.0.0.5'],
      ['--client', client, '--listener', '10.0.0.5:0'],
      ['--listener', '10.0.0.5'],
      ['--client', client, '--listener', local, '--account', 'carol'],
    ]
    for (const args of wrong) {
      const { code, stdout, stderr } = await runCommand([
        'explain',
        'a@b.example',
        ...config,
        ...args,
      ])
      assert.equal(code, 2, args.join(' '))
      assert.equal(stdout, '')
      assert.match(stderr, /^[^\n]+\n(\(Did you mean [^\n]+\n)?$/)
    }
  })
})
