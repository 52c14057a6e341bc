// A gateway behind a firewall: in a network namespace of its own, from which it reaches Redis and nothing else,
// least of all the directory.
import assert from 'node:assert/strict'
import { execFile, execFileSync } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { after, before, describe, test } from 'node:test'
import { promisify } from 'node:util'
import {
  ABSENT,
  DEFERRED,
  FOUND,
  keyFileIn,
  type Publisher,
  SECRET,
  startPublisher,
} from '../support/edge'
import { type Haraka, startHaraka } from '../support/haraka'
import { findProgram, skipWithout } from '../support/programs'
import { type RedisServer, startRedis } from '../support/redis-server'
import { type Slapd, startSlapd } from '../support/slapd'
import { connectSmtp } from '../support/smtp'
import { until } from '../support/until'

const run = promisify(execFile)
const NAME = `gal-${process.pid}`
const VETH = [`g${process.pid}a`, `g${process.pid}b`] as const
// TEST-NET-2: nobody's.
const [HERE, THERE] = ['198.51.100.1', '198.51.100.2']
const PORT = 2525

function why(): string | false {
  const missing = skipWithout('slapd', 'slapadd', 'ldapmodify', 'redis-server')
  if (missing) return String(missing)
  if (process.getuid?.() !== 0) return 'network namespaces need root'
  if (!findProgram('ip')) return 'no ip'
  try {
    execFileSync('ip', ['netns', 'add', `${NAME}-try`], { stdio: 'ignore' })
    execFileSync('ip', ['netns', 'del', `${NAME}-try`], { stdio: 'ignore' })
    return false
  } catch {
    return 'no right to make network namespaces'
  }
}

describe('a gateway that cannot reach the directory', { skip: why() }, () => {
  let slapd: Slapd
  let redis: RedisServer
  let publisher: Publisher
  let haraka: Haraka
  const folder = mkdtempSync(path.join(tmpdir(), 'edge-'))
  before(async () => {
    await run('ip', ['netns', 'add', NAME])
    await run('ip', [
      'link',
      'add',
      VETH[0],
      'type',
      'veth',
      'peer',
      'name',
      VETH[1],
      'netns',
      NAME,
    ])
    await run('ip', ['addr', 'add', `${HERE}/30`, 'dev', VETH[0]])
    await run('ip', ['link', 'set', VETH[0], 'up'])
    const there = (...args: string[]) => run('ip', ['-n', NAME, ...args])
    await there('addr', 'add', `${THERE}/30`, 'dev', VETH[1])
    await there('link', 'set', VETH[1], 'up')
    await there('link', 'set', 'lo', 'up')
    slapd = await startSlapd({ entries: ['ann@example.com'] })
    redis = await startRedis({ conf: [`bind 127.0.0.1 ${HERE}`, 'protected-mode no'] })
    const key = keyFileIn(folder)
    key.write(SECRET)
    haraka = await startHaraka({
      namespace: NAME,
      proxy: false,
      files: { 'config/smtp.ini': `listen=${THERE}:${PORT}\nnodes=0\n` },
      ini: `[routes]
example.com = inbound
[gal]
mode = received
[snapshot]
changes_every = 1s
key_file = ${key.file}
[redis]
url = redis://${HERE}:${redis.port}
`,
    })
    publisher = await startPublisher({ slapd, to: redis.url })
  })
  after(async () => {
    await haraka?.stop()
    await publisher?.stop()
    await redis?.stop()
    await slapd?.stop()
    await run('ip', ['netns', 'del', NAME]).catch(() => {})
    rmSync(folder, { recursive: true, force: true })
  })

  async function answers(recipient: string, reply: string, within: number): Promise<void> {
    await until(
      async () => {
        const smtp = await connectSmtp({ port: PORT, host: THERE })
        await smtp.ehlo()
        await smtp.mail('a@b.example')
        const { line } = await smtp.rcpt(recipient)
        await smtp.quit()
        return line.startsWith(reply)
      },
      undefined,
      within,
    )
  }

  test('has its list, with what comes and goes, and keeps it when the publisher stops', async () => {
    const toSlapd = ['-e', `require('net').connect(${new URL(slapd.url).port}, '${HERE}')`]
    await assert.rejects(run('ip', ['netns', 'exec', NAME, process.execPath, ...toSlapd]))
    await answers('ann@example.com', FOUND, 30_000)
    await answers('new@example.com', ABSENT, 30_000)
    await slapd.add('new@example.com')
    await answers('new@example.com', FOUND, 30_000)
    await slapd.delete(slapd.dnOf('new@example.com'))
    await answers('new@example.com', ABSENT, 30_000)
    await publisher.stop()
    await answers('new@example.com', DEFERRED, 30_000)
    await answers('ann@example.com', FOUND, 1)
  })
})
