// What the documentation greps out of the log is there in each of Haraka's formats.
import assert from 'node:assert/strict'
import { writeFileSync } from 'node:fs'
import path from 'node:path'
import { after, before, describe, test } from 'node:test'
import { blocksOf } from './support/docs'
import { type EmbeddedLdap, startEmbeddedLdap } from './support/embedded-ldap'
import { type Haraka, startHaraka } from './support/haraka'
import { shell } from './support/shell'
import { connectSmtp } from './support/smtp'

/** The counts of `sort | uniq -c`, by the line that was counted. */
type Counted = Readonly<Record<string, number>>

async function counted(command: string, dir: string): Promise<Counted> {
  const output = await shell(command, dir, {})
  const lines = output.split('\n').flatMap((line) => {
    const [, count = '', name = ''] = /^ *(\d+) (.*)$/.exec(line) ?? []
    return count ? [[name.replace(/[="]+:?"?/, ' '), Number(count)] as const] : []
  })
  return Object.fromEntries(lines)
}

const greps = ['docs/troubleshooting.md', 'docs/getting-started.md'].flatMap((page) =>
  blocksOf(page)
    .filter(({ language }) => language === 'sh')
    .flatMap(({ text }) => text.split('\n').filter((line) => line.includes('/var/log/haraka.log'))),
)
const grep = (word: string) => greps.find((line) => line.includes(word)) ?? assert.fail(word)

let directory: EmbeddedLdap
before(async () => {
  directory = await startEmbeddedLdap(['alice@example.com'])
})
after(() => directory?.stop())

for (const format of ['default', 'logfmt', 'json']) {
  describe(`the log with format = ${format}`, () => {
    let haraka: Haraka
    let file: string
    before(async () => {
      haraka = await startHaraka({
        auth: { carol: 'carol-secret' },
        files: { 'config/log.ini': `[main]\nlevel=info\nformat=${format}\n` },
        ini: `[routes]
example.com = inbound
hop.example = inbound smtp://127.0.0.1:2525 smtp://127.0.0.2:2525
old.example = reroute hop.example
[gal]
always_accept = postmaster, desk
[restrictions]
hosts[] = 192.168.1.0/24
[listener *:587]
authenticated = true
[listener *:26]
enforce = false
[ldap]
url[] = ${directory.url}
base = ${directory.base}
`,
      })
      const say = async (client: string, port: number, to: readonly string[], account?: string) => {
        const smtp = await connectSmtp({
          port: haraka.port,
          proxy: { client, local: `10.0.0.5:${port}` },
        })
        await smtp.ehlo()
        if (account) assert.equal((await smtp.auth(account, `${account}-secret`)).code, 235)
        await smtp.transaction('ann@example.com', to)
        await smtp.quit()
      }
      await say('192.168.1.7', 25, ['one@far.example', 'two@far.example', 'alice@example.com'])
      await say('10.9.9.9', 587, ['three@far.example'], 'carol')
      await say('203.0.113.9', 25, ['desk@old.example', 'nobody@example.com', 'four@far.example'])
      await say('203.0.113.9', 26, ['nobody@example.com'])
      await haraka.waitForLog(/observed DIFFERS/)
      file = path.join(haraka.dir, 'haraka.log')
      writeFileSync(file, haraka.log())
    })
    after(() => haraka?.stop())

    const run = (command: string) =>
      counted(command.replaceAll('/var/log/haraka.log', file), haraka.dir)

    test('shows who relayed, by which rule, and to whom', async () => {
      assert.ok(greps.length >= 7, greps.join('\n'))
      const [clients = ''] = greps
      assert.deepEqual(await run(clients), { 'ip 192.168.1.7': 2, 'ip 10.9.9.9': 1 })
      assert.deepEqual(await run(grep('relay-authenticated')), { 'account carol': 1 })
      assert.deepEqual(await run(grep('carol')), { 'recipient three@far.example': 1 })
      assert.deepEqual(await run(grep('192\\.168')), {
        'recipient one@far.example': 1,
        'recipient two@far.example': 1,
        'recipient alice@example.com': 1,
      })
    })

    test('shows who was refused, and what observing found', async () => {
      assert.deepEqual(await run(grep('refused|deferred')), {
        'rule not-in-gal': 1,
        'rule no-relay-nobody': 1,
      })
      const differs = greps.filter((line) => line.includes('DIFFERS'))
      const found = await Promise.all(differs.map(run))
      assert.deepEqual(found, [{ 'rule not-in-gal': 1 }, { 'recipient nobody@example.com': 1 }])
    })

    test('shows where each accepted recipient goes', async () => {
      const lines = haraka.logLines(/accepted\b.*recipient[=":]+(one|alice|desk)@/)
      const fields = (line: string, ...names: string[]) =>
        names.map((name) => {
          const found = new RegExp(`\\b${name}"?[=:]("[^"]*"|\\S+)`).exec(line)
          return found?.[1]?.replaceAll('"', '')
        })
      assert.deepEqual(
        lines.map((line) => fields(line, 'rule', 'path', 'hop', 'leaves_as', 'local_port')),
        [
          ['relay-hosts', 'outbound', 'mx', '', '25'],
          ['in-gal', 'queue', '', '', '25'],
          [
            'always-accept',
            'outbound',
            'smtp://127.0.0.1:2525,smtp://127.0.0.2:2525',
            'desk@hop.example',
            '25',
          ],
        ],
      )
    })

    test('has the fields that the documentation shows', () => {
      const names = (line: string) =>
        [...line.matchAll(/\b(\w+)"?[=:]/g)]
          .map(([, name = '']) => name)
          .filter((name) =>
            /^(ip|rdns|helo|account|sender|recipient|\w+_\w+|rule|path|hop)$/.test(name),
          )
      const shown = blocksOf('docs/troubleshooting.md').find(({ text }) =>
        / accepted ip=/.test(text),
      )
      const [line = ''] = haraka.logLines(/accepted\b.*recipient[=":]+one@/)
      assert.deepEqual(names(line), names(shown?.text ?? ''))
    })

    test('names the plugin once in each line at start', () => {
      const lines = haraka.logLines(/inbound domains: |may relay|only observes/)
      assert.ok(lines.length >= 3, lines.join('\n'))
      for (const line of lines) assert.equal(line.split('gal-relay').length, 2, line)
    })
  })
}

describe('the log with level = notice', () => {
  let haraka: Haraka
  let ini: string
  before(async () => {
    ini = `[routes]\nexample.com = inbound\n[ldap]\nurl[] = ${directory.url}\nbase = ${directory.base}\n`
    haraka = await startHaraka({ logLevel: 'notice', ini })
  })
  after(() => haraka?.stop())

  test('names the plugin once in each line about a failed reload', async () => {
    try {
      haraka.writeConfig('gal_relay.ini', `${ini}bese = x\n[gla]\n`)
      await haraka.waitForLog(/the settings were not reloaded/)
      const lines = haraka.logLines(/problems in the settings|there is no such|not reloaded/)
      assert.equal(lines.length, 4, lines.join('\n'))
      for (const line of lines) {
        assert.match(line, / \[ERROR\] \[-\] \[gal-relay\] /)
        assert.equal(line.split('gal-relay').length, 2, line)
      }
    } finally {
      haraka.writeConfig('gal_relay.ini', ini)
    }
  })

  test('has no line for an accepted recipient until the level is info', async () => {
    const smtp = await connectSmtp({
      port: haraka.port,
      proxy: { client: '203.0.113.9', local: '10.0.0.5:25' },
    })
    await smtp.ehlo()
    await smtp.transaction('a@b.example', ['alice@example.com', 'nobody@example.com'])
    await haraka.waitForLog(/\] refused /)
    assert.deepEqual(haraka.logLines(/\] accepted /), [])
    haraka.writeConfig('log.ini', '[main]\nlevel=info\nformat=default\n')
    await haraka.waitForLog(/loglevel: INFO/)
    await smtp.rcpt('alice@example.com')
    await haraka.waitForLog(/\[gal-relay\] accepted .*rule=in-gal/)
    await smtp.quit()
  })
})
