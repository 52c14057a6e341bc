// Three servers with `share = redis`: one of them reads the directory, another one takes over if that fails,
// and all of them follow the list.
import assert from 'node:assert/strict'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { after, before, describe, test } from 'node:test'
import { type Edge, keyFileIn, SECRET, withQuestions } from '../support/edge'
import { startHaraka } from '../support/haraka'
import { sharedListIni } from '../support/list-readers'
import { childrenOf } from '../support/processes'
import { skipWithout } from '../support/programs'
import { type RedisServer, startRedis } from '../support/redis-server'
import { type Slapd, startSlapd } from '../support/slapd'
import { startTcpProxy, type TcpProxy } from '../support/tcp-proxy'
import { until } from '../support/until'

const SERVERS = 3
const PEOPLE = Array.from({ length: 50 }, (_, n) => `known${n}@example.com`)
const FOUND = '250 recip'
const ABSENT = '550 5.1.1'
/** Milliseconds within which another server takes over, and reads the list. */
const TAKES_OVER = 15_000
/** Milliseconds between two looks at the processes. Each look costs a few hundred system calls. */
const LOOKED_AT_EVERY = 100

interface Process {
  readonly pid: number
  readonly isStopped: boolean
}

/** @returns the child process that keeps lists */
function syncProcessOf(parent: number): Process | undefined {
  try {
    for (const pid of childrenOf(parent)) {
      const stat = readFileSync(`/proc/${pid}/stat`, 'utf8')
      const [state] = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
      if (state === 'Z' || !/sync/.test(readFileSync(`/proc/${pid}/cmdline`, 'latin1'))) continue
      return { pid, isStopped: state === 'T' }
    }
  } catch {
    // it has ended
  }
  return undefined
}

interface Server {
  readonly haraka: Edge
  readonly redis: TcpProxy
  readonly ldap: TcpProxy
}

/** @returns the process that keeps the list of a server, and its child, which reads the directory */
function partsOf({ haraka }: Server): { readonly keeper?: Process; readonly reader?: Process } {
  const keeper = syncProcessOf(haraka.pid)
  const reader = keeper && syncProcessOf(keeper.pid)
  return { ...(keeper && { keeper }), ...(reader && { reader }) }
}

describe('a list that servers share', {
  skip: skipWithout('slapd', 'slapadd', 'ldapmodify', 'redis-server'),
}, () => {
  let slapd: Slapd
  let redis: RedisServer
  let servers: Server[]
  let count = 0
  /**
   * The longest time for which two servers have read the directory, milliseconds. It is not 0, because a
   * process that was stopped ends only once it goes on.
   */
  let longest = 0
  let twoSince: number | undefined
  let watch: NodeJS.Timeout
  const folder = mkdtempSync(path.join(tmpdir(), 'share-'))
  const readers = () => {
    const reading = servers.filter((server) => partsOf(server).reader?.isStopped === false)
    twoSince = reading.length > 1 ? (twoSince ?? performance.now()) : undefined
    longest = Math.max(longest, performance.now() - (twoSince ?? performance.now()))
    return reading
  }
  const answering = () => servers.filter(({ haraka }) => haraka.pid > 0)

  before(async () => {
    const key = keyFileIn(folder)
    key.write(SECRET)
    slapd = await startSlapd({ entries: PEOPLE })
    redis = await startRedis()
    servers = await Promise.all(
      Array.from({ length: SERVERS }, async () => {
        const proxy = await startTcpProxy(redis.port)
        const ldap = await startTcpProxy(Number(new URL(slapd.url).port))
        const haraka = await startHaraka({
          outbound: false,
          ini: sharedListIni({
            port: ldap.port,
            base: slapd.base,
            keyFile: key.file,
            redis: `redis://127.0.0.1:${proxy.port}`,
          }),
        })
        return { haraka: withQuestions(haraka, key), redis: proxy, ldap }
      }),
    )
    watch = setInterval(readers, LOOKED_AT_EVERY)
  })
  after(async () => {
    clearInterval(watch)
    await Promise.all(servers.map(({ haraka }) => haraka.stop()))
    await Promise.all(servers.flatMap((server) => [server.redis.stop(), server.ldap.stop()]))
    await redis?.stop()
    await slapd?.stop()
    rmSync(folder, { recursive: true, force: true })
  })

  async function theReader(): Promise<Server> {
    let only: Server | undefined
    await until(
      () => {
        const [one, ...others] = readers()
        only = others.length === 0 ? one : undefined
        return only !== undefined
      },
      undefined,
      30_000,
    )
    assert.ok(only)
    return only
  }

  /** Another server than that one takes over in time, and reads alone. */
  async function isTakenOver(from: Server): Promise<Server> {
    await until(
      () => readers().some((one) => one !== from),
      () => servers.map(({ haraka }) => haraka.log().slice(-800)).join('\n---\n'),
      TAKES_OVER,
    )
    return theReader()
  }

  /** @param asked servers that follow what is added and deleted */
  async function isFollowed(asked = answering()): Promise<void> {
    const one = `new${count++}@example.com`
    await slapd.add(one)
    for (const { haraka } of asked) await haraka.answers(one, FOUND)
    await slapd.delete(slapd.dnOf(one))
    for (const { haraka } of asked) await haraka.answers(one, ABSENT)
  }

  const lastNumber = ({ haraka }: Server) => {
    const lines = haraka.logLines(/number \d+, published by|is published to .*: number \d+/)
    return Number(/number (\d+)/.exec(lines.at(-1) ?? '')?.[1] ?? 0)
  }

  test('one server reads the directory, and all have the list', async () => {
    await theReader()
    await until(() => servers.every((server) => lastNumber(server) > 0))
    assert.equal(new Set(servers.map(lastNumber)).size, 1)
    await isFollowed()
    assert.ok(longest < 2000, `two for ${longest} ms`)
    const have = servers.filter(
      ({ haraka }) => haraka.logLines(/the whole list is read/).length > 0,
    )
    assert.ok(have.length < SERVERS)
  })

  test('the reader is killed', async () => {
    const reader = await theReader()
    const number = lastNumber(reader)
    const killed = reader.haraka.end('SIGKILL')
    const others = servers.filter((one) => one !== reader)
    const next = await isTakenOver(reader)
    await killed
    await until(() => others.every((server) => lastNumber(server) > number))
    await isFollowed(others)
    await reader.haraka.restart()
    await isFollowed()
    assert.equal(await theReader(), next)
    assert.ok(longest < 2000, `two for ${longest} ms`)
  })

  for (const whole of [false, true]) {
    test(`the ${whole ? 'whole server that reads' : 'process that keeps its list'} stands still, and goes on`, async () => {
      const reader = await theReader()
      const { keeper, reader: child } = partsOf(reader)
      assert.ok(keeper && child)
      const stopped = whole ? [reader.haraka.pid, keeper.pid, child.pid] : [keeper.pid]
      for (const pid of stopped) process.kill(pid, 'SIGSTOP')
      const others = servers.filter((one) => one !== reader)
      const number = lastNumber(reader)
      await isTakenOver(reader)
      await until(() => others.every((server) => lastNumber(server) > number))
      await isFollowed(others)
      const numbers = others.map(lastNumber)
      for (const pid of stopped.reverse()) process.kill(pid, 'SIGCONT')
      await isFollowed()
      assert.ok(longest < 2000, `two for ${longest} ms`)
      // The one that was stopped does not publish any more.
      assert.deepEqual(others.map(lastNumber), numbers)
    })
  }

  test('the reader is cut off from Redis for a while', async () => {
    const reader = await theReader()
    reader.redis.behave({ kind: 'hang' })
    try {
      const others = servers.filter((one) => one !== reader)
      await isTakenOver(reader)
      await isFollowed(others)
      // Cut off from Redis, it can still ask the directory. On a busy machine that may time out at first.
      await reader.haraka.answers('nobody@example.com', ABSENT)
      assert.deepEqual(await reader.haraka.ask(PEOPLE[0] ?? ''), [FOUND])
    } finally {
      reader.redis.behave({ kind: 'pass' })
      reader.redis.drop('reset')
    }
    await isFollowed()
    assert.ok(longest < 2000, `two for ${longest} ms`)
  })

  test('the reader cannot read the directory any more: another one tries', async () => {
    const reader = await theReader()
    reader.ldap.behave({ kind: 'reset' })
    try {
      await until(() => reader.haraka.log().includes('its directory does not answer'))
      await isTakenOver(reader)
      // The former reader needs no directory for that.
      await isFollowed()
    } finally {
      reader.ldap.behave({ kind: 'pass' })
    }
    assert.ok(longest < 2000, `two for ${longest} ms`)
  })

  test('Redis is away: each server goes on with its list, and asks the directory', async () => {
    await redis.kill()
    await until(() => readers().length === 0, undefined, TAKES_OVER)
    await slapd.add('meanwhile@example.com')
    for (const { haraka } of servers) await haraka.answers('meanwhile@example.com', FOUND)
    await redis.restart()
    await theReader()
    await isFollowed()
    assert.ok(longest < 2000, `two for ${longest} ms`)
  })
})
