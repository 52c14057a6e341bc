// The status page in a real browser: nothing from mail traffic runs there, it is legible in light and dark
// and on a phone, it filters, explains and refreshes itself.
//
// SCREENSHOTS=docs takes the pictures in the documentation again.
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import path from 'node:path'
import { after, before, describe, test } from 'node:test'
import type { ConsoleMessage, Page } from 'playwright-core'
import { PAGE_PATH } from '../../plugins/gal-relay/page/status-page'
import { type Look, newPage, sharedPage, stopChromium } from '../support/chromium'
import { startEmbeddedLdap } from '../support/embedded-ldap'
import { REPOSITORY, startHaraka } from '../support/haraka'
import { busyInstall } from '../support/install-report'
import { type PageServer, servePage } from '../support/page-server'
import { STATE_NAMES, STATES, type StateName } from '../support/page-states'
import { freePorts } from '../support/ports'
import { skipWithout } from '../support/programs'
import { connectSmtp } from '../support/smtp'

const BASE = 'dc=corp,dc=test'
const skip = skipWithout('chromium')
const WIDE: Look = { width: 1200, scheme: 'light' }

after(stopChromium)

/** What the page says at the top in each state, and in which colours. */
const SAYS: Readonly<
  Record<StateName, { readonly says: RegExp; readonly colours: readonly string[] }>
> = {
  quiet: { says: /^All is well\.$/, colours: ['good'] },
  well: { says: /^All is well\.$/, colours: ['good'] },
  degraded: { says: /Directory server ldaps:\/\/dc2\S+ is down/, colours: ['doubtful'] },
  broken: {
    says: /^No directory server can be asked.*3 failures.*probably meant: url/s,
    colours: ['bad', 'doubtful'],
  },
  observing: { says: /^All is well\.$/, colours: ['good'] },
}

describe('the status page in each of its states', { skip }, () => {
  const servers = new Map<StateName, PageServer>()
  before(async () => {
    for (const name of STATE_NAMES) {
      servers.set(name, await servePage(STATES[name].install, STATES[name].report))
    }
  })
  after(() => {
    for (const server of servers.values()) server.close()
  })

  const looks: readonly Look[] = [
    { width: 1000, scheme: 'light' },
    { width: 1600, scheme: 'dark' },
    { width: 400, scheme: 'light' },
    { width: 400, scheme: 'dark' },
  ]
  for (const name of STATE_NAMES) {
    test(`${name}: in light and dark, wide and narrow, nothing overflows or is left alone in a row, and all is legible`, async () => {
      const { query = '' } = STATES[name]
      await withPage(await sharedPage(WIDE), async (page) => {
        await page.goto(`${servers.get(name)?.url}${query}`)
        for (const look of looks) {
          await sharedPage(look)
          const which = `${name}, ${look.scheme}, ${look.width} pixels wide`
          const sticksOut = 'document.documentElement.scrollWidth - innerWidth'
          assert.equal(await page.evaluate(sticksOut), 0, which)
          assert.deepEqual(await page.evaluate(ILLEGIBLE), [], which)
          assert.match((await page.locator('#conditions').textContent()) ?? '', SAYS[name].says)
          const conditions = await page.evaluate<string[]>(CONDITIONS)
          assert.deepEqual([...new Set(conditions)], SAYS[name].colours, which)
          const inRows = await page.evaluate<number[]>(FIGURES_IN_ROWS)
          assert.equal(new Set(inRows).size, inRows.length > 0 ? 1 : 0, `${which}: ${inRows}`)
          // Long names do not squeeze the column beside them.
          const rule = page.locator('#refusals td:last-child code')
          const box = (await rule.count()) > 0 && (await rule.first().boundingBox())
          assert.ok(!box || box.height < 25, `a rule in one line: ${which}`)
          const { SCREENSHOTS } = process.env
          if (SCREENSHOTS) await takePicture(page, path.join(SCREENSHOTS, pictureOf(name, look)))
        }
      })
    })
  }

  test('with ten million answers: totals, an hour of bars, a label every ten minutes, and long lists in pages', async () => {
    await withPage(await sharedPage(WIDE), async (page) => {
      await page.goto(servers.get('well')?.url ?? '')
      assert.equal(await page.locator('.figure.all b').textContent(), '10,000,000')
      assert.equal(await page.locator('svg g').count(), 60)
      const texts = await page.locator('svg text').allTextContents()
      const times = texts.filter((text) => text.includes(':'))
      assert.ok(times.length >= 5 && times.every((text) => /^\d\d:\d0$/.test(text)), `${times}`)
      assert.deepEqual(
        texts.filter((text) => !text.includes(':')),
        ['0', '200', '400', '600', '800', '1,000'],
      )
      assert.equal(await page.locator('#refusals tbody tr').count(), 50)
      await page.locator('#refusals .pager a').click()
      await page.locator('text=Page 2 of 4').waitFor()
      assert.match(page.url(), /\?recent=2#recent$/)
    })
  })

  test('differences in both directions are separate, and each links to its recipients', async () => {
    await withPage(await sharedPage(WIDE), async (page) => {
      await page.goto(servers.get('observing')?.url ?? '')
      const rows = page.locator('.differences tbody tr')
      assert.match((await rows.first().textContent()) ?? '', /would refuse what was accepted/)
      const other = page.locator('.differences tr', { hasText: 'would accept what was refused' })
      await other.locator('a').click()
      await page.locator('#refusals tr', { hasText: 'alice' }).first().waitFor()
      assert.equal(await page.locator('#shown').textContent(), '40 of the last 200')
      await page.locator('#filter [name=rule]').selectOption('')
      await page.locator('#filter [name=show]').selectOption('would-accept')
      await page.locator('#shown', { hasText: '40 of the last 40' }).waitFor()
      await page.locator('#filter [name=show]').selectOption('would-refuse')
      await page.locator('#shown', { hasText: '160 of the last 160' }).waitFor()
    })
  })
})

const CONDITIONS = `[...document.querySelectorAll('.condition')].map((one) => one.classList[1])`
/** The number of figures in each row of figures. */
const FIGURES_IN_ROWS = `[...[...document.querySelectorAll('.figure')].reduce((rows, one) => {
  const { top } = one.getBoundingClientRect()
  return rows.set(top, (rows.get(top) ?? 0) + 1)
}, new Map()).values()]`

/** The pictures in the documentation. */
const PICTURES: Readonly<Record<string, string>> = {
  'degraded 1000 light': 'status-page.png',
  'observing 1000 light': 'status-page-observing.png',
  'degraded 400 dark': 'status-page-narrow.png',
}
const pictureOf = (name: StateName, { width, scheme }: Look) =>
  PICTURES[`${name} ${width} ${scheme}`] ?? ''

async function takePicture(page: Page, file: string): Promise<void> {
  if (!file.endsWith('.png')) return
  const { width = 0 } = page.viewportSize() ?? {}
  const clip = { x: 0, y: 0, width, height: 900 }
  await page.screenshot({ path: file, clip, fullPage: true })
}

describe('the status page of a busy install', { skip }, () => {
  let server: PageServer
  let url: string

  before(async () => {
    server = await servePage(STATES.degraded.install, busyInstall)
    url = server.url
  })
  after(() => server.close())

  test('filters as the user types, keeps the filter over a refresh, and says if it cannot refresh', async () => {
    const own = await newPage(WIDE)
    await withPage(own, async (page) => {
      await page.clock.install()
      await page.goto(url)
      const shown = page.locator('#shown')
      const matching = async () => Number(/^\d+/.exec((await shown.textContent()) ?? '')?.[0])
      await page.locator('[name=rule]').selectOption('routes-onward')
      await page.clock.runFor(300)
      await page.locator('#shown', { hasNotText: '200 of' }).waitFor()
      const some = await matching()
      assert.ok(some > 0 && some < 200, `${some} rows`)
      await page.locator('#filter [name=client]').fill('198.51.100.')
      await page.clock.runFor(300)
      await page.locator('#shown', { hasNotText: `${some} of` }).waitFor()
      const fewer = await matching()
      assert.ok(fewer > 0 && fewer < some)
      assert.equal(await shown.textContent(), `${fewer} of the last 200`)
      assert.match(page.url(), /rule=routes-onward&client=198\.51\.100\./)

      server.report = (now) => {
        const install = busyInstall(now)
        const [oldest, ...others] = install.refusals
        assert.ok(oldest)
        const fresh = { client: '198.51.100.1', rule: 'routes-onward', recipient: 'fresh%x@ours' }
        return { ...install, refusals: [...others, { ...oldest, ...fresh }] }
      }
      await page.clock.runFor(11_000)
      await page.locator('text=fresh%x@ours').waitFor()
      assert.equal(await page.locator('[name=rule]').inputValue(), 'routes-onward')
      const first = page.locator('#refusals tbody tr').first()
      assert.match((await first.textContent()) ?? '', /fresh%x/)

      await page.route('**/*', (route) => route.abort())
      await page.clock.runFor(11_000)
      await page.locator('#fresh.old').waitFor()
    })
    await own.context().close()
  })

  test('a rule links to the explanation of that very answer', async () => {
    await withPage(await sharedPage(WIDE), async (page) => {
      await page.goto(`${url}?rule=no-relay-nobody`)
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

describe('hostile text from strangers, in the browser of the postmaster', { skip }, () => {
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
        await sharedPage(WIDE),
        async (page) => {
          const url = `http://127.0.0.1:${port}${PAGE_PATH}/`
          await page.goto(url)
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
          // Even if a text became markup, the policy would not let it run.
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

/**
 * Uses the page and leaves it empty.
 * @param expected console errors that are no failure
 */
async function withPage(
  page: Page,
  use: (page: Page) => Promise<void>,
  expected = /ERR_FAILED/,
): Promise<void> {
  const errors: string[] = []
  const onPageError = (error: Error) => errors.push(error.message)
  const onConsole = (message: ConsoleMessage) => {
    if (message.type() === 'error' && !expected.test(message.text())) errors.push(message.text())
  }
  page.on('pageerror', onPageError)
  page.on('console', onConsole)
  try {
    await use(page)
    assert.deepEqual(errors, [], 'errors in the browser')
  } finally {
    page.off('pageerror', onPageError)
    page.off('console', onConsole)
    await page.goto('about:blank')
  }
}

/** @see test/support/illegible.js */
const ILLEGIBLE = readFileSync(path.join(REPOSITORY, 'test', 'support', 'illegible.js'), 'utf8')
