// The connection to Redis: with a password, with TLS, by Sentinels; and what `gal-relay check` says of it.
import assert from 'node:assert/strict'
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { after, before, describe, test } from 'node:test'
import { probeRedis } from '../../plugins/gal-relay/fleet/probe'
import { RedisAway, RedisLink } from '../../plugins/gal-relay/fleet/redis'
import type { RedisSettings } from '../../plugins/gal-relay/settings/redis'
import { parseRedisUrl, type RedisServer } from '../../plugins/gal-relay/settings/redis-url'
import { makeAuthority } from '../support/certificates'
import { freePort } from '../support/ports'
import { skipWithout } from '../support/programs'
import { startRedis } from '../support/redis-server'
import { startTcpProxy } from '../support/tcp-proxy'
import { until } from '../support/until'

function settingsFor(urls: readonly string[], more: Partial<RedisSettings> = {}): RedisSettings {
  const url = urls.map((text) => parseRedisUrl(text) as RedisServer)
  return { url, password_file: '', tls_ca: '', prefix: 'test:', ...more }
}

/** A connection for as long as it is used. */
async function withLink<T>(
  settings: RedisSettings,
  use: (link: RedisLink, lines: readonly string[]) => Promise<T>,
): Promise<T> {
  const lines: string[] = []
  const line = (text: string) => void lines.push(text)
  const link = new RedisLink(settings, {
    ...{ debug: line, info: line, notice: line, warn: line, error: line },
  })
  try {
    return await use(link, lines)
  } finally {
    link.close()
  }
}

const answers = (link: RedisLink) =>
  until(async () => {
    const pong = await link.use((client) => client.ping()).catch(() => '')
    return pong === 'PONG'
  })

describe('the URL of a Redis', () => {
  test('is read with its parts', () => {
    const { text, ...parts } = parseRedisUrl('rediss://u:p%40ss@redis.test:6380/3') as RedisServer
    assert.deepEqual(parts, {
      ...{ tls: true, host: 'redis.test', port: 6380, path: '3' },
      ...{ username: 'u', password: 'p@ss' },
    })
    assert.equal(text, 'rediss://redis.test:6380/3')
    assert.equal((parseRedisUrl('redis://[2001:db8::1]') as RedisServer).host, '2001:db8::1')
  })

  test('is refused with what was probably meant', () => {
    for (const [text, problem] of [
      ['redis.test', /probably meant: redis:\/\/redis\.test$/],
      ['http://redis.test', /is not a redis:\/\/ or rediss:\/\/ URL$/],
      ['redis://a.test, redis://b.test', /more than one value/],
      ['redis://a.test/0?x=1', /more than host, port/],
    ] as const) {
      assert.match(String(parseRedisUrl(text)), problem, text)
    }
  })
})

describe('the connection to Redis', { skip: skipWithout('redis-server', 'openssl') }, () => {
  let folder: string
  before(() => {
    folder = mkdtempSync(path.join(tmpdir(), 'fleet-'))
  })
  after(() => rmSync(folder, { recursive: true }))

  test('has its password from a file, which is read for each connection', async () => {
    const redis = await startRedis({ password: 'hush' })
    const password_file = path.join(folder, 'password')
    writeFileSync(password_file, 'wrong\n')
    chmodSync(password_file, 0o600)
    try {
      await withLink(settingsFor([redis.url], { password_file }), async (link, lines) => {
        await until(() => /WRONGPASS/.test(link.report().lastError ?? ''))
        await assert.rejects(
          link.use((client) => client.ping()),
          RedisAway,
        )
        writeFileSync(password_file, 'hush\n')
        await answers(link)
        assert.equal(link.report().state, 'up')
        assert.doesNotMatch(lines.join('\n'), /hush/)
      })
    } finally {
      await redis.stop()
    }
  })

  test('is encrypted, and only with a certificate that fits', async () => {
    const authority = makeAuthority()
    const { cert, key } = authority.issue()
    const port = await freePort()
    const redis = await startRedis({
      conf: [
        ...[`tls-port ${port}`, `tls-cert-file ${cert}`, `tls-key-file ${key}`],
        ...[`tls-ca-cert-file ${authority.ca}`, 'tls-auth-clients no'],
      ],
    })
    const url = `rediss://localhost:${port}`
    try {
      await withLink(settingsFor([url], { tls_ca: authority.ca }), answers)
      const [finding] = await probeRedis(settingsFor([url]))
      assert.equal(finding?.level, 'problem')
      assert.match(finding?.text ?? '', /certificate/)
    } finally {
      await redis.stop()
      authority.remove()
    }
  })

  test('goes where Sentinels say', async () => {
    const redis = await startRedis()
    const sentinels = await Promise.all(
      [1, 2].map(() =>
        startRedis({
          conf: ['sentinel monitor fleet 127.0.0.1 PORT 1'.replace('PORT', String(redis.port))],
          isSentinel: true,
        }),
      ),
    )
    try {
      const urls = sentinels.map(({ url }) => `${url}/fleet`)
      await withLink(settingsFor(urls), async (link) => {
        await answers(link)
        await link.use((client) => client.set('test:where', 'here'))
      })
      assert.equal(await redis.run('GET', 'test:where'), 'here')
    } finally {
      await Promise.all([redis, ...sentinels].map((one) => one.stop()))
    }
  })

  test('asks a Redis that does not answer once a second, and gives up a dead connection', async () => {
    const redis = await startRedis()
    const proxy = await startTcpProxy(redis.port)
    const url = `redis://127.0.0.1:${proxy.port}`
    try {
      await withLink(settingsFor([url]), async (link, lines) => {
        await answers(link)
        proxy.behave({ kind: 'hang' })
        let asked = 0
        let refused = 0
        const end = performance.now() + 3500
        while (performance.now() < end) {
          await link
            .use((client) => {
              asked++
              return client.incr('test:asked')
            })
            .catch(() => refused++)
          await new Promise((resolve) => setTimeout(resolve, 5))
        }
        assert.ok(asked >= 1 && asked <= 6, `asked ${asked} times`)
        assert.ok(refused > 2 * asked, String(refused))
        proxy.behave({ kind: 'pass' })
        proxy.drop('reset')
        await answers(link)
        const said = lines.map((text) => text.replace(/ \(.*\)/, ''))
        assert.ok(
          said.includes('Redis cannot be asked: each process counts for itself until it can'),
        )
        assert.equal(said.at(-1), 'Redis answers again: counts are shared')
        // Each once.
        for (const [index, text] of said.entries()) assert.notEqual(text, said[index + 1])
      })
    } finally {
      await proxy.stop()
      await redis.stop()
    }
  })
})

describe('gal-relay check of Redis', { skip: skipWithout('redis-server') }, () => {
  const found = async (settings: RedisSettings, level: string) =>
    (await probeRedis(settings)).filter((one) => one.level === level).map(({ text }) => text)

  test('is content with a Redis as Debian sets it up, and leaves nothing there', async () => {
    const redis = await startRedis()
    try {
      const findings = await probeRedis(settingsFor([redis.url]))
      assert.deepEqual([...new Set(findings.map(({ level }) => level))], ['ok'])
      assert.equal(await redis.run('DBSIZE'), '0')
    } finally {
      await redis.stop()
    }
  })

  test('says that it is away, may not be written to, or drops keys', async () => {
    const redis = await startRedis()
    const settings = settingsFor([redis.url])
    try {
      await redis.run('CONFIG', 'SET', 'maxmemory', '100mb', 'maxmemory-policy', 'allkeys-lru')
      assert.match((await found(settings, 'warning')).join(), /maxmemory-policy = allkeys-lru/)
      await redis.run('ACL', 'SETUSER', 'haraka', 'on', '>pw', '~other:*', '+@all')
      const limited = settingsFor([redis.url.replace('//', '//haraka:pw@')])
      assert.match((await found(limited, 'problem')).join(), /SET is refused: .*NOPERM|permission/i)
      await redis.run('REPLICAOF', '127.0.0.1', '1')
      assert.match((await found(settings, 'problem')).join(), /SET is refused: READONLY/)
    } finally {
      await redis.stop()
    }
    assert.match((await found(settings, 'problem')).join(), /cannot be asked: .*ECONNREFUSED/)
  })
})
