// `gal-relay settings` and `gal-relay routes`: what holds, and where it is written.
import assert from 'node:assert/strict'
import { mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { after, before, describe, test } from 'node:test'
import * as v from 'valibot'
import { effectiveSettings } from '../../plugins/gal-relay/settings/effective'
import { readIni } from '../../plugins/gal-relay/settings/ini'
import * as schema from '../../plugins/gal-relay/settings/schema'
import { readSettings } from '../../plugins/gal-relay/settings/settings'
import { writtenValue } from '../../plugins/gal-relay/settings/written'
import { loadCommand } from '../support/command'
import { writeInstall } from '../support/haraka'

const { runCommand, runJson } = loadCommand()

const INI = `[main]
enforce = relaying
[routes]
example.com = inbound smtp://joe:sesame@hub.test
@far.example = always-relay
a@example.com = refuse
old.example = reroute example.com
[restrictions]
hosts[] = 192.168.1.0/24
hosts[] = 10.0.0.1
[listener *:587]
authenticated = true
[listener 10.0.0.8:*]
hosts[] = 172.16.0.0/12
[listener 10.0.0.8:587]
enabled = no
[gal]
cache_found = 900s
[hosts]
EX01 = smtp://ex01.test
[ldap]
url[] = ldap://dc1.test
base = dc=test
bind_dn = cn=reader
bind_password = hunter2
retry_after = 2s to 1m
[snapshot]
shrink_limit = 5%
[directory sub]
domains[] = @sub.test
url[] = ldap://dc2.test
base = dc=sub
cache_absent = 5s
[http]
enabled = true
`

interface Value {
  readonly key: string
  readonly value: string | readonly string[]
  readonly origin: string
  readonly in?: string
  readonly line?: number
}

interface Effective {
  readonly listeners: readonly { readonly listener: string; readonly values: readonly Value[] }[]
  readonly directories: readonly { readonly directory: string; readonly values: readonly Value[] }[]
  readonly http: readonly Value[]
}

describe('settings and routes', () => {
  let root: string
  before(() => {
    root = mkdtempSync(path.join(tmpdir(), 'install-'))
    writeInstall(root, [25], {
      ini: INI,
      hostList: ['host.test', 'sub.old.example', 'example.com'],
    })
  })
  after(() => rmSync(root, { recursive: true, force: true }))

  const place = (values: readonly Value[] | undefined, key: string) => {
    const found = values?.find((one) => one.key === key)
    return [found?.value, found?.origin, found?.in, found?.line]
  }

  test('each value with the section and the line that it comes from', async () => {
    const { code, json } = await runJson<Effective>(['settings', '--config', root])
    assert.equal(code, 0)
    const listener = (name: string) => json.listeners.find((one) => one.listener === name)?.values
    const names = json.listeners.map((one) => one.listener)
    assert.deepEqual(names, ['*:*', '*:587', '10.0.0.8:*', '10.0.0.8:587'])
    assert.deepEqual(place(listener('*:*'), 'enforce'), ['relaying', 'file', 'main', 2])
    assert.deepEqual(place(listener('*:*'), 'open'), ['false', 'default', undefined, undefined])
    const general = [['192.168.1.0/24', '10.0.0.1'], 'file', 'restrictions', 9]
    assert.deepEqual(place(listener('*:587'), 'hosts'), general)
    const submission = ['true', 'file', 'listener *:587', 12]
    assert.deepEqual(place(listener('*:587'), 'authenticated'), submission)
    // The address wins over the port, and both together over each.
    assert.deepEqual(place(listener('10.0.0.8:587'), 'authenticated'), submission)
    assert.deepEqual(place(listener('10.0.0.8:587'), 'hosts'), [
      ...[['172.16.0.0/12'], 'file', 'listener 10.0.0.8:*', 14],
    ])
    assert.deepEqual(place(listener('10.0.0.8:587'), 'enabled')[0], 'false')
    const [first, second] = json.directories
    assert.deepEqual([first?.directory, second?.directory], ['default', 'sub'])
    assert.deepEqual(place(first?.values, 'cache_found'), ['15m', 'file', 'gal', 18])
    assert.deepEqual(place(second?.values, 'cache_found'), ['15m', 'file', 'gal', 18])
    assert.deepEqual(place(second?.values, 'cache_absent'), ['5s', 'file', 'directory sub', 33])
    assert.deepEqual(place(first?.values, 'cache_absent').slice(0, 2), ['1m', 'default'])
    assert.deepEqual(place(first?.values, 'retry_after')[0], '2s to 1m')
    assert.deepEqual(place(second?.values, 'shrink_limit'), ['5%', 'file', 'snapshot', 28])
    assert.deepEqual(place(second?.values, 'domains')[0], ['@sub.test'])
    assert.match(String(place(second?.values, 'file')[0]), /gal_relay\.sub\.snapshot$/)
    // Names, rights and passwords are each directory's own.
    assert.deepEqual(place(second?.values, 'bind_dn').slice(0, 2), ['', 'default'])
    assert.deepEqual(place(json.http, 'allow')[0], ['127.0.0.1', '::1'])
  })

  test('no password, neither in words nor in JSON, of a directory nor of a next hop', async () => {
    for (const command of ['settings', 'routes']) {
      for (const args of [[], ['--json']]) {
        const { code, stdout, stderr } = await runCommand([command, ...args, '--config', root])
        assert.deepEqual([code, stderr], [0, ''])
        assert.doesNotMatch(stdout, /hunter2|sesame/)
      }
    }
    const { stdout } = await runCommand(['settings', '--config', root])
    assert.match(stdout, /^ {2}bind_password +\[ldap\] line 25 +\(not shown\)$/m)
    assert.match(
      stdout,
      /^ {2}hosts\[\] +\[restrictions\] line 9 +192\.168\.1\.0\/24, 10\.0\.0\.1$/m,
    )
    assert.match(stdout, /^ {2}never\[\] +default +none$/m)
  })

  test('the routing table, with what each row is for', async () => {
    const { code, json } = await runJson<{
      readonly rows: readonly Readonly<Record<string, unknown>>[]
      readonly host_list: readonly string[]
      readonly hosts: readonly unknown[]
    }>(['routes', '--config', root])
    assert.equal(code, 0)
    const short = json.rows.map(({ sent_to, kind, reroute_to, next_hops, covers, line }) => [
      ...[sent_to, kind, reroute_to, next_hops, covers, line],
    ])
    const withSubdomains = 'with its subdomains'
    assert.deepEqual(short, [
      ['example.com', 'inbound', null, ['smtp://hub.test:25'], withSubdomains, 4],
      ['@far.example', 'always-relay', null, [], 'the domain alone', 5],
      ['a@example.com', 'refuse', null, [], 'one address', 6],
      ['old.example', 'reroute', 'example.com', [], withSubdomains, 7],
    ])
    assert.deepEqual(json.host_list, ['host.test', 'example.com'])
    assert.deepEqual(json.hosts, [{ value: 'EX01', next_hops: ['smtp://ex01.test:25'] }])
    const { stdout } = await runCommand(['routes', '--config', root])
    assert.match(
      stdout,
      /^ {2}example\.com +inbound smtp:\/\/hub\.test:25 +with its subdomains +ours if/m,
    )
    assert.match(stdout, /^ {2}old\.example +reroute example\.com /m)
  })

  test('what cannot be shown is one sentence, and nothing is written', async () => {
    const broken = mkdtempSync(path.join(tmpdir(), 'install-'))
    try {
      writeInstall(broken, [25], { ini: INI.replace('[http]', '[htpp]') })
      const before = readdirSync(broken, { recursive: true })
      for (const command of ['settings', 'routes']) {
        const { code, stdout, stderr } = await runCommand([command, '--config', broken])
        assert.deepEqual([code, stdout], [2, ''])
        assert.match(
          stderr,
          /line 34: \[htpp\]: there is no such section; probably meant: \[http\]/,
        )
        const nowhere = await runCommand([command, '--config', '/nowhere'])
        assert.equal(nowhere.code, 2)
        assert.match(nowhere.stderr, /^\/nowhere is not a Haraka install[^\n]*\n$/)
        const more = await runCommand([command, 'x', '--config', broken])
        assert.equal(more.code, 2)
        assert.match(more.stderr, /^error: too many arguments/)
      }
      assert.deepEqual(readdirSync(broken, { recursive: true }), before)
    } finally {
      rmSync(broken, { recursive: true, force: true })
    }
  })
})

test('each default, as it is written, is read as itself', () => {
  const shapes = [schema.gal, schema.ldap('/etc'), schema.snapshot('/etc')]
  let count = 0
  for (const shape of shapes) {
    for (const [key, field] of Object.entries<v.GenericSchema>(shape)) {
      const usual = v.safeParse(field, undefined)
      if (!usual.success || usual.output === undefined) continue
      assert.deepEqual(v.parse(field, writtenValue(usual.output, field)), usual.output, key)
      count++
    }
  }
  assert.ok(count > 25)
})

test('what is shown of a listener is what holds there', () => {
  const ini = readIni('config/gal_relay.ini', INI)
  const settings = readSettings(ini, [], '/srv/config')
  for (const { listener, values } of effectiveSettings(ini, settings, '/srv/config').listeners) {
    const policy = settings.policies.get(listener)
    const value = (key: string) => values.find((one) => one.key === key)?.value
    assert.equal(value('enabled'), String(policy?.enabled))
    assert.equal(value('enforce'), String(policy?.enforce))
    assert.equal(value('authenticated'), String(policy?.restrictions.authenticated))
    const hosts = policy?.restrictions.hosts.entries.map(({ text }) => text)
    assert.deepEqual(value('hosts'), hosts)
  }
})
