// The status page of an install with several directories: a part for each, those with trouble first, and
// pages where there are hundreds.
import assert from 'node:assert/strict'
import { request } from 'node:http'
import { describe, test } from 'node:test'
import { overviewPage } from '../../plugins/gal-relay/page/overview-page'
import type { InstallReport } from '../../plugins/gal-relay/report/install'
import { readIni } from '../../plugins/gal-relay/settings/ini'
import { readSettings } from '../../plugins/gal-relay/settings/settings'
import { startEmbeddedLdap } from '../support/embedded-ldap'
import { startHaraka } from '../support/haraka'
import { busyInstall, OVERVIEW } from '../support/install-report'
import { freePort, freePorts } from '../support/ports'
import { connectSmtp } from '../support/smtp'
import { until } from '../support/until'

const NOW = 1_700_000_000_000

/** An install with so many directories; a server of these is down. */
function installOf(count: number, down: ReadonlySet<number>): InstallReport {
  const { processes, ...others } = busyInstall(NOW)
  const names = Array.from({ length: count }, (_, n) => `company${n}`)
  return {
    ...others,
    counters: others.counters.flatMap((one) =>
      one.labels.directory
        ? names.map((directory, n) => ({ ...one, value: n, labels: { ...one.labels, directory } }))
        : one,
    ),
    processes: processes.map((process) => ({
      ...process,
      directories: names.flatMap((directory, n) =>
        process.directories.map((report) => ({
          ...report,
          directory,
          servers: down.has(n) ? report.servers : report.servers.slice(0, 1),
        })),
      ),
    })),
  }
}

function pageOf(count: number, part: number, down: ReadonlySet<number> = new Set()): string {
  const sections = Array.from(
    { length: count },
    (_, n) =>
      `[directory company${n}]\ndomains[] = c${n}.example\nurl[] = ldap://127.0.0.1\nbase = dc=c\n`,
  )
  const rows = Array.from({ length: count }, (_, n) => `c${n}.example = inbound\n`)
  const ini = `[routes]\n${rows.join('')}${sections.join('')}`
  const settings = readSettings(readIni('config/gal_relay.ini', ini), [], '/')
  const report = installOf(count, down)
  const asked = new URLSearchParams({ directories: String(part) })
  return overviewPage({ ...OVERVIEW, settings, report, asked, now: NOW }).text
}

const sectionOf = (page: string) => /<section id="directory"(.*?)<\/section>/s.exec(page)?.[1] ?? ''
const headings = (page: string) =>
  [...sectionOf(page).matchAll(/<h3>(.*?)<\/h3>/g)].map(([, name]) => name)

describe('the directories on the status page', () => {
  test('are a part each, with its domains, servers, figures and cache', () => {
    const page = pageOf(3, 1)
    assert.match(
      page,
      /<h2>Directories<\/h2><p class="note">3 directories: no server is down\.<\/p>/,
    )
    assert.deepEqual(headings(page), ['company0', 'company1', 'company2'])
    const [, second = ''] = page.split('<h3>company1')
    assert.match(second, /Recipients at c1\.example\./)
    assert.match(second, /ldaps:\/\/dc1\.corp\.example/)
    // What was counted for the others is not added.
    assert.match(second, /data-label="Searches">2</)
    assert.match(second, /The cache holds 22,840 found/)
    assert.doesNotMatch(page, /directories=2/)
  })

  test('are led by those with trouble', () => {
    const page = pageOf(12, 1, new Set([5, 11]))
    assert.deepEqual(headings(page).slice(0, 3), ['company5', 'company11', 'company0'])
    assert.match(page, /12 directories: of 2 a server is down\./)
    assert.match(
      page,
      /Directory server ldaps:\/\/dc2\.corp\.example of company11 is down: no answer/,
    )
  })

  test('are shown ten at a time where there are 500, and as many of those with trouble are named', () => {
    const first = pageOf(500, 1, new Set(Array.from({ length: 100 }, (_, n) => n)))
    assert.equal(headings(first).length, 10)
    assert.equal([...first.matchAll(/Directory server /g)].length, 10)
    assert.match(first, /90 more servers are down\./)
    assert.match(first, /Page 1 of 50<\/span>\n<a href="\?directories=2#directory">Next/)
    assert.doesNotMatch(sectionOf(first), /Previous/)
    assert.ok(first.length < 2 * pageOf(10, 1).length, `${first.length} characters`)
    const last = pageOf(500, 50)
    assert.deepEqual(headings(last).at(-1), 'company499')
    assert.match(last, /<a href="\?directories=49#directory">Previous/)
    assert.doesNotMatch(sectionOf(last), /Next/)
    for (const none of [0, -1, 51, 1e9, Number.POSITIVE_INFINITY]) {
      assert.equal(headings(pageOf(12, none)).length, none > 1 ? 2 : 10, String(none))
    }
  })

  test('of a real Haraka: one is down, the other is well', async () => {
    const ldap = await startEmbeddedLdap(['ann@alpha.example'])
    const [web = 0] = await freePorts(1)
    const gone = await freePort()
    const haraka = await startHaraka({
      ini: `[routes]
alpha.example = inbound
beta.example = inbound
[http]
enabled = true
[ldap]
url[] = ${ldap.url}
base = ${ldap.base}
[directory beta]
domains[] = beta.example
url[] = ldap://127.0.0.1:${gone}
base = dc=beta
`,
      files: { 'config/http.ini': `listen=127.0.0.1:${web}\n` },
    })
    try {
      await haraka.waitForLog(/default: directory ldap:\S+ is up/)
      const proxy = { client: '203.0.113.9', local: '10.0.0.5:25' }
      const smtp = await connectSmtp({ port: haraka.port, proxy })
      await smtp.ehlo()
      const { rcpt } = await smtp.transaction('a@sender.example', ['bob@beta.example'])
      assert.equal(rcpt[0]?.code, 451)
      await smtp.quit()
      for (const line of [
        'recipients at beta.example are looked up in directory beta',
        'recipients at all other domains are looked up in directory default',
      ]) {
        assert.equal(haraka.logLines(new RegExp(line)).length, 1, line)
      }
      let page = ''
      await until(async () => {
        page = await get(web, '/gal-relay/?directories=x')
        return /class="state down"/.test(page)
      })
      assert.deepEqual(headings(page), ['beta', 'default'])
      assert.match(page, /2 directories: 1 cannot be asked\./)
      assert.match(
        page,
        new RegExp(`Directory server ldap://127\\.0\\.0\\.1:${gone} of beta is down`),
      )
      assert.match(page, /Recipients at all domains that no other directory has\./)
      const asked = { recipient: 'bob@beta.example', client: '192.0.2.1', listener: '10.0.0.5:25' }
      const explained = await get(web, `/gal-relay/explain?${new URLSearchParams(asked)}`)
      assert.match(explained, /<dt>Directory<\/dt><dd>beta<\/dd>/)
      assert.match(explained, /directory beta: /)
    } finally {
      await haraka.stop()
      await ldap.stop()
    }
  })
})

function get(port: number, path: string): Promise<string> {
  return new Promise((resolve, reject) => {
    request({ port, path, host: '127.0.0.1', agent: false }, (response) => {
      let body = ''
      response.setEncoding('utf8')
      response.on('data', (text) => {
        body += text
      })
      response.on('end', () => resolve(body))
    })
      .on('error', reject)
      .end()
  })
}

describe('a list that is received, on the status page', () => {
  const pageAt = (isCurrent: boolean, asOf: number): string => {
    const ini =
      '[gal]\nmode = received\n[snapshot]\nkey_file = k\n[redis]\nurl = redis://redis.test\n'
    const settings = readSettings(readIni('config/gal_relay.ini', ini), [], '/')
    const { processes, ...others } = busyInstall(NOW)
    const report: InstallReport = {
      ...others,
      processes: processes.map((process) => ({
        ...process,
        directories: process.directories.slice(0, 1).map((directory) => ({
          ...directory,
          servers: [],
          snapshot: {
            ...{ addresses: 7, isCurrent, asOf, feed: 'syncrepl', sync: undefined },
            ...{ answered: 1, asked: 0, isReceived: true },
          },
        })),
      })),
    }
    return overviewPage({ ...OVERVIEW, settings, report, now: NOW }).text
  }

  test('names no servers, and says what becomes of those whom it does not have', () => {
    const current = pageAt(true, NOW - 5000)
    assert.match(current, /holds 7 addresses, confirmed 5 seconds ago: current/)
    assert.doesNotMatch(current, /Mean time|The cache holds/)
    assert.match(pageAt(false, NOW - 5000), /recipients that are not in it are deferred/)
    assert.match(pageAt(false, 0), /No list has been received yet: every recipient is deferred/)
  })
})
