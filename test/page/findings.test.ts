// The status page of a real Haraka says what gal-relay check says of the same install, what the settings in
// force are, what would have been answered otherwise, and what waits in the queue.
import assert from 'node:assert/strict'
import { rmSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { after, before, describe, test } from 'node:test'
import { runJson } from '../support/command'
import { type EmbeddedLdap, startEmbeddedLdap } from '../support/embedded-ldap'
import { type Haraka, REPOSITORY, startHaraka } from '../support/haraka'
import { freePorts } from '../support/ports'
import { writeQueueFile } from '../support/queue-file'
import { connectSmtp } from '../support/smtp'
import { until } from '../support/until'

interface Status {
  readonly versions: { readonly plugin: string; readonly haraka: string; readonly node: string }
  readonly conditions: { readonly bad: readonly string[]; readonly doubtful: readonly string[] }
  readonly processes: readonly [
    { readonly settings_since: number; readonly reload_problems: readonly string[] },
  ]
  readonly observed: Readonly<
    Record<'verdicts' | 'replies', Readonly<Record<'accepted' | 'deferred' | 'refused', number>>>
  >
  readonly recent_differences: readonly Readonly<
    Record<'recipient' | 'verdict' | 'answer' | 'rule' | 'answered', string>
  >[]
  readonly most: Readonly<
    Record<
      'refused' | 'would_be_refused',
      { readonly recipients: readonly { readonly name: string; readonly count: number }[] }
    >
  >
  readonly queue: Readonly<
    Record<
      'by_next_hop' | 'by_mx',
      readonly { readonly next_hops: readonly string[]; readonly messages: number }[]
    >
  >
  readonly listeners: readonly { readonly listener: string; readonly state: string }[]
  readonly settings: { readonly inbound_domains: readonly string[] }
}

interface Check {
  readonly sections: readonly {
    readonly about: string
    readonly findings: readonly { readonly level: string; readonly text: string }[]
  }[]
}

describe('the status page, beside gal-relay check', () => {
  let ldap: EmbeddedLdap
  let haraka: Haraka
  let port: number
  const ini = (rest = '') => `[main]
enforce = false
[routes]
example.com = inbound
sub.example.com = inbound
other.example = inbound
hop.example = inbound smtp://192.0.2.9:2525
[restrictions]
hosts[] = 192.168.1.0/24
hosts[] = 192.168.1.7
[listener *:587]
enforce = true
[listener *:26]
enforce = relaying
[listener *:2525]
enabled = false
[http]
enabled = true
[ldap]
url[] = ${ldap.url}
base = ${ldap.base}
${rest}`

  before(async () => {
    ldap = await startEmbeddedLdap(['alice@example.com', 'bob@other.example'])
    ;[port = 0] = await freePorts(1)
    haraka = await startHaraka({
      ini: ini(),
      hostList: ['example.com'],
      plugins: ['rcpt_to.in_host_list', 'gal-relay', 'test-queue'],
      files: {
        'config/http.ini': `listen=127.0.0.1:${port}\n`,
        // Taken for the plugin's own.
        'config/gal-relay.ini': '[main]\n',
      },
    })
    await haraka.waitForLog(/directory .* is up/)
    writeQueueFile(haraka.dir, { domain: 'hop.example', hops: ['smtp://192.0.2.9:2525'] })
    writeQueueFile(haraka.dir, { domain: 'far.example', hops: [] })
  })
  after(async () => {
    await haraka.stop()
    await ldap.stop()
  })

  const get = (what: string) => fetch(`http://127.0.0.1:${port}/gal-relay/${what}`)
  const page = async (query = '') => (await get(query)).text()
  const status = async (query = '') => (await get(`status.json${query}`)).json() as Promise<Status>

  test('all that check doubts of the settings, the files and the plugins, it doubts too', async () => {
    const { json } = await runJson<Check>(['check', '--config', haraka.dir])
    const doubted = json.sections
      .filter(({ about }) => about.startsWith('settings') || about === 'config/plugins')
      .flatMap(({ findings }) => findings.filter(({ level }) => /warning|problem/.test(level)))
      .map(({ text }) => text)
    assert.ok(doubted.length >= 5, doubted.join('\n'))
    const { conditions } = await status()
    const missing = doubted.filter((text) => !conditions.doubtful.includes(text))
    assert.deepEqual(missing, [])
    assert.deepEqual(conditions.bad, [])
    const html = await page()
    assert.doesNotMatch(html, /All is well/)
    assert.match(html, /class="condition doubtful">[^<]*config\/gal-relay\.ini is not read/)
  })

  test('each listener has a badge', async () => {
    const { listeners } = await status()
    assert.deepEqual(
      listeners.map(({ listener, state }) => `${listener} ${state}`).sort(),
      ['*:* observing', '*:2525 off', '*:26 relaying only', '*:587 enforcing'].sort(),
    )
    const html = await page()
    for (const badge of ['OBSERVING', 'OFF', 'RELAYING ONLY', 'ENFORCING']) {
      assert.match(html, new RegExp(`<b class="badge [a-z-]+">${badge}</b>`))
    }
  })

  test('verdicts and replies are apart, and so are the differences of both directions', async () => {
    const smtp = await connectSmtp({
      port: haraka.port,
      proxy: { client: '203.0.113.9', local: '10.0.0.5:25' },
    })
    await smtp.ehlo()
    const to = ['alice@example.com', 'Nobody@example.com', 'bob@other.example', 'x@far.example']
    const { rcpt } = await smtp.transaction('news@shop.example', to)
    assert.deepEqual(
      rcpt.map(({ code }) => code),
      [250, 250, 550, 550],
    )
    await smtp.quit()
    await until(async () => (await status()).recent_differences.length === 2)
    const { observed, recent_differences, most } = await status()
    assert.deepEqual(observed.verdicts, { accepted: 2, deferred: 0, refused: 2 })
    assert.deepEqual(observed.replies, { accepted: 2, deferred: 0, refused: 2 })
    assert.deepEqual(
      recent_differences.map(({ recipient, verdict, answer, rule }) =>
        [recipient, verdict, answer, rule].join(' '),
      ),
      [
        'Nobody@example.com refused accepted not-in-gal',
        'bob@other.example accepted refused in-gal',
      ],
    )
    assert.match(recent_differences[1]?.answered ?? '', /^550 I cannot deliver mail for/)
    const names = most.would_be_refused.recipients.map(({ name }) => name)
    assert.deepEqual(names.sort(), ['nobody@example.com', 'x@far.example'])
    assert.deepEqual(most.refused.recipients, [])
    const recipients = async (query: string) =>
      [...(await page(query)).matchAll(/data-recipient="([^"]*)"/g)].map(([, name]) => name)
    assert.deepEqual(await recipients('?show=would-refuse'), ['Nobody@example.com'])
    assert.deepEqual(await recipients('?show=would-accept'), ['bob@other.example'])
    assert.deepEqual(await recipients('?show=differences&rule=in-gal'), ['bob@other.example'])
    assert.deepEqual(await recipients('?show=differences&client=192.0'), [])
    assert.equal((await status('?recipient=BOB')).recent_differences.length, 1)
  })

  test('what waits is named by its next hop', async () => {
    const { queue } = await status()
    assert.deepEqual(
      queue.by_next_hop.map(({ next_hops, messages }) => [...next_hops, messages]),
      [['smtp://192.0.2.9:2525', 1]],
    )
    assert.deepEqual(
      queue.by_mx.map(({ messages }) => messages),
      [1],
    )
    assert.match(await page(), /smtp:\/\/192\.0\.2\.9:2525<\/th>\s*<td[^>]*>hop\.example/)
  })

  test('which releases run', async () => {
    const { versions } = await status()
    const { version } = require(path.join(REPOSITORY, 'package.json'))
    assert.equal(versions.plugin, version)
    assert.equal(versions.haraka, require('haraka/package.json').version)
    assert.equal(versions.node, process.versions.node)
  })

  test('the domains that are ours, and since when the settings are in force', async () => {
    const before = await status()
    assert.deepEqual([...before.settings.inbound_domains].sort(), [
      ...['example.com', 'hop.example', 'other.example', 'sub.example.com'],
    ])
    rmSync(path.join(haraka.dir, 'config', 'gal-relay.ini'))
    await haraka.reload(`${ini()}connections = 3\n`)
    const [now] = (await status()).processes
    assert.ok(now.settings_since > before.processes[0].settings_since)
    assert.deepEqual(now.reload_problems, [])
  })

  test('settings that cannot be used are named in words, until they can', async () => {
    const from = haraka.log().length
    haraka.writeConfig('gal_relay.ini', ini('conections = 3\n'))
    await haraka.waitForLog(/the settings were not reloaded/, undefined, from)
    const { conditions } = await status()
    const reload = conditions.doubtful.find((text) => text.includes('cannot be used'))
    assert.match(reload ?? '', /conections.*probably meant: connections/s)
    assert.match(await page(), /<li>[^<]*\[ldap\] conections[^<]*probably meant/)
    await haraka.reload(ini())
    assert.ok(!(await status()).conditions.doubtful.some((text) => text.includes('cannot be used')))
  })

  test('a plugin that lets everybody relay, and an open listener, are red', async () => {
    writeFileSync(path.join(haraka.dir, 'config', 'relay.ini'), '[relay]\nall = true\n')
    const plugins = 'relay\nrcpt_to.in_host_list\ngal-relay\ntest-queue\n'
    writeFileSync(path.join(haraka.dir, 'config', 'plugins'), plugins)
    await haraka.reload(`${ini()}[listener *:465]\nenforce = true\nopen = true\n`)
    const { bad, doubtful } = (await status()).conditions
    assert.ok(
      bad.some((text) => text.startsWith('OPEN RELAY on listener *:465')),
      bad.join(),
    )
    assert.ok(
      bad.some((text) => text.startsWith('OPEN RELAY: plugin relay')),
      bad.join(),
    )
    assert.ok(!doubtful.some((text) => text.includes('OPEN RELAY')))
  })
})

describe('the list in memory on the status page', () => {
  test('that cannot be written is amber, and the mail goes on', async () => {
    const ldap = await startEmbeddedLdap(['alice@example.com'])
    const [port = 0] = await freePorts(1)
    const haraka = await startHaraka({
      ini: `[routes]
example.com = inbound
[gal]
mode = snapshot
[snapshot]
file = nowhere/list
[http]
enabled = true
[ldap]
url[] = ${ldap.url}
base = ${ldap.base}
`,
      files: { 'config/http.ini': `listen=127.0.0.1:${port}\n` },
    })
    try {
      await haraka.waitForLog(/directory .* is up/)
      const read = async () =>
        (await (await fetch(`http://127.0.0.1:${port}/gal-relay/status.json`)).json()) as Status
      await until(async () => (await read()).conditions.doubtful.length > 0)
      const { bad, doubtful } = (await read()).conditions
      assert.deepEqual(bad, [])
      assert.match(doubtful.join('\n'), /the folder of the list \S+nowhere cannot be written/)
    } finally {
      await haraka.stop()
      await ldap.stop()
    }
  })
})
