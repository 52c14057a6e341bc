// However long its lists are, the status page is not: each comes in parts, and a link to one of them leaves
// the others where they are.
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { overviewPage } from '../../plugins/gal-relay/page/overview-page'
import { linkTo, partOf } from '../../plugins/gal-relay/page/paging'
import { readIni } from '../../plugins/gal-relay/settings/ini'
import { readSettings } from '../../plugins/gal-relay/settings/settings'
import { busyInstall, OVERVIEW } from '../support/install-report'

const NOW = 1_700_000_000_000

function pageOf(count: number, query = ''): string {
  const numbers = Array.from({ length: count }, (_, n) => n)
  const lines = (text: (n: number) => string) => numbers.map(text).join('')
  const ini = `[routes]
${lines((n) => `r${n}.example = inbound smtp://hop${n}.corp.example\n`)}[ldap]
url[] = ldap://127.0.0.1
base = dc=c
[gal]
host_attribute = mailHost
[hosts]
${lines((n) => `box${n} = smtp://box${n}.corp.example\n`)}${lines((n) => `[listener *:${1000 + n}]\nenforce = relaying\n`)}`
  const hostList = numbers.map((n) => `h${n}.example`)
  const settings = readSettings(readIni('config/gal_relay.ini', ini), hostList, '/')
  const { processes, ...report } = busyInstall(NOW)
  const held = numbers.map((n) => ({
    ...{ network: `198.51.100.${n}`, observed: false, since: NOW - 1000, until: NOW + 60_000 },
    ...{ unknown: 31, all: 33, server: 'mx1.test' },
  }))
  const waiting = numbers.map((n) => ({
    ...{ next_hops: [`smtp://hop${n}.corp.example:25`], domain: `r${n}.example` },
    ...{ messages: 1, recipients: 2, oldest: NOW - 5000, attempts: 3 },
  }))
  return overviewPage({
    ...{ ...OVERVIEW, settings, now: NOW, asked: new URLSearchParams(query) },
    queue: { messages: count, isCut: true, unreadable: 0, byHop: waiting, byMx: [] },
    report: {
      ...report,
      processes: processes.map((process) => ({
        ...process,
        harvest: process.harvest && { ...process.harvest, holds: held },
      })),
    },
  }).text
}

describe('long lists on the status page', () => {
  test('make it no longer than a part of each', () => {
    const [few, many] = [pageOf(40), pageOf(2000)]
    assert.ok(many.length < 1.5 * few.length, `${few.length} and ${many.length} characters`)
    for (const list of ['listeners', 'waiting', 'held', 'domains', 'rows', 'hosts', 'recent']) {
      assert.match(many, new RegExp(`href="\\?${list}=2#\\w+">Next`), list)
    }
    assert.match(many, /ENFORCING<\/b> all other listeners/)
    assert.match(many, /and 1,989 more/)
    assert.match(many, /4,000 inbound domains/)
    assert.match(many, /2,000 rows in \[routes\]/)
  })

  test('have parts up to the last, and links that keep the others', () => {
    const page = pageOf(200, 'rows=10&waiting=3&rule=not-in-gal')
    assert.match(page, /r199\.example/)
    assert.match(page, /hop20\.corp\.example/)
    assert.match(page, /\?rows=9&#38;waiting=3&#38;rule=not-in-gal#settings">Previous/)
  })

  test('show the first or the last part where there is none of that number', () => {
    const all = Array.from({ length: 25 }, (_, n) => n)
    const shown = (page: string) =>
      partOf(all, 'rows', new URLSearchParams({ rows: page }), { size: 10, anchor: 'a' }).shown
    for (const none of ['', '0', '-1', 'x', 'NaN', '1e-9']) assert.equal(shown(none)[0], 0, none)
    for (const far of ['3', '4', '1e9', 'Infinity'])
      assert.deepEqual(shown(far), all.slice(20), far)
    assert.equal(
      partOf([], 'rows', new URLSearchParams(), { size: 10, anchor: 'a' }).pager,
      undefined,
    )
  })

  test('hold nothing of a stranger but as text', () => {
    const asked = new URLSearchParams({ client: '"><script>alert(1)</script>' })
    assert.doesNotMatch(linkTo(asked, { rows: '2' }, 'settings'), /[<>"]/)
  })
})
