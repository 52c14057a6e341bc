// gal-relay report: what a real Haraka has logged, and one day of a log with several.
import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { after, before, describe, test } from 'node:test'
import type { DayResult } from '../../plugins/gal-relay/advice/day-report'
import { loadCommand } from '../support/command'
import { startEmbeddedLdap } from '../support/embedded-ldap'
import { startHaraka, writeInstall } from '../support/haraka'
import { connectSmtp } from '../support/smtp'

const { runCommand, runJson } = loadCommand()

const UUID = 'C607D482-A3CF-44D2-ACC1-A206AC1F07E2'

describe('gal-relay report', () => {
  let folder: string
  before(() => {
    folder = mkdtempSync(path.join(tmpdir(), 'report-'))
  })
  after(() => rmSync(folder, { recursive: true, force: true }))

  function write(name: string, text: string): string {
    const file = path.join(folder, name)
    writeFileSync(file, text)
    return file
  }

  test('counts what a real Haraka answered and observed', async () => {
    const directory = await startEmbeddedLdap(['alice@example.com'])
    const haraka = await startHaraka({
      plugins: ['gal-relay', 'rcpt_to.in_host_list', 'test-queue'],
      hostList: ['example.com'],
      files: { 'config/log.ini': '[main]\nlevel=info\ntimestamps=false\n' },
      ini: `[restrictions]
hosts[] = 10.1.0.0/16
[listener *:26]
enforce = false
[ldap]
url[] = ${directory.url}
base = ${directory.base}
`,
    })
    try {
      for (const [client, local] of [
        ['203.0.113.9', '10.0.0.5:25'],
        ['10.1.0.1', '10.0.0.5:25'],
        ['203.0.113.9', '10.0.0.5:26'],
      ] as const) {
        const smtp = await connectSmtp({ port: haraka.port, proxy: { client, local } })
        await smtp.ehlo()
        const to = [
          'alice@example.com',
          'NoBody@example.com',
          '<b>@elsewhere.example',
          'x@y.example',
        ]
        await smtp.transaction('news@shop.example', to)
        await smtp.quit()
      }
      await haraka.waitForLog(/observed DIFFERS.*nobody@example\.com/i)
      await directory.stop()
      await haraka.waitForLog(/is down/)
    } finally {
      await haraka.stop()
    }
    const log = write('real.log', haraka.log())
    const { code, json } = await runJson<DayResult>(['report', log])
    assert.equal(code, 0)
    // <b> is no address to Haraka.
    assert.equal(json.recipients, 9)
    assert.deepEqual([json.accepted, json.refused, json.deferred], [5, 4, 0])
    assert.equal(json.observed, 3)
    assert.equal(json.clients, 2)
    assert.deepEqual(json.observed_differences, [
      { name: 'accepted → 550 5.1.1 Recipient unknown: not-in-gal', count: 1 },
    ])
    assert.deepEqual(json.refused_recipients, [
      { name: 'nobody@example.com', count: 2 },
      { name: 'x@y.example', count: 2 },
    ])
    assert.deepEqual(json.refused_sender_domains, [{ name: 'shop.example', count: 4 }])
    assert.match(json.outages[0]?.text ?? '', /^directory ldap:\S+ is down: /)
    const refused = json.rules.filter(({ outcome, isOurs }) => outcome === 'refused' && isOurs)
    assert.deepEqual(
      refused.map(({ rule, count }) => [rule, count]),
      [
        ['not-in-gal', 2],
        ['no-relay-nobody', 1],
      ],
    )
    const text = await runCommand(['report', log])
    assert.match(text.stdout, /^9 recipients from 2 clients: 5 accepted, 4 refused, 0 deferred$/m)
    assert.match(text.stdout, /^The log has no times/m)
  })

  // Local noon, so that it is that day in any zone.
  const at = (day: string, hour = 12) => new Date(`${day}T${hour}:00:00`).toISOString()
  const line = (time: string, number: number, text: string) =>
    `${time} {"level":"INFO","uuid":"${UUID.slice(0, -1)}${number}.1","origin":"gal-relay",${text}}`
  const accepted = (recipient: string, rule: string, account = '') =>
    `"message":"accepted","ip":"10.1.0.1","rdns":"pc.test","account":"${account}","sender":"ann@example.com","recipient":"${recipient}","local_ip":"10.0.0.5","local_port":"587","rule":"${rule}","path":"outbound"`
  const DAYS = [
    line(at('2026-11-26'), 1, accepted('before@elsewhere.example', 'relay-hosts')),
    line(at('2026-11-27', 12), 2, accepted('a@elsewhere.example', 'relay-hosts')),
    line(at('2026-11-27', 13), 3, accepted('b@elsewhere.example', 'relay-authenticated', 'carol')),
    line(at('2026-11-27', 14), 4, accepted('c@elsewhere.example', 'relay-authenticated', 'carol')),
    line(at('2026-11-27', 15), 5, '"message":"held off: 192.0.2.0/24 for 30m: <script>"'),
    line(at('2026-11-28'), 6, accepted('after@elsewhere.example', 'relay-hosts')),
  ].join('\n')

  test('is of one day: who relayed by which rule, and who was held off', async () => {
    const log = write('days.log', DAYS)
    const { json } = await runJson<DayResult & { day: string }>([
      'report',
      '--day',
      '2026-11-27',
      log,
    ])
    assert.equal(json.day, '2026-11-27')
    assert.equal(json.recipients, 3)
    assert.deepEqual(json.relayed, [
      { rule: 'relay-authenticated', who: 'carol', count: 2 },
      { rule: 'relay-hosts', who: '10.1.0.1', count: 1 },
    ])
    assert.equal(json.harvesters.length, 1)
    const { stdout } = await runCommand(['report', '--day', '2026-11-27', '--html', log])
    assert.match(stdout, /^<!doctype html>/)
    assert.match(stdout, /&#60;script&#62;/)
    assert.doesNotMatch(stdout, /<script/)
    const none = await runCommand(['report', '--day', '2020-01-01', log])
    assert.match(none.stdout, /No recipient of that day is in the log\./)
    assert.equal(none.code, 0)
  })

  test('without a name reads the log that Haraka writes, and the one before it', async () => {
    const root = path.join(folder, 'install')
    const file = path.join(folder, 'haraka.log')
    writeInstall(root, [25], { files: { 'config/smtp.ini': `daemon_log_file=${file}\n` } })
    const missing = await runCommand(['report', '--config', root])
    assert.equal(missing.code, 2)
    assert.match(missing.stderr, /^name the log: there is no .*haraka\.log \(daemon_log_file/)
    const lines = DAYS.split('\n')
    write('haraka.log.1', `${lines.slice(0, 3).join('\n')}\n`)
    write('haraka.log', lines.slice(3).join('\n'))
    const args = ['report', '--config', root, '--day', '2026-11-27']
    const { json } = await runJson<DayResult>(args)
    assert.equal(json.recipients, 3)
  })

  test('input that is none is a sentence and exit code 2', async () => {
    for (const [args, sentence] of [
      [['/no/such.log'], /^there is no file \/no\/such\.log$/m],
      [['--day', '2026-02-30', '/etc/hostname'], /is no date/],
      [['/etc/hostname'], /no log of a kind that is known/],
    ] as const) {
      const { code, stderr } = await runCommand(['report', ...args])
      assert.equal(code, 2)
      assert.match(stderr, sentence)
    }
  })
})
