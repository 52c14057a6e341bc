// [harvest] and [redis]: their defaults, what is wrong in them, and config/redis.ini in their place.
import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { test } from 'node:test'
import { readIni } from '../../plugins/gal-relay/settings/ini'
import { readSettings } from '../../plugins/gal-relay/settings/settings'
import { loadCommand } from '../support/command'
import { writeInstall } from '../support/haraka'
import { skipWithout } from '../support/programs'
import { startRedis } from '../support/redis-server'

const { runJson } = loadCommand()

const LDAP = '[ldap]\nurl[] = ldap://a.test\nbase = dc=a\n'
const read = (ini: string) => readSettings(readIni('gal_relay.ini', LDAP + ini), [], '/etc/haraka')

test('harvest defence is off, with the values that the documentation names', () => {
  const { harvest, redis } = read('')
  const { exempt, ...others } = harvest
  assert.deepEqual(others, {
    enabled: false,
    unknown_limit: 30,
    unknown_share: 0.8,
    window: 600_000,
    hold_off: 1_800_000,
    slow_down: { least: 0, most: 5000 },
    network: { ipv4: 32, ipv6: 64 },
  })
  assert.equal(exempt.entries.length, 0)
  assert.equal(redis, undefined)
})

test('its keys are read', () => {
  const { harvest, redis } = read(
    '[harvest]\nslow_down = 0s\nnetwork = /24, /48\nunknown_share = 50%\nexempt[] = 192.0.2.0/24\n' +
      '[redis]\nurl[] = redis://a.test/fleet\nurl[] = redis://b.test/fleet\npassword_file = p\n',
  )
  assert.deepEqual(harvest.slow_down, { least: 0, most: 0 })
  assert.deepEqual(harvest.network, { ipv4: 24, ipv6: 48 })
  assert.equal(harvest.unknown_share, 0.5)
  assert.equal(redis?.url.length, 2)
  assert.equal(redis?.prefix, 'gal-relay:')
  assert.equal(redis?.password_file, '/etc/haraka/p')
})

for (const [ini, problem] of [
  ['[harvest]\nnetwork = 24', /network = 24: is not the bits of an IPv4 network/],
  ['[harvest]\nnetwork = 33, 64', /is not the bits of an IPv4 network/],
  ['[harvest]\nslow_down = 5s to 1s', /is not a range: the first duration is longer/],
  ['[harvest]\nslow_down = 0s to 5m', /is longer than 1m/],
  ['[harvest]\nwindow = 100ms', /is not from 1s to 1d/],
  ['[harvest]\nunknown_limit = 0', /is not a whole number from 3/],
  ['[harvest]\nunknown_limits = 9', /probably meant: unknown_limit/],
  ['[redis]\nurl = redis.corp.test:6379', /probably meant: redis:\/\/redis\.corp\.test:6379/],
  ['[redis]\nprefix = a', /\[redis\] url: is missing/],
  [
    '[redis]\nurl = redis://a.test/mymaster',
    /has 'mymaster' behind the host, which is not the number/,
  ],
  [
    '[redis]\nurl[] = redis://a.test/one\nurl[] = redis://b.test/two',
    /Sentinels of several groups/,
  ],
  ['[redis]\nurl = redis://a.test\ntls_ca = ca.pem', /tls_ca: has no effect without rediss/],
  ['[redis]\nurl = redis://:hush@a.test\npassword_file = p', /stands beside a password in the URL/],
] as const) {
  test(`${ini.split('\n').slice(1).join('; ')} is refused`, () => {
    assert.throws(
      () => read(ini),
      (error: Error) => {
        assert.match(error.message, problem)
        assert.doesNotMatch(error.message, /hush/)
        return true
      },
    )
  })
}

test('gal-relay check asks the Redis of config/redis.ini', {
  skip: skipWithout('redis-server'),
}, async () => {
  const redis = await startRedis({ password: 'hush' })
  const root = mkdtempSync(path.join(tmpdir(), 'install-'))
  const check = async (server: string) => {
    writeInstall(root, [25], {
      ini: `${LDAP}[harvest]\nenabled = true\n`,
      files: { 'config/redis.ini': server },
    })
    const { json } = await runJson<{ sections: { about: string; findings: { text: string }[] }[] }>(
      ['check', '-c', root],
    )
    const section = json.sections.find(({ about }) => about === 'redis')
    return section?.findings.map(({ text }) => text).join('\n') ?? ''
  }
  try {
    const server = `[server]\nhost=127.0.0.1\nport=${redis.port}\n`
    assert.match(await check(`${server}[opts]\npassword=hush\n`), /answers: Redis \d.*\nkeys that/)
    assert.match(await check(server), /cannot be asked|NOAUTH/)
  } finally {
    rmSync(root, { recursive: true })
    await redis.stop()
  }
})
