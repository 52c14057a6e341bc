// The recipe in docs/plugins.md, as it is there: limit, karma and dkim beside the plugin, and a plugin that
// reads its results.
import assert from 'node:assert/strict'
import { generateKeyPairSync } from 'node:crypto'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { after, before, describe, test } from 'node:test'
import { blocksOf, fileOf } from './support/docs'
import { type EmbeddedLdap, startEmbeddedLdap } from './support/embedded-ldap'
import { type Haraka, startHaraka, writeInstall } from './support/haraka'
import { skipWithout } from './support/programs'
import { type RedisServer, startRedis } from './support/redis-server'
import { shell } from './support/shell'
import { connectSmtp, type SmtpClient } from './support/smtp'
import { until } from './support/until'

const FASTER: Readonly<Record<string, string>> = {
  'karma.ini': '[tarpit]\ndelay = 0.01\n',
  'limit.ini': 'tarpit_delay = 0.01\n',
}
const MESSAGE = 'From: a@sender.test\r\nSubject: x\r\n\r\nx\r\n'
// Not of a network for documentation: karma takes those for private ones.
const [STRANGER, TRUSTED] = ['93.184.216.34', '198.51.100.7'] as const

describe('docs/plugins.md', { skip: skipWithout('redis-server') }, () => {
  const dir = mkdtempSync(path.join(tmpdir(), 'recipe-'))
  let ldap: EmbeddedLdap
  let redis: RedisServer
  let haraka: Haraka

  before(async () => {
    ldap = await startEmbeddedLdap(['alice@example.com'])
    redis = await startRedis()
    const blocks = blocksOf('docs/plugins.md')
    const [command, ...others] = blocks.filter(({ language }) => language === 'sh')
    const [plugin, ...more] = blocks.filter(({ language }) => language === 'js')
    assert.ok(command && plugin && others.length + more.length === 0)
    writeInstall(dir, [25], { plugins: ['gal-relay'] })
    await shell(command.text, dir)
    const plugins = readFileSync(path.join(dir, 'config', 'plugins'), 'utf8')
    assert.deepEqual(plugins.match(/^(redis|karma|limit|gal-relay|dkim)$/gm), [
      ...['redis', 'karma', 'limit', 'gal-relay', 'dkim'],
    ])
    const { privateKey } = generateKeyPairSync('rsa', {
      modulusLength: 1024,
      publicKeyEncoding: { type: 'spki', format: 'pem' },
      privateKeyEncoding: { type: 'pkcs1', format: 'pem' },
    })
    const server = `host = 127.0.0.1\nport = ${redis.port}\n`
    const inis = blocks.filter(({ language }) => language === 'ini')
    haraka = await startHaraka({
      dir,
      plugins: ['redis', 'karma', 'limit', 'gal-relay', 'dkim', 'reader', 'test-queue'],
      ini: `[routes]
example.com = inbound
[restrictions]
hosts[] = ${TRUSTED}
[ldap]
url[] = ${ldap.url}
base = ${ldap.base}
`,
      files: {
        ...Object.fromEntries(
          inis.map((block) => [
            `config/${fileOf(block)}`,
            // Both wait for seconds where somebody is in the red.
            `${FASTER[fileOf(block)] ?? ''}${block.text}`,
          ]),
        ),
        'config/redis.ini': `[server]\n${server}[pubsub]\n${server}`,
        'config/dkim/sender.test/private': privateKey,
        'config/dkim/sender.test/selector': 'test\n',
        'plugins/reader.js': `${plugin.text}
exports.hook_data_post = function (next, connection) {
  const { transaction } = connection
  transaction.add_header('X-Unknown', String(transaction.notes.unknown_recipients))
  next()
}
`,
      },
    })
    await haraka.waitForLog(/directory .* is up/)
  })
  after(async () => {
    await haraka.stop()
    await redis.stop()
    await ldap.stop()
    rmSync(dir, { recursive: true, force: true })
  })

  const connected = async (client: string): Promise<SmtpClient> => {
    const smtp = await connectSmtp({ port: haraka.port, proxy: { client, local: '10.0.0.5:25' } })
    await smtp.ehlo()
    return smtp
  }
  const lastHeader = (name: string) =>
    new RegExp(`^${name}: (.*(?:\\r?\\n[ \\t].*)*)`, 'm').exec(
      haraka.delivered().at(-1)?.body.toString() ?? '',
    )?.[1]

  test('karma hears of each rule, and refuses who tries all of it', async () => {
    const smtp = await connected(STRANGER)
    const send = (...to: string[]) => smtp.transaction('a@sender.test', to, MESSAGE)
    // What it hears by way of Redis counts from the next message on at the latest.
    await until(async () => {
      await send('alice@example.com', 'nobody@example.com')
      return /\b901\b.*\b902\b|\b902\b.*\b901\b/s.test(lastHeader('X-Haraka-Karma') ?? '')
    })
    assert.equal(lastHeader('X-Unknown'), '1')
    await until(async () => {
      const { data } = await send('alice@example.com', 'x@far.example')
      return data !== undefined && data.code !== 250 && /karma/.test(data.line)
    })
    await smtp.quit()
  })

  test('limit stops at the twentieth recipient, and not for who may relay', async () => {
    const many = Array.from({ length: 25 }, (_, n) => `r${n}@far.example`)
    const stranger = await connected('203.0.113.77')
    const { rcpt } = await stranger.transaction('a@sender.test', many)
    assert.ok(
      rcpt.some(({ line }) => /too many/i.test(line)),
      rcpt.map(({ line }) => line).join('\n'),
    )
    const trusted = await connected(TRUSTED)
    const relayed = await trusted.transaction('a@sender.test', many)
    assert.deepEqual([...new Set(relayed.rcpt.map(({ code }) => code))], [250])
    await trusted.quit()
  })

  test('dkim signs what leaves, and nothing that comes in', async () => {
    const trusted = await connected(TRUSTED)
    await trusted.transaction('a@sender.test', ['x@far.example'], MESSAGE)
    await trusted.quit()
    await until(() => haraka.outboundMessages().length > 0)
    const [message] = haraka.outboundMessages()
    assert.match(message?.body.toString() ?? '', /^DKIM-Signature:/m)
    const arrived = haraka.delivered().map(({ body }) => body.toString())
    assert.ok(arrived.length > 0 && !arrived.some((body) => /^DKIM-Signature:/m.test(body)))
  })
})
