// Going back from `enforce = true` if gal-relay is the only plugin that accepts recipients: no recipient at
// our domains gets a 550, nobody relays, and mail goes where its row says.
import assert from 'node:assert/strict'
import { readFileSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { after, before, describe, test } from 'node:test'
import { loadCommand } from './support/command'
import { type EmbeddedLdap, startEmbeddedLdap } from './support/embedded-ldap'
import { type Haraka, type HarakaOptions, startHaraka } from './support/haraka'
import { freePort } from './support/ports'
import { type SharedHaraka, sharedHaraka } from './support/shared-haraka'
import { connectSmtp, type Reply } from './support/smtp'
import { until } from './support/until'

const { runCommand } = loadCommand()

const ROUTES = `[routes]
example.com = inbound
hop.example = inbound smtp://127.0.0.1:9
shared.example = shared smtp://127.0.0.1:9
backup.example = always-relay smtp://127.0.0.1:9
supplier.example = forward smtp://127.0.0.1:9
old.example = reroute hop.example
[restrictions]
hosts[] = 192.168.1.0/24
`
const BODY = 'Subject: way\r\n\r\nbody\r\n'
const INSIDE = '192.168.1.7'
const OUTSIDE = '192.0.2.77'
const LOCAL = '10.0.0.5:25'

let ldap: EmbeddedLdap
before(async () => {
  ldap = await startEmbeddedLdap(['alice@example.com', 'alice@shared.example', 'a%b@hop.example'])
})
after(() => ldap.stop())

const ini = (enforce: string, more = '') =>
  `[main]\nenforce = ${enforce}\n${ROUTES}${more}\n[ldap]\nurl[] = ${ldap.url}\nbase = ${ldap.base}\n`

async function withHaraka(
  options: HarakaOptions,
  use: (haraka: Haraka) => Promise<void>,
): Promise<void> {
  const haraka = await startHaraka(options)
  try {
    await use(haraka)
  } finally {
    await haraka.stop()
  }
}

/** @returns the replies to each recipient, and to the message if there is one */
async function send(
  haraka: Haraka,
  client: string,
  to: readonly string[],
  body?: string,
): Promise<Reply[]> {
  const smtp = await connectSmtp({ port: haraka.port, proxy: { client, local: LOCAL } })
  try {
    await smtp.ehlo()
    const { rcpt, data } = await smtp.transaction('me@sender.example', to, body)
    return [...rcpt, ...(data ? [data] : [])]
  } finally {
    await smtp.quit()
  }
}

const codes = (replies: readonly Reply[]) => replies.map(({ code }) => code)

/** Recipients, and the replies to a stranger if no other plugin accepts recipients. */
const ANSWERS = [
  ['alice@example.com', 250],
  ['nobody@example.com', 250],
  ['nobody@hop.example', 250],
  ['nobody@old.example', 250],
  ['alice@shared.example', 250],
  ['nobody@shared.example', 250],
  ['anyone@backup.example', 250],
  ['a%b@hop.example', 250],
  ['x%far.example@example.com', 550],
  ['x%far.example@hop.example', 550],
  ['"x@far.example"@shared.example', 550],
  ['far.example!x@backup.example', 550],
  ['friend@far.example', 550],
  ['friend@supplier.example', 550],
  ['postmaster', 250],
] as const

describe('where no other plugin accepts recipients', () => {
  let web: number
  let shared: SharedHaraka
  before(async () => {
    web = await freePort()
    shared = sharedHaraka({ files: { 'config/http.ini': `listen=127.0.0.1:${web}\n` } })
  })
  after(() => shared?.stop())
  const withShared = (ini: string, use: (haraka: Haraka) => Promise<void>) =>
    shared.with(ini, undefined, use)

  for (const enforce of ['false', 'relaying']) {
    test(`enforce = ${enforce} accepts recipients at our domains, and lets no stranger relay`, () =>
      withShared(ini(enforce), async (haraka) => {
        const given = await send(
          haraka,
          OUTSIDE,
          ANSWERS.map(([to]) => to),
        )
        assert.deepEqual(
          given.map(({ code }, i) => [ANSWERS[i]?.[0], code]),
          ANSWERS.map(([to, code]) => [to, code]),
        )
        const said = haraka.log()
        assert.match(said, /accepts recipients at our domains without a look-up/)
        assert.match(said, /\[WARN\].*no other plugin accepts them: those at inbound, shared and/)
        const foreign = await send(haraka, INSIDE, ['friend@far.example'])
        assert.deepEqual(codes(foreign), [enforce === 'relaying' ? 250 : 550])
      }))
  }

  test('check and the status page say that any recipient is accepted', () =>
    withShared(ini('false', '[http]\nenabled = true'), async (haraka) => {
      const url = `http://127.0.0.1:${web}/gal-relay/`
      await until(() =>
        fetch(url)
          .then(({ ok }) => ok)
          .catch(() => false),
      )
      const page = await (await fetch(url)).text()
      const { stdout } = await runCommand(['check', '--config', haraka.dir])
      for (const said of [page, stdout]) {
        assert.match(said, /domains are accepted without a look-up, even unknown ones/)
        assert.doesNotMatch(said, /All is well/)
      }
      const question = `recipient=nobody@example.com&client=${OUTSIDE}&listener=${LOCAL}`
      const explained = await fetch(`${url}explain?${question}`)
      assert.match(
        await explained.text(),
        /550 5\.1\.1.*Not enforced .*accepted without a look-up/s,
      )
    }))

  test('mail goes where the rows say', () =>
    withShared(ini('false'), async (haraka) => {
      const to = ANSWERS.filter(([, code]) => code === 250).map(([address]) => address)
      assert.deepEqual(new Set(codes(await send(haraka, OUTSIDE, to, BODY))), new Set([250]))
      const [queued] = haraka.delivered()
      assert.deepEqual(queued?.rcpt_to, [
        'alice@example.com',
        'nobody@example.com',
        'alice@shared.example',
        'postmaster',
      ])
      const out = haraka.outboundMessages()
      assert.deepEqual(
        out.flatMap(({ rcpt_to }) => rcpt_to).sort(),
        [
          'a%b@hop.example',
          'anyone@backup.example',
          'nobody@hop.example',
          'nobody@hop.example',
          'nobody@shared.example',
        ].filter((address, i, all) => all.indexOf(address) === i),
      )
      for (const { notes } of out) {
        assert.match(JSON.stringify(notes.gal_relay), /smtp:\/\/127\.0\.0\.1:9/)
      }
    }))

  test('a directory that cannot be asked defers only recipients whose next hop depends on it', () =>
    withShared(ini('false').replace(ldap.url, 'ldap://127.0.0.1:1'), async (haraka) => {
      const given = await send(haraka, OUTSIDE, [
        'alice@example.com',
        'nobody@hop.example',
        'anyone@backup.example',
        'alice@shared.example',
        'a%b@hop.example',
        'friend@far.example',
      ])
      assert.deepEqual(codes(given), [250, 250, 250, 451, 451, 550])
    }))

  test('each recipient is observed once nevertheless', () =>
    withShared(ini('relaying'), async (haraka) => {
      // Other clients' recipients may still be observed.
      const client = '192.0.2.78'
      await send(haraka, client, ['nobody@example.com', 'alice@example.com', 'friend@far.example'])
      const logged = () => haraka.logLines(/\] (observed|refused|deferred) .*ip=192\.0\.2\.78 /)
      await until(() => logged().length >= 3)
      assert.deepEqual(
        logged()
          .map((line) =>
            line.replace(
              /^.*(observed(?: DIFFERS)?|refused|deferred) .* recipient=(\S+) .*rule=(\S+) .*$/,
              '$1 $2 $3',
            ),
          )
          .sort(),
        [
          'observed DIFFERS nobody@example.com not-in-gal',
          'observed alice@example.com in-gal',
          'refused friend@far.example no-relay-nobody',
        ],
      )
    }))

  test('mixed = defer still keeps the two kinds apart', () =>
    withShared(ini('false', '[routing]\nmixed = defer'), async (haraka) => {
      const given = await send(haraka, OUTSIDE, ['alice@example.com', 'nobody@hop.example'])
      assert.deepEqual(codes(given), [250, 452])
    }))

  test('with any_domain an address in the directory is ours whatever its domain', () =>
    withShared(
      ini('false', '[gal]\nany_domain = true').replace(/^shared\.example.*\n/m, ''),
      async (haraka) => {
        const to = ['alice@shared.example', 'nobody@shared.example']
        assert.deepEqual(codes(await send(haraka, OUTSIDE, to)), [250, 550])
      },
    ))

  test('a plugin that was added to config/plugins later accepts nobody before a restart', () =>
    withShared(ini('true'), async (haraka) => {
      const file = path.join(haraka.dir, 'config', 'plugins')
      const plugins = readFileSync(file)
      try {
        haraka.writeConfig('plugins', 'gal-relay\nrcpt_to.in_host_list\n')
        await haraka.reload(ini('false'))
        assert.deepEqual(codes(await send(haraka, OUTSIDE, ['alice@example.com'])), [250])
      } finally {
        writeFileSync(file, plugins)
      }
    }))
})

describe('where another plugin accepts recipients', () => {
  const IN_HOST_LIST: HarakaOptions = {
    plugins: ['gal-relay', 'rcpt_to.in_host_list', 'test-queue'],
    hostList: ['example.com'],
  }

  test('enforce = false changes no answer', () =>
    withHaraka({ ...IN_HOST_LIST, ini: ini('false') }, async (haraka) => {
      const to = ['nobody@example.com', 'nobody@hop.example', 'anyone@backup.example']
      assert.deepEqual(codes(await send(haraka, OUTSIDE, to)), [250, 550, 550])
      assert.doesNotMatch(haraka.log(), /without a look-up/)
    }))

  test('enforce = relaying refuses relaying, by tricks too, and leaves recipients to that plugin', () =>
    withHaraka(
      {
        ...IN_HOST_LIST,
        plugins: ['relay', ...(IN_HOST_LIST.plugins ?? [])],
        files: { 'config/relay_acl_allow': '192.0.2.0/24\n' },
        ini: ini('relaying'),
      },
      async (haraka) => {
        const to = [
          'nobody@example.com',
          'x%far.example@example.com',
          'friend@far.example',
          'friend@supplier.example',
        ]
        const given = await send(haraka, OUTSIDE, to)
        assert.deepEqual(codes(given), [250, 550, 550, 550])
        assert.match(given[2]?.line ?? '', /^550 5\.7\.1 Relaying is prohibited/)
        assert.deepEqual(codes(await send(haraka, INSIDE, to)), [250, 550, 250, 250])
      },
    ))

  test('a plugin of the install that accepts recipients counts; one that only watches does not', async () => {
    const accepts = `exports.hook_rcpt = (next, connection, [{ user }]) => next(user === 'alice' ? OK : CONT)`
    const looks = `exports.hook_rcpt = (next) => next() // never OK`
    const plugins = ['gal-relay', 'local', 'test-queue']
    const to = ['alice@example.com', 'nobody@example.com']
    for (const [source, expected] of [
      [accepts, [250, 550]],
      [looks, [250, 250]],
    ] as const) {
      const files = { 'plugins/local.js': source }
      await withHaraka({ plugins, files, ini: ini('false') }, async (haraka) => {
        assert.deepEqual(codes(await send(haraka, OUTSIDE, to)), expected)
      })
    }
  })
})
