// The status page in a real browser: nothing from mail traffic runs there, it reads well in light and
// dark and on a telephone, it filters, explains and keeps itself fresh.
//
// With SCREENSHOT=docs/status-page.png the picture in the documentation is made anew.
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { createServer, type Server } from 'node:http'
import path from 'node:path'
import { after, before, describe, test } from 'node:test'
import type { ConsoleMessage, Page } from 'playwright-core'
import { PAGE_PATH, statusPage } from '../../plugins/gal-relay/page/status-page'
import type { InstallReport } from '../../plugins/gal-relay/report/install'
import { readIni } from '../../plugins/gal-relay/settings/ini'
import { readSettings } from '../../plugins/gal-relay/settings/settings'
import { type Browser, type Look, startChromium } from '../support/chromium'
import { startEmbeddedLdap } from '../support/embedded-ldap'
import { REPOSITORY, startHaraka } from '../support/haraka'
import { busyInstall } from '../support/install-report'
import { freePorts } from '../support/ports'
import { skipWithout } from '../support/programs'
import { connectSmtp } from '../support/smtp'

const BASE = 'dc=corp,dc=test'
const skip = skipWithout('chromium')

describe('the status page of a busy install', { skip }, () => {
  let server: Server
  let url: string
  let report: (now: number) => InstallReport = busyInstall

  before(async () => {
    const sections = {
      routes: { 'example.com': 'inbound' },
      restrictions: { hosts: ['192.168.1.0/24', '10.20.0.0/16'], never: ['192.168.1.66'] },
      'listener *:587': { authenticated: 'true' },
      ldap: { url: ['ldaps://dc1.corp.example', 'ldaps://dc2.corp.example'], base: 'dc=corp' },
      http: { enabled: 'true' },
    }
    const settings = readSettings(readIni('config/gal_relay.ini', sections), [], '/')
    const serve = statusPage({
      name: 'mail.example.com',
      grammar: {},
      plugins: () => [],
      settings: () => settings,
      lists: () => ({
        report: () => [],
        lookupIn: async () => ({ directory: 'default', answer: { state: 'absent' } }),
      }),
      reports: { collect: async () => report(Date.now()), close: () => {} },
    })
    server = createServer((request, response) => {
      request.url = request.url?.slice(PAGE_PATH.length)
      serve(request, response, () => response.writeHead(404).end())
    }).listen(0, '127.0.0.1')
    await new Promise((resolve) => server.once('listening', resolve))
    const address = server.address()
    assert.ok(address && typeof address === 'object')
    url = `http://127.0.0.1:${address.port}${PAGE_PATH}/`
  })
  after(() => server.close())

  for (const look of [
    { width: 1000, scheme: 'light' },
    { width: 1600, scheme: 'dark' },
    { width: 400, scheme: 'light' },
    { width: 400, scheme: 'dark' },
  ] satisfies Look[]) {
    test(`${look.scheme}, ${look.width} pixels wide: nothing sticks out, all is legible`, async () => {
      await withPage(look, async (page) => {
        await page.goto(url, { waitUntil: 'networkidle' })
        const sticksOut = 'document.documentElement.scrollWidth - innerWidth'
        assert.equal(await page.evaluate(sticksOut), 0)
        assert.equal(await page.locator('.figure.all b').textContent(), '10,000,000')
        assert.equal(await page.locator('#refusals tbody tr:visible').count(), 200)
        assert.equal(await page.locator('svg g').count(), 60)
        // Names without end do not squeeze the column beside them.
        const rule = await page.locator('#refusals td:last-child code').first().boundingBox()
        assert.ok(rule && rule.height < 25, `a rule in one line: ${rule?.height}`)
        assert.deepEqual(await page.evaluate(ILLEGIBLE), [])
        const { SCREENSHOT } = process.env
        if (SCREENSHOT && look.width === 1000) {
          const clip = { x: 0, y: 0, width: 1000, height: 1560 }
          await page.screenshot({ path: SCREENSHOT, clip, fullPage: true })
        }
      })
    })
  }

  test('filters as one types, keeps that over a refresh, and says when it cannot be refreshed', async () => {
    await withPage({ width: 1200, scheme: 'light' }, async (page) => {
      await page.clock.install()
      await page.goto(url, { waitUntil: 'networkidle' })
      const rows = page.locator('#refusals tbody tr:visible')
      await page.locator('[name=rule]').selectOption('routes-onward')
      const some = await rows.count()
      assert.ok(some > 0 && some < 200, `${some} rows`)
      await page.locator('#filter [name=client]').fill('198.51.100.')
      const fewer = await rows.count()
      assert.ok(fewer > 0 && fewer <= some)
      assert.equal(await page.locator('#shown').textContent(), `${fewer} of the last 200`)

      report = (now) => {
        const install = busyInstall(now)
        const [oldest, ...others] = install.refusals
        assert.ok(oldest)
        const fresh = { client: '198.51.100.1', rule: 'routes-onward', recipient: 'fresh%x@ours' }
        return { ...install, refusals: [...others, { ...oldest, ...fresh }] }
      }
      await page.clock.runFor(11_000)
      await page.locator('text=fresh%x@ours').waitFor()
      assert.equal(await page.locator('[name=rule]').inputValue(), 'routes-onward')
      assert.match((await rows.first().textContent()) ?? '', /fresh%x/)
      assert.ok(await page.locator('#refusals tbody tr').nth(1).isHidden())

      await page.route('**/*', (route) => route.abort())
      await page.clock.runFor(11_000)
      await page.locator('#fresh.old').waitFor()
    })
  })

  test('a rule leads to the explanation of that very answer', async () => {
    await withPage({ width: 1200, scheme: 'light' }, async (page) => {
      await page.goto(`${url}?rule=no-relay-nobody`, { waitUntil: 'networkidle' })
      await page.locator('#refusals a:visible').first().click()
      await page.locator('#answer .reply').waitFor()
      assert.equal(await page.locator('.reply').textContent(), '550 5.7.1 Relaying is prohibited')
      assert.equal(await page.locator('[name=recipient]').inputValue(), 'winner@elsewhere.example')
      await page.locator('[name=client]').fill('192.168.1.7')
      await page.locator('button').click()
      await page.locator('.reply.accepted').waitFor()
      await page.locator('[name=listener]').fill('somewhere')
      await page.locator('button').click()
      assert.match(
        (await page.locator('.problem').textContent()) ?? '',
        /'somewhere' is not an address/,
      )
      await page.locator('main > p a').click()
      await page.locator('.figures').waitFor()
    })
  })
})

describe('what strangers send, in the browser of the postmaster', { skip }, () => {
  test('does not run, and does not become markup', async () => {
    const ldap = await startEmbeddedLdap([{ dn: `uid=alice,${BASE}`, mail: 'alice@example.com' }])
    const [port = 0] = await freePorts(1)
    const haraka = await startHaraka({
      ini: `[routes]\nexample.com = inbound\n[http]\nenabled = true\n[ldap]\nurl[] = ${ldap.url}\nbase = ${BASE}\n`,
      files: { 'config/http.ini': `listen=127.0.0.1:${port}\n` },
    })
    const hostile = [
      '<script>window.ran=1</script>',
      '"><img src=x onerror=window.ran=1>',
      '"onmouseover="window.ran=1',
      "'><svg/onload=window.ran=1>",
      '</script><script>window.ran=1</script>',
      '&lt;script&gt;window.ran=1&lt;/script&gt;',
      'javascript:window.ran=1',
    ]
    try {
      for (const text of hostile) {
        const smtp = await connectSmtp({
          port: haraka.port,
          proxy: { client: '192.0.2.1', local: '10.0.0.5:25' },
        })
        const quoted = `"${text.replace(/["\\]/g, '\\$&')}"`
        await smtp.command(`EHLO ${text.replace(/ /g, '/')}`)
        await smtp.transaction(`${quoted}@sender.example`, [
          `${quoted}@example.com`,
          `${quoted}@far.example`,
        ])
        await smtp.quit()
      }
      await withPage(
        { width: 1200, scheme: 'light' },
        async (page) => {
          const url = `http://127.0.0.1:${port}${PAGE_PATH}/`
          await page.goto(url, { waitUntil: 'networkidle' })
          const rows = page.locator('#refusals tbody tr')
          assert.ok((await rows.count()) >= hostile.length)
          const text = (await page.locator('#refusals').textContent()) ?? ''
          assert.ok(text.includes('<script>window.ran=1</script>'), 'shown as it was sent')
          await unharmed(page)
          for (const one of hostile) {
            const fields = { recipient: one, client: one, listener: one, account: one, sender: one }
            await page.goto(`${url}explain?${new URLSearchParams(fields)}`)
            await unharmed(page)
            const asked = {
              recipient: `"x"@example.com`,
              client: '192.0.2.1',
              listener: '10.0.0.5:25',
            }
            await page.goto(`${url}explain?${new URLSearchParams({ ...fields, ...asked })}`)
            await unharmed(page)
            await page.goto(`${url}?${new URLSearchParams({ client: one, rule: one })}`)
            await unharmed(page)
          }
          // Were a text ever to become markup, the policy would still not let it run.
          await page.evaluate(`
            document.body.insertAdjacentHTML('beforeend', '<img src=x onerror="window.ran=1">')
            const script = document.createElement('script')
            script.textContent = 'window.ran=1'
            document.body.append(script)
          `)
          await unharmed(page)
        },
        /Content Security Policy|ERR_/,
      )
    } finally {
      await haraka.stop()
      await ldap.stop()
    }
  })
})

async function unharmed(page: Page): Promise<void> {
  assert.equal(await page.evaluate(`'ran' in window`), false)
  assert.equal(await page.locator('main img, main script, svg svg, main iframe').count(), 0)
}

/** @param expected console errors that are no failure */
async function withPage(
  look: Look,
  use: (page: Page) => Promise<void>,
  expected = /ERR_FAILED/,
): Promise<void> {
  const browser: Browser = await startChromium(look)
  try {
    const page = await browser.context.newPage()
    const errors: string[] = []
    page.on('pageerror', (error) => errors.push(error.message))
    page.on('console', (message: ConsoleMessage) => {
      if (message.type() === 'error' && !expected.test(message.text())) errors.push(message.text())
    })
    await use(page)
    assert.deepEqual(errors, [], 'errors in the browser')
  } finally {
    await browser.close()
  }
}

/** @see test/support/illegible.js */
const ILLEGIBLE = readFileSync(path.join(REPOSITORY, 'test', 'support', 'illegible.js'), 'utf8')
