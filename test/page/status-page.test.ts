// The status page over HTTP: who gets it, who does not, and what is said when it cannot be had.
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { createServer, request } from 'node:http'
import type { AddressInfo } from 'node:net'
import { after, before, describe, test } from 'node:test'
import { html, shown } from '../../plugins/gal-relay/page/html'
import { missingHttpServer } from '../../plugins/gal-relay/page/http-server'
import { statusPage } from '../../plugins/gal-relay/page/status-page'
import { readIni } from '../../plugins/gal-relay/settings/ini'
import { readSettings } from '../../plugins/gal-relay/settings/settings'
import { startEmbeddedLdap } from '../support/embedded-ldap'
import { type Haraka, startHaraka } from '../support/haraka'
import { configIn } from '../support/page-server'
import { freePorts } from '../support/ports'
import { connectSmtp } from '../support/smtp'

const BASE = 'dc=corp,dc=test'

describe('the status page', () => {
  let ldap: Awaited<ReturnType<typeof startEmbeddedLdap>>
  let haraka: Haraka
  let port: number
  // The directory knows no such account, so that its error is on the page, and the password is not.
  const ini = (http: string) =>
    `[routes]\nexample.com = inbound\n[listener *:26]\nenforce = false\n[http]\n${http}\n[ldap]\nurl[] = ${ldap.url}\nbase = ${BASE}\nbind_password = hush\nbind_dn = cn=reader\n`

  before(async () => {
    ldap = await startEmbeddedLdap([{ dn: `uid=alice,${BASE}`, mail: 'alice@example.com' }])
    ;[port = 0] = await freePorts(1)
    haraka = await startHaraka({
      ini: ini('enabled = true'),
      plugins: ['rcpt_to.in_host_list', 'gal-relay', 'test-queue'],
      files: { 'config/http.ini': `listen=0.0.0.0:${port}\n` },
    })
    await refused('spam@sender.example', 'nobody@example.com')
  })
  after(async () => {
    await haraka.stop()
    await ldap.stop()
  })

  async function refused(from: string, to: string) {
    const smtp = await connectSmtp({
      port: haraka.port,
      proxy: { client: '192.0.2.1', local: '10.0.0.5:25' },
    })
    await smtp.command('EHLO <script>alert(1)</script>')
    await smtp.transaction(from, [to])
    await smtp.quit()
  }

  const get = (path: string, headers: Record<string, string> = {}, method = 'GET') =>
    ask(port, path, headers, method)

  test('is made whole, may load nothing from elsewhere, and is not kept', async () => {
    const { status, headers, body } = await get('/gal-relay/')
    assert.equal(status, 200)
    assert.deepEqual(haraka.logLines(/no metrics and no status page/), [])
    const policy = String(headers['content-security-policy'])
    assert.match(policy, /default-src 'none'; script-src 'self'; style-src 'self'/)
    assert.doesNotMatch(policy, /unsafe/)
    assert.equal(headers['cache-control'], 'no-store')
    assert.equal(headers['x-content-type-options'], 'nosniff')
    assert.match(body, /nobody@example\.com/)
    assert.match(body, /Directory server ldap:\S+ is down/)
    assert.match(body, /EHLO &#60;script&#62;alert\(1\)&#60;\/script&#62;/)
    assert.doesNotMatch(body, /<script>|hush| style="| on[a-z]+="/)
    for (const [, url] of body.matchAll(/(?:src|href|action)="([^"]*)"/g)) {
      assert.doesNotMatch(url ?? '', /^(?:https?:)?\/\//, 'outside resources')
    }
  })

  test('has its script, its style and its last slash', async () => {
    assert.equal((await get('/gal-relay')).headers.location, '/gal-relay/')
    assert.match(String((await get('/gal-relay/page.js')).headers['content-type']), /javascript/)
    assert.match(String((await get('/gal-relay/page.css')).headers['content-type']), /css/)
    for (const none of ['none', '/', '/evil.example', '\\evil.example', '/[']) {
      assert.equal((await get(`/gal-relay/${none}`)).status, 404, none)
    }
    assert.deepEqual(haraka.logLines(/failure in the status page/), [])
    const head = await get('/gal-relay/', {}, 'HEAD')
    assert.equal(head.status, 200)
    assert.equal(head.body, '')
    assert.equal((await get('/gal-relay/', {}, 'POST')).status, 405)
  })

  test('filters without the script too', async () => {
    await refused('a@sender.example', 'other@example.com')
    const rows = async (query: string) => {
      const { body } = await get(`/gal-relay/?${query}`)
      return [...body.matchAll(/<tr [^>]*data-recipient="([^"]*)"/g)].map(([, to]) => to)
    }
    assert.deepEqual(await rows('recipient=OTHER'), ['other@example.com'])
    assert.deepEqual(await rows('rule=directory-unavailable&client=192.0'), [
      'other@example.com',
      'nobody@example.com',
    ])
    assert.deepEqual(await rows('client=%3Cscript%3E&recipient=nobody'), ['nobody@example.com'])
    assert.deepEqual(await rows('rule=mixed'), [])
  })

  test('explains an answer, and says why it cannot', async () => {
    const explain = (fields: Record<string, string>) =>
      get(`/gal-relay/explain?${new URLSearchParams(fields)}`)
    const good = await explain({
      recipient: 'bob@far.example',
      client: '192.0.2.1',
      listener: '10.0.0.5:25',
    })
    assert.match(good.body, /550 5\.7\.1 Relaying is prohibited/)
    // The server's own list was asked, whatever it remembers.
    assert.doesNotMatch(good.body, /a running server|observes/)
    const observed = await explain({
      recipient: 'bob@far.example',
      client: '192.0.2.1',
      listener: '10.0.0.5:26',
    })
    assert.match(observed.body, /550 5\.7\.1 .*<p [^>]*>Not enforced on this listener/s)
    assert.match(observed.body, /plugin rcpt_to\.in_host_list comes before gal-relay/)
    const bad = await explain({ recipient: 'x', client: '<b>', listener: '' })
    assert.equal(bad.status, 200)
    assert.match(bad.body, /&#60;b&#62;&#39; is not an IP address/)
    assert.equal((await get('/gal-relay/explain')).status, 200)
  })

  test('is for clients in allow[] only, whatever they say they are', async () => {
    haraka.writeConfig(
      'gal_relay.ini',
      ini('enabled = true\nallow[] = 192.0.2.0/24\nallow[] = ::1'),
    )
    await haraka.waitForLog(/settings reloaded/)
    for (const path of ['/', '/metrics', '/page.js', '/explain']) {
      const answer = await get(`/gal-relay${path}`, { 'x-forwarded-for': '192.0.2.5' })
      assert.equal(answer.status, 403, path)
      assert.match(answer.body, /^127\.0\.0\.1 is not in allow\[\] of \[http\]/)
    }
  })

  test('names an IPv4 client that came by a socket for both as allow[] would', async () => {
    const sections = {
      http: { enabled: 'true' },
      ldap: { url: ['ldap://127.0.0.1:1'], base: 'dc=test' },
    }
    const settings = readSettings(readIni('config/gal_relay.ini', sections), [], '/')
    const serve = statusPage({
      name: 'mx.test',
      config: configIn('/nowhere'),
      plugin: 'gal-relay',
      version: '3.3.4',
      ignored: () => [],
      grammar: {},
      reports: { collect: () => assert.fail(), close: () => {} },
      settings: () => settings,
      lists: () => ({ report: () => [], lookupIn: () => assert.fail() }),
      plugins: () => [],
    })
    const server = createServer((request, response) => {
      Object.defineProperty(request.socket, 'remoteAddress', { value: '::ffff:192.0.2.9' })
      serve(request, response, () => response.end())
    }).listen(0, '127.0.0.1')
    await once(server, 'listening')
    const { body } = await ask((server.address() as AddressInfo).port, '/', {}, 'GET')
    server.close()
    assert.match(body, /^192\.0\.2\.9 is not in allow\[\]/)
  })

  test('shows mail addresses under a name of this server only, so that no DNS name of a stranger reads them', async () => {
    const from = haraka.log().length
    haraka.writeConfig('gal_relay.ini', ini('enabled = on'))
    await haraka.waitForLog(/settings reloaded/, undefined, from)
    const as = async (host: string, path = '/') => (await get(`/gal-relay${path}`, { host })).status
    assert.equal(await as('rebound.attacker.example'), 403)
    assert.equal(await as('rebound.attacker.example:8080', '/explain'), 403)
    assert.equal(await as('localhost:8080'), 200)
    assert.equal(await as('127.0.0.1'), 200)
    assert.equal(await as('[::1]:8080'), 200)
    assert.equal(await as('MX.test'), 200)
    // Metrics hold no addresses, and scrapers come by any name.
    assert.equal(await as('haraka.monitoring.example', '/metrics'), 200)
  })

  test('a reload switches it off', async () => {
    const from = haraka.log().length
    haraka.writeConfig('gal_relay.ini', ini('enabled = false'))
    await haraka.waitForLog(/settings reloaded/, undefined, from)
    assert.equal((await get('/gal-relay/metrics')).status, 404)
  })
})

describe('what is missing for it', () => {
  test('an address in http.ini', () => {
    assert.match(missingHttpServer({ main: {} }) ?? '', /^config\/http\.ini has no address/)
    assert.match(missingHttpServer({}) ?? '', /listen=127\.0\.0\.1:8080/)
  })

  test('is said at start', async () => {
    const haraka = await startHaraka({
      ini: '[http]\nenabled = true\n[ldap]\nurl[] = ldap://127.0.0.1:1\nbase = dc=test\n',
    })
    try {
      const [line] = haraka.logLines(/no metrics and no status page: config\/http\.ini/)
      assert.match(line ?? '', /^\[?.*ERROR/)
    } finally {
      await haraka.stop()
    }
  })
})

describe('HTML', () => {
  test('holds nothing that was put into it but as text', () => {
    const hostile = `"><img src=x onerror='alert(1)'>&amp;`
    const { text } =
      html`<p title="${hostile}">${hostile}${html`<b>${1}</b>`}${false}${undefined}</p>`
    const escaped = '&#34;&#62;&#60;img src=x onerror=&#39;alert(1)&#39;&#62;&#38;amp;'
    assert.equal(text, `<p title="${escaped}">${escaped}<b>1</b></p>`)
  })

  test('shows what a stranger sent without what hides or reorders it', () => {
    assert.equal(shown('a\u202eb\u0000\nc\u200b'), 'a<U+202E>b<U+0000><U+000A>c<U+200B>')
    assert.equal(shown(`${'x'.repeat(319)}\u{1f600}`), `${'x'.repeat(319)}…`)
    assert.equal(shown('x'.repeat(2000)).length, 321)
    assert.equal(shown(`z${'\u0301'.repeat(50)}!`), `z${'\u0301'.repeat(4)}…!`)
    assert.equal(shown('größe@exämple.de'), 'größe@exämple.de')
  })
})

interface Answer {
  readonly status: number
  readonly headers: Readonly<Record<string, string | string[] | undefined>>
  readonly body: string
}

/** fetch() lets nobody choose a Host header. */
function ask(
  port: number,
  path: string,
  headers: Record<string, string>,
  method: string,
): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const asked = request(
      { port, path, headers, method, host: '127.0.0.1', agent: false },
      (got) => {
        let body = ''
        got.setEncoding('utf8')
        got.on('data', (text) => {
          body += text
        })
        got.on('end', () => resolve({ status: got.statusCode ?? 0, headers: got.headers, body }))
      },
    )
    asked.on('error', reject)
    asked.end()
  })
}
