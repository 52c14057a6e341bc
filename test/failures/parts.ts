// Parts of the plugin in the process of the test, where what a whole server meets once a day happens in a
// moment.
import assert from 'node:assert/strict'
import { createSocket } from 'node:dgram'
import { setServers } from 'node:dns/promises'
import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { FOUND, type GalAnswer } from '../../plugins/gal-relay/gal/address-list'
import { DirectoryLists } from '../../plugins/gal-relay/gal/directories'
import { AddressSearch } from '../../plugins/gal-relay/gal/directory/address-search'
import { listDefinition } from '../../plugins/gal-relay/gal/directory/list-definition'
import { lookupInAll } from '../../plugins/gal-relay/gal/joint-answer'
import { AddressTable, slotsFor } from '../../plugins/gal-relay/gal/snapshot/address-table'
import { applyBatch } from '../../plugins/gal-relay/gal/snapshot/file'
import { Follower } from '../../plugins/gal-relay/gal/snapshot/follower'
import { ListReader } from '../../plugins/gal-relay/gal/snapshot/list-reader'
import { ReadingTurns } from '../../plugins/gal-relay/gal/snapshot/reading-turns'
import { Syncer } from '../../plugins/gal-relay/gal/snapshot/syncer'
import { notifyOfChanges } from '../../plugins/gal-relay/ldap/ad-notification'
import { Directory } from '../../plugins/gal-relay/ldap/directory'
import { openConnection } from '../../plugins/gal-relay/ldap/open'
import { readRootDse } from '../../plugins/gal-relay/ldap/root-dse'
import { connectTo } from '../../plugins/gal-relay/ldap/tcp'
import { requireSuccess } from '../../plugins/gal-relay/ldap/turn'
import { DomainMap } from '../../plugins/gal-relay/routing/domain-map'
import { recipientOf } from '../../plugins/gal-relay/routing/recipient'
import { GAL, LDAP, recordedLog, SNAPSHOT, serverUrl, testList } from '../gal/lists'
import { assertNothingWrong, startLoad, VALID } from '../gal/load'
import { startDns } from '../support/dns-server'
import type { Faults } from '../support/faults'
import type { Slapd } from '../support/slapd'
import { startStalledPort } from '../support/stalled-port'
import { type Behaviour, startTcpProxy } from '../support/tcp-proxy'
import { until } from '../support/until'

const TIMES = {
  connect_timeout: 400,
  query_timeout: 400,
  answer_within: 2000,
  retry_after: { least: 50, most: 300 },
}

/** Servers with every kind of fault, found in the DNS, over TLS. */
export async function directory(faults: Faults, slapd: Slapd, ca: string): Promise<void> {
  const proxy = await startTcpProxy(slapd.port)
  const record = { priority: 0, weight: 1, port: proxy.port, target: 'localhost' }
  const name = '_ldap._tcp.corp.test'
  const dns = await startDns({ [name]: { fails: true } })
  // A DNS server that never answers.
  const mute = createSocket('udp4').bind(0, '127.0.0.1')
  await once(mute, 'listening')
  setServers([`127.0.0.1:${mute.address().port}`])
  const ldap = {
    ...TIMES,
    url: [serverUrl('srv://corp.test'), serverUrl(`ldap://127.0.0.1:${proxy.port}`)],
    starttls: true,
    tls_ca: ca,
  }
  faults.begin('start')
  const list = testList(ldap)
  list.start()
  const load = startLoad(list, { askers: 80, pause: 240 })
  const misbehaviours: Record<string, Behaviour> = {
    hang: { kind: 'hang' },
    cut: { kind: 'cut', after: 1 },
    reset: { kind: 'reset' },
    garbage: { kind: 'garbage' },
  }
  try {
    await load.untilAnswered()
    await until(() => faults.thrown().some(({ what }) => what === 'DNS time-out'))
    setServers([dns.address])
    dns.setRecords({ [name]: { srv: [record] } })
    faults.begin('closed port')
    proxy.closePort()
    await sleep(500)
    await until(() => faults.thrown().some(({ what }) => what === 'socket to a directory server'))
    await proxy.openPort()
    await load.untilAnswered()
    for (const [turn, behaviour] of Object.entries(misbehaviours)) {
      faults.begin(turn)
      proxy.behave(behaviour)
      await sleep(1000)
      proxy.behave({ kind: 'pass' })
      proxy.drop('reset')
      await load.untilAnswered()
    }
    faults.begin('closed while it connects')
    proxy.behave({ kind: 'hang' })
    const others = Array.from({ length: 3 }, () => testList(ldap))
    for (const other of others) other.start()
    await sleep(100)
    await Promise.all(others.map((other) => other.close()))
    faults.begin('late')
    proxy.drop()
    await sleep(100)
    const end = performance.now() + 600
    while (performance.now() < end);
    await sleep(1000)
    proxy.behave({ kind: 'pass' })
    await load.untilAnswered()
    // The look-up in the DNS has failed along with everything else, and succeeds now too.
    const byDns = `ldap://localhost:${proxy.port}`
    await until(() => list.report().servers.some(({ server }) => server === byDns))
    faults.end()
    await list.becomes(VALID[0] as string, 'found')
  } finally {
    const asked = await load.stop()
    await list.close()
    mute.close()
    await Promise.all([proxy.stop(), dns.stop()])
    assertNothingWrong(asked, 60_000)
  }
}

/** Idle connections, and other work that nobody waits for. */
export async function connections(faults: Faults, slapd: Slapd): Promise<void> {
  const proxy = await startTcpProxy(slapd.port)
  const ldap = { ...LDAP, ...TIMES, url: [serverUrl(`ldap://127.0.0.1:${proxy.port}`)] }
  const check = new AddressSearch(listDefinition(GAL, ldap), ldap.query_timeout).forNobody()
  const idle = new Directory(ldap, [], recordedLog(), { idle: 50 })
  const onDemand = { isOnDemand: true, restAfter: 100 }
  const resting = new Directory(ldap, [], recordedLog(), onDemand)
  const both = ['a', 'b'].map((name) => {
    return { name, domains: [], gal: GAL, ldap, snapshot: SNAPSHOT }
  })
  const directories = { all: both, byDomain: new DomainMap<never>(), otherwise: both, without: [] }
  const lists = new DirectoryLists(directories, () => recordedLog())
  const { signal } = new AbortController()
  const endpoint = { tls: false, host: '127.0.0.1', port: slapd.port, name: slapd.url }
  try {
    idle.start()
    await until(() => idle.report().every(({ connections }) => connections > 0))
    await resting.ask(async () => {})
    const connection = await openConnection(endpoint, ldap, signal)
    faults.begin('idle')
    await until(() => resting.report().every(({ state }) => state === 'idle'))
    // The server refuses this control, which only Active Directory knows.
    await new Promise<void>((resolve) => notifyOfChanges(connection, slapd.base, () => {}, resolve))
    // A large batch of changes is applied in steps.
    const table = new AddressTable(new Uint32Array(slotsFor(4096) * 2), 4096, 0)
    const hashes = Uint32Array.from({ length: 6000 }, (_, i) => (i * 2654435761) >>> 0)
    const batch = { added: hashes, removed: new Uint32Array(0), confirmedAt: 0, feed: 0 }
    assert.equal(await applyBatch(batch, table), true)
    const stalled = await startStalledPort()
    await assert.rejects(openConnection({ ...endpoint, port: stalled.port }, ldap, signal))
    // The fault was in the first connection's time-out; this one is on time,
    await assert.rejects(openConnection({ ...endpoint, port: stalled.port }, ldap, signal))
    // and here, this process is busy until after the time-out.
    const late = openConnection({ ...endpoint, port: stalled.port }, ldap, signal)
    const end = performance.now() + 2 * TIMES.connect_timeout
    while (performance.now() < end);
    await assert.rejects(late)
    const [search] = check
    assert.ok(search)
    proxy.behave({ kind: 'pass' })
    await until(async () => {
      const opening = openConnection({ ...endpoint, port: proxy.port }, ldap, signal)
      const open = await opening.catch(() => undefined)
      if (!open) return false
      proxy.behave({ kind: 'hang' })
      await assert.rejects(open.search(search, 50))
      open.close()
      proxy.behave({ kind: 'pass' })
      return faults.thrown().some(({ what }) => what === 'expired search')
    })
    const addresses = async () => ['127.0.0.1', '127.0.0.2']
    const never = new Promise<string[]>(() => {})
    for (const resolve of [addresses, () => never]) {
      const attempt = new AbortController()
      const connecting = connectTo('dir.test', stalled.port, attempt.signal, resolve)
      // By now the first address has been tried, but not yet the second.
      await sleep(50)
      attempt.abort()
      await assert.rejects(connecting)
    }
    await assert.rejects(connectTo('dir.test', stalled.port, signal, addresses))
    await stalled.stop()
    await until(() => idle.report().every(({ state }) => state === 'up'))
    proxy.behave({ kind: 'result', code: 1 })
    await until(async () => {
      const failed = idle.ask(async (turn) => requireSuccess(await turn.search(check)))
      await assert.rejects(failed)
      return faults.thrown().some(({ what }) => what === 'trying a directory server')
    })
    proxy.behave({ kind: 'pass' })
    await lists.lookup(recipientOf('user0', 'example.com'))
    // A directory that has the recipient does not wait for the other for ever.
    const ask = (answer: GalAnswer | Promise<GalAnswer>) => ({
      saysWhere: true,
      list: { lookup: () => answer },
    })
    const asked = [ask(new Promise<GalAnswer>(() => {})), ask(FOUND)]
    assert.equal((await lookupInAll(asked, recipientOf('user0', 'example.com'))).state, 'found')
    faults.end()
    connection.close()
    assert.equal((await lists.lookup(recipientOf('user0', 'example.com'))).state, 'found')
    const answer = await idle.ask(({ connection }) => readRootDse(connection, 2000))
    assert.ok(answer.controls.size > 0)
  } finally {
    await Promise.all([idle.close(), resting.close(), lists.close()])
    await proxy.stop()
  }
}

/** A list that is kept here, and one by a process that cannot be started at first. */
export async function list(faults: Faults, slapd: Slapd): Promise<void> {
  const folder = mkdtempSync(path.join(tmpdir(), 'list-'))
  const settings = (file: string) => ({
    gal: { ...GAL, mode: 'snapshot' as const },
    ldap: { ...LDAP, url: [serverUrl(slapd.url)], retry_after: TIMES.retry_after },
    snapshot: { ...SNAPSHOT, file: path.join(folder, file), full_every: 500, changes_every: 200 },
  })
  const stop = new AbortController()
  const syncer = new Syncer(settings('here'), recordedLog())
  const inForce = () => syncer.report().state === 'following'
  const running = syncer.run(stop.signal)
  const log = recordedLog()
  const reader = new ListReader(settings('elsewhere'), log)
  const another = recordedLog()
  const later = new ListReader(settings('another'), another)
  const followers = Array.from(
    { length: 20 },
    (_, n) =>
      new Follower({
        file: path.join(folder, `followed${n}`),
        fingerprint: Buffer.alloc(0),
        currentFor: 1000,
        log: recordedLog(),
      }),
  )
  const { execPath } = process
  try {
    for (const turn of ['read', 'read again', 'changed']) {
      faults.begin(turn)
      await slapd.add(`${turn.replace(' ', '')}@example.com`)
      await sleep(800)
      await until(inForce)
    }
    let added = 0
    await until(async () => {
      await slapd.add(`added${++added}@example.com`)
      return faults.thrown().some(({ what }) => what === 'writing changes of the list')
    })
    process.execPath = '/nonexistent/node'
    reader.start()
    await until(() => log.lines.some((line) => /ENOENT/.test(line)))
    process.execPath = execPath
    await until(() => log.lines.some((line) => /the list is in force/.test(line)))
    later.start()
    await until(() => another.lines.some((line) => /the list is in force/.test(line)))
    for (const follower of followers) await follower.start()
    await until(() => {
      writeFileSync(path.join(folder, 'followed1'), '')
      return faults.thrown().some(({ what }) => what === 'change in the folder of lists')
    })
    const turns = new ReadingTurns(1)
    const end = await turns.take(stop.signal)
    const leaving = new AbortController()
    const waiting = turns.take(leaving.signal)
    leaving.abort()
    await assert.rejects(waiting)
    end()
    stop.abort(new Error('the end'))
    await running
    faults.end()
  } finally {
    process.execPath = execPath
    stop.abort(new Error('the end'))
    reader.close()
    later.close()
    for (const follower of followers) await follower.close()
    rmSync(folder, { recursive: true, force: true })
  }
}
