// Two that publish to one file: one of them writes, and the other says so, and goes on when that one has ended.
import assert from 'node:assert/strict'
import { mkdtempSync, readFileSync, rmSync, symlinkSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { after, before, describe, test } from 'node:test'
import { numberOf } from '../../plugins/gal-relay/fleet/signed-piece'
import { runCommand } from '../support/command'
import { type Publisher, publisherInstall, startPublisher } from '../support/edge'
import { skipWithout } from '../support/programs'
import { type Slapd, startSlapd } from '../support/slapd'
import { until } from '../support/until'

describe('a file that two publish to', {
  skip: process.platform === 'linux' ? skipWithout('slapd', 'slapadd') : 'only Linux',
}, () => {
  let slapd: Slapd
  const publishers: Publisher[] = []
  let inside: ReturnType<typeof publisherInstall>
  const folder = mkdtempSync(path.join(tmpdir(), 'writers-'))
  const file = path.join(folder, 'gal.list')
  const there = path.join(folder, 'there')
  const alsoThere = path.join(there, 'gal.list')
  const number = () => {
    const bytes = readFileSync(file)
    return numberOf(bytes.subarray(4, 4 + bytes.readUInt32LE()))
  }
  before(async () => {
    symlinkSync(folder, there)
    slapd = await startSlapd({ entries: ['ann@example.com'] })
    inside = publisherInstall({ slapd })
    publishers.push(await startPublisher({ slapd, to: file }))
  })
  after(async () => {
    for (const publisher of publishers) await publisher.stop()
    await slapd?.stop()
    for (const one of [folder, inside.install]) rmSync(one, { recursive: true, force: true })
  })

  test('has the list of the first one, and the second says why', async () => {
    await publishers[0]?.waitForLine(/the list default is published to/)
    const first = number()
    const once = ['publish', '--once', '--to', alsoThere, '-c', inside.install]
    const { code, stderr } = await runCommand(once)
    assert.equal(code, 2)
    assert.match(stderr, /list default: the list was not published: another process publishes to/)
    const second = await startPublisher({ slapd, to: alsoThere })
    publishers.push(second)
    await second.waitForLine(/the list default cannot be published by .*another process publishes/)
    await new Promise((resolve) => setTimeout(resolve, 3000))
    assert.equal(number(), first)
    assert.equal(second.output().split('another process').length, 2)
  })

  test('has the list of the second one when the first has been killed', async () => {
    const [first, second] = publishers
    assert.ok(first && second)
    const before = number()
    await first.end('SIGKILL')
    await second.waitForLine(/the list default is published to/)
    await until(() => number() > before)
  })
})
