// What the gal-relay command says on the server that publishes a list, and on one that receives it.
import assert from 'node:assert/strict'
import { chmodSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { after, before, describe, test } from 'node:test'
import { loadCommandAfterFirst } from '../support/command'
import { type Edge, publisherInstall, startEdge, stopEdge } from '../support/edge'
import { skipWithout } from '../support/programs'
import { type RedisServer, startRedis } from '../support/redis-server'
import { type Slapd, startSlapd } from '../support/slapd'

const { runCommand, runJson } = loadCommandAfterFirst()

interface Checked {
  readonly sections: readonly {
    readonly about: string
    readonly findings: readonly { readonly level: string; readonly text: string }[]
  }[]
}

describe('the gal-relay command of a gateway that receives its list', {
  skip: skipWithout('slapd', 'slapadd', 'redis-server'),
}, () => {
  let slapd: Slapd
  let redis: RedisServer
  let inside: ReturnType<typeof publisherInstall>
  let edge: Edge
  const folder = mkdtempSync(path.join(tmpdir(), 'lists-'))
  before(async () => {
    slapd = await startSlapd({ entries: ['ann@example.com', 'bob@example.com'] })
    redis = await startRedis()
    inside = publisherInstall({ slapd })
    edge = await startEdge({ ini: `[redis]\nurl = ${redis.url}`, changesEvery: '10m' })
  })
  after(async () => {
    await stopEdge(edge)
    await redis.stop()
    await slapd.stop()
    for (const one of [folder, inside.install]) rmSync(one, { recursive: true, force: true })
  })

  const gateway = (...args: string[]) => runCommand([...args, '-c', edge.dir])
  const publishOnce = (to = redis.url) =>
    runCommand(['publish', '--once', '--to', to, '-c', inside.install])
  const findings = async (about: RegExp) => {
    const { json } = await runJson<Checked>(['check', '-c', edge.dir])
    return json.sections
      .filter((section) => about.test(section.about))
      .flatMap((section) => section.findings.map(({ level, text }) => `${level} ${text}`))
  }

  test('says that there is no list yet', async () => {
    assert.match((await findings(/^list default/)).join(), /^warning no list default is there yet/)
    assert.match((await findings(/^snapshot/)).join(), /^note there is none yet/)
    assert.equal((await gateway('lookup', 'ann@example.com')).code, 2)
  })

  test('answers from the list, and says which server published it and when', async () => {
    const { code, stdout, stderr } = await publishOnce()
    assert.equal(code, 0, stderr)
    assert.match(stdout, /^2 recipients published: list default/)
    await edge.waitForLog(/the list is in force: 2 recipients/)
    await edge.waitForLog(/the list default is received from redis:.*; no directory is asked/)
    await edge.answers('nobody@example.com', '550 5.1.1')
    assert.match((await findings(/^list default/)).join(), /^ok number \d+, published by \S+ at 20/)
    assert.match((await findings(/^snapshot/)).join(), /^ok 2 recipients, as of/)
    assert.match((await findings(/^redis/)).join(), /ok keys that begin with gal-relay: may be/)
    const found = await gateway('lookup', 'ann@example.com')
    assert.equal(found.code, 0)
    assert.match(found.stdout, /in the snapshot of 2 recipients/)
    assert.equal((await gateway('lookup', 'nobody@example.com')).code, 1)
    assert.equal((await gateway('lookup', 'ann@example.com', 'nobody@example.com')).code, 1)
    const explained = await gateway('explain', 'ann@example.com', 'nobody@example.com')
    assert.match(explained.stdout, /250 recipient <ann@example.com> OK/)
    assert.match(explained.stdout, /550 5\.1\.1/)
    const sync = await gateway('sync')
    assert.equal(sync.code, 2)
    assert.match(sync.stderr, /there is nothing to read here: .* is received from redis:/)
  })

  test('says what is wrong with the secret', async () => {
    chmodSync(edge.key.file, 0o644)
    assert.match((await findings(/^list default/)).join(), /^problem every user may read/)
    edge.key.write('another secret that is long enough for lists')
    chmodSync(edge.key.file, 0o600)
    assert.match((await findings(/^list default/)).join(), /^problem a signature is wrong/)
  })

  test('where it is published: a list that has shrunk is refused, except with --force', async () => {
    const file = path.join(folder, 'once.list')
    const people = Array.from({ length: 20 }, (_, n) => `more${n}@example.com`)
    await slapd.add(...people)
    assert.equal((await publishOnce(file)).code, 0)
    await slapd.delete(...people.map((one) => slapd.dnOf(one)))
    const refused = await publishOnce(file)
    assert.equal(refused.code, 1)
    assert.match(refused.stderr, /gal-relay publish --once --force$/m)
    const forced = ['publish', '--once', '--force', '--to', file, '-c', inside.install]
    assert.equal((await runCommand(forced)).code, 0)
  })

  test('where it is published: says what is missing or wrong', async () => {
    const said = async (...args: string[]) => {
      const { code, stderr } = await runCommand(['publish', ...args, '-c', inside.install])
      assert.equal(code, 2)
      return stderr
    }
    assert.match(await said(), /there is no \[redis\] section: name where to publish with --to/)
    assert.match(await said('--to', 'http://x'), /is not a redis:\/\/ or rediss:\/\/ URL/)
    assert.match(await said('--directory', 'beta'), /no directory beta to read; there is default/)
    assert.match(await said('--force'), /--force needs --once/)
    const away = await said('--once', '--to', 'redis://127.0.0.1:1')
    assert.match(away, /list default: the list was not published: .*ECONNREFUSED/)
    inside.key.write('short')
    assert.match(await said('--once', '--to', redis.url), /key_file: line 1 of .* has 5 characters/)
  })
})
