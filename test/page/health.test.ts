// What a load balancer hears, and the page as data.
import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import type { DirectoryReport } from '../../plugins/gal-relay/gal/directories'
import { healthOf } from '../../plugins/gal-relay/page/health'
import { readIni } from '../../plugins/gal-relay/settings/ini'
import { readSettings } from '../../plugins/gal-relay/settings/settings'
import { type EmbeddedLdap, startEmbeddedLdap } from '../support/embedded-ldap'
import { type Haraka, startHaraka } from '../support/haraka'
import { freePorts } from '../support/ports'
import { connectSmtp } from '../support/smtp'
import { until } from '../support/until'

describe('health of several directories', () => {
  const settingsOf = (ini: string) => readSettings(readIni('gal_relay.ini', ini), [], '/nowhere')
  const section = (name: string, domain: string) =>
    `[directory ${name}]\ndomains[] = ${domain}\nurl[] = ldap://${name}.test\nbase = dc=x\n`
  const NOW = 1_000_000_000
  const report = (directory: string, state: 'up' | 'down' | 'starting' | 'idle', asOf?: number) => {
    const snapshot = asOf === undefined ? undefined : { asOf }
    return { directory, servers: [{ state }], snapshot } as unknown as DirectoryReport
  }
  const settings = settingsOf(
    `[ldap]\nurl[] = ldap://x.test\nbase = dc=x\n${section('a', 'a.test')}${section('b', 'a.test')}${section('c', '@c.test')}`,
  )
  const isWell = (...reports: DirectoryReport[]) => healthOf(settings, reports, NOW).isWell
  const [main, a, b, c] = ['default', 'a', 'b', 'c'].map((name) => report(name, 'up')) as [
    ...Array<DirectoryReport>,
  ]
  const all = [main, a, b, c].flatMap((one) => one ?? [])
  const without = (...names: string[]) =>
    all.map((one) => (names.includes(one.directory) ? report(one.directory, 'down') : one))

  test('one of those that have a domain is enough, and each domain needs one', () => {
    assert.equal(isWell(...all), true)
    assert.equal(isWell(...without('a')), true)
    assert.equal(isWell(...without('a', 'b')), false)
    assert.equal(isWell(...without('c')), false)
    assert.equal(isWell(...without('default')), false)
    assert.equal(isWell(), false)
    const { problems } = healthOf(settings, without('a', 'c'), NOW)
    assert.deepEqual(problems, [
      'directory a: no server can be asked',
      'directory c: no server can be asked',
    ])
  })

  test('one that nobody has asked lately is taken for one that would answer', () => {
    assert.equal(isWell(...all.map(({ directory }) => report(directory, 'idle'))), true)
    assert.equal(isWell(...all.map(({ directory }) => report(directory, 'starting'))), false)
  })

  test('a list that may be used is enough, unless it does not know where mail goes', () => {
    const ini = (gal = '') =>
      settingsOf(
        `[gal]\nmode = snapshot\n${gal}[snapshot]\nusable_for = 1h\n[ldap]\nurl[] = ldap://x.test\nbase = dc=x\n`,
      )
    const well = (asOf: number, one = ini()) =>
      healthOf(one, [report('default', 'down', asOf)], NOW).isWell
    assert.equal(well(NOW - 3_600_000), true)
    assert.equal(well(NOW - 3_600_001), false)
    assert.equal(well(0), false)
    assert.equal(well(NOW, ini('host_attribute = mailHost\n')), false)
  })

  test('a plugin that takes no part is well', () => {
    assert.equal(healthOf(settingsOf('[main]\nenabled = false\n'), [], NOW).isWell, true)
  })
})

describe('over HTTP', () => {
  let ldap: EmbeddedLdap
  let haraka: Haraka
  let port: number
  before(async () => {
    ldap = await startEmbeddedLdap(['alice@example.com'])
    ;[port = 0] = await freePorts(1)
    haraka = await startHaraka({
      files: { 'config/http.ini': `listen=127.0.0.1:${port}\n` },
      ini: `[routes]
example.com = inbound
[listener *:26]
enforce = false
[http]
enabled = true
[restrictions]
hosts[] = 2001:db8::/32
[ldap]
url[] = ${ldap.url}
base = ${ldap.base}
bind_password = hush
bind_dn = cn=reader
retry_after = 100ms to 100ms
`,
    })
  })
  after(async () => {
    await haraka.stop()
    await ldap.stop()
  })
  const get = async (what: string, method = 'GET') => {
    const answer = await fetch(`http://127.0.0.1:${port}/gal-relay/${what}`, { method })
    const { status, headers } = answer
    return { status, type: headers.get('content-type') ?? '', body: await answer.text() }
  }

  test('the page as data', async () => {
    const smtp = await connectSmtp({
      port: haraka.port,
      proxy: { client: '192.0.2.1', local: '10.0.0.5:25' },
    })
    await smtp.ehlo()
    await smtp.transaction('a@b.test', ['friend@far.test', 'other@far.test'])
    await smtp.quit()
    const { status, type, body } = await get('status.json?recipient=FRIEND')
    assert.equal(status, 200)
    assert.match(type, /^application\/json/)
    assert.doesNotMatch(body, /hush/)
    const json = JSON.parse(body)
    assert.equal(json.name, 'mx.test')
    assert.deepEqual(
      json.answers.map((one: { rule: string; code: string; count: number }) => [
        ...[one.rule, one.code, one.count],
      ]),
      [['no-relay-nobody', '550', 2]],
    )
    assert.deepEqual(
      json.refusals.map(({ recipient }: { recipient: string }) => recipient),
      ['friend@far.test'],
    )
    assert.equal(json.listeners[0].clients.ipv6, String(2n ** 96n))
    assert.equal(json.directories[0].servers[0].server, ldap.url)
    assert.equal(json.processes[0].pid, haraka.pid)
    // The directory knows no such account.
    assert.equal(json.healthy, false)
    assert.match(json.conditions.bad.join('\n'), /No directory server can be asked/)
  })

  test('503 while the directory cannot be asked, and 200 once it can', async () => {
    await haraka.waitForLog(/invalid credentials/)
    const bad = await get('health')
    assert.deepEqual(
      [bad.status, bad.body],
      [...[503, 'not well\ndirectory default: no server can be asked\n']],
    )
    const ini = `[http]\nenabled = true\n[ldap]\nurl[] = ${ldap.url}\nbase = ${ldap.base}\n`
    haraka.writeConfig('gal_relay.ini', ini)
    await until(async () => (await get('health')).status === 200)
    assert.equal((await get('health')).body, 'ok\n')
    assert.deepEqual(
      [(await get('health', 'HEAD')).status, (await get('health', 'HEAD')).body],
      [...[200, '']],
    )
    assert.equal((await get('health', 'POST')).status, 405)
    haraka.writeConfig('gal_relay.ini', `${ini}[http]\nallow[] = 192.0.2.9\n`)
    await until(async () => (await get('health')).status === 403)
    assert.equal((await get('status.json')).status, 403)
  })
})
